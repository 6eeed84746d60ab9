//! Names of container images.

use std::fmt;
use std::str::FromStr;

use crate::text::serde_as_text;

/// Longest name.
const IMAGE_NAME_MAX: usize = 255;

/// A text that names no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "image is not a name such as docker.io/library/ubuntu:24.04: letters, digits and . _ - / : @, at most {IMAGE_NAME_MAX}"
)]
pub struct ImageNameError;

/// A container image as engines are told it: `nvidia/cuda:12.8.0-runtime-ubuntu22.04`. It begins with a letter or digit, so that no
/// program takes it for an option.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName(String);

impl ImageName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageName {
    type Err = ImageNameError;

    fn from_str(text: &str) -> Result<Self, ImageNameError> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':' | b'@');
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let valid = begins && text.len() <= IMAGE_NAME_MAX && text.bytes().all(inner);
        if valid { Ok(Self(text.to_owned())) } else { Err(ImageNameError) }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(ImageName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_and_no_shell_passes_for_an_image() {
        for good in ["ubuntu", "nvidia/cuda:12.8.0-runtime-ubuntu22.04", "ghcr.io/a/b@sha256:00"] {
            assert_eq!(good.parse::<ImageName>().map(|image| image.to_string()).as_deref(), Ok(good));
        }
        let long = "a".repeat(256);
        for bad in ["", "-v", "--privileged", "a b", "a;b", "$(id)", "a\n", "\u{e9}", long.as_str()] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad:?}");
        }
    }
}
