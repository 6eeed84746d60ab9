//! What the miner can print: string literals of the code that it is made of. Comments, documentation and tests are no part of that, and neither are
//! crates that only other programs have.
//!
//! Which literal reaches a log and which a database is not told apart; that one stands in no running code at all is what happens to messages.

#![expect(clippy::unwrap_used, reason = "a source that is no Rust is a failed test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folders of a program's own crates, its own first.
fn crates_of(program: &str) -> BTreeSet<PathBuf> {
    let read = |path: &Path| std::fs::read_to_string(path.join("Cargo.toml")).unwrap();
    let workspace = read(&root());
    let folder_of = |name: &str| {
        let line = workspace.lines().find_map(|line| line.strip_prefix(&format!("{name} = {{ path = \"")));
        root().join(line.expect("a crate of the workspace").split('"').next().unwrap())
    };
    let mut found = BTreeSet::new();
    let mut waiting = vec![root().join(program)];
    while let Some(folder) = waiting.pop() {
        let manifest = read(&folder);
        if found.insert(folder) {
            let dependencies = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
            let dependencies = dependencies.split("\n[").next().unwrap();
            let own = dependencies.lines().filter(|line| line.starts_with("basilica-"));
            waiting.extend(own.map(|line| folder_of(line.split(['.', ' ']).next().unwrap())));
        }
    }
    found
}

/// What was found in files.
#[derive(Default)]
struct Found {
    /// Literals, by file.
    literals: Vec<(PathBuf, String)>,
    /// Files, without their ending, of modules that only tests have.
    tests: Vec<PathBuf>,
}

impl Found {
    fn folder(&mut self, folder: &Path) {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                self.folder(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                self.code(&path, std::fs::read_to_string(&path).unwrap().parse().unwrap());
            }
        }
    }

    fn code(&mut self, path: &Path, code: TokenStream) {
        let mut tokens = code.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Literal(literal) => {
                    if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                        self.literals.push((path.to_owned(), text.value()));
                    }
                }
                TokenTree::Group(group) => self.code(path, group.stream()),
                TokenTree::Punct(mark) if mark.as_char() == '#' => {
                    let _ = tokens
                        .next_if(|next| matches!(next, TokenTree::Punct(mark) if mark.as_char() == '!'));
                    let Some(TokenTree::Group(attribute)) = tokens.next() else { continue };
                    match attribute_of(attribute.stream()) {
                        Attribute::Message(words) => self.code(path, words),
                        Attribute::Test => self.skip_item(path, &mut tokens),
                        Attribute::Other => {}
                    }
                }
                TokenTree::Punct(_) | TokenTree::Ident(_) => {}
            }
        }
    }

    /// Passes over what only tests have, and remembers a file that it names.
    fn skip_item(&mut self, path: &Path, tokens: &mut impl Iterator<Item = TokenTree>) {
        let mut words = Vec::new();
        for token in tokens {
            match &token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
                TokenTree::Punct(mark) if mark.as_char() == ';' => break,
                _ => words.push(token.to_string()),
            }
        }
        if let [.., module, name] = &words[..]
            && module == "mod"
        {
            let is_root =
                path.file_stem().is_some_and(|stem| ["lib", "main", "mod"].iter().any(|root| stem == *root));
            let folder = if is_root { path.parent().unwrap().to_owned() } else { path.with_extension("") };
            self.tests.push(folder.join(name));
        }
    }

    fn printed(self) -> Vec<String> {
        let is_test = |path: &Path| {
            self.tests.iter().any(|test| path.with_extension("") == *test || path.starts_with(test))
        };
        self.literals.into_iter().filter(|(path, _)| !is_test(path)).map(|(_, text)| text).collect()
    }
}

enum Attribute {
    /// An error's words.
    Message(TokenStream),
    /// What follows is there for tests only.
    Test,
    Other,
}

fn attribute_of(attribute: TokenStream) -> Attribute {
    let whole = attribute.to_string();
    let mut tokens = attribute.into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Ident(name)), Some(TokenTree::Group(group))) if name == "error" => {
            Attribute::Message(group.stream())
        }
        _ if whole.starts_with("cfg") && has_word(&whole, "test") && !whole.contains("not (test)") => {
            Attribute::Test
        }
        _ if whole == "test" || whole.ends_with(":: test") => Attribute::Test,
        _ => Attribute::Other,
    }
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '"')
        .any(|found| found == word)
}

/// All that the miner can print, literal by literal.
pub(crate) fn literals_of_the_miner() -> Vec<String> {
    let mut found = Found::default();
    for folder in crates_of("bins/basilica-miner") {
        found.folder(&folder.join("src"));
    }
    let printed = found.printed();
    assert!(printed.len() > 1_000, "{}", printed.len());
    printed
}

/// The same, one after the other.
pub(crate) fn printed_by_the_miner() -> String {
    literals_of_the_miner().join("\n")
}

#[test]
fn comments_documentation_and_tests_are_no_messages() {
    let code = r##"
        //! "inner"
        #![doc = "attribute"]
        /// "outer"
        #[derive(Debug, thiserror::Error)]
        #[error("said by {0}")]
        struct Error(#[source] Other);
        fn f() { /* "block" */ warn!(x, "logged \
            on two lines"); g(r#"raw "text""#, b"bytes"); }
        #[cfg(test)]
        #[expect(clippy::unwrap_used, reason = "why")]
        mod tests { const A: &str = "in a test"; }
        #[cfg(all(test, feature = "x"))]
        mod fake;
        #[cfg(feature = "test")]
        const KEPT: &str = "by a feature";
        #[tokio::test]
        async fn t() { say("by a test"); }
    "##;
    let mut found = Found::default();
    found.code(Path::new("/c/src/one.rs"), code.parse().unwrap());
    assert_eq!(found.tests, [Path::new("/c/src/one/fake")]);
    found.code(Path::new("/c/src/one/fake.rs"), "const F: &str = \"of a fake\";".parse().unwrap());
    let expected = ["said by {0}", "logged on two lines", "raw \"text\"", "by a feature"];
    assert_eq!(found.printed(), expected);
}

#[test]
fn the_validators_own_crates_are_no_part_of_the_miner() {
    let crates = crates_of("bins/basilica-miner");
    let has = |folder: &str| crates.iter().any(|path| path.ends_with(folder));
    assert!(
        has("crates/services/miner") && has("crates/adapters/ssh") && has("crates/core/types"),
        "{crates:?}"
    );
    assert!(!has("crates/services/validator"), "{crates:?}");
}
