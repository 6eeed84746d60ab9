use basilica_miner_service::rotation::Stage;
use basilica_system::OsEntropy;

use super::*;

fn folder() -> (tempfile::TempDir, PathBuf, SshPublicKey) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let key = create_key(&path, KEY_COMMENT, &OsEntropy).unwrap();
    (folder, path, key)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// A run that may die before any of its changes, and the keys that a node knows.
struct Life {
    changes_left: usize,
    node: Vec<SshPublicKey>,
}

impl Life {
    /// None if it died before this.
    fn change(&mut self, change: impl FnOnce()) -> Option<()> {
        self.changes_left = self.changes_left.checked_sub(1)?;
        change();
        Some(())
    }

    fn steps(&mut self, steps: &[Step]) -> Option<()> {
        steps.iter().try_for_each(|step| self.change(|| step.take().unwrap()))
    }

    /// As `rotate` goes on wherever the files say that it stands; none if it died on the way.
    fn rotate(&mut self, path: &Path) -> Option<()> {
        let files = KeyFiles::to_replace(path).unwrap();
        let keys = files.at_hand().unwrap();
        let former = match keys.stage().unwrap() {
            Stage::Retire { former } => former,
            stage => {
                if stage == Stage::Make {
                    self.make(&files)?;
                }
                let next = public(&files.next()).unwrap();
                if !self.node.contains(&next) {
                    let node = &mut self.node;
                    self.changes_left = self.changes_left.checked_sub(1)?;
                    node.push(next);
                }
                self.steps(&files.switching())?;
                keys.current
            }
        };
        self.changes_left = self.changes_left.checked_sub(1)?;
        self.node.retain(|key| *key != former);
        self.steps(&files.finishing())
    }

    fn make(&mut self, files: &KeyFiles) -> Option<()> {
        self.steps(&files.clearing())?;
        // What a death while the key is written leaves: each half not there, begun or whole, the public one first.
        let (draft, half) = (files.making(), half(&files.making()));
        self.change(|| std::fs::write(&half, "ssh-ed255").unwrap())?;
        self.change(|| std::fs::write(&half, "ssh-ed25519 AAAA x\n").unwrap())?;
        self.change(|| std::fs::write(&draft, "-----BEGIN").unwrap())?;
        std::fs::remove_file(&half).unwrap();
        std::fs::remove_file(&draft).unwrap();
        self.change(|| drop(files.draft(&OsEntropy).unwrap()))?;
        self.steps(&files.publishing())
    }
}

#[test]
fn a_rotation_ends_with_the_new_key_alone_and_both_its_halves() {
    let (folder, path, old) = folder();
    let mut life = Life { changes_left: usize::MAX, node: vec![old.clone()] };
    life.rotate(&path).unwrap();
    let new = public(&path).unwrap();
    assert_ne!(new, old);
    assert_eq!(life.node, std::slice::from_ref(&new));
    assert_eq!(names(folder.path()), ["key", "key.pub"]);
    let half = std::fs::read_to_string(half(&path)).unwrap();
    assert!(half.starts_with(&new.to_string()), "{half}");
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

/// The whole directory after a first run that died before change `first`, a second one that died before change `second`, and a third.
fn cut_twice((key, old): (&Path, &SshPublicKey), first: usize, second: usize) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::copy(key, &path).unwrap();
    std::fs::copy(half(key), half(&path)).unwrap();
    let at = format!("cut before {first} and {second}");
    let mut life = Life { changes_left: 0, node: vec![old.clone()] };
    let mut both_died = true;
    for changes in [first, second] {
        life.changes_left = changes;
        both_died &= life.rotate(&path).is_none();
        let used = public(&path).unwrap();
        assert!(life.node.contains(&used), "{at}: the node does not know the key in use");
    }
    life.changes_left = usize::MAX;
    let was_replaced = public(&path).unwrap() != *old;
    life.rotate(&path).unwrap();
    let new = public(&path).unwrap();
    assert!(was_replaced || new != *old, "{at}");
    assert_eq!(life.node, std::slice::from_ref(&new), "{at}: no other key stays on the node");
    assert_eq!(names(folder.path()), ["key", "key.pub"], "{at}");
    let half = std::fs::read_to_string(half(&path)).unwrap();
    assert!(half.starts_with(&new.to_string()), "{at}: {half}");
    both_died
}

#[test]
fn wherever_a_rotation_is_cut_off_and_cut_off_again_the_next_run_comes_to_the_same() {
    let (_folder, path, old) = folder();
    let key = (path.as_path(), &old);
    let mut first = 0;
    while cut_twice(key, first, 0) {
        // Each of these makes keys and syncs them, so that not all pairs are tried.
        let mut second = if first.is_multiple_of(4) { 1 } else { usize::MAX };
        while cut_twice(key, first, second) {
            second += 1;
        }
        first += 1;
    }
    assert_eq!(first, 20, "every change of a whole rotation was cut before");
}

#[test]
fn who_uses_the_key_and_who_replaces_it_exclude_each_other_and_are_named() {
    let (folder, path, _) = folder();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let me = format!("in use by process {} (", std::process::id());
    let refused = |held: anyhow::Result<KeyFiles>| {
        let said = held.err().unwrap().to_string();
        assert!(said.contains(&me) && said.contains("let that end, then run"), "{said}");
    };
    {
        let files = KeyFiles::to_replace(&path).unwrap();
        refused(KeyFiles::to_replace(&link));
        refused(KeyFiles::to_use(&link));
        assert!(files.is_of(&link) && !files.is_of(&half(&path)));
    }
    {
        let _one = KeyFiles::to_use(&path).unwrap();
        let _another = KeyFiles::to_use(&link).unwrap();
        refused(KeyFiles::to_replace(&path));
    }
    let mut life = Life { changes_left: usize::MAX, node: Vec::new() };
    life.rotate(&link).unwrap();
    assert!(link.is_symlink());
    assert_eq!(names(folder.path()), ["key", "key.pub", "link"]);
}

#[test]
fn a_new_key_is_given_away_by_no_name_that_leads_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let [made, victim] = ["made", "victim"].map(|name| folder.path().join(name));
    std::fs::write(&victim, "secret").unwrap();
    let owner = std::fs::metadata(&victim).unwrap();
    give(&victim, &owner).unwrap();
    std::os::unix::fs::symlink(&victim, &made).unwrap();
    assert!(give(&made, &owner).is_err(), "a link");
    std::fs::remove_file(&made).unwrap();
    std::fs::hard_link(&victim, &made).unwrap();
    let said = format!("{:#}", give(&made, &owner).unwrap_err());
    assert!(said.contains("not the file that was made"), "a second name: {said}");
}
