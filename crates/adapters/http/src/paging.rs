//! Pages of lists: how many, and after which.
//!
//! A cursor is the key of the last item shown, so that nothing is remembered between two questions and a list that changes
//! meanwhile shows nothing twice. It is opaque to clients and read as strictly as any other input.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use basilica_types::{Hotkey, NodeKey};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::problem::Refusal;

/// Items of a page if nothing is said.
const DEFAULT_LIMIT: u16 = 50;
/// Most items of a page.
const MAX_LIMIT: u16 = 500;
/// Longest cursor.
const CURSOR_BYTES: usize = 256;

/// What a list is asked for beside its filter.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paging {
    /// Items of a page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub(crate) limit: Option<u16>,
    /// `next_cursor` of the page before.
    #[param(max_length = 256)]
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
    /// The text inside the cursor.
    fn to_text(&self) -> String;
    /// The same back.
    fn from_text(text: &str) -> Option<Self>;
}

impl Cursor for Hotkey {
    fn to_text(&self) -> String {
        self.to_string()
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Cursor for NodeKey {
    fn to_text(&self) -> String {
        format!("{}:{}", self.miner, self.node)
    }

    fn from_text(text: &str) -> Option<Self> {
        let (miner, node) = text.split_once(':')?;
        Some(Self { miner: miner.parse().ok()?, node: node.parse().ok()? })
    }
}

/// What `next_cursor` says.
pub(crate) fn cursor_after(key: &impl Cursor) -> String {
    URL_SAFE_NO_PAD.encode(key.to_text())
}

/// Where a page begins: after this key, or at the beginning.
pub(crate) fn after<K: Cursor>(cursor: Option<&str>) -> Result<Option<K>, Refusal> {
    let Some(cursor) = cursor else { return Ok(None) };
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        K::from_text(std::str::from_utf8(&bytes).ok()?)
    };
    let key = (cursor.len() <= CURSOR_BYTES).then(read).flatten();
    key.map(Some).ok_or_else(|| Refusal::invalid("cursor is not a next_cursor of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use basilica_types::NodeId;
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
            prop_assert!(cursor.len() <= CURSOR_BYTES);
            prop_assert_eq!(after::<NodeKey>(Some(&cursor)).unwrap(), Some(key));
            prop_assert!(after::<Hotkey>(Some(&cursor)).is_err());
            prop_assert_eq!(after::<Hotkey>(Some(&cursor_after(&key.miner))).unwrap(), Some(key.miner));
        }

        #[test]
        fn hostile_cursors_are_refused(cursor in ".{0,300}") {
            prop_assert!(after::<NodeKey>(Some(&cursor)).is_err());
        }
    }
}
