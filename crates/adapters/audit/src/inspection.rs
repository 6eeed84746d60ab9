//! A log's files read again: what the command `audit` of a program says.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use basilica_types::Digest;
use serde_json::{Value, json};

use crate::{Broken, Summary, files, verify};

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
    /// Reads the log that is kept at `path`, with its older files.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn of_log(path: &Path, asked: Option<Digest>) -> Result<Self, InspectError> {
        let all = files(path).map_err(|source| InspectError::Read { path: path.to_owned(), source })?;
        if all.is_empty() {
            return Err(InspectError::Absent { path: path.to_owned() });
        }
        Self::of_files(all, asked)
    }

    /// Reads these files, oldest first, as one log. `asked`: the hash of a line that should be in it.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn of_files(files: Vec<PathBuf>, asked: Option<Digest>) -> Result<Self, InspectError> {
        let mut log: Box<dyn Read> = Box::new(io::empty());
        for path in &files {
            let file =
                File::open(path).map_err(|source| InspectError::Read { path: path.clone(), source })?;
            log = Box::new(log.chain(file));
        }
        match verify(BufReader::new(log), asked) {
            Err(Broken::Read(source)) => {
                Err(InspectError::Read { path: files.last().cloned().unwrap_or_default(), source })
            }
            found => Ok(Self { files, asked, found }),
        }
    }

    /// Why the log does not hold together, if it does not.
    pub fn broken(&self) -> Option<String> {
        match (&self.found, self.asked) {
            (Err(broken), _) => Some(broken.to_string()),
            (Ok(summary), Some(asked)) if !summary.has_asked => Some(format!(
                "no line of this log has the hash {asked}: it was written anew, or that line was cut off or is in a file that is not here"
            )),
            (Ok(_), _) => None,
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
        let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        write!(
            f,
            "{} operations in {} files, from {} to {}: each follows the one before it: of those written none was changed, left out or put in between",
            summary.lines,
            self.files.len(),
            dash(&summary.first),
            dash(&summary.last)
        )?;
        if summary.torn > 0 {
            write!(f, "\n  unfinished  {} lines, after a crash", summary.torn)?;
        }
        if summary.lost > 0 {
            write!(f, "\n  lost        {} operations, which could not be written", summary.lost)?;
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
