//! What an image's registry says to the validator itself, and what follows for a node that could not pull the image.
//!
//! The validator asks what a node's engine asks first: for the image's manifest, as anybody. A registry that only answers, or
//! that answers for other images, shows nothing: tags are deleted, names are mistyped in the validator's own configuration, and
//! then every node would be at fault at once. So only an image that is offered speaks against a node that cannot have it.
//!
//! What it cannot show: that a registry treats both alike. Registries count pulls by address, and their errors come and go, so a
//! node that was told to come back later ([`is_put_off`]) is not at fault for that. Nor that the layers can be had: they come from other
//! hosts than the manifest, so a download that breaks or stands still is nobody's fault either. It is the node that says so, and one that pulls
//! nothing on purpose can say it for ever: hence its check fails all the same, with nobody at fault, and it is no longer paid once
//! its last passed check is too old.
//!
//! **Rejected**: asking whether the registry is there (`GET /v2/`), for the reason above. Leaving the question to other miners' nodes
//! alone: where no two others pulled lately, whoever blocks its own way to the registry skipped the container.

/// What a registry answers to whoever asks for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageOffer {
    /// Here it is.
    Offered,
    /// It is not here, or not for everybody.
    Withheld,
    /// Neither: it is overloaded, broken, or has moved.
    Unclear,
}

impl ImageOffer {
    /// Of the HTTP status of the answer to a request that needs no further proof of who asks.
    pub const fn of_status(status: u16) -> Self {
        match status {
            200 => Self::Offered,
            401 | 403 | 404 => Self::Withheld,
            _ => Self::Unclear,
        }
    }
}

/// Words of what may pass, as engines repeat them: statuses by which a registry asks for patience (429 and its code in registries' own
/// errors, 500, 502, 503 and 504), and connections that broke or stood still. The manifest, which the validator asks for, may be
/// there while the layers, which come from other hosts, are not.
const MAY_PASS: [&str; 11] = [
    "too many requests",
    "toomanyrequests",
    "internal server error",
    "bad gateway",
    "service unavailable",
    "gateway timeout",
    "tls handshake timeout",
    "i/o timeout",
    "client.timeout exceeded",
    "unexpected eof",
    "connection reset by peer",
];
/// Exit codes of `timeout` when it ended the command, and when it had to kill it.
const OUT_OF_TIME: [u8; 2] = [124, 137];

/// Whether a pull failed by what may pass, and may befall one node alone: by what the engine ended with and wrote to standard error.
pub fn is_put_off(code: u8, errors: &[u8]) -> bool {
    let words = String::from_utf8_lossy(errors).to_ascii_lowercase();
    OUT_OF_TIME.contains(&code) || MAY_PASS.iter().any(|word| words.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_has_the_image_offers_it() {
        assert_eq!(ImageOffer::of_status(200), ImageOffer::Offered);
        for status in [401, 403, 404] {
            assert_eq!(ImageOffer::of_status(status), ImageOffer::Withheld, "{status}");
        }
        for status in [0, 100, 204, 206, 301, 302, 307, 400, 418, 429, 500, 502, 503, 504, 999] {
            assert_eq!(ImageOffer::of_status(status), ImageOffer::Unclear, "{status}");
        }
    }

    #[test]
    fn a_pull_that_is_to_be_repeated_later_is_told_from_one_that_cannot_work() {
        // As Docker with either image store, and Podman, write them.
        for later in [
            "Error response from daemon: toomanyrequests: You have reached your pull rate limit.",
            "Error response from daemon: unexpected status from HEAD request to https://registry-1.docker.io/v2/a/b/manifests/1: 429 Too Many Requests",
            "Error response from daemon: received unexpected HTTP status: 503 Service Unavailable",
            "Error: initializing source docker://a/b:1: received unexpected HTTP status: 502 Bad Gateway",
            "Error: invalid status code from registry 504 (Gateway Timeout)",
            "error pulling image configuration: download failed after attempts=6: net/http: TLS handshake timeout",
            "Error response from daemon: Get \"https://registry-1.docker.io/v2/\": net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
            "Error response from daemon: read tcp 192.0.2.1:51302->192.0.2.9:443: i/o timeout",
            "Error: reading blob sha256:00: unexpected EOF",
            "failed to copy: read tcp 192.0.2.1:51302->192.0.2.9:443: read: connection reset by peer",
        ] {
            assert!(is_put_off(1, later.as_bytes()), "{later}");
        }
        for own in [
            "Error response from daemon: Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host",
            "Error response from daemon: Get \"https://registry-1.docker.io/v2/\": dial tcp 192.0.2.1:443: connect: connection refused",
            "failed to register layer: write /usr/lib/x: no space left on device",
            "Error response from daemon: pull access denied for a/b, repository does not exist or may require 'docker login'",
            "",
            "\u{fffd}",
        ] {
            assert!(!is_put_off(1, own.as_bytes()), "{own}");
            assert!(is_put_off(124, own.as_bytes()) && is_put_off(137, own.as_bytes()), "it had no end");
        }
        assert!(!is_put_off(1, b"\xff\xfe\0"));
    }
}
