//! A file that has its name only once it is whole and on disk, and that never takes the place of another one.
//!
//! The directory may be one that others write to. What is written goes to a file that this process made and holds open, private to its
//! owner, whatever becomes of the names beside it: a link that somebody put there is not followed, and a draft that was exchanged for
//! another file is not published. **Rejected**: letting SQLite write there by name, which can be led elsewhere between two of its steps.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD};

use crate::CopyError;

/// A file that is to have a name; it goes unless it is published.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    draft: PathBuf,
    to: PathBuf,
}

impl NewFile {
    /// Makes an empty file beside where it is to be.
    ///
    /// # Errors
    /// Something has that name, or no file can be made beside it.
    pub fn create(to: &Path) -> Result<Self, CopyError> {
        let directory = to.parent().filter(|path| !path.as_os_str().is_empty());
        if let Some(directory) = directory.filter(|path| !path.is_dir()) {
            return Err(CopyError::NoDirectory { path: to.to_owned(), directory: directory.to_owned() });
        }
        refuse_any(to)?;
        let draft = beside(to, ".partial");
        let failed = |source| CopyError::File { path: draft.clone(), source };
        // Of a run that was killed.
        match std::fs::remove_file(&draft) {
            Err(source) if source.kind() != ErrorKind::NotFound => return Err(failed(source)),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&draft);
        Ok(Self { file: file.map_err(failed)?, draft, to: to.to_owned() })
    }

    /// What is written to.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name, once it is on disk. How many bytes it has.
    ///
    /// # Errors
    /// Something has that name by now, the draft was removed by somebody else, or the system refuses it.
    pub fn publish(self) -> Result<u64, CopyError> {
        publish(&self.file, &self.to)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // It has its own name by now, or is half of a file.
        let _ = std::fs::remove_file(&self.draft);
    }
}

/// Names an open file, whatever it is called now.
pub(crate) fn publish(file: &File, to: &Path) -> Result<u64, CopyError> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => CopyError::Exists { path: to.to_owned() },
        _ => CopyError::File { path: to.to_owned(), source: error },
    };
    file.sync_all().map_err(failed)?;
    // Unlike a rename, a link never replaces what somebody else put there meanwhile.
    let held = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, held, CWD, to, AtFlags::SYMLINK_FOLLOW).map_err(|error| failed(error.into()))?;
    let directory = to.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new("."))).and_then(|it| it.sync_all()).map_err(failed)?;
    file.metadata().map(|data| data.len()).map_err(failed)
}

/// That nothing has this name: no file, and no link that leads nowhere either.
pub(crate) fn refuse_any(path: &Path) -> Result<(), CopyError> {
    match path.symlink_metadata() {
        Ok(_) => Err(CopyError::Exists { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(CopyError::File { path: path.to_owned(), source }),
    }
}

/// The same path with more at its end.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_has_its_name_once_it_is_whole_and_goes_otherwise() {
        let place = tempfile::tempdir().unwrap();
        let to = place.path().join("copy");
        drop(NewFile::create(&to).unwrap());
        assert!(names(place.path()).is_empty());
        let new = NewFile::create(&to).unwrap();
        new.file().write_all(b"whole").unwrap();
        assert_eq!(names(place.path()), ["copy.partial"]);
        assert_eq!(new.publish().unwrap(), 5);
        assert_eq!(names(place.path()), ["copy"]);
        assert_eq!(std::fs::read(&to).unwrap(), b"whole");
        assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(NewFile::create(&to), Err(CopyError::Exists { path }) if path == to));
    }

    #[test]
    fn no_link_that_others_put_there_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let (to, theirs) = (place.path().join("copy"), place.path().join("theirs"));
        std::fs::write(&theirs, b"").unwrap();
        // In the draft's place before, and while it is written.
        symlink(&theirs, beside(&to, ".partial")).unwrap();
        let new = NewFile::create(&to).unwrap();
        std::fs::remove_file(&new.draft).unwrap();
        symlink(&theirs, &new.draft).unwrap();
        new.file().write_all(b"secret").unwrap();
        assert!(
            matches!(new.publish(), Err(CopyError::File { .. })),
            "a draft that was taken away is not one"
        );
        assert_eq!(std::fs::read(&theirs).unwrap(), b"");
        // In its own place: one that leads nowhere is something too.
        symlink(place.path().join("nowhere"), &to).unwrap();
        assert!(matches!(NewFile::create(&to), Err(CopyError::Exists { .. })));
        assert_eq!(names(place.path()), ["copy", "theirs"]);
    }

    #[test]
    fn another_file_in_the_drafts_place_is_not_published_and_nothing_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let to = place.path().join("copy");
        let new = NewFile::create(&to).unwrap();
        new.file().write_all(b"ours").unwrap();
        std::fs::rename(&new.draft, place.path().join("moved")).unwrap();
        std::fs::write(&new.draft, b"theirs").unwrap();
        new.publish().unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"ours");
        let other = place.path().join("other");
        let new = NewFile::create(&other).unwrap();
        std::fs::write(&other, b"theirs").unwrap();
        assert!(matches!(new.publish(), Err(CopyError::Exists { path }) if path == other));
        assert_eq!(std::fs::read(&other).unwrap(), b"theirs");
    }
}
