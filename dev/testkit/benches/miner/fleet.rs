//! Keys on a large fleet with real sshd, some of whose nodes hang.

use std::path::{Path, PathBuf};
use std::time::Duration;

use basilica_wire::discovery::NodeStatus;
use tokio::time::Instant;

use crate::site::Site;

const NODES: usize = 200;
const HUNG: usize = 5;
/// Between two looks at all nodes' files.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What came of one new session.
struct Deployed {
    /// Until the last node that does not hang had its key.
    last: Duration,
    /// Until the validator had its answer.
    answered: Duration,
    /// How many nodes are said to be available.
    available: usize,
}

fn keys(home: &Path) -> Vec<u8> {
    std::fs::read(home.join(".ssh/authorized_keys")).unwrap_or_default()
}

/// Opens a session and has its key written everywhere; nodes at `homes` are watched.
async fn deploy(site: &Site, homes: &[PathBuf]) -> Deployed {
    let (author, _) = &site.authors[0];
    let session = author.open().await;
    let before: Vec<Vec<u8>> = homes.iter().map(|home| keys(home)).collect();
    let began = Instant::now();
    let answered = async {
        let answer = author.client.discover(author.discovery(&session)).await.unwrap();
        (began.elapsed(), answer.nodes.iter().filter(|node| node.status == NodeStatus::Available).count())
    };
    let written = async {
        while homes.iter().zip(&before).any(|(home, before)| keys(home) == *before) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        began.elapsed()
    };
    let ((answered, available), last) = tokio::join!(answered, written);
    Deployed { last, answered, available }
}

fn tell(what: &str, deployed: &Deployed) {
    println!(
        "{NODES} nodes, {what}: the last healthy one has its key after {:.2?}; answered after {:.2?}, {} available",
        deployed.last, deployed.answered, deployed.available
    );
}

/// The same fleet well, with five nodes that begin to hang, and with five that are known to.
pub(crate) async fn run() {
    let mut site = Site::start(NODES).await;
    let homes: Vec<PathBuf> = site.nodes.nodes().iter().map(|node| node.home().to_owned()).collect();
    tell("all well", &deploy(&site, &homes).await);
    tell("all well, again", &deploy(&site, &homes).await);
    for node in &mut site.nodes.nodes_mut()[..HUNG] {
        node.hang().await.unwrap();
    }
    tell("5 begin to hang", &deploy(&site, &homes[HUNG..]).await);
    tell("5 are known to hang", &deploy(&site, &homes[HUNG..]).await);
    for node in &mut site.nodes.nodes_mut()[..HUNG] {
        node.resume().await.unwrap();
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown").trim();
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    println!("  this process, with its clients: at most {most} of memory; {files} files open");
}
