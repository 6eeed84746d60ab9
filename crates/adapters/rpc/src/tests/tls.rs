//! TLS beside plain gRPC on one port, and what a stranger may do to a handshake.

use std::path::PathBuf;

use basilica_types::Timestamp;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::{ServerTls, TlsError, self_signed};

const HOUR: Millis = Millis::from_secs(3600);

fn now() -> Timestamp {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Timestamp(i64::try_from(since.as_millis()).unwrap())
}

/// A certificate for 127.0.0.1 in files.
struct Files {
    directory: tempfile::TempDir,
    pem: String,
}

impl Files {
    fn at(moment: Timestamp) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = self_signed(&["127.0.0.1".to_owned()], moment, HOUR).unwrap();
        let files = Self { directory, pem: made.certificate };
        std::fs::write(files.certificate(), &files.pem).unwrap();
        std::fs::write(files.key(), made.key.as_bytes()).unwrap();
        files
    }

    fn new() -> Self {
        Self::at(now())
    }

    fn certificate(&self) -> PathBuf {
        self.directory.path().join("server.crt")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("server.key")
    }

    fn load(&self) -> ServerTls {
        ServerTls::load(&self.certificate(), &self.key()).unwrap()
    }

    /// Of a client that believes this certificate.
    fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    async fn client(
        &self,
        address: SocketAddr,
    ) -> Result<MinerDiscoveryClient<Channel>, tonic::transport::Error> {
        let connector = self.connector();
        let connect = tower::service_fn(move |_: tonic::transport::Uri| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                let name = ServerName::from(address.ip());
                connector.connect(name, stream).await.map(TokioIo::new)
            }
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        endpoint.connect_with_connector(connect).await.map(MinerDiscoveryClient::new)
    }
}

async fn authenticates(client: &mut MinerDiscoveryClient<Channel>) {
    let answer = client.authenticate_validator(convert::auth_request_message(&auth_request())).await.unwrap();
    assert_eq!(convert::auth_grant(answer.get_ref()).unwrap(), auth_grant());
}

/// Everything that comes until the end; the bound is far above what is needed and only ends a hung test.
async fn heard(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ended =
        tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
    // That a connection was cut says as much as that it was closed.
    let _ = ended.expect("the connection ends");
    bytes
}

#[tokio::test]
async fn one_port_serves_those_with_tls_and_those_without() {
    let files = Files::new();
    let running = Running::speaking(Transport::Either(files.load()), None, ServerLimits::default()).await;
    authenticates(&mut files.client(running.address).await.unwrap()).await;
    authenticates(&mut running.raw().await).await;
    let stranger = Files::new();
    assert!(stranger.client(running.address).await.is_err(), "another certificate is not believed");
}

#[tokio::test]
async fn where_tls_is_required_others_are_told_so_and_closed() {
    let files = Files::new();
    let running = Running::speaking(Transport::Encrypted(files.load()), None, ServerLimits::default()).await;
    authenticates(&mut files.client(running.address).await.unwrap()).await;
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let frames = heard(&mut plain).await;
    let (settings, goaway) = frames.split_at(9);
    assert_eq!(settings, [0, 0, 0, 4, 0, 0, 0, 0, 0]);
    assert_eq!(goaway[3], 7, "GOAWAY");
    assert_eq!(usize::from(goaway[2]), goaway.len() - 9, "its length is that of what follows");
    assert!(goaway.ends_with(b"this miner speaks TLS only"), "{goaway:?}");
    let mut client = running.raw().await;
    let refused = client.authenticate_validator(convert::auth_request_message(&auth_request())).await;
    assert!(refused.is_err());
    assert_eq!(running.api.calls.load(Ordering::SeqCst), 1, "the one with TLS");
}

#[tokio::test]
async fn who_stops_within_the_handshake_is_closed_after_a_while() {
    let files = Files::new();
    let limits = ServerLimits { opening: Millis(100), ..ServerLimits::default() };
    let running = Running::speaking(Transport::Either(files.load()), None, limits).await;
    // Nothing at all, a record's beginning, and a whole header whose body never comes.
    for beginning in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        assert_eq!(heard(&mut stream).await, b"");
    }
}

#[tokio::test]
async fn unfinished_handshakes_make_way_like_other_strangers() {
    let files = Files::new();
    let limits = ServerLimits { connections: 4, ..ServerLimits::default() };
    let running = Running::speaking(Transport::Either(files.load()), None, limits).await;
    let mut strangers = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(b"\x16\x03\x01").await.unwrap();
        strangers.push(stream);
    }
    authenticates(&mut files.client(running.address).await.unwrap()).await;
    assert_eq!(heard(&mut strangers[0]).await, b"");
}

#[tokio::test]
async fn garbage_that_begins_like_a_handshake_harms_nobody() {
    let files = Files::new();
    let running = Running::speaking(Transport::Either(files.load()), None, ServerLimits::default()).await;
    for garbage in [vec![0x16; 4096], [&[0x16, 3, 1, 0, 5][..], &[0xff; 64]].concat()] {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        // It may be closed before all is sent.
        let _ = stream.write_all(&garbage).await;
        let alert = heard(&mut stream).await;
        assert!(alert.len() <= 7, "no more than an alert: {alert:?}");
    }
    authenticates(&mut files.client(running.address).await.unwrap()).await;
}

