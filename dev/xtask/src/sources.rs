//! Words that may not stand in the sources, because each of them once hid a hole.

use std::path::{Path, PathBuf};

use crate::command::Failure;

/// More lines than this are worth a hard look.
const LONG: usize = 600;

/// A word, where it is looked for, and what to do instead.
struct Ban {
    word: &'static str,
    extensions: &'static [&'static str],
    /// Folders that it concerns; none: all.
    folders: &'static [&'static str],
    instead: &'static str,
}

/// The words are put together, so that this file does not contain them.
const BANS: [Ban; 4] = [
    Ban {
        word: concat!("StrictHostKeyChecking", "=no"),
        extensions: &["rs", "sh", "toml", "py", "yml", "yaml", "service"],
        folders: &[],
        instead: "pin the host key (decision D9)",
    },
    Ban {
        word: concat!("#[", "ignore"),
        extensions: &["rs"],
        folders: &[],
        instead: "a test that cannot run fails with the reason",
    },
    Ban {
        word: concat!("thread::", "sleep"),
        extensions: &["rs"],
        folders: &[],
        instead: "wait for a condition, or ask `ports::Clock`",
    },
    Ban {
        word: concat!("tokio::time::", "sleep"),
        extensions: &["rs"],
        folders: &["crates/core", "crates/ports", "crates/services", "bins"],
        instead: "ask `ports::Clock`, so that a test can move the time",
    },
];

/// Every place that has such a word, one line each: `path:line: …`.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, Failure> {
    let mut problems = Vec::new();
    for folder in ["bins", "config", "crates", "deploy", "dev", ".ci"] {
        for path in files(&root.join(folder))? {
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("sh");
            let shown = path.strip_prefix(root).unwrap_or(&path);
            let bans: Vec<&Ban> = BANS.iter().filter(|ban| concerns(ban, shown, extension)).collect();
            if bans.is_empty() {
                continue;
            }
            let bytes =
                std::fs::read(&path).map_err(|source| Failure::File { path: path.clone(), source })?;
            problems.extend(
                complaints(&String::from_utf8_lossy(&bytes), &bans)
                    .into_iter()
                    .map(|(line, why)| format!("{}:{line}: {why}", shown.display())),
            );
        }
    }
    Ok(problems)
}

/// Sources that have grown beyond what can be read in a sitting: a question, not a rule.
pub(crate) fn long_files(root: &Path) -> Result<Vec<(PathBuf, usize)>, Failure> {
    let mut long = Vec::new();
    for folder in ["bins", "crates", "dev"] {
        for path in
            files(&root.join(folder))?.into_iter().filter(|path| path.extension() == Some("rs".as_ref()))
        {
            let text = std::fs::read(&path).map_err(|source| Failure::File { path: path.clone(), source })?;
            let lines = text.split(|byte| *byte == b'\n').count() - 1;
            if lines > LONG {
                long.push((path.strip_prefix(root).unwrap_or(&path).to_owned(), lines));
            }
        }
    }
    Ok(long)
}

fn concerns(ban: &Ban, path: &Path, extension: &str) -> bool {
    ban.extensions.contains(&extension)
        && (ban.folders.is_empty() || ban.folders.iter().any(|folder| path.starts_with(folder)))
}

fn complaints(text: &str, bans: &[&Ban]) -> Vec<(usize, String)> {
    text.lines()
        .enumerate()
        .flat_map(|(index, line)| {
            let found = bans.iter().filter(move |ban| line.contains(ban.word));
            found.map(move |ban| (index + 1, format!("`{}`: {}", ban.word, ban.instead)))
        })
        .collect()
}

/// All files below a folder, in order; links are not followed.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |source| Failure::File { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::path);
    let mut found = Vec::new();
    for entry in entries {
        let kind = entry.file_type().map_err(failed)?;
        let skipped = entry.file_name() == "target" || entry.file_name() == "node_modules";
        if kind.is_dir() && !skipped {
            found.extend(files(&entry.path())?);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn these_sources_have_none_of_the_words() {
        let workspace = Workspace::find().expect("a clone");
        assert_eq!(check(&workspace.root).expect("sources are readable"), [""; 0]);
    }

    #[test]
    fn long_files_are_named_with_their_length() {
        let root = std::env::temp_dir().join(format!("xtask-{}-long", std::process::id()));
        let source = root.join("dev/x/src");
        std::fs::create_dir_all(&source).unwrap();
        std::fs::write(source.join("long.rs"), "\n".repeat(LONG + 1)).unwrap();
        std::fs::write(source.join("short.rs"), "\n".repeat(LONG)).unwrap();
        std::fs::write(source.join("long.md"), "\n".repeat(LONG + 1)).unwrap();
        let found = long_files(&root);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(found.expect("readable"), [("dev/x/src/long.rs".into(), LONG + 1)]);
    }

    #[test]
    fn each_word_is_found_with_its_line() {
        for ban in &BANS {
            let text = format!("fn main() {{\n    x({}(1));\n}}\n", ban.word);
            assert_eq!(complaints(&text, &[ban]), [(2, format!("`{}`: {}", ban.word, ban.instead))]);
        }
    }

    #[test]
    fn a_word_concerns_its_folders_and_kinds_of_files() {
        let sleep = &BANS[3];
        assert!(concerns(sleep, Path::new("crates/services/miner/src/lib.rs"), "rs"));
        assert!(!concerns(sleep, Path::new("crates/adapters/system/src/lib.rs"), "rs"));
        assert!(!concerns(sleep, Path::new("crates/services/miner/README.md"), "md"));
        assert!(concerns(&BANS[0], Path::new(".ci/run"), "sh"));
    }
}
