//! A log's files read again: what the command `audit` of a program says.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use basilica_types::Digest;
use serde_json::{Value, json};

use crate::file::{Part, parts};
use crate::{Broken, Summary, verify};

/// Why there is nothing to say.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// No files were named, and there is no log.
    #[error("there is no audit log at {}", path.display())]
    Absent {
        /// Where it would be.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file, or the log whose files were read one after the other.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// What was found.
#[derive(Debug)]
pub struct Inspection {
    files: Vec<PathBuf>,
    asked: Option<Digest>,
    found: Result<Summary, Broken>,
}

impl Inspection {
    /// Reads the log that is kept at `path`, with its older files; somebody may be writing it.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn of_log(path: &Path, asked: Option<Digest>) -> Result<Self, InspectError> {
        let parts = parts(path).map_err(|(path, source)| InspectError::Read { path, source })?;
        if parts.is_empty() {
            return Err(InspectError::Absent { path: path.to_owned() });
        }
        Self::of_parts(path, parts, asked)
    }

    /// Reads these files, oldest first, as one log. `asked`: the hash of a line that should be in it.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn of_files(files: Vec<PathBuf>, asked: Option<Digest>) -> Result<Self, InspectError> {
        let open = |path| Part::open(path).map_err(|(path, source)| InspectError::Read { path, source });
        let last = files.last().cloned().unwrap_or_default();
        let parts = files.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        Self::of_parts(&last, parts, asked)
    }

    fn of_parts(log: &Path, parts: Vec<Part>, asked: Option<Digest>) -> Result<Self, InspectError> {
        let mut reader: Box<dyn Read> = Box::new(io::empty());
        let mut files = Vec::with_capacity(parts.len());
        for part in parts {
            files.push(part.path.clone());
            reader = Box::new(reader.chain(part.read()));
        }
        match verify(BufReader::new(reader), asked) {
            Err(Broken::Read(source)) => Err(InspectError::Read { path: log.to_owned(), source }),
            found => Ok(Self { files, asked, found }),
        }
    }

    /// Why the log does not hold together, if it does not.
    pub fn broken(&self) -> Option<String> {
        match (&self.found, self.asked) {
            (Err(broken), _) => Some(format!("{}: {broken}", self.place())),
            (Ok(summary), Some(asked)) if !summary.has_asked => Some(format!(
                "no line of this log has the hash {asked}: it was written anew, or that line was cut off or is in a file that is not here"
            )),
            (Ok(_), _) => None,
        }
    }

    /// Where its lines stand, which are counted from the first file to the last.
    fn place(&self) -> String {
        match self.files.as_slice() {
            [] => String::new(),
            [file] => file.display().to_string(),
            [first, .., last] => {
                let (first, last, count) = (first.display(), last.display(), self.files.len());
                format!("{first} to {last}, {count} files read as one")
            }
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let broken = self.broken();
        let mut answer = json!({ "holds": broken.is_none(), "files": self.files });
        if let Some(why) = broken {
            answer["why"] = why.into();
        }
        if let Ok(summary) = &self.found {
            answer["lines"] = summary.lines.into();
            answer["torn"] = summary.torn.into();
            answer["lost"] = summary.lost.into();
            answer["first"] = summary.first.clone().into();
            answer["last"] = summary.last.clone().into();
            answer["follows"] = summary.follows.clone().into();
            answer["head"] = json!(summary.head);
        }
        answer
    }
}

/// For people.
impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = self.broken() {
            return f.write_str(&why);
        }
        let Ok(summary) = &self.found else { return Ok(()) };
        if summary.lines == 0 {
            return write!(
                f,
                "no entries are in {}: nothing was done over SSH since it was begun, or it was emptied",
                self.place()
            );
        }
        let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        write!(
            f,
            "{} in {}, from {} to {}: the log holds. Each line follows the one before it, so none was changed, left out or put in between",
            count(summary.lines, "operation"),
            count(self.files.len() as u64, "file"),
            dash(&summary.first),
            dash(&summary.last)
        )?;
        if summary.torn > 0 {
            write!(
                f,
                "\n  unfinished  {}: cut off by a crash, or being written now",
                count(summary.torn, "line")
            )?;
        }
        if summary.lost > 0 {
            write!(f, "\n  lost        {}, which could not be written", count(summary.lost, "operation"))?;
        }
        if let Some(follows) = &summary.follows {
            write!(f, "\n  follows     {follows}, the last line of a file that is not here")?;
        }
        if let Some(head) = &summary.head {
            write!(
                f,
                "\n  head        {head}: keep it elsewhere, and ask with --head whether it is still there"
            )?;
        }
        Ok(())
    }
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
