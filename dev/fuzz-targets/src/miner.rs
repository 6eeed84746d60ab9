//! What a miner reads: `authorized_keys` of nodes, and messages of validators (and the other way round).

use basilica_miner_service::authorized_keys::{
    KeyLine, KeyTag, MAX_FILE, NodeLocalTime, keys, rewrite, tags,
};
use basilica_types::{Hotkey, SessionId, Timestamp};

/// A key of ours, wanted on the node.
fn wanted() -> KeyLine {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    KeyLine {
        tag: KeyTag {
            validator: Hotkey::from_bytes([7; 32]),
            session: "0011223344556677".parse::<SessionId>().expect("16 digits"),
        },
        expires_at: Timestamp::from_secs(1_763_762_400),
        expiry_time: NodeLocalTime::parse("20251121220000"),
        key: key.parse().expect("a key"),
    }
}

pub(crate) fn authorized_keys(file: &[u8]) {
    if file.len() > MAX_FILE {
        return;
    }
    // What a miner finds, it may keep.
    for wanted in [vec![], vec![wanted()], keys(file)] {
        let Ok(written) = rewrite(file, &wanted) else { continue };
        assert_eq!(rewrite(&written, &wanted).as_ref(), Ok(&written), "written again, nothing changes");
        let mut found: Vec<KeyTag> = wanted.iter().map(|line| line.tag).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(tags(&written), found, "each wanted key is there, and no other of ours");
        assert_eq!(others(&written), others(file), "lines of others stay");
    }
}

/// The lines of others, in order: what is left when nothing of ours is wanted.
fn others(file: &[u8]) -> Vec<u8> {
    let mut rest = rewrite(file, &[]).expect("taking lines away makes no file too long");
    // The last line of others gets its newline when ours are put below it.
    if rest.last().is_some_and(|byte| *byte != b'\n') {
        rest.push(b'\n');
    }
    rest
}

pub(crate) fn authorized_keys_seeds() -> Vec<Vec<u8>> {
    let user =
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me validator-\r\n";
    let ours = rewrite(user, &[wanted()]).expect("it is short");
    let unclosed = ours[..ours.len() - 16].to_vec();
    vec![user.to_vec(), ours, unclosed]
}

pub(crate) fn rpc(bytes: &[u8]) {
    basilica_rpc::testing::every_message(bytes);
}

pub(crate) fn rpc_seeds() -> Vec<Vec<u8>> {
    basilica_rpc::testing::messages()
}
