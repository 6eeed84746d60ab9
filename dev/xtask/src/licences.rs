//! What may be linked into the programs that ship: permissive licences, by the crates' own SPDX expressions.
//!
//! Rejected: cargo-deny, which is a tool more to build on every fresh machine for the one question that is asked here.

use crate::command::{Failure, output};
use crate::workspace::Workspace;

/// Licences that ask for no more than to be named, by their SPDX identifiers.
const PERMISSIVE: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Programs that ship although they do not lie in `bins/`.
const ALSO_SHIPPED: [&str; 1] = ["basilica-devchain"];

/// Checks every crate that is linked into or builds a program that ships.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let packages = workspace.packages()?;
    let bins = workspace.root.join("bins");
    let shipped = packages.iter().filter(|package| {
        package.manifest.starts_with(&bins) || ALSO_SHIPPED.contains(&package.name.as_str())
    });
    let mut arguments = vec!["tree", "--locked", "--edges", "normal,build", "--prefix", "none"];
    arguments.extend(["--format", "{p}|{l}"]);
    for package in shipped {
        arguments.extend(["--package", &package.name]);
    }
    let tree = output(&mut workspace.cargo(&arguments))?;
    let (crates, problems) = judge(&tree);
    if crates == 0 {
        return Err(Failure::Broken("cargo names no crate that ships".to_owned()));
    }
    if problems.is_empty() {
        println!("    {crates} crates that ship are under permissive licences");
        return Ok(());
    }
    Err(Failure::Broken(format!("crates that ship need another licence:\n  {}", problems.join("\n  "))))
}

/// How many crates the lines `crate|licence` of `cargo tree` name, and what is wrong with some.
fn judge(tree: &str) -> (usize, Vec<String>) {
    let lines = tree.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty());
    let crates: std::collections::BTreeSet<&str> = lines.collect();
    let problems = crates.iter().filter_map(|line| {
        let (name, licence) = line.rsplit_once('|').unwrap_or((line, ""));
        let problem = match is_permissive(licence) {
            Some(true) => return None,
            Some(false) => format!("{name}: {licence}"),
            None if licence.is_empty() => format!("{name}: names no licence"),
            None => format!("{name}: {licence:?} is no licence expression"),
        };
        Some(problem)
    });
    (crates.len(), problems.collect())
}

/// Whether an SPDX expression leaves a permissive choice; none if it is no expression. A `/` is an old way to say `OR`.
fn is_permissive(expression: &str) -> Option<bool> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let permissive = any_of(&mut words)?;
    words.next().is_none().then_some(permissive)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>) -> Option<bool> {
    let mut permissive = all_of(words)?;
    while words.next_if_eq(&"OR").is_some() {
        permissive |= all_of(words)?;
    }
    Some(permissive)
}

fn all_of(words: &mut Words<'_>) -> Option<bool> {
    let mut permissive = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        permissive &= one(words)?;
    }
    Some(permissive)
}

fn one(words: &mut Words<'_>) -> Option<bool> {
    match words.next()? {
        "(" => {
            let permissive = any_of(words)?;
            words.next_if_eq(&")").map(|_| permissive)
        }
        "OR" | "AND" | "WITH" | ")" => None,
        licence => {
            // An exception gives a permission more.
            if words.next_if_eq(&"WITH").is_some() {
                words.next()?;
            }
            Some(PERMISSIVE.contains(&licence))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permissive_choice_is_enough_and_a_permissive_part_is_not() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR Apache-2.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
        ] {
            assert_eq!(is_permissive(good), Some(true), "{good}");
        }
        for bad in ["GPL-3.0-or-later WITH Classpath-exception-2.0", "MIT AND AGPL-3.0", "(MIT AND GPL-3.0)"]
        {
            assert_eq!(is_permissive(bad), Some(false), "{bad}");
        }
        for broken in ["", "MIT OR", "(MIT", "MIT)", "MIT Apache-2.0", "WITH x", "AND"] {
            assert_eq!(is_permissive(broken), None, "{broken}");
        }
    }

    #[test]
    fn each_crate_is_judged_once_and_named_with_its_licence() {
        let tree = "a v1|MIT\na v1|MIT (*)\n\nb v2|GPL-3.0\nc v3|\nb v2|GPL-3.0 (*)\n";
        assert_eq!(judge(tree), (3, vec!["b v2: GPL-3.0".to_owned(), "c v3: names no licence".to_owned()]));
    }
}
