//! A real server on the loopback, with a certificate that only these tests believe.

use std::sync::Mutex;

use basilica_verification::ImageOffer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::*;

/// For an answer that comes, however slow the machine is.
const PATIENCE: Millis = Millis::from_secs(30);
/// For one that never comes.
const SHORT: Millis = Millis(200);
const MANIFEST: &str = "HEAD /v2/some/image/manifests/1 HTTP/1.1";

fn certificate(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).unwrap()
}

/// Believes the tests' authority.
fn registry() -> OciRegistry {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(include_bytes!("tests/ca.pem"))).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    OciRegistry::believing(config.with_root_certificates(roots).with_no_client_auth())
}

fn acceptor() -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tests/server.key.pem")).unwrap();
    let chain = vec![certificate(include_bytes!("tests/server.pem"))];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
}

/// What the server does with the first line of a request.
enum Does {
    /// Sends this and closes.
    Says(String),
    /// Sends the first, and then the second again and again.
    Repeats(Vec<u8>, Vec<u8>),
    /// Sends nothing and stays.
    Hangs,
}

fn says(status: &str) -> Does {
    Does::Says(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"))
}

fn granted(body: &str) -> Does {
    Does::Says(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

struct Server {
    listener: TcpListener,
    /// The heads of all requests.
    asked: Mutex<Vec<String>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, asked: Mutex::default() }
    }

    fn host(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    fn image(&self) -> ImageName {
        format!("{}/some/image:1", self.host()).parse().unwrap()
    }

    /// A challenge for a token of this server.
    fn wants_token(&self) -> Does {
        let realm = format!("https://{}/token", self.host());
        Does::Says(format!(
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer realm=\"{realm}\",service=\"here\"\r\n\r\n"
        ))
    }

    async fn serve(&self, does: impl Fn(&str) -> Does) -> std::convert::Infallible {
        let acceptor = acceptor();
        loop {
            let (tcp, _) = self.listener.accept().await.unwrap();
            // A client that gives up closes its end.
            if let Ok(stream) = acceptor.accept(tcp).await {
                self.talk(stream, &does).await;
            }
        }
    }

    async fn talk(&self, mut stream: TlsStream<TcpStream>, does: &impl Fn(&str) -> Does) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let first = head.lines().next().unwrap().to_owned();
        self.asked.lock().unwrap().push(head);
        match does(&first) {
            Does::Says(answer) => {
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
            Does::Repeats(first, part) => {
                if stream.write_all(&first).await.is_ok() {
                    while stream.write_all(&part).await.is_ok() {}
                }
            }
            Does::Hangs => {
                let _ = stream.read_u8().await;
            }
        }
    }

    /// The answer to one question, while the server does so.
    async fn offer(
        &self,
        deadline: Millis,
        does: impl Fn(&str) -> Does,
    ) -> Result<ImageOffer, RegistryError> {
        let (registry, image) = (registry(), self.image());
        tokio::select! {
            offer = registry.offer(&image, deadline) => offer,
            never = self.serve(does) => match never {},
        }
    }

    fn requests(&self) -> Vec<String> {
        let all = self.asked.lock().unwrap();
        all.iter().map(|head| head.lines().next().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn the_status_of_the_manifest_is_the_answer() {
    for (status, expected) in [
        ("200 OK", ImageOffer::Offered),
        ("404 Not Found", ImageOffer::Withheld),
        ("403 Forbidden", ImageOffer::Withheld),
        // Without a challenge that anybody can answer.
        ("401 Unauthorized", ImageOffer::Withheld),
        ("429 Too Many Requests", ImageOffer::Unclear),
        ("500 Internal Server Error", ImageOffer::Unclear),
        ("503 Service Unavailable", ImageOffer::Unclear),
    ] {
        let server = Server::start().await;
        assert_eq!(server.offer(PATIENCE, |_| says(status)).await.unwrap(), expected, "{status}");
        assert_eq!(server.requests(), [MANIFEST]);
    }
}

#[tokio::test]
async fn a_registry_that_wants_a_token_is_asked_again_with_one() {
    let server = Server::start().await;
    let asked = |first: &str| match first {
        MANIFEST if server.asked.lock().unwrap().len() == 1 => server.wants_token(),
        MANIFEST => says("200 OK"),
        _ => granted(r#"{"token":"abc","expires_in":300}"#),
    };
    assert_eq!(server.offer(PATIENCE, asked).await.unwrap(), ImageOffer::Offered);
    let token = "GET /token?service=here&scope=repository%3Asome%2Fimage%3Apull HTTP/1.1";
    assert_eq!(server.requests(), [MANIFEST, token, MANIFEST]);
    let heads = server.asked.lock().unwrap();
    let told = |head: &String| head.to_ascii_lowercase().contains("authorization: bearer abc");
    assert_eq!(heads.iter().map(told).collect::<Vec<_>>(), [false, false, true]);
    assert!(heads.iter().all(|head| head.to_ascii_lowercase().contains(&format!("host: {}", server.host()))));
}

#[tokio::test]
async fn an_image_for_which_not_everybody_gets_a_token_is_withheld() {
    for (token, after) in
        [("403 Forbidden", "200 OK"), ("200 OK", "401 Unauthorized"), ("200 OK", "404 Not Found")]
    {
        let server = Server::start().await;
        let asked = |first: &str| match first {
            MANIFEST if server.asked.lock().unwrap().len() == 1 => server.wants_token(),
            MANIFEST => says(after),
            _ if token.starts_with("200") => granted(r#"{"access_token":"abc"}"#),
            _ => says(token),
        };
        assert_eq!(server.offer(PATIENCE, asked).await.unwrap(), ImageOffer::Withheld, "{token}, {after}");
    }
}

#[tokio::test]
async fn no_redirect_is_followed() {
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let server = Server::start().await;
        let away = format!("HTTP/1.1 {status}\r\nlocation: https://{}/elsewhere\r\n\r\n", server.host());
        let offer = server.offer(PATIENCE, |_| Does::Says(away.clone())).await.unwrap();
        assert_eq!((offer, server.requests().len()), (ImageOffer::Unclear, 1), "{status}");
    }
}

#[tokio::test]
async fn whoever_hangs_is_given_up() {
    for on_token in [false, true] {
        let server = Server::start().await;
        let hangs = |first: &str| match first {
            MANIFEST if on_token => server.wants_token(),
            _ => Does::Hangs,
        };
        let offer = server.offer(SHORT, hangs).await;
        assert!(matches!(offer, Err(RegistryError::Deadline { limit: SHORT })), "{offer:?}");
    }
    let server = Server::start().await;
    let wait = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let offer = server.offer(SHORT, |_| Does::Repeats(Vec::new(), wait.clone())).await;
    assert!(matches!(offer, Err(RegistryError::Deadline { limit: SHORT })), "{offer:?}");
    // Not even TLS.
    let server = Server::start().await;
    let offer = registry().offer(&server.image(), SHORT).await;
    assert!(matches!(offer, Err(RegistryError::Deadline { limit: SHORT })), "{offer:?}");
}

#[tokio::test]
async fn garbage_and_endless_answers_are_no_offer_and_end() {
    let many = "a: b\r\n".repeat(100);
    for does in [
        || Does::Says("SSH-2.0-OpenSSH_9.6\r\n".to_owned()),
        || Does::Says(String::new()),
        || Does::Says("HTTP/1.1 200 OK\r\ncontent-le".to_owned()),
        || Does::Says("HTTP/1.1 2000 OK\r\n\r\n".to_owned()),
        || Does::Repeats(Vec::new(), vec![0; 4096]),
        || Does::Repeats(b"HTTP/1.1 200 OK\r\na: ".to_vec(), vec![b'b'; 4096]),
    ] {
        let server = Server::start().await;
        let offer = server.offer(PATIENCE, |_| does()).await;
        assert!(matches!(offer, Err(RegistryError::Broken { .. })), "{offer:?}");
    }
    let server = Server::start().await;
    let offer = server.offer(PATIENCE, |_| Does::Says(format!("HTTP/1.1 200 OK\r\n{many}\r\n"))).await;
    assert!(matches!(offer, Err(RegistryError::Broken { .. })), "{offer:?}");
}

#[tokio::test]
async fn a_token_of_any_length_is_not_read_to_its_end() {
    let part = [b' '; 4096];
    let chunk = [b"1000\r\n", &part[..], b"\r\n"].concat();
    for (framing, part) in [
        ("transfer-encoding: chunked\r\n", chunk.as_slice()),
        ("content-length: 99999999999\r\n", &part),
        // Until the connection closes.
        ("", &part),
    ] {
        let server = Server::start().await;
        let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n");
        let asked = |first: &str| match first {
            MANIFEST => server.wants_token(),
            _ => Does::Repeats(head.clone().into_bytes(), part.to_vec()),
        };
        let offer = server.offer(PATIENCE, asked).await;
        assert!(matches!(offer, Err(RegistryError::Broken { .. })), "{offer:?}");
    }
    for (body, what) in [("", "no token"), ("{}", "no token"), (r#"{"token":"a b"}"#, "no token")] {
        let server = Server::start().await;
        let asked = |first: &str| if first == MANIFEST { server.wants_token() } else { granted(body) };
        let offer = server.offer(PATIENCE, asked).await;
        assert!(matches!(offer, Err(RegistryError::Malformed { what: told, .. }) if told == what));
    }
}

#[tokio::test]
async fn a_token_is_fetched_by_https_only() {
    for realm in ["http://127.0.0.1/token", "https://user@127.0.0.1/token", "/token"] {
        let server = Server::start().await;
        let asked = |_: &str| {
            Does::Says(format!("HTTP/1.1 401 No\r\nwww-authenticate: Bearer realm=\"{realm}\"\r\n\r\n"))
        };
        let offer = server.offer(PATIENCE, asked).await;
        assert!(matches!(offer, Err(RegistryError::Malformed { .. })), "{offer:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn nobody_and_somebody_else_are_no_registry() {
    let gone = Server::start().await;
    let image = gone.image();
    drop(gone);
    let offer = registry().offer(&image, PATIENCE).await;
    assert!(matches!(offer, Err(RegistryError::Connect { .. })), "{offer:?}");
    // Its certificate is of an authority that the system does not know.
    let server = Server::start().await;
    let (image, stranger) = (server.image(), OciRegistry::new());
    let offer = tokio::select! {
        offer = stranger.offer(&image, PATIENCE) => offer,
        never = server.serve(|_| says("200 OK")) => match never {},
    };
    assert!(matches!(offer, Err(RegistryError::Connect { .. })), "{offer:?}");
    assert!(server.requests().is_empty());
}
