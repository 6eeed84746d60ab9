//! The configuration file as something to be changed: whole or not at all, and never behind another editor's back.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail, ensure};
use basilica_console as console;

/// As the loader's.
const LONGEST: u64 = 1 << 20;
/// The mode of a file that is nothing special: the umask decides.
pub(crate) const ANYBODY: u32 = 0o666;

/// A file as it was read.
pub(crate) struct ConfigFile {
    /// Where it is, with links followed: a link stays one.
    path: PathBuf,
    text: String,
}

impl ConfigFile {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let path = path.canonicalize().with_context(|| format!("find {shown}"))?;
        Ok(Self { text: text_of(&path)?, path })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Puts `text` in the file's place if `check` likes it; owner and mode stay.
    pub(crate) fn replace(
        &self,
        text: &str,
        check: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let shown = self.path.display();
        let before = std::fs::metadata(&self.path).with_context(|| format!("look at {shown}"))?;
        let draft = Draft::beside(&self.path, ANYBODY)?;
        draft.file.set_permissions(Permissions::from_mode(before.mode() & 0o7777))?;
        keep_owner(&draft.file, &before, &self.path)?;
        draft.fill(text, &self.path, check)?;
        ensure!(
            text_of(&self.path)? == self.text,
            "{shown} was changed meanwhile by somebody else; run the command again"
        );
        draft.publish(&self.path)
    }
}

/// Writes a new file with `mode`, less what the umask takes, if `check` likes it. One that is there is replaced only if `force` says so, and kept
/// ([`kept_names`]).
pub(crate) fn create<T>(
    path: &Path,
    text: &str,
    mode: u32,
    force: bool,
    check: impl FnOnce(&Path) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let shown = path.display();
    let draft = Draft::beside(path, mode)?;
    let checked = draft.fill(text, path, check)?;
    if !force {
        // Unlike a rename, a link never replaces what somebody else put there meanwhile.
        std::fs::hard_link(&draft.path, path).with_context(|| format!("write {shown}"))?;
        return Ok(checked);
    }
    if let Ok(before) = std::fs::metadata(path) {
        keep_owner(&draft.file, &before, path)?;
        for old in kept_names(&[path])? {
            // Two names for a moment: the file is never away.
            let kept = std::fs::hard_link(path, &old);
            kept.with_context(|| format!("keep {shown} as {}", old.display()))?;
        }
    }
    draft.publish(path)?;
    Ok(checked)
}

/// Writes a file of the program's own, whole or not at all, for the owner of `like` and for nobody else.
pub(crate) fn write_own(path: &Path, text: &str, like: &Metadata) -> anyhow::Result<()> {
    let draft = Draft::beside(path, 0o600)?;
    keep_owner(&draft.file, like, path)?;
    draft.fill(text, path, |_| Ok(()))?;
    draft.publish(path)
}

/// As what files that belong together are kept when they are replaced: FILE.old, or with the first number that none of them has.
pub(crate) fn kept_names(paths: &[&Path]) -> anyhow::Result<Vec<PathBuf>> {
    const MOST: usize = 99;
    let numbered = |number: usize| -> Vec<PathBuf> {
        let number = if number == 1 { String::new() } else { format!(".{number}") };
        let name = |path: &&Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".old{number}"));
            PathBuf::from(name)
        };
        paths.iter().map(name).collect()
    };
    let is_free = |names: &Vec<PathBuf>| names.iter().all(|name| name.symlink_metadata().is_err());
    (1..=MOST).map(numbered).find(is_free).with_context(|| {
        let shown = paths.first().map(|path| path.display().to_string()).unwrap_or_default();
        format!("{shown}.old to {shown}.old.{MOST} are there already; put away what is not needed")
    })
}

/// Gives a file to the owner of the one that it replaces.
pub(crate) fn keep_owner(file: &File, before: &Metadata, replaced: &Path) -> anyhow::Result<()> {
    let made = file.metadata()?;
    if (made.uid(), made.gid()) == (before.uid(), before.gid()) {
        return Ok(());
    }
    fchown(file, Some(before.uid()), Some(before.gid())).with_context(|| {
        format!("keep the owner of {}; run this command as its owner or as root", replaced.display())
    })
}

/// A file beside another one, which it is to replace. It goes unless it is published.
struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    fn beside(path: &Path, mode: u32) -> anyhow::Result<Self> {
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".new-{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&draft);
        let file = made.with_context(|| {
            format!(
                "write beside {}: a change that is never half made needs a directory that can be written",
                path.display()
            )
        })?;
        Ok(Self { path: draft, file })
    }

    fn fill<T>(
        &self,
        text: &str,
        meant: &Path,
        check: impl FnOnce(&Path) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        (&self.file)
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_all())
            .context("write the file")?;
        check(&self.path).map_err(|error| {
            let shown = meant.display();
            // The message names the draft, which nobody finds afterwards.
            let told = format!("{error:#}").replace(&self.path.display().to_string(), &shown.to_string());
            anyhow!("{shown} would not be valid and was not written: {told}")
        })
    }

    fn publish(self, path: &Path) -> anyhow::Result<()> {
        std::fs::rename(&self.path, path).with_context(|| format!("replace {}", path.display()))?;
        if let Some(directory) = path.parent() {
            // The change is made either way; this is for a power cut in the next seconds.
            let _ = File::open(directory).and_then(|directory| directory.sync_all());
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It may have become the file itself.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn text_of(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let bytes = File::open(path).and_then(|file| console::read_at_most(file, LONGEST));
    match String::from_utf8(bytes.with_context(|| format!("read {shown}"))?) {
        Ok(text) => Ok(text),
        Err(_) => bail!("{shown} is not valid UTF-8"),
    }
}
