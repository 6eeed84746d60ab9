//! Pages of lists: how many, and after which.
//!
//! A cursor is the key of the last item shown, so that nothing is remembered between two questions and a list that changes
//! meanwhile shows nothing twice. It is opaque to clients: the key's bytes in hex, so that the document can say exactly which
//! texts are cursors of which list, and each of them is a place in it.

use basilica_ports::VerdictPlace;
use basilica_types::{Hotkey, NodeId, NodeKey, Timestamp};
use basilica_verification::verdict_log::Day;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::problem::Refusal;

/// Items of a page if nothing is said.
const DEFAULT_LIMIT: u16 = 50;
/// Most items of a page.
const MAX_LIMIT: u16 = 500;

/// What a list of nodes is asked for beside its filter.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodePaging {
    /// Items of a page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub(crate) limit: Option<u16>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{96}$")]
    pub(crate) cursor: Option<String>,
}

/// What a list of miners is asked for beside its filter.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct MinerPaging {
    /// Items of a page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub(crate) limit: Option<u16>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{64}$")]
    pub(crate) cursor: Option<String>,
}

/// What the list of days is asked for.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DayPaging {
    /// Items of a page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub(crate) limit: Option<u16>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^[0-9a-f]{8}$")]
    pub(crate) cursor: Option<String>,
}

/// How many items a page has.
pub(crate) fn limit(asked: Option<u16>) -> Result<u16, Refusal> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        0 => Err(Refusal::invalid("limit is 0; the least is 1")),
        limit if limit > MAX_LIMIT => {
            Err(Refusal::invalid(format!("limit is {limit}; the most is {MAX_LIMIT}")))
        }
        limit => Ok(limit),
    }
}

/// A key that pages go by.
pub(crate) trait Cursor: Sized {
    /// What the cursor holds.
    fn to_bytes(&self) -> Vec<u8>;
    /// The same back; any bytes of the right number are a key.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl Cursor for Hotkey {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_bytes)
    }
}

impl Cursor for NodeKey {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.miner.as_bytes()[..], self.node.as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (miner, node) = bytes.split_at_checked(32)?;
        let (miner, node) = (miner.try_into().ok()?, node.try_into().ok()?);
        Some(Self { miner: Hotkey::from_bytes(miner), node: NodeId::from_bytes(node) })
    }
}

impl Cursor for Day {
    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(u32::from_be_bytes).map(Self)
    }
}

impl Cursor for VerdictPlace {
    fn to_bytes(&self) -> Vec<u8> {
        [self.finished.0.to_be_bytes(), self.seq.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (finished, seq) = bytes.split_at_checked(8)?;
        let (finished, seq) = (finished.try_into().ok()?, seq.try_into().ok()?);
        Some(Self { finished: Timestamp(i64::from_be_bytes(finished)), seq: i64::from_be_bytes(seq) })
    }
}

/// What `next_cursor` says.
pub(crate) fn cursor_after(key: &impl Cursor) -> String {
    hex::encode(key.to_bytes())
}

/// Where a page begins: after this key, or at the beginning.
pub(crate) fn after<K: Cursor>(cursor: Option<&str>) -> Result<Option<K>, Refusal> {
    let Some(cursor) = cursor else { return Ok(None) };
    let lower = cursor.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let key = lower.then(|| K::from_bytes(&hex::decode(cursor).ok()?)).flatten();
    key.map(Some).ok_or_else(|| Refusal::invalid("cursor is not a next_cursor of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_have_bounds() {
        assert_eq!(limit(None).unwrap(), DEFAULT_LIMIT);
        assert_eq!(limit(Some(MAX_LIMIT)).unwrap(), MAX_LIMIT);
        assert!(limit(Some(0)).is_err() && limit(Some(MAX_LIMIT + 1)).is_err());
    }

    proptest! {
        #[test]
        fn cursors_come_back_and_are_of_one_list(miner: [u8; 32], node: [u8; 16]) {
            let key = NodeKey { miner: Hotkey::from_bytes(miner), node: NodeId::from_bytes(node) };
            let cursor = cursor_after(&key);
            prop_assert_eq!(cursor.len(), 96);
            prop_assert_eq!(after::<NodeKey>(Some(&cursor)).unwrap(), Some(key));
            prop_assert!(after::<Hotkey>(Some(&cursor)).is_err());
            prop_assert_eq!(after::<Hotkey>(Some(&cursor_after(&key.miner))).unwrap(), Some(key.miner));
        }

        #[test]
        fn a_place_among_verdicts_comes_back(finished: i64, seq: i64) {
            let place = VerdictPlace { finished: Timestamp(finished), seq };
            let cursor = cursor_after(&place);
            prop_assert_eq!(cursor.len(), 32);
            prop_assert_eq!(after::<VerdictPlace>(Some(&cursor)).unwrap(), Some(place));
        }

        #[test]
        fn hostile_cursors_are_refused(cursor in ".{0,300}") {
            prop_assert!(after::<NodeKey>(Some(&cursor)).is_err());
        }
    }
}