#[tokio::test]
async fn handshakes_count_as_requests_of_their_address() {
    let files = Files::new();
    let rate = PeerRate { per_second: NonZeroU32::MIN, burst: NonZeroU32::new(3).unwrap() };
    let limits = ServerLimits { rate: Some(rate), ..ServerLimits::default() };
    let running = Running::speaking(Transport::Either(files.load()), None, limits).await;
    authenticates(&mut files.client(running.address).await.unwrap()).await;
    files.client(running.address).await.unwrap();
    assert!(files.client(running.address).await.is_err(), "two handshakes and a request were all it has");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_those_who_come_then() {
    let (old, new) = (Files::new(), Files::new());
    let shown = old.load();
    let running = Running::speaking(Transport::Either(shown.clone()), None, ServerLimits::default()).await;
    let mut before = old.client(running.address).await.unwrap();
    authenticates(&mut before).await;
    shown.renew(&new.load());
    authenticates(&mut new.client(running.address).await.unwrap()).await;
    authenticates(&mut before).await;
    assert!(old.client(running.address).await.is_err());
    assert_eq!(shown.fingerprint(), new.load().fingerprint());
}

#[test]
fn what_cannot_be_used_is_named() {
    let (files, other) = (Files::new(), Files::new());
    let load = |certificate: PathBuf, key: PathBuf| ServerTls::load(&certificate, &key).unwrap_err();
    let absent = other.directory.path().join("absent");
    assert!(matches!(load(absent.clone(), files.key()), TlsError::Read { path, .. } if path == absent));
    assert!(
        matches!(load(files.certificate(), absent.clone()), TlsError::Read { path, .. } if path == absent)
    );
    assert!(matches!(load(files.key(), files.key()), TlsError::NoCertificate { .. }));
    assert!(matches!(load(files.certificate(), files.certificate()), TlsError::NoKey { .. }));
    assert!(matches!(load(files.certificate(), other.key()), TlsError::Pair { .. }));
    std::fs::write(other.certificate(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    assert!(matches!(load(other.certificate(), other.key()), TlsError::Certificate { .. }));
    std::fs::write(other.certificate(), "x".repeat(300 * 1024)).unwrap();
    assert!(matches!(load(other.certificate(), other.key()), TlsError::Read { .. }));
}

#[test]
fn a_certificate_tells_when_it_counts_and_an_expired_one_can_be_used() {
    let moment = Timestamp::from_secs(1_700_000_000);
    let validity = Files::at(moment).load().validity();
    assert_eq!(validity.until, Timestamp::from_secs(1_700_003_600));
    assert!(validity.covers(moment) && validity.covers(validity.until));
    assert!(
        !validity.covers(Timestamp(validity.until.0 + 1)) && !validity.covers(Timestamp(validity.from.0 - 1))
    );
}

#[test]
fn a_self_signed_certificate_names_its_hosts_and_keeps_its_key_out_of_sight() {
    let hosts = ["miner.example".to_owned(), "203.0.113.7".to_owned(), "2001:db8::1".to_owned()];
    let made = self_signed(&hosts, now(), HOUR).unwrap();
    assert_eq!(made.fingerprint.len(), 95);
    let again = self_signed(&hosts, now(), HOUR).unwrap();
    assert_ne!(made.key, again.key, "each has a key of its own");
    assert!(self_signed(&["é".to_owned()], now(), HOUR).is_err());
    let der = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
    // The names as the certificate has them: a tag, a length, the bytes.
    let v6 = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    for name in [
        [&[0x82, 13][..], b"miner.example"].concat(),
        [&[0x87, 4][..], &[203, 0, 113, 7]].concat(),
        [&[0x87, 16][..], &v6].concat(),
    ] {
        assert!(der.windows(name.len()).any(|window| window == name), "{name:02x?}");
    }
    assert_eq!(format!("{made:?}"), format!("SelfSigned {{ fingerprint: {:?}, .. }}", made.fingerprint));
}

#[test]
fn what_holds_a_key_shows_nothing_of_it() {
    let files = Files::new();
    let text = std::fs::read(files.key()).unwrap();
    let der = PrivateKeyDer::from_pem_slice(&text).unwrap();
    let shown = format!("{0:?} {0:#?} {1:?}", files.load(), Transport::Either(files.load()));
    // An ECPrivateKey (RFC 5915): the version, then the secret number; the public half behind it is in the certificate too.
    let begins = der.secret_der().windows(5).position(|bytes| bytes == [2, 1, 1, 4, 32]).unwrap() + 5;
    // However bytes are shown, so many in a row are not there by chance.
    for part in der.secret_der()[begins..begins + 32].windows(4) {
        let decimal = part.iter().map(u8::to_string).collect::<Vec<_>>();
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        for leak in [decimal.join(", "), decimal.join(",\n"), hex] {
            assert!(!shown.contains(&leak), "{leak}: {shown}");
        }
    }
    let body = String::from_utf8(text).unwrap();
    assert!(body.lines().all(|line| !shown.contains(line)), "{shown}");
}
