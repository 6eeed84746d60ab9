//! A real Postgres for tests: the server of the machine's packages, one for each test, gone with it.
//!
//! Small on purpose, so that the store's tests need not build the whole testkit. A server is made from a template that is
//! made once per machine and user, which takes a fraction of a second; it listens on a socket in its own
//! directory, and on an address if it is told one. It refuses to run as root, so there it runs as `postgres` or, where there is no such
//! user, as `nobody`. A watcher ends it if the test is killed. Nothing is flushed to disk: these tests crash programs, not the machine.
//!
//! # Panics
//! Everything here panics with the reason and the command that installs what is missing: a test that cannot run is red.

mod programs;

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use tempfile::TempDir;

use self::programs::{Account, program};

/// Names the socket's file, and is the port where the server listens on an address.
const PORT: u16 = 5432;
/// Whoever is in the server's own network is let in, as whoever reaches the socket is.
const NEIGHBOURS: &str = "host all all samenet trust\n";
/// Starts the server, and ends it at once when its standard input does: with the test, however that ends.
const WATCHER: &str =
    r#""$@" & server=$!; trap '' TERM INT HUP; read -r _; kill -QUIT $server 2>/dev/null; wait $server"#;
/// What a server says once it takes connections.
const READY: &str = "database system is ready to accept connections";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    directory: TempDir,
    account: Account,
    listens: Option<IpAddr>,
    running: Option<Running>,
    databases: AtomicU32,
}

#[derive(Debug)]
struct Running {
    watcher: Child,
    _while_open: ChildStdin,
}

impl Postgres {
    /// Starts one with no database but its own.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// The same, and it listens on this address for its neighbours: of a network namespace that the test made, where the port is
    /// free.
    pub fn start_on(address: IpAddr) -> Self {
        Self::start_with(Some(address))
    }

    fn start_with(listens: Option<IpAddr>) -> Self {
        let account = Account::to_run_as();
        let directory =
            tempfile::Builder::new().prefix("basilica-pg-").tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        account.give(directory.path());
        let data = directory.path().join("data");
        copy(&template(&account), &data, &account);
        let mut access = File::options().append(true).open(data.join("pg_hba.conf")).expect("initdb made it");
        access.write_all(NEIGHBOURS.as_bytes()).expect("the file takes it");
        let mut server = Self { directory, account, listens, running: None, databases: AtomicU32::new(0) };
        server.start_again();
        server
    }

    /// Makes an empty database and returns its URL.
    pub fn database(&self) -> String {
        let name = format!("db{}", self.databases.fetch_add(1, Ordering::SeqCst));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Where a database is.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.directory.path().display())
    }

    /// The address on which it listens, if it was told one.
    pub fn address(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.listens?, PORT))
    }

    /// The socket, for a relay before it.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join(format!(".s.PGSQL.{PORT}"))
    }

    /// Runs SQL as an operator would, and returns what it prints.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let mut psql = self.command("psql");
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h"]).arg(self.directory.path());
        let output =
            psql.args(["-U", "postgres", "-d", database, "-c", statements]).output().expect("psql runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("psql prints text").trim().to_owned()
    }

    /// Ends the server at once, as a crash does; its data stay.
    pub fn crash(&mut self) {
        let Some(Running { mut watcher, _while_open }) = self.running.take() else { return };
        drop(_while_open);
        watcher.wait().expect("the watcher ends with its server");
    }

    /// Starts it on the same data, and waits until it answers.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "the server runs already");
        let directory = self.directory.path();
        let mut server = self.command("sh");
        server.args(["-c", WATCHER, "sh"]).arg(program("postgres")).arg("-D").arg(directory.join("data"));
        server.arg("-k").arg(directory).args(["-p", &PORT.to_string()]);
        let listens = self.listens.map(|address| address.to_string()).unwrap_or_default();
        for setting in [
            &format!("listen_addresses={listens}"),
            "fsync=off",
            "full_page_writes=off",
            "max_connections=60",
            "shared_buffers=16MB",
            "log_line_prefix=%m [%p] ",
        ] {
            server.args(["-c", setting]);
        }
        let mut log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let mut watcher = server
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let input = watcher.stdin.take().expect("it is a pipe");
        let mut said = BufReader::new(watcher.stderr.take().expect("it is a pipe"));
        self.running = Some(Running { watcher, _while_open: input });
        let mut line = String::new();
        while !line.contains(READY) {
            line.clear();
            let read = said.read_line(&mut line).expect("a server's log is text");
            log.write_all(line.as_bytes()).expect("the log file takes it");
            assert!(read > 0, "Postgres did not start; its log:\n{}", self.log());
        }
        // A full pipe would stop the server.
        thread::spawn(move || io::copy(&mut said, &mut log));
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// A program as the server's user, in a directory that it may enter.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(if name == "sh" { PathBuf::from("sh") } else { program(name) });
        self.account.apply(&mut command);
        command.current_dir(self.directory.path());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A freshly made data directory to copy from, one per machine, user and version.
fn template(account: &Account) -> PathBuf {
    let initdb = program("initdb");
    let version = Command::new(&initdb).arg("--version").output().expect("initdb runs").stdout;
    let version: String = String::from_utf8_lossy(&version)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '.')
        .collect();
    let place = std::env::temp_dir().join(format!("basilica-pg-template-{version}-{}", account.uid()));
    let lock = File::options()
        .create(true)
        .append(true)
        .open(place.with_extension("lock"))
        .expect("a lock file beside the template");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .expect("the lock is granted in the end");
    if !place.join("PG_VERSION").exists() {
        let fresh =
            tempfile::Builder::new().prefix("basilica-pg-init-").tempdir().expect("a temporary directory");
        fs::set_permissions(fresh.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        account.give(fresh.path());
        let data = fresh.path().join("data");
        let mut init = Command::new(&initdb);
        account.apply(&mut init);
        let arguments =
            ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync", "--wal-segsize=1"];
        let output = init
            .args(arguments)
            .arg("-D")
            .arg(&data)
            .current_dir(fresh.path())
            .output()
            .expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        // Left by a run that was cut off.
        let _ = fs::remove_dir_all(&place);
        fs::rename(&data, &place).expect("both are in the system's temporary directory");
    }
    place
}

fn copy(from: &Path, to: &Path, account: &Account) {
    let mut copy = Command::new("cp");
    account.apply(&mut copy);
    let status = copy.arg("-R").arg(from).arg(to).current_dir("/").status().expect("cp runs");
    assert!(status.success(), "copy {} to {}", from.display(), to.display());
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("it is ours");
}
