//! Somebody else who edits `authorized_keys`, and what they left there.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::dice::Dice;
use crate::page::{Line, Page, line, lines};
use crate::world::World;

const DRAFT: &str = ".authorized_keys.hand";
/// Most lines of the hand's own on a node.
const MOST: usize = 25;
/// For so long after an edit the miner's rename may follow a comparison that was made before the edit, on a machine with much
/// to do.
const RACE: Duration = Duration::from_secs(2);

/// What the hand knows of a file. One lock for its edits and for every look, so that a look never falls into an edit that is not made by renaming.
#[derive(Debug)]
struct Left {
    lines: Vec<Vec<u8>>,
    /// None once it is settled.
    last: Option<LastEdit>,
    /// What the hand left last: the file, kept open so that no other gets its number, and its content.
    saved: Option<(File, Vec<u8>)>,
    /// Lines of the miner that the hand made shorter.
    damaged: Vec<Vec<u8>>,
    rests: bool,
}

/// The hand's last edit, as long as the miner's rename may still meet it.
#[derive(Debug)]
struct LastEdit {
    how: How,
    at: Duration,
    before: Vec<Vec<u8>>,
    /// The lines that are away because the rename came after the edit.
    away: Option<Vec<Vec<u8>>>,
}

/// What the miner's rename does to an edit that it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Brings it along, a moment after the rename.
    Append,
    /// The same if it changed nothing but the end, else overwrites it.
    InPlace,
    /// Overwrites it.
    Rename,
}

impl Left {
    fn left(&mut self, (how, file): (How, File), content: Vec<u8>, now: Duration) {
        let others = Page::read(&content).others.into_iter();
        let lines = others.filter(|line| !self.damaged.contains(line)).collect();
        let before = std::mem::replace(&mut self.lines, lines);
        self.last = Some(LastEdit { how, at: now, before, away: None });
        self.saved = Some((file, content));
    }

    /// Other lines than the hand's were found: what is to be said of it. Unless they are the hand's own or for a moment, the hand goes on
    /// from them.
    fn settle(&mut self, found: &[Vec<u8>], now: Duration) -> Settled {
        let rests = self.rests;
        let last = self.last.as_mut().filter(|last| rests || now < last.at + RACE);
        match last {
            Some(last) if last.before == found && last.how == How::Append => Settled::ForAMoment,
            Some(last) if last.before == found && last.away.is_none() => {
                let own = std::mem::replace(&mut self.lines, found.to_vec());
                last.away = (last.how == How::InPlace).then_some(own);
                Settled::Overwritten
            }
            Some(last) if last.away.as_deref() == Some(found) => {
                last.away = None;
                self.lines = found.to_vec();
                Settled::BroughtAlong
            }
            _ => {
                let wrong = differences(&self.lines, found);
                (self.lines, self.last) = (found.to_vec(), None);
                Settled::Wrong(wrong)
            }
        }
    }
}

enum Settled {
    ForAMoment,
    Overwritten,
    BroughtAlong,
    Wrong(String),
}

/// A node's file.
#[derive(Debug)]
pub(crate) struct Sheet {
    pub(crate) name: String,
    directory: PathBuf,
    owner: (u32, u32),
    left: Mutex<Left>,
}

/// What a look found.
pub(crate) struct Look {
    pub(crate) content: Vec<u8>,
    pub(crate) page: Page,
    /// What must not be.
    pub(crate) wrong: Option<String>,
    /// The last edit is gone.
    pub(crate) overwritten: bool,
}

