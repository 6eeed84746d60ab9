//! HTTP requests signed by a hotkey: the public protocol `btauth/1`, as Bittensor's SDK speaks it.
//!
//! What is signed are eight lines: the protocol, the scheme, the method in capitals, the request target as sent (path and
//! query), the body's SHA-256 in lower-case hex, the nonce in nanoseconds since 1970, the sender, and the receiver. A
//! request to us must name us as its receiver, or another server could pass on what it was sent. Only the
//! scheme `sr25519` is taken: hotkeys are sr25519 here.
//!
//! Whether a nonce was used before is the caller's to remember, for [`REMEMBERED`] at least, and to ask only after
//! [`SignedRequest::check`]: strangers could otherwise use up a sender's nonces.

use basilica_types::{Hotkey, Millis, Timestamp};

use crate::Signature;

/// How old a request may be.
pub const MAX_AGE: Millis = Millis::from_secs(10);
/// How far ahead of ours a sender's clock may be.
pub const MAX_AHEAD: Millis = Millis::from_secs(2);
/// How long nonces are to be remembered: nothing older is fresh.
pub const REMEMBERED: Millis = Millis::from_secs(13);

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The headers of a signed request, as they came; `None` for one that is not there or is not text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// `X-Bittensor-Version`
    pub version: Option<&'a str>,
    /// `X-Bittensor-Hotkey`
    pub hotkey: Option<&'a str>,
    /// `X-Bittensor-Receiver`
    pub receiver: Option<&'a str>,
    /// `X-Bittensor-Nonce`
    pub nonce: Option<&'a str>,
    /// `X-Bittensor-Crypto`
    pub crypto: Option<&'a str>,
    /// `X-Bittensor-Signature`
    pub signature: Option<&'a str>,
}

impl Headers<'_> {
    /// The names, in the order of the fields.
    pub const NAMES: [&'static str; 6] = [
        "x-bittensor-version",
        "x-bittensor-hotkey",
        "x-bittensor-receiver",
        "x-bittensor-nonce",
        "x-bittensor-crypto",
        "x-bittensor-signature",
    ];
}

/// What else of a request is signed.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// `GET`
    pub method: &'a str,
    /// Path and query as sent.
    pub target: &'a str,
    /// SHA-256 of the body.
    pub body_sha256: [u8; 32],
}

/// A request that says who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// Who says to have sent it.
    pub sender: Hotkey,
    /// To whom it was sent.
    pub receiver: Hotkey,
    /// Nanoseconds since 1970.
    pub nonce: u64,
    /// Over [`payload`].
    pub signature: Signature,
}

/// Why a request is not taken for its sender's. None of it repeats what the request said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefused {
    /// A header is missing or does not parse.
    #[error("header {0} is missing or malformed")]
    Malformed(&'static str),
    /// Another protocol version.
    #[error("x-bittensor-version must be 1")]
    Version,
    /// Another kind of key.
    #[error("x-bittensor-crypto must be sr25519, or left out")]
    Scheme,
    /// Meant for somebody else, or for anybody.
    #[error("x-bittensor-receiver must be this service's hotkey")]
    Receiver,
    /// Too old, or from the future.
    #[error("x-bittensor-nonce is not of the last {} s; is the sender's clock right", MAX_AGE.0 / 1000)]
    Stale,
    /// Not signed by the sender.
    #[error("x-bittensor-signature does not verify")]
    Signature,
}

/// The bytes that are signed.
pub fn payload(line: &RequestLine<'_>, nonce: u64, sender: &Hotkey, receiver: &Hotkey) -> Vec<u8> {
    let body = hex::encode(line.body_sha256);
    let method = line.method.to_ascii_uppercase();
    format!("btauth/1\nsr25519\n{method}\n{}\n{body}\n{nonce}\n{sender}\n{receiver}", line.target)
        .into_bytes()
}

