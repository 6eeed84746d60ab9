//! The disks of what the miner keeps, which are asked from time to time whether they fill.
//!
//! A file system of another machine may not answer, for minutes or for good. It is asked on a thread of its own, because what blocks
//! must hold up neither the rest of the miner nor its end, and a runtime waits at its end for what blocks on its own threads. One
//! question is under way at most. Until it is answered, what was told last counts.

use std::io;
use std::sync::Arc;

use basilica_ports::{Clock, Disks};
use basilica_status::LittleRoom;
use basilica_types::{Kept, Millis};
use tokio::sync::{Mutex, oneshot, watch};
use tracing::{info, warn};

/// A disk of this machine answers within a thousandth of it.
const ANSWER_WITHIN: Millis = Millis::from_secs(2);

pub(crate) struct DiskWatch {
    disks: Arc<dyn Disks>,
    clock: Arc<dyn Clock>,
    /// Those of them that are nearly full, by the last answer.
    little: watch::Sender<Vec<LittleRoom>>,
    question: Mutex<Question>,
}

#[derive(Default)]
struct Question {
    /// The one that is under way.
    asked: Option<oneshot::Receiver<Vec<LittleRoom>>>,
    /// Whether that is told.
    is_late: bool,
}

/// What is worth a line of the log.
#[derive(Debug, PartialEq, Eq)]
enum News<'a> {
    Little(&'a LittleRoom),
    RoomAgain(&'a LittleRoom),
}

impl DiskWatch {
    pub(crate) fn new(
        disks: Arc<dyn Disks>,
        clock: Arc<dyn Clock>,
        little: watch::Sender<Vec<LittleRoom>>,
    ) -> Self {
        Self { disks, clock, little, question: Mutex::default() }
    }

    /// Asks them, or looks whether they have answered by now. Returns within seconds. Cancel-safe.
    pub(crate) async fn look(&self) {
        let mut question = self.question.lock().await;
        let Question { asked, is_late } = &mut *question;
        if asked.is_none() {
            *asked = self.ask().inspect_err(|error| warn!(%error, "the disks cannot be asked")).ok();
        }
        let Some(answer) = asked else { return };
        tokio::select! {
            answer = answer => {
                *asked = None;
                if std::mem::take(is_late) {
                    info!("the disks of the database and the audit log answer again");
                }
                // Without one, whoever asked has panicked, and said so.
                if let Ok(little) = answer {
                    self.told(little);
                }
            }
            () = self.clock.sleep(ANSWER_WITHIN) => {
                if !std::mem::replace(is_late, true) {
                    warn!("a disk of the database or the audit log does not answer: whether it has room is not known");
                }
            }
        }
    }

    /// Why nothing can be written to the database's disk, by the last answer; none if something can.
    pub(crate) fn full_database(&self) -> Option<String> {
        let little = self.little.borrow();
        let database = little.iter().find(|room| room.is_none() && room.is_of(Kept::Database));
        database.map(ToString::to_string)
    }

    fn ask(&self) -> io::Result<oneshot::Receiver<Vec<LittleRoom>>> {
        let disks = Arc::clone(&self.disks);
        let (answer, asked) = oneshot::channel();
        std::thread::Builder::new().name("disks".to_owned()).spawn(move || {
            // Nobody waits any more where the miner ends.
            let _ = answer.send(little_room(&*disks));
        })?;
        Ok(asked)
    }

    fn told(&self, little: Vec<LittleRoom>) {
        self.little.send_if_modified(|before| {
            for news in news(before, &little) {
                match news {
                    News::Little(room) => warn!(disk = %room, todo = %room.todo(), "a disk is nearly full"),
                    News::RoomAgain(room) => {
                        info!(key = %room.key, path = %room.path, "the disk has room again");
                    }
                }
            }
            let is_news = *before != little;
            *before = little;
            is_news
        });
    }
}

/// Less each time is none, but little and nothing at all are two things.
fn news<'a>(before: &'a [LittleRoom], now: &'a [LittleRoom]) -> Vec<News<'a>> {
    let same = |rooms: &'a [LittleRoom], room: &LittleRoom| rooms.iter().find(|other| other.key == room.key);
    let is_news =
        |room: &&LittleRoom| same(before, room).is_none_or(|before| room.is_none() && !before.is_none());
    let is_gone = |room: &&LittleRoom| same(now, room).is_none();
    let little = now.iter().filter(is_news).map(News::Little);
    little.chain(before.iter().filter(is_gone).map(News::RoomAgain)).collect()
}

/// The disks that are nearly full. Waits for as long as they need to answer.
pub fn little_room(disks: &dyn Disks) -> Vec<LittleRoom> {
    let little = |room: basilica_ports::Room| {
        LittleRoom::of(room.kept, &*room.path.to_string_lossy(), room.free_bytes)
    };
    disks.room().into_iter().filter_map(little).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use basilica_ports::Room;
    use basilica_runtime_service::testing::VirtualClock;

    use super::*;

    fn little(kept: Kept, free: u64) -> LittleRoom {
        LittleRoom::of(kept, "/x", free).unwrap()
    }

    /// Answers when it is let.
    struct Hanging {
        asked: AtomicUsize,
        answers: std::sync::Mutex<mpsc::Receiver<u64>>,
    }

    impl Disks for Hanging {
        fn room(&self) -> Vec<Room> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let free_bytes = self.answers.lock().unwrap().recv().unwrap();
            vec![Room { kept: Kept::Database, path: PathBuf::from("/x"), free_bytes }]
        }
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_asked_once_and_waited_for_by_nobody() {
        let (answer, answers) = mpsc::channel();
        let disks = Arc::new(Hanging { asked: AtomicUsize::new(0), answers: answers.into() });
        let clock = VirtualClock::new();
        let (sender, told) = watch::channel(Vec::new());
        let watch = DiskWatch::new(Arc::clone(&disks) as Arc<dyn Disks>, clock.clone(), sender);
        for _ in 0..3 {
            let look = watch.look();
            tokio::join!(look, async {
                clock.sleepers(1).await;
                clock.advance(ANSWER_WITHIN);
            });
        }
        assert!(told.borrow().is_empty() && watch.full_database().is_none());
        answer.send(7).unwrap();
        watch.look().await;
        assert_eq!(*told.borrow(), [little(Kept::Database, 7)]);
        assert!(watch.full_database().unwrap().contains("no space is left"));
        assert_eq!(disks.asked.load(Ordering::SeqCst), 1);
        answer.send(u64::MAX).unwrap();
        watch.look().await;
        assert!(told.borrow().is_empty() && watch.full_database().is_none());
        assert_eq!(disks.asked.load(Ordering::SeqCst), 2, "a question that was answered is asked anew");
    }

    #[test]
    fn a_disk_is_told_when_it_begins_to_fill_when_it_is_full_and_when_it_has_room() {
        let (some, less, none) = (10 << 20, 5 << 20, 9);
        let log = little(Kept::AuditLog, some);
        let database = |free| vec![little(Kept::Database, free)];
        let both = vec![little(Kept::Database, less), log.clone()];
        assert_eq!(news(&[], &database(some)), [News::Little(&little(Kept::Database, some))]);
        assert_eq!(news(&database(some), &database(less)), []);
        assert_eq!(news(&database(less), &database(none)), [News::Little(&little(Kept::Database, none))]);
        assert_eq!(news(&database(none), &database(some)), []);
        assert_eq!(news(&database(some), &both), [News::Little(&log)]);
        assert_eq!(news(&both, &database(some)), [News::RoomAgain(&log)]);
    }
}
