use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::chain::StateUnavailable;
use crate::executor;
use crate::genesis::Settings;
use crate::runtime::Hash;

fn fresh() -> Chain {
    Chain::new(Settings::default().resolve().expect("valid").state().expect("builds"))
}

fn open(path: &Path, fresh: Chain) -> Result<(Store, Chain), PersistError> {
    Store::open(path, fresh, &Settings::default())
}

fn next(chain: &Chain) -> StoredBlock {
    next_at(chain, 1)
}

fn next_at(chain: &Chain, later_ms: u64) -> StoredBlock {
    let (state, best) = (chain.best_state(), chain.best());
    let parent = (best.hash, best.header.number);
    let timestamp = executor::timestamp_of(&state) + later_ms;
    let built = executor::build_block(&state, parent, timestamp, &[]).expect("builds");
    let changes = executor::changes(&state, &built.state);
    StoredBlock { header: built.header, extrinsics: built.extrinsics, changes }
}

fn extend(store: &mut Store, chain: &mut Chain, blocks: usize) {
    for _ in 0..blocks {
        let block = next(chain);
        store.append(&block, 0).expect("appends");
        chain.push(block);
    }
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("chain");
    (directory, path)
}

#[test]
fn a_reopened_chain_is_the_same_chain() {
    let (_directory, path) = place();
    let (mut store, mut chain) = open(&path, fresh()).expect("opens");
    extend(&mut store, &mut chain, 3);
    drop(store);
    let (mut store, reopened) = open(&path, fresh()).expect("opens again");
    assert_eq!(reopened.image(), chain.image());
    store.snapshot(&chain, 0).expect("snapshots");
    extend(&mut store, &mut chain, 2);
    drop(store);
    let (_store, reopened) = open(&path, fresh()).expect("opens a third time");
    assert_eq!(reopened.image(), chain.image());
    assert_eq!(reopened.best().header.number, 5);
}

#[test]
fn a_reorganised_chain_is_reopened_on_its_new_branch() {
    let (_directory, path) = place();
    let (mut store, mut chain) = open(&path, fresh()).expect("opens");
    extend(&mut store, &mut chain, 3);
    let before = chain.image();
    let popped = chain.pop().expect("undone");
    assert_eq!(chain.best().header.number, 2);
    let mut branch = Vec::new();
    for later_ms in [77, 1] {
        let block = next_at(&chain, later_ms);
        branch.push(block.clone());
        chain.push(block);
    }
    store.replace(1, branch, 0).expect("writes");
    assert_ne!(chain.image(), before);
    assert_eq!(chain.block(&popped.hash), Some(&popped), "a retracted block is readable by hash");
    assert_eq!(chain.state_at(&popped.hash), Err(StateUnavailable::Discarded(popped.hash)));
    drop(store);
    let whole = fs::read(&path).expect("reads");
    let (store, reopened) = open(&path, fresh()).expect("opens again");
    assert_eq!(reopened.image(), chain.image());
    assert_eq!(store.cut(), None);
    drop(store);
    // A process that ended while it wrote the branch leaves the old one.
    fs::write(&path, &whole[..whole.len() - 1]).expect("writes");
    let (store, reopened) = open(&path, fresh()).expect("opens with a torn tail");
    assert_eq!(store.cut().map(|cut| cut.block), Some(3));
    assert_eq!(reopened.image(), before);
}

#[test]
fn taking_blocks_off_and_putting_them_back_is_the_same_chain() {
    let mut chain = fresh();
    chain.push(next(&chain));
    let (image, later) = (chain.image(), [next(&chain)]);
    for block in &later {
        chain.push(block.clone());
    }
    chain.pop().expect("undone");
    assert_eq!(chain.image(), image);
    for block in later {
        chain.push(block);
    }
    chain.pop().expect("undone");
    chain.pop().expect("undone");
    assert_eq!(chain.pop(), None, "block 0 stays");
    assert_eq!(chain.image(), fresh().image());
}

#[test]
fn what_a_crash_beside_the_file_leaves_is_ignored() {
    let (_directory, path) = place();
    let (mut store, mut chain) = open(&path, fresh()).expect("opens");
    extend(&mut store, &mut chain, 2);
    drop(store);
    // A process that died while it wrote the next snapshot, and one that died right after making the file.
    fs::write(path.with_extension("new"), b"half").expect("writes");
    let (store, reopened) = open(&path, fresh()).expect("opens");
    assert_eq!(reopened.image(), chain.image());
    drop(store);
    fs::write(&path, b"").expect("writes");
    let (_store, begun) = open(&path, fresh()).expect("opens");
    assert_eq!(begun.image(), fresh().image());
}

#[test]
fn a_second_process_stays_out_after_the_file_was_replaced_too() {
    let (_directory, path) = place();
    let (mut store, chain) = open(&path, fresh()).expect("opens");
    assert!(matches!(open(&path, fresh()), Err(PersistError::Locked(_))));
    store.snapshot(&chain, 0).expect("snapshots");
    assert!(matches!(open(&path, fresh()), Err(PersistError::Locked(_))));
    drop(store);
    open(&path, fresh()).expect("free again");
}

