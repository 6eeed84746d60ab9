use std::error::Error;
use std::fmt;

/// An error with all of its causes on one line: `open the database: file is not a database`.
///
/// Our errors keep their cause as a source and do not repeat it in their own text; where one is handled, this prints
/// the whole chain once. Others' errors do repeat it, so a cause that the words before end with is left out. At most 16 causes are
/// followed.
#[derive(Clone, Copy)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.0.to_string();
        let mut cause = self.0.source();
        for _ in 0..16 {
            let Some(error) = cause else { break };
            let why = error.to_string();
            if !words.ends_with(&why) {
                words = format!("{words}: {why}");
            }
            cause = error.source();
        }
        f.write_str(&words)
    }
}

impl fmt::Debug for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("read the wallet")]
    struct Outer(#[source] std::fmt::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("the driver says: {0}")]
    struct Repeating(#[source] Outer);

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let error = Repeating(Outer(std::fmt::Error));
        let told = format!("the driver says: read the wallet: {}", std::fmt::Error);
        assert_eq!(ErrorChain(&error).to_string(), told);
    }

    #[test]
    fn causes_follow_their_error_on_one_line() {
        let error = Outer(std::fmt::Error);
        assert_eq!(ErrorChain(&error).to_string(), format!("read the wallet: {}", std::fmt::Error));
    }
}
