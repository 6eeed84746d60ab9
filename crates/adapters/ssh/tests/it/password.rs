//! Logins by password, and what a server is told before it is trusted.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use basilica_ports::{AddressPolicy, Dial, HostKeyPolicy, Identity, NodeShell as _, ShellError};
use basilica_ssh::{Methods, RusshShell};
use basilica_types::{HostKey, Millis};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::server::{Auth, Config, Handler, Response, run_stream};
use russh::{MethodKind, MethodSet};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

const PASSWORD: &str = "hunter2";
const DEADLINE: Millis = Millis::from_secs(10);

/// Everything that clients typed.
type Typed = Arc<Mutex<Vec<String>>>;

struct Server {
    typed: Typed,
    /// What keyboard-interactive asks, one after the other.
    questions: &'static [&'static str],
    asked: usize,
}

impl Server {
    fn note(&self, text: &str) -> bool {
        self.typed.lock().unwrap().push(text.to_owned());
        text == PASSWORD
    }
}

impl Handler for Server {
    type Error = russh::Error;

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(if self.note(password) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        if let Some(answers) = response {
            for answer in answers {
                if !self.note(&String::from_utf8_lossy(&answer)) {
                    return Ok(Auth::reject());
                }
            }
        }
        let Some(question) = self.questions.get(self.asked) else { return Ok(Auth::Accept) };
        self.asked += 1;
        Ok(Auth::Partial {
            name: Cow::Borrowed(""),
            instructions: Cow::Borrowed(""),
            prompts: Cow::Owned(vec![(Cow::Borrowed(*question), false)]),
        })
    }
}

/// A server that lets in by these means, its address, and what was typed.
async fn server(
    methods: &'static [MethodKind],
    questions: &'static [&'static str],
) -> (JoinSet<()>, Dial, Typed) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let typed = Typed::default();
    let config = Arc::new(Config {
        keys: vec![PrivateKey::from(Ed25519Keypair::from_seed(&[3; 32]))],
        methods: MethodSet::from(methods),
        auth_rejection_time: std::time::Duration::ZERO,
        ..Config::default()
    });
    let mut tasks = JoinSet::new();
    let shared = Arc::clone(&typed);
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (config, typed) = (Arc::clone(&config), Arc::clone(&shared));
            connections.spawn(async move {
                let handler = Server { typed, questions, asked: 0 };
                if let Ok(session) = run_stream(config, stream, handler).await {
                    // The client's leaving is no failure of the test.
                    let _ = session.await;
                }
            });
        }
    });
    let dial = Dial {
        address: format!("root@127.0.0.1:{port}").parse().unwrap(),
        identity: Identity::Password(Zeroizing::new(PASSWORD.to_owned())),
        host_keys: HostKeyPolicy::Learn,
        addresses: AddressPolicy::Any,
        deadline: DEADLINE,
    };
    (tasks, dial, typed)
}

fn seen(typed: &Typed) -> Vec<String> {
    typed.lock().unwrap().clone()
}

#[tokio::test]
async fn a_password_opens_either_way_and_is_typed_once() {
    const BOTH: &[MethodKind] = &[MethodKind::Password, MethodKind::KeyboardInteractive];
    const ASKS: &[MethodKind] = &[MethodKind::PublicKey, MethodKind::KeyboardInteractive];
    for methods in [&[MethodKind::Password][..], BOTH, ASKS] {
        let (_tasks, dial, typed) = server(methods, &["Password: "]).await;
        let shell = RusshShell.connect(&dial).await.unwrap();
        assert!(shell.is_open());
        assert_eq!(seen(&typed), [PASSWORD], "{methods:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_a_denial_after_one_attempt() {
    for methods in [&[MethodKind::Password][..], &[MethodKind::KeyboardInteractive]] {
        let (_tasks, mut dial, typed) = server(methods, &["Password: "]).await;
        dial.identity = Identity::Password(Zeroizing::new("wrong".to_owned()));
        let error = RusshShell.connect(&dial).await.err();
        assert!(matches!(error, Some(ShellError::Denied { .. })), "{error:?}");
        assert_eq!(seen(&typed), ["wrong"]);
    }
}

#[tokio::test]
async fn a_second_question_gets_no_answer() {
    let (_tasks, dial, typed) = server(&[MethodKind::KeyboardInteractive], &["Password: ", "Code: "]).await;
    let error = RusshShell.connect(&dial).await.err();
    assert!(matches!(error, Some(ShellError::Denied { .. })), "{error:?}");
    assert_eq!(seen(&typed), [PASSWORD]);
}

#[tokio::test]
async fn a_server_without_passwords_is_sent_none() {
    let (_tasks, dial, typed) = server(&[MethodKind::PublicKey], &[]).await;
    let error = RusshShell.connect(&dial).await.err();
    assert!(matches!(error, Some(ShellError::Denied { .. })), "{error:?}");
    assert_eq!(seen(&typed), Vec::<String>::new());
}

#[tokio::test]
async fn a_look_tells_the_host_key_and_the_ways_in_and_types_nothing() {
    let host_key: HostKey = {
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[3; 32]));
        HostKey::from_blob(&key.public_key().to_bytes().unwrap()).unwrap()
    };
    for (methods, expected) in [
        (&[MethodKind::PublicKey][..], Methods { key: true, ..Methods::default() }),
        (&[MethodKind::KeyboardInteractive], Methods { password: true, ..Methods::default() }),
        (
            &[MethodKind::Password, MethodKind::PublicKey],
            Methods { key: true, password: true, nothing: false },
        ),
    ] {
        let (_tasks, dial, typed) = server(methods, &["Password: "]).await;
        let (shown, offered) = RusshShell.look(&dial.address, DEADLINE).await.unwrap();
        assert_eq!((shown, offered), (host_key.clone(), expected));
        assert_eq!(seen(&typed), Vec::<String>::new());
    }
}