impl SignedRequest {
    /// Reads the headers.
    pub fn parse(headers: &Headers<'_>) -> Result<Self, RequestRefused> {
        if headers.version.ok_or(RequestRefused::Malformed(Headers::NAMES[0]))? != "1" {
            return Err(RequestRefused::Version);
        }
        if headers.crypto.is_some_and(|scheme| scheme != "sr25519") {
            return Err(RequestRefused::Scheme);
        }
        let receiver = headers.receiver.ok_or(RequestRefused::Receiver)?;
        Ok(Self {
            sender: parsed(headers.hotkey, Headers::NAMES[1])?,
            receiver: receiver.parse().map_err(|_| RequestRefused::Receiver)?,
            nonce: nonce(headers.nonce).ok_or(RequestRefused::Malformed(Headers::NAMES[3]))?,
            signature: parsed(headers.signature, Headers::NAMES[5])?,
        })
    }

    /// Signs a request; the receiver takes a nonce once, and only for a short while.
    pub fn sign(
        line: &RequestLine<'_>,
        nonce: u64,
        (sender, receiver): (Hotkey, Hotkey),
        sign: impl FnOnce(&[u8]) -> Signature,
    ) -> Self {
        let signature = sign(&payload(line, nonce, &sender, &receiver));
        Self { sender, receiver, nonce, signature }
    }