impl Sheet {
    /// The file in this home directory, as it is now.
    pub(crate) fn of(name: &str, home: &Path) -> Self {
        let directory = home.join(".ssh");
        let file = directory.join("authorized_keys");
        let metadata = std::fs::metadata(&file).unwrap();
        let page = Page::read(&std::fs::read(&file).unwrap());
        let left = Left { lines: page.others, last: None, saved: None, damaged: Vec::new(), rests: false };
        Self {
            name: name.to_owned(),
            directory,
            owner: (metadata.uid(), metadata.gid()),
            left: Mutex::new(left),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("authorized_keys")
    }

    /// On a machine that hangs nobody edits.
    pub(crate) fn rest(&self, rests: bool, now: Duration) {
        let mut left = self.left.lock().unwrap();
        left.rests = rests;
        if !rests && let Some(last) = &mut left.last {
            // What hung goes on where it was.
            last.at = now;
        }
    }

    /// What is there now, judged.
    pub(crate) fn look(&self, now: Duration) -> Look {
        self.judge(&mut self.left.lock().unwrap(), now)
    }

    fn judge(&self, left: &mut Left, now: Duration) -> Look {
        let (content, metadata) = match self.read() {
            Ok(read) => read,
            Err(error) => {
                let wrong = Some(format!("{}: the file cannot be read: {error}", self.name));
                return Look { content: Vec::new(), page: Page::default(), wrong, overwritten: false };
            }
        };
        let mut page = Page::read(&content);
        let in_hands_file = left
            .saved
            .as_ref()
            .filter(|(file, _)| file.metadata().unwrap().ino() == metadata.ino())
            .map(|(_, saved)| *saved == content);
        let by_hand = in_hands_file == Some(true);
        if by_hand {
            // Its own doing, byte for byte.
            page.disorder = None;
            page.others.retain(|line| !left.damaged.contains(line));
        }
        let mut wrong = page.disorder.map(ToOwned::to_owned);
        let seen = (metadata.mode() & 0o7777, (metadata.uid(), metadata.gid()));
        if seen != (0o600, self.owner) {
            wrong = Some(format!("mode and owner are {seen:?}"));
        }
        if in_hands_file == Some(false) {
            wrong = Some("somebody wrote into the file that the hand left".to_owned());
        }
        let mut overwritten = false;
        if page.others != left.lines {
            match left.settle(&page.others, now) {
                Settled::ForAMoment | Settled::BroughtAlong => {}
                Settled::Overwritten if !by_hand => overwritten = true,
                Settled::Overwritten => wrong = Some("the hand's own file changed".to_owned()),
                Settled::Wrong(what) => wrong = Some(what),
            }
        }
        let wrong = wrong.map(|what| format!("{}: {what}", self.name));
        Look { content, page, wrong, overwritten }
    }

    fn read(&self) -> std::io::Result<(Vec<u8>, std::fs::Metadata)> {
        let mut file = File::open(self.path())?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok((content, file.metadata()?))
    }

    /// Renames a new content over the file.
    fn save(&self, content: &[u8]) -> File {
        let draft = self.directory.join(DRAFT);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).unwrap();
        file.write_all(content).unwrap();
        std::fs::rename(&draft, self.path()).unwrap();
        file
    }

    /// Cuts the file off and writes it anew.
    fn write_in_place(&self, content: &[u8]) -> File {
        let mut file = OpenOptions::new().write(true).truncate(true).open(self.path()).unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn append(&self, left: &mut Left, line: Vec<u8>, now: Duration) {
        let mut file = OpenOptions::new().append(true).open(self.path()).unwrap();
        file.write_all(&line).unwrap();
        let ino = file.metadata().unwrap().ino();
        if let Some((_, content)) =
            left.saved.as_mut().filter(|(saved, _)| saved.metadata().unwrap().ino() == ino)
        {
            content.extend(&line);
        }
        let before = left.lines.clone();
        left.lines.push(line);
        left.last = Some(LastEdit { how: How::Append, at: now, before, away: None });
    }

    /// What lies beside the file.
    pub(crate) fn strangers(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.directory).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name != "authorized_keys").map(|name| format!("{}/{name}", self.name)).collect()
    }
}

