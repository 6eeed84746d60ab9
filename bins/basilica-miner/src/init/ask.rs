//! Questions with what is usual for an answer, asked again until the answer is one.

use std::fmt::Display;

use anyhow::bail;
use basilica_console::Terminal;

/// A person who answers nonsense so often is none.
const ATTEMPTS: usize = 10;
/// As many nodes fit a sitting.
const MOST: usize = 256;

/// Whoever sits in front; nobody where nothing is to be asked.
pub(super) struct Asked(Option<Terminal>);

impl Asked {
    pub(super) const fn new(terminal: Option<Terminal>) -> Self {
        Self(terminal)
    }

    /// The answer, or what is usual where it is empty. Where nobody is asked and nothing is usual, `flag` is missing.
    pub(super) fn value<T>(
        &mut self,
        question: &str,
        usual: Option<impl Display>,
        flag: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> anyhow::Result<T> {
        let usual = usual.map(|usual| usual.to_string());
        let Some(terminal) = &mut self.0 else {
            let Some(usual) = usual else { bail!("give {flag}: {question}") };
            return read(&usual).map_err(anyhow::Error::msg);
        };
        let question = match &usual {
            Some(usual) => format!("{question} [{usual}]: "),
            None => format!("{question}: "),
        };
        for _ in 0..ATTEMPTS {
            let typed = terminal.ask(&question)?;
            let text = match (typed.as_str(), &usual) {
                ("", Some(usual)) => usual,
                (text, _) => text,
            };
            match read(text) {
                Ok(value) => return Ok(value),
                Err(why) => terminal.show(&format!("  {text:?}: {why}"))?,
            }
        }
        bail!("{ATTEMPTS} answers were none; nothing was written")
    }

    /// Answers until an empty one, each read beside those before it; none where nobody is asked.
    pub(super) fn list<T>(
        &mut self,
        question: &str,
        read: impl Fn(&[T], &str) -> Result<T, String>,
    ) -> anyhow::Result<Vec<T>> {
        let mut values = Vec::new();
        if self.0.is_none() {
            return Ok(values);
        }
        while values.len() < MOST {
            let read = |text: &str| if text.is_empty() { Ok(None) } else { read(&values, text).map(Some) };
            match self.value(question, None::<&str>, "--node", read)? {
                Some(value) => values.push(value),
                None => break,
            }
        }
        Ok(values)
    }
}
