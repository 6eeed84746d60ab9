//! Who holds the lock on a directory, as far as this system tells.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

/// Of a command line that is shown.
const LONGEST: usize = 120;
/// Of those that are named.
const MOST: usize = 3;

/// In words for a person. `/proc` does not tell processes of other containers.
pub(super) fn of(directory: &File) -> String {
    let inode = directory.metadata().map(|metadata| metadata.ino()).ok();
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let holders = inode.map(|inode| holders(&locks, inode)).unwrap_or_default();
    let named: Vec<String> = holders.into_iter().take(MOST).map(named).collect();
    if named.is_empty() { "another basilica-miner command".to_owned() } else { named.join(", ") }
}

/// The processes that hold a `flock` on this inode, in the text of `/proc/locks`.
fn holders(locks: &str, inode: u64) -> Vec<u32> {
    let holder = |line: &str| {
        // 1: FLOCK  ADVISORY  WRITE 4242 fd:01:131 0 EOF; who waits has an arrow after the number.
        let mut words = line.split_ascii_whitespace().skip(1);
        (words.next()? == "FLOCK").then_some(())?;
        let process = words.nth(2)?.parse().ok().filter(|process| *process > 0)?;
        let of: u64 = words.next()?.rsplit(':').next()?.parse().ok()?;
        (of == inode).then_some(process)
    };
    let mut holders: Vec<u32> = locks.lines().filter_map(holder).collect();
    holders.dedup();
    holders
}

fn named(process: u32) -> String {
    let words = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).replace('\0', " ");
    let shown: String = words.trim_end().chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if shown.is_empty() { format!("process {process}") } else { format!("process {process} ({shown})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock_is_found_by_inode_and_who_waits_is_not() {
        let locks = "1: POSIX  ADVISORY  WRITE 10 fd:01:131 0 EOF\n2: FLOCK  ADVISORY  WRITE 4242 fd:01:131 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 11 fd:01:131 0 EOF\n3: FLOCK  ADVISORY  READ  12 fd:01:132 0 EOF\n\
                     4: FLOCK  ADVISORY  READ  13 fd:01:132 0 EOF\n5: FLOCK  ADVISORY  READ  0 fd:01:133 0 EOF\nodd\n";
        assert_eq!(holders(locks, 131), [4242]);
        assert_eq!(holders(locks, 132), [12, 13]);
        assert_eq!(holders(locks, 133), [0; 0], "in another container");
    }

    #[test]
    fn a_process_is_named_by_its_command() {
        let me = std::process::id();
        let program = std::env::args().next().unwrap();
        let start: String = program.chars().take(20).collect();
        assert!(named(me).starts_with(&format!("process {me} ({start}")), "{}", named(me));
    }
}