fn differences(expected: &[Vec<u8>], found: &[Vec<u8>]) -> String {
    let shown = |lines: &[Vec<u8>], but: &[Vec<u8>]| {
        let only = lines.iter().filter(|line| !but.contains(line));
        only.map(|line| String::from_utf8_lossy(line).escape_debug().to_string()).collect::<Vec<_>>()
    };
    let (missing, extra) = (shown(expected, found), shown(found, expected));
    if missing.is_empty() && extra.is_empty() {
        return "foreign lines are in another order".to_owned();
    }
    format!("foreign lines are missing: {missing:?}; lines that nobody wrote: {extra:?}")
}

/// One hand on one node.
pub(crate) struct Hand {
    pub(crate) world: Arc<World>,
    pub(crate) node: usize,
    pub(crate) dice: Dice,
    written: usize,
}

impl Hand {
    pub(crate) fn new(world: Arc<World>, node: usize, dice: Dice) -> Self {
        Self { world, node, dice, written: 0 }
    }

    pub(crate) async fn run(mut self) {
        let world = Arc::clone(&self.world);
        while !world.is_over() {
            tokio::time::sleep(self.dice.millis(150, 1_500)).await;
            let stale = if self.dice.below(10) == 0 {
                let read = world.sheets[self.node].look(world.now()).content;
                tokio::time::sleep(self.dice.millis(50, 900)).await;
                Some(read)
            } else {
                None
            };
            self.edit(stale);
        }
    }

    /// A line that was never there before.
    fn line(&mut self) -> Vec<u8> {
        self.written += 1;
        let (node, number) = (self.node, self.written);
        let key = format!(
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZ{node}{number:06}h"
        );
        let text = match self.dice.below(6) {
            0 => format!("# note {number}: validator-room, see wiki"),
            1 => format!("{key} backup-{number}"),
            2 => format!("command=\"echo no {number}\",no-pty {key} validator-{number}"),
            3 => format!("# from another system {number}\r"),
            4 => format!("restrict,from=\"10.0.0.{number}\" {key}"),
            _ => format!("  # END basilica of {number}"),
        };
        format!("{text}\n").into_bytes()
    }

    fn edit(&mut self, stale: Option<Vec<u8>>) {
        let world = Arc::clone(&self.world);
        let (sheet, now) = (&world.sheets[self.node], world.now());
        let mut left = sheet.left.lock().unwrap();
        if left.rests {
            return;
        }
        let look = sheet.judge(&mut left, now);
        note(&world, &look);
        let kind = self.dice.below(100);
        if stale.is_none() && kind < 30 && left.lines.len() < MOST {
            let line = self.line();
            sheet.append(&mut left, line, now);
            world.count("edits: append");
            return;
        }
        // A stale content lacks an edit that was overwritten since, as it would in anybody's editor.
        let (what, content) = match stale {
            Some(stale) => ("edits: stale save", self.inserted(&stale)),
            None if kind >= 85 => ("edits: damage", self.damaged(&mut left, &look.content)),
            None if kind >= 65 || left.lines.len() >= MOST => {
                ("edits: delete", self.without_one(&left, &look.content))
            }
            None => ("edits: insert", self.inserted(&look.content)),
        };
        let saved = if self.dice.below(3) == 0 {
            world.count(IN_PLACE);
            (How::InPlace, sheet.write_in_place(&content))
        } else {
            (How::Rename, sheet.save(&content))
        };
        left.left(saved, content, now);
        world.count(what);
    }

    fn inserted(&mut self, content: &[u8]) -> Vec<u8> {
        let new = self.line();
        let mut all = lines(content);
        all.insert(self.dice.below(all.len() + 1), &new);
        all.concat()
    }

    /// What lets the miner in stays.
    fn without_one(&mut self, left: &Left, content: &[u8]) -> Vec<u8> {
        let own: Vec<&Vec<u8>> = left.lines.iter().filter(|line| !line.ends_with(b" operator\n")).collect();
        if own.is_empty() {
            return self.inserted(content);
        }
        let victim = *self.dice.of(&own);
        lines(content).into_iter().filter(|line| *line != victim).collect::<Vec<_>>().concat()
    }