#[test]
fn a_link_stays_one_and_its_file_is_the_chains() {
    let (directory, path) = place();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("links");
    assert!(matches!(open(&link, fresh()), Err(PersistError::Dangling(_))));
    assert!(!path.exists());
    drop(open(&path, fresh()).expect("opens"));
    let (mut store, mut chain) = open(&link, fresh()).expect("opens by the link");
    extend(&mut store, &mut chain, 2);
    store.snapshot(&chain, 0).expect("snapshots");
    assert!(matches!(open(&path, fresh()), Err(PersistError::Locked(_))), "it is one chain by either name");
    drop(store);
    assert!(link.symlink_metadata().expect("is there").is_symlink());
    let (_store, reopened) = open(&path, fresh()).expect("opens by its own name");
    assert_eq!(reopened.image(), chain.image());
}

#[test]
fn what_is_no_regular_file_is_left_alone() {
    let (_directory, path) = place();
    let _socket = std::os::unix::net::UnixListener::bind(&path).expect("binds");
    assert!(matches!(open(&path, fresh()), Err(PersistError::Irregular(_))));
    assert!(matches!(open(Path::new("/dev/zero"), fresh()), Err(PersistError::Irregular(_))));
    assert!(!path.symlink_metadata().expect("is there").is_file());
}

#[test]
fn foreign_damaged_and_other_chains_files_are_refused_and_left_alone() {
    let (directory, path) = place();
    assert!(matches!(open(directory.path(), fresh()), Err(PersistError::Directory(_))));
    drop(open(&path, fresh()).expect("opens"));
    let settings = Settings { tempo: 30, neurons: 7, miners: Vec::new(), ..Settings::default() };
    let other = Chain::new(settings.resolve().expect("valid").state().expect("builds"));
    let error = Store::open(&path, other, &settings).expect_err("must be refused").to_string();
    let differences = "miners differ, neurons is 0 there and 7 here, tempo is 20 there and 30 here;";
    assert!(error.contains(differences), "{error}");
    let whole = fs::read(&path).expect("a file");
    let mut spoilt = whole.clone();
    spoilt[100] ^= 1;
    let mut older = whole;
    older[6] = b'1';
    for (bytes, refused) in [
        (spoilt, "is damaged"),
        (older, "another version"),
        (b"# my notes\n".to_vec(), "not a development chain's file"),
    ] {
        fs::write(&path, &bytes).expect("writes");
        let error = open(&path, fresh()).expect_err("must be refused").to_string();
        assert!(error.contains(refused), "{error}");
        assert_eq!(fs::read(&path).expect("a file"), bytes, "left as it was");
    }
}

#[test]
fn a_past_state_reads_as_it_was() {
    let mut chain = fresh();
    let mut states = vec![chain.best_state()];
    for _ in 0..4 {
        chain.push(next(&chain));
        states.push(chain.best_state());
    }
    for (number, expected) in (0u32..).zip(&states) {
        let hash = chain.hash_of(number).expect("known");
        assert_eq!(chain.state_at(&hash).expect("kept"), *expected, "state of block {number}");
    }
    let unknown = Hash::repeat_byte(7);
    assert_eq!(chain.state_at(&unknown), Err(StateUnavailable::UnknownBlock(unknown)));
}

/// The records of three blocks and where each of them ends.
static THREE_BLOCKS: LazyLock<(Vec<u8>, Vec<usize>)> = LazyLock::new(|| {
    let mut chain = fresh();
    let (mut log, mut ends) = (Vec::new(), vec![0]);
    for _ in 0..3 {
        let block = next(&chain);
        log.extend(record(&Step::Block(block.clone(), 0).encode()));
        ends.push(log.len());
        chain.push(block);
    }
    (log, ends)
});

proptest! {
    #[test]
    fn a_torn_or_spoilt_tail_loses_only_itself(cut in 0usize..4_000, flip in any::<Option<u8>>()) {
        let (log, ends) = &*THREE_BLOCKS;
        let cut = cut.min(log.len());
        let mut log = log[..cut].to_vec();
        let mut intact = ends.iter().filter(|end| **end <= cut && **end > 0).count();
        if let (Some(bits), Some(last)) = (flip, log.last_mut()) {
            *last ^= bits;
            // Spoiling the last byte spoils the record it ends, if it ends one.
            if bits != 0 && ends.contains(&cut) {
                intact -= 1;
            }
        }
        let (steps, whole, end) = read_steps(&log);
        prop_assert_eq!(steps.len(), intact);
        prop_assert_eq!(whole, ends[intact]);
        prop_assert_eq!(end, if whole == log.len() { End::Clean } else { End::Torn });
    }

    #[test]
    fn a_byte_that_changed_before_the_last_record_is_found_where_it_is(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let (log, ends) = &*THREE_BLOCKS;
        let at = at.index(ends[2]);
        let mut log = log.clone();
        log[at] ^= flip;
        let intact = ends.iter().filter(|end| **end <= at && **end > 0).count();
        let (steps, whole, end) = read_steps(&log);
        prop_assert_eq!((steps.len(), whole, end), (intact, ends[intact], End::Damaged));
    }
}
