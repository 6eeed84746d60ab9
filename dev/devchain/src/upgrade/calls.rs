//! Extrinsics of an upgraded runtime, read by the one that runs.

use codec::{Compact, Decode as _, DecodeAll as _, Input as _};
use sp_runtime::generic::Preamble;

use super::Upgrades;
use crate::runtime::{Address, RuntimeCall, Signature, TxExtension, UncheckedExtrinsic};

impl Upgrades {
    /// The index by which this runtime knows a call; `None` if the upgraded one has no call there.
    fn index_of(&self, pallet: u8, index: u8) -> Option<u8> {
        self.calls.iter().rev().filter(|moved| moved.pallet == pallet).try_fold(index, |index, moved| {
            match moved.to {
                Some(to) if to == index => Some(moved.from),
                _ if moved.from == index => None,
                _ => Some(index),
            }
        })
    }
}

/// Decodes an extrinsic whose call has the index that the upgraded metadata gives it. The bytes that were signed stay
/// with it, so its signature is checked over them.
///
/// # Errors
/// It is no extrinsic of the upgraded runtime.
pub fn decode(upgrades: &Upgrades, bytes: &[u8]) -> Result<UncheckedExtrinsic, codec::Error> {
    let mut input = bytes;
    let length = Compact::<u32>::decode(&mut input)?.0 as usize;
    if input.remaining_len()? != Some(length) {
        return Err("Invalid length prefix".into());
    }
    let preamble = Preamble::<Address, Signature, TxExtension>::decode(&mut input)?;
    if upgrades.adds_bytes() && matches!(preamble, Preamble::Signed(..)) {
        return Err("a transaction extension's byte is missing".into());
    }
    let original = input.to_vec();
    let mut known = original.clone();
    if let [pallet, call, ..] = known.as_mut_slice() {
        *call = upgrades.index_of(*pallet, *call).ok_or("the runtime has no such call")?;
    }
    let function = RuntimeCall::decode_all(&mut &known[..])?;
    Ok(UncheckedExtrinsic { preamble, function, encoded_call: Some(original), encoded_len: Some(length) })
}

#[cfg(test)]
mod tests {
    use super::super::MovedCall;
    use super::*;

    #[test]
    fn a_moved_call_answers_to_its_new_index_alone_through_several_moves() {
        let moved = |from, to| MovedCall { pallet: 7, from, to };
        let once = Upgrades { calls: vec![moved(4, Some(200))], ..Upgrades::default() };
        assert_eq!(
            (once.index_of(7, 200), once.index_of(7, 4), once.index_of(7, 5)),
            (Some(4), None, Some(5))
        );
        assert_eq!(once.index_of(8, 4), Some(4), "another pallet's");
        let twice = Upgrades { calls: vec![moved(4, Some(200)), moved(200, Some(4))], ..Upgrades::default() };
        assert_eq!((twice.index_of(7, 4), twice.index_of(7, 200)), (Some(4), None), "back again");
        let gone = Upgrades { calls: vec![moved(4, Some(200)), moved(200, None)], ..Upgrades::default() };
        assert_eq!((gone.index_of(7, 4), gone.index_of(7, 200)), (None, None));
    }
}
