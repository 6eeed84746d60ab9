//! Keys on a large fleet with real sshd, some of whose nodes hang.

use std::path::{Path, PathBuf};
use std::time::Duration;

use basilica_wire::discovery::NodeStatus;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::site::Site;

const NODES: usize = 200;
const HUNG: usize = 5;
/// Of each kind.
const TURNS: usize = 4;
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

/// Of one kind of turn, one after the other.
#[derive(Default)]
struct Turns(Vec<Deployed>);

impl Turns {
    fn median(&self) -> Duration {
        let mut last: Vec<Duration> = self.0.iter().map(|turn| turn.last).collect();
        last.sort_unstable();
        last[last.len() / 2]
    }

    fn tell(&self, what: &str) {
        let each = |of: fn(&Deployed) -> String| self.0.iter().map(of).collect::<Vec<_>>().join(" ");
        println!(
            "{NODES} nodes, {what}: the last healthy one has its key after {:.2?} (median of {}); answered after {}; available {}",
            self.median(),
            each(|turn| format!("{:.2?}", turn.last)),
            each(|turn| format!("{:.1?}", turn.answered)),
            each(|turn| turn.available.to_string()),
        );
    }
}

/// The same fleet well, with five nodes that begin to hang, and with five that are known to, in turns: the machine is not the same
/// from one minute to the next, so what counts is the difference within this run.
pub(crate) async fn run(callers: &Handle) {
    let mut site = Site::start(NODES, callers).await;
    let homes: Vec<PathBuf> = site.nodes.nodes().iter().map(|node| node.home().to_owned()).collect();
    let [mut well, mut begin, mut known] = [(); 3].map(|()| Turns::default());
    for _ in 0..TURNS {
        // Nodes that hung in the turn before are found well again.
        deploy(&site, &homes).await;
        well.0.push(deploy(&site, &homes).await);
        for node in &mut site.nodes.nodes_mut()[..HUNG] {
            node.hang().await.unwrap();
        }
        begin.0.push(deploy(&site, &homes[HUNG..]).await);
        known.0.push(deploy(&site, &homes[HUNG..]).await);
        for node in &mut site.nodes.nodes_mut()[..HUNG] {
            node.resume().await.unwrap();
        }
    }
    for (what, turns) in [("all well", &well), ("5 begin to hang", &begin), ("5 are known to hang", &known)] {
        turns.tell(what);
    }
    for (what, turns) in [("begin to hang", &begin), ("are known to hang", &known)] {
        let later = turns.median().as_secs_f64() - well.median().as_secs_f64();
        println!(
            "  where 5 {what}, the healthy ones have their keys {later:+.2} s later than where all are well"
        );
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown").trim();
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    println!("  this process, with its clients: at most {most} of memory; {files} files open");
}
