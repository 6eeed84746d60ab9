//! Process families, read from `/proc`.

use std::collections::BTreeMap;
use std::path::Path;

/// `root` and all that descend from it, parents first.
pub(super) fn with_descendants(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in pids(Path::new("/proc")) {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut family = vec![root];
    let mut next = 0;
    while let Some(pid) = family.get(next) {
        family.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    family
}

/// Every process that a `/proc` shows.
pub(super) fn pids(proc: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(proc) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The arguments of a process, joined by spaces; empty for one that is gone or of the kernel.
pub(super) fn command_line(proc: &Path, pid: u32) -> String {
    let bytes = std::fs::read(proc.join(pid.to_string()).join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself hold parentheses and spaces.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