    /// Does something to the miner's lines.
    fn damaged(&mut self, left: &mut Left, content: &[u8]) -> Vec<u8> {
        let all = lines(content);
        let ours: Vec<usize> = (0..all.len()).filter(|at| matches!(line(all[*at]), Line::Ours(_))).collect();
        let markers: Vec<usize> =
            (0..all.len()).filter(|at| matches!(line(all[*at]), Line::Begin | Line::End)).collect();
        let whole = left.damaged.iter().all(|line| !all.contains(&line.as_slice()));
        if ours.is_empty() {
            return self.inserted(content);
        }
        let victim = *self.dice.of(&ours);
        let without = |at: usize| [&all[..at], &all[at + 1..]].concat().concat();
        match self.dice.below(4) {
            // A key without its options is the miner's only between markers.
            0 if whole && Page::read(content).disorder.is_none() => {
                let text = String::from_utf8_lossy(all[victim]);
                let short = text[text.find(" ssh-ed25519 ").unwrap() + 1..].as_bytes().to_vec();
                left.damaged.push(short.clone());
                [&all[..victim], &[short.as_slice()][..], &all[victim + 1..]].concat().concat()
            }
            1 if whole && !markers.is_empty() => without(*self.dice.of(&markers)),
            2 => [&all[..=victim], &all[victim..]].concat().concat(),
            _ => without(victim),
        }
    }
}

/// Puts down what a look found.
pub(crate) fn note(world: &World, look: &Look) {
    if let Some(wrong) = &look.wrong {
        world.wrong(wrong.clone());
    }
    if look.overwritten {
        world.count(OVERWRITTEN);
    }
}

pub(crate) const IN_PLACE: &str = "edits written in place";
pub(crate) const OVERWRITTEN: &str = "edits overwritten between the miner's comparison and its rename";

#[cfg(test)]
mod tests {
    use super::*;

    /// What lines are found, and what is said of it, after an edit from `a` to `a, b`.
    fn said(how: How, rests: bool, found: &[(&[&str], u64)]) -> String {
        let own = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
        let last = LastEdit { how, at: Duration::ZERO, before: own(&["a"]), away: None };
        let mut left =
            Left { lines: own(&["a", "b"]), last: Some(last), saved: None, damaged: Vec::new(), rests };
        let one = |(lines, ms): &(&[&str], u64)| {
            let lines = own(lines);
            if lines == left.lines {
                return '=';
            }
            match left.settle(&lines, Duration::from_millis(*ms)) {
                Settled::ForAMoment => 'm',
                Settled::Overwritten => 'o',
                Settled::BroughtAlong => 'b',
                Settled::Wrong(_) => 'w',
            }
        };
        found.iter().map(one).collect()
    }

    #[test]
    fn an_edit_that_a_rename_met_is_gone_whole_or_comes_along_and_nothing_else_is_excused() {
        const OLD: &[&str] = &["a"];
        const NEW: &[&str] = &["a", "b"];
        const OTHER: &[&str] = &["b"];
        let late = u64::try_from(RACE.as_millis()).unwrap();
        let both = [(OLD, 1), (OLD, 2), (NEW, 3), (NEW, 4)];
        assert_eq!(said(How::Append, false, &both), "mm==");
        assert_eq!(said(How::InPlace, false, &both), "o=b=");
        assert_eq!(said(How::Rename, false, &both), "o=w=", "nobody brings it along");
        assert_eq!(said(How::Append, false, &[(OLD, 1), (OLD, late)]), "mw", "it never came back");
        assert_eq!(said(How::Append, true, &[(OLD, 1), (OLD, late)]), "mm", "the node hangs");
        assert_eq!(said(How::InPlace, false, &[(OLD, 1), (NEW, late)]), "ow");
        assert_eq!(said(How::Rename, false, &[(OLD, late)]), "w");
        for how in [How::Append, How::InPlace, How::Rename] {
            assert_eq!(said(how, false, &[(OTHER, 1), (OLD, 2)]), "ww", "{how:?}");
        }
    }
}
