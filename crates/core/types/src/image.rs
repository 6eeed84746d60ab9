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

/// Where an image lies: what engines take a name for that says less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePlace<'a> {
    /// The registry: a host, with a port where the name has one.
    pub registry: &'a str,
    /// The repository on it.
    pub repository: String,
    /// The tag, or the digest where the name has one.
    pub reference: &'a str,
}

/// The registry of names that name none, and its tag where they name none.
const REGISTRY: &str = "docker.io";
const TAG: &str = "latest";

impl ImageName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it lies, by the rules of Docker: the first part is a registry if it looks like a host, and Docker's own images are in
    /// its `library`.
    pub fn place(&self) -> ImagePlace<'_> {
        let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
        let (registry, path) =
            self.0.split_once('/').filter(|(first, _)| is_host(first)).unwrap_or((REGISTRY, &self.0));
        let registry = if registry == "index.docker.io" { REGISTRY } else { registry };
        let (tagged, digest) =
            path.split_once('@').map_or((path, None), |(path, digest)| (path, Some(digest)));
        let (path, tag) = tagged
            .rsplit_once(':')
            .filter(|(_, tag)| !tag.contains('/'))
            .map_or((tagged, TAG), |(path, tag)| (path, tag));
        let of_docker = registry == REGISTRY && !path.contains('/');
        let repository = if of_docker { format!("library/{path}") } else { path.to_owned() };
        ImagePlace { registry, repository, reference: digest.unwrap_or(tag) }
    }

    /// The name in full. Podman knows no registry for names that name none, unless its host's operator gave it one.
    pub fn in_full(&self) -> String {
        let ImagePlace { registry, repository, reference } = self.place();
        let before = if reference.contains(':') { '@' } else { ':' };
        format!("{registry}/{repository}{before}{reference}")
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
    fn a_name_means_the_place_that_engines_take_it_for() {
        for (name, registry, repository, reference, full) in [
            ("ubuntu", "docker.io", "library/ubuntu", "latest", "docker.io/library/ubuntu:latest"),
            ("nvidia/cuda:12.8.0", "docker.io", "nvidia/cuda", "12.8.0", "docker.io/nvidia/cuda:12.8.0"),
            ("index.docker.io/a/b", "docker.io", "a/b", "latest", "docker.io/a/b:latest"),
            ("localhost/a:1", "localhost", "a", "1", "localhost/a:1"),
            ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000", "a/b", "1", "127.0.0.1:5000/a/b:1"),
            ("registry:5000/a", "registry:5000", "a", "latest", "registry:5000/a:latest"),
            ("ghcr.io/a/b/c:1@sha256:00", "ghcr.io", "a/b/c", "sha256:00", "ghcr.io/a/b/c@sha256:00"),
            (
                "nvcr.io/nvidia/cuda@sha256:0f",
                "nvcr.io",
                "nvidia/cuda",
                "sha256:0f",
                "nvcr.io/nvidia/cuda@sha256:0f",
            ),
        ] {
            let name: ImageName = name.parse().unwrap();
            let place = ImagePlace { registry, repository: repository.to_owned(), reference };
            assert_eq!((name.place(), name.in_full().as_str()), (place.clone(), full));
            let in_full: ImageName = name.in_full().parse().unwrap();
            assert_eq!(in_full.place(), place, "the full name means the same");
        }
    }

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
