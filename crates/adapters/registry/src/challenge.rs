//! What a registry wants of who asks, and where that is to be had: the token flow of the distribution specification.

use std::fmt::Write as _;

use hyper::Uri;
use hyper::header::HeaderValue;
use serde::Deserialize;

/// A challenge for a token: `Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="…"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    realm: String,
    service: Option<String>,
}

impl Challenge {
    /// Reads the header; none if another proof is wanted, or it is not readable. What scope it names does not matter: ours is known.
    pub(crate) fn parse(header: &HeaderValue) -> Option<Self> {
        let (scheme, mut rest) = header.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        while !rest.trim_start().is_empty() {
            let (name, after) = rest.trim_start().split_once("=\"")?;
            let (value, after) = after.split_once('"')?;
            match name.to_ascii_lowercase().as_str() {
                "realm" if realm.is_none() => realm = Some(value.to_owned()),
                "service" if service.is_none() => service = Some(value.to_owned()),
                "realm" | "service" => return None,
                _ => {}
            }
            rest = after.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(rest) => rest,
                None if rest.is_empty() => rest,
                None => return None,
            };
        }
        Some(Self { realm: realm?, service })
    }

    /// The host and the path where a token for pulling from this repository is to be had.
    pub(crate) fn token_for(&self, repository: &str) -> Result<(String, String), &'static str> {
        let uri: Uri = self.realm.parse().map_err(|_| "the realm is no URL")?;
        if uri.scheme_str() != Some("https") {
            return Err("the realm is not reached by https");
        }
        let host =
            uri.authority().map(|authority| authority.as_str().to_owned()).ok_or("the realm has no host")?;
        if host.contains('@') {
            return Err("the realm has a user in it");
        }
        let mut path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let scope = format!("repository:{repository}:pull");
        let service = self.service.as_ref().map(|service| ("service", service.as_str()));
        for (name, value) in service.into_iter().chain([("scope", scope.as_str())]) {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(name);
            path.push('=');
            encode(value, &mut path);
        }
        Ok((host, path))
    }
}

/// Writes a text as a query's value.
fn encode(value: &str, into: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            write!(into, "%{byte:02X}").expect("a String takes everything");
        }
    }
}

#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    /// The same under OAuth's name.
    access_token: Option<String>,
}

/// The value of `Authorization` with the token that was granted.
pub(crate) fn bearer(body: &[u8]) -> Result<HeaderValue, &'static str> {
    const WHAT: &str = "no token";
    let granted: Granted = serde_json::from_slice(body).map_err(|_| WHAT)?;
    let token = granted.token.or(granted.access_token).filter(|token| !token.is_empty()).ok_or(WHAT)?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(WHAT);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| WHAT)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(header: &str) -> Option<Challenge> {
        Challenge::parse(&HeaderValue::from_str(header).ok()?)
    }

    #[test]
    fn the_challenges_of_registries_are_read() {
        // Docker Hub, NVIDIA's registry, GitHub's.
        for (header, host, path) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#,
                "auth.docker.io",
                "/token?service=registry.docker.io&scope=repository%3Anvidia%2Fcuda%3Apull",
            ),
            (
                r#"Bearer realm="https://nvcr.io/proxy_auth?scope=repository:nvidia/cuda:pull", error="x""#,
                "nvcr.io",
                "/proxy_auth?scope=repository:nvidia/cuda:pull&scope=repository%3Anvidia%2Fcuda%3Apull",
            ),
            (
                r#"bearer service="a b&c", realm="https://ghcr.io:8443""#,
                "ghcr.io:8443",
                "/?service=a%20b%26c&scope=repository%3Anvidia%2Fcuda%3Apull",
            ),
        ] {
            let found = parsed(header).unwrap().token_for("nvidia/cuda");
            assert_eq!(found, Ok((host.to_owned(), path.to_owned())), "{header}");
        }
    }

    #[test]
    fn other_challenges_are_refused() {
        for header in [
            "",
            "Basic realm=\"https://a\"",
            "Bearer",
            "Bearer realm=https://a",
            "Bearer realm=\"https://a",
            "Bearer service=\"a\"",
            "Bearer realm=\"https://a\",realm=\"https://b\"",
            "Bearer realm=\"https://a\" service=\"b\"",
        ] {
            assert_eq!(parsed(header), None, "{header}");
        }
        for realm in
            ["http://a/token", "/token", "https://user@a/token", "file:///etc/passwd", "https://", "\\"]
        {
            let challenge = Challenge { realm: realm.to_owned(), service: None };
            assert!(challenge.token_for("a").is_err(), "{realm}");
        }
    }

    #[test]
    fn a_token_is_one_word_and_is_not_shown() {
        for good in [br#"{"token":"a.b_c"}"#.as_slice(), br#"{"access_token":"a.b_c","expires_in":300}"#] {
            let value = bearer(good).unwrap();
            assert_eq!((value.as_bytes(), value.is_sensitive()), (b"Bearer a.b_c".as_slice(), true));
            assert!(!format!("{value:?}").contains("a.b_c"));
        }
        for bad in [
            b"".as_slice(),
            b"{}",
            br#"{"token":""}"#,
            br#"{"token":"a\r\nHost: b"}"#,
            br#"{"token":1}"#,
            b"\xff",
        ] {
            assert!(bearer(bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_challenge_panics_and_none_leads_away_from_https(header in "(Bearer )?[ -~]{0,80}") {
            if let Some((host, path)) = parsed(&header).and_then(|challenge| challenge.token_for("a/b").ok()) {
                prop_assert!(!host.is_empty() && path.starts_with('/') && path.contains("scope=repository%3Aa%2Fb%3Apull"));
            }
        }
    }
}
