//! Replacing the miner's own SSH key on all nodes: which step is next, and each step on one node.
//!
//! **What is promised.** At every moment, also after the program or the machine died, the miner's key file holds a key that lets it
//! in on every node it was let in on before: the new key is on all nodes, and has logged in on each, before it takes the old one's
//! place; the old one leaves a node only in a session that the new one has opened. Run again, each step does what is missing.
//!
//! Where a rotation stands is read from the key files alone, beside which no other record is kept that could disagree with them.
//! **Rejected**: a row in the database, which is lost or restored by itself; one node after the other, which would leave the
//! miner with a key for one half of its nodes.

use basilica_ports::Shell;
use basilica_types::{Millis, SshPublicKey};

use crate::key_editor::KeyEditError;
use crate::operator_key::{self, Installed, Lines, Removed};

/// The public halves of the keys that lie beside each other on the miner's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysAtHand {
    /// The one that the miner uses.
    pub current: SshPublicKey,
    /// One that is to take its place.
    pub next: Option<SshPublicKey>,
    /// One whose place it took.
    pub former: Option<SshPublicKey>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing has begun: a new key is made.
    Make,
    /// The new key goes to all nodes, and then takes the place of the one that is used.
    Spread {
        /// The new key.
        next: SshPublicKey,
    },
    /// The new key is used; the old one leaves all nodes.
    Retire {
        /// The old key.
        former: SshPublicKey,
    },
}

/// Key files that no rotation leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Tangled {
    /// Both, of which a rotation has one at a time.
    #[error(
        "there is a new key and an old one beside the key that is used, of which a rotation has one at a time"
    )]
    NextAndFormer,
    /// A copy.
    #[error("the new key is the one that is used already")]
    NextIsCurrent,
}

impl KeysAtHand {
    /// What is to be done next. An old key that is still the one in use was put aside by a rotation that got no further.
    pub fn stage(&self) -> Result<Stage, Tangled> {
        let former = self.former.as_ref().filter(|former| **former != self.current);
        match (&self.next, former) {
            (Some(next), _) if *next == self.current => Err(Tangled::NextIsCurrent),
            (Some(_), Some(_)) => Err(Tangled::NextAndFormer),
            (Some(next), None) => Ok(Stage::Spread { next: next.clone() }),
            (None, Some(former)) => Ok(Stage::Retire { former: former.clone() }),
            (None, None) => Ok(Stage::Make),
        }
    }
}

/// Puts the new key on the node, in a session that the current one opened: behind the options that stand before the current
/// one, which its operator meant for the miner. `deadline` is for each reading.
pub async fn spread(
    shell: &dyn Shell,
    deadline: Millis,
    current: &SshPublicKey,
    next: &SshPublicKey,
) -> Result<Installed, KeyEditError> {
    operator_key::install_like(shell, deadline, next, Some(current)).await
}

/// Takes the old key off the node, in a session that the new one opened; every line that carries it. Tells how many.
pub async fn retire(
    shell: &dyn Shell,
    deadline: Millis,
    former: &SshPublicKey,
) -> Result<usize, KeyEditError> {
    Ok(operator_key::remove(shell, deadline, former, Lines::All).await?.removed)
}

/// Takes all of the miner's keys off a node that it leaves, the one in use last: until then this can be done again. `deadline` is for each
/// reading.
pub async fn leave(
    shell: &dyn Shell,
    deadline: Millis,
    keys: &KeysAtHand,
    which: Lines,
) -> Result<Removed, KeyEditError> {
    let KeysAtHand { current, next, former } = keys;
    let mut all = Removed { removed: 0, left: Vec::new() };
    for key in [next.as_ref(), former.as_ref(), Some(current)].into_iter().flatten() {
        let removed = operator_key::remove(shell, deadline, key, which).await?;
        all.removed += removed.removed;
        all.left.extend(removed.left);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_shell::{KEY, LocalShell};

    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgEA";
    const DEADLINE: Millis = Millis::from_secs(20);

    fn key(text: &str) -> SshPublicKey {
        text.parse().unwrap()
    }

    #[test]
    fn the_files_tell_where_a_rotation_stands() {
        let (a, b, c) = (key(KEY), key(OTHER), {
            let mut blob = key(KEY).blob().to_vec();
            *blob.last_mut().unwrap() ^= 1;
            SshPublicKey::from_blob(&blob).unwrap()
        });
        let stage = |next: Option<&SshPublicKey>, former: Option<&SshPublicKey>| {
            KeysAtHand { current: a.clone(), next: next.cloned(), former: former.cloned() }.stage()
        };
        assert_eq!(stage(None, None), Ok(Stage::Make));
        assert_eq!(stage(Some(&b), None), Ok(Stage::Spread { next: b.clone() }));
        assert_eq!(
            stage(Some(&b), Some(&a)),
            Ok(Stage::Spread { next: b.clone() }),
            "put aside, not replaced yet"
        );
        assert_eq!(stage(None, Some(&b)), Ok(Stage::Retire { former: b.clone() }));
        assert_eq!(stage(None, Some(&a)), Ok(Stage::Make));
        assert_eq!(stage(Some(&b), Some(&c)), Err(Tangled::NextAndFormer));
        assert_eq!(stage(Some(&a), None), Err(Tangled::NextIsCurrent));
    }

    #[tokio::test]
    async fn the_new_key_stands_where_the_old_one_stood_and_nothing_else_changes() {
        for (options, others) in
            [("", "# mine\n"), ("from=\"192.0.2.0/24\",no-pty ", "# mine\r\nno newline before it\n")]
        {
            let shell = LocalShell::with_file(format!("{others}{options}{KEY} me\n").as_bytes());
            let (old, new) = (key(KEY), key(OTHER));
            spread(&shell, DEADLINE, &old, &new).await.unwrap();
            let both = format!("{others}{options}{KEY} me\n{options}{OTHER} basilica-miner\n");
            assert_eq!(shell.text(), both);
            spread(&shell, DEADLINE, &old, &new).await.unwrap();
            assert_eq!(shell.text(), both, "a second time changes nothing");
            assert_eq!(retire(&shell, DEADLINE, &old).await.unwrap(), 1);
            assert_eq!(retire(&shell, DEADLINE, &old).await.unwrap(), 0);
            assert_eq!(shell.text(), format!("{others}{options}{OTHER} basilica-miner\n"));
        }
    }
}