    /// The headers that say all this.
    pub fn headers(&self) -> [(&'static str, String); 5] {
        let [version, hotkey, receiver, nonce, _, signature] = Headers::NAMES;
        [
            (version, "1".to_owned()),
            (hotkey, self.sender.to_string()),
            (receiver, self.receiver.to_string()),
            (nonce, self.nonce.to_string()),
            (signature, format!("0x{}", self.signature)),
        ]
    }

    /// Whether the sender signed this request, for `own`, just now.
    pub fn check(&self, line: &RequestLine<'_>, own: &Hotkey, now: Timestamp) -> Result<(), RequestRefused> {
        if self.receiver != *own {
            return Err(RequestRefused::Receiver);
        }
        let sent = Timestamp(i64::try_from(self.nonce / NANOS_PER_MILLI).unwrap_or(i64::MAX));
        if now.since(sent) > MAX_AGE || sent.since(now) > MAX_AHEAD {
            return Err(RequestRefused::Stale);
        }
        let signed = payload(line, self.nonce, &self.sender, &self.receiver);
        if self.signature.verifies(&self.sender, &signed) { Ok(()) } else { Err(RequestRefused::Signature) }
    }
}

fn parsed<T: std::str::FromStr>(text: Option<&str>, name: &'static str) -> Result<T, RequestRefused> {
    text.and_then(|text| text.parse().ok()).ok_or(RequestRefused::Malformed(name))
}

/// Only the digits that the sender signed: a sign or a leading zero would be another text with the same value.
fn nonce(text: Option<&str>) -> Option<u64> {
    let text = text?;
    let value: u64 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keypair;
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const LINE: RequestLine<'_> =
        RequestLine { method: "GET", target: "/config?section=emission", body_sha256: EMPTY };
    /// SHA-256 of nothing.
    const EMPTY: [u8; 32] = [
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
        0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ];

    fn keypair(seed: u8) -> Keypair {
        Keypair::from_seed(&[seed; 32]).unwrap()
    }

    fn signed(sender: u8, receiver: u8, nonce: u64) -> SignedRequest {
        let (sender, receiver) = (keypair(sender), keypair(receiver).hotkey());
        let sign = |bytes: &[u8]| sender.sign(bytes, ChaCha20Rng::seed_from_u64(1));
        SignedRequest::sign(&LINE, nonce, (sender.hotkey(), receiver), sign)
    }

    fn nanos(at: Timestamp) -> u64 {
        u64::try_from(at.0).unwrap() * NANOS_PER_MILLI
    }

    #[test]
    fn the_signed_bytes_are_the_protocols() {
        let (alice, bob) = (keypair(1).hotkey(), keypair(2).hotkey());
        let expected = format!(
            "btauth/1\nsr25519\nGET\n/config?section=emission\n\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n1800000000000000000\n{alice}\n{bob}"
        );
        assert_eq!(payload(&LINE, nanos(NOW), &alice, &bob), expected.as_bytes());
        let small = RequestLine { method: "get", ..LINE };
        assert_eq!(payload(&small, nanos(NOW), &alice, &bob), expected.as_bytes());
    }

    #[test]
    fn a_request_counts_for_its_receiver_and_for_a_short_while() {
        let own = keypair(2).hotkey();
        let at = |now| signed(1, 2, nanos(NOW)).check(&LINE, &own, now);
        assert_eq!(at(NOW), Ok(()));
        assert_eq!(at(NOW + MAX_AGE), Ok(()));
        assert_eq!(at(NOW + MAX_AGE + Millis(1)), Err(RequestRefused::Stale));
        assert_eq!(at(NOW - MAX_AHEAD), Ok(()));
        assert_eq!(at(NOW - MAX_AHEAD - Millis(1)), Err(RequestRefused::Stale));
        assert_eq!(signed(1, 3, nanos(NOW)).check(&LINE, &own, NOW), Err(RequestRefused::Receiver));
    }

    #[test]
    fn any_other_request_is_not_the_signed_one() {
        let own = keypair(2).hotkey();
        let good = signed(1, 2, nanos(NOW));
        let others = [
            RequestLine { method: "POST", ..LINE },
            RequestLine { target: "/config", ..LINE },
            RequestLine { body_sha256: [0; 32], ..LINE },
        ];
        for other in others {
            assert_eq!(good.check(&other, &own, NOW), Err(RequestRefused::Signature));
        }
        let stolen = SignedRequest { sender: keypair(3).hotkey(), ..good };
        assert_eq!(stolen.check(&LINE, &own, NOW), Err(RequestRefused::Signature));
        let renumbered = SignedRequest { nonce: good.nonce + 1, ..good };
        assert_eq!(renumbered.check(&LINE, &own, NOW), Err(RequestRefused::Signature));
    }

    #[test]
    fn headers_are_read_strictly() {
        let request = signed(1, 2, 5);
        let [version, hotkey, receiver, nonce, signature] = request.headers();
        let good = Headers {
            version: Some(&version.1),
            hotkey: Some(&hotkey.1),
            receiver: Some(&receiver.1),
            nonce: Some(&nonce.1),
            crypto: None,
            signature: Some(&signature.1),
        };
        assert_eq!(SignedRequest::parse(&good).unwrap(), request);
        let refused = |headers: Headers<'_>| SignedRequest::parse(&headers).unwrap_err();
        assert_eq!(refused(Headers { version: Some("2"), ..good }), RequestRefused::Version);
        assert_eq!(refused(Headers { crypto: Some("ed25519"), ..good }), RequestRefused::Scheme);
        assert_eq!(refused(Headers { receiver: None, ..good }), RequestRefused::Receiver);
        for nonce in ["", "+5", "05", "5.0", "-1", "18446744073709551616"] {
            let headers = Headers { nonce: Some(nonce), ..good };
            assert_eq!(refused(headers), RequestRefused::Malformed("x-bittensor-nonce"), "{nonce}");
        }
        let headers = Headers { signature: Some("0xzz"), ..good };
        assert_eq!(refused(headers), RequestRefused::Malformed("x-bittensor-signature"));
    }

    proptest! {
        #[test]
        fn hostile_headers_are_refused_without_a_panic(a in ".{0,80}", b in ".{0,80}", c in ".{0,140}") {
            let headers = Headers {
                version: Some("1"), hotkey: Some(&a), receiver: Some(&b), nonce: Some(&c), crypto: None, signature: Some(&c),
            };
            prop_assert!(SignedRequest::parse(&headers).is_err());
        }
    }
}
