//! What the chain tells of a subnet beside its metagraph.

use std::collections::BTreeMap;

use async_trait::async_trait;
use basilica_ports::{
    ChainError, Collateral, Commitment, CommittedField, Hyperparameters, RegistrationTerms, SubnetReads,
};
use basilica_types::{BlockNumber, Coldkey, Digest, Hotkey, NetUid, Rao};
use subxt::ext::scale_decode::DecodeAsType;
use subxt::ext::scale_value::{Value, ValueDef, Variant};

use crate::item::{
    BURN, COLLATERAL_LOCK_SHARE, COMMITMENT_OF, Method, REGISTRATION_ALLOWED, SUBNET_OWNER, View,
};
use crate::{SubtensorChain, hyperparameters, metagraph};

const STAKE_INFO: Method = Method {
    api: "StakeInfoRuntimeApi",
    name: "get_stake_info_for_hotkey_coldkey_netuid",
    full: "StakeInfoRuntimeApi.get_stake_info_for_hotkey_coldkey_netuid",
};

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct StakeInfo {
    stake: u64,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Registration {
    block: u64,
    info: CommitmentInfo,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct CommitmentInfo {
    fields: Vec<Value>,
}

impl Registration {
    fn commitment(self) -> Commitment {
        Commitment {
            block: BlockNumber(self.block),
            fields: self.info.fields.iter().filter_map(committed).collect(),
        }
    }
}

/// One field, by the variant that names its kind; the empty one is none.
fn committed(field: &Value) -> Option<CommittedField> {
    let ValueDef::Variant(Variant { name, values }) = &field.value else {
        return Some(CommittedField::Other("unnamed".to_owned()));
    };
    if name == "None" {
        return None;
    }
    let bytes = values.values().next().and_then(hyperparameters::bytes);
    let is_raw =
        name == "BigRaw" || name.strip_prefix("Raw").is_some_and(|length| length.parse::<u16>().is_ok());
    Some(match bytes {
        Some(bytes) if is_raw => CommittedField::Raw(bytes),
        Some(bytes) => match <[u8; 32]>::try_from(bytes) {
            Ok(digest) => CommittedField::Hash { kind: name.clone(), digest: Digest::from_bytes(digest) },
            Err(_) => CommittedField::Other(name.clone()),
        },
        // `Raw0` has nothing inside.
        None if is_raw => CommittedField::Raw(Vec::new()),
        None => CommittedField::Other(name.clone()),
    })
}

#[async_trait]
impl SubnetReads for SubtensorChain {
    async fn hyperparameters(&self, netuid: NetUid) -> Result<Hyperparameters, ChainError> {
        let read = |link| async move { hyperparameters::read(&View::finalized(link).await?, netuid).await };
        self.connection.call("hyperparameters", read).await
    }

    async fn stake(
        &self,
        netuid: NetUid,
        hotkey: &Hotkey,
        coldkey: &Coldkey,
    ) -> Result<Option<Rao>, ChainError> {
        let keys = (*hotkey.as_bytes(), *coldkey.as_bytes(), netuid.0);
        let read = |link| async move {
            let info: Option<StakeInfo> = View::finalized(link).await?.ask(STAKE_INFO, keys).await?;
            Ok(info.map(|info| Rao(info.stake)))
        };
        self.connection.call("stake", read).await
    }

    async fn commitment(&self, netuid: NetUid, hotkey: &Hotkey) -> Result<Option<Commitment>, ChainError> {
        let keys = (netuid.0, *hotkey.as_bytes());
        let read = |link| async move {
            let found: Option<Registration> =
                View::finalized(link).await?.storage(COMMITMENT_OF, keys).await?;
            Ok(found.map(Registration::commitment))
        };
        self.connection.call("commitment", read).await
    }

    async fn commitments(&self, netuid: NetUid) -> Result<BTreeMap<Hotkey, Commitment>, ChainError> {
        let read = |link| async move {
            let view = View::finalized(link).await?;
            let all: Vec<((u16, [u8; 32]), Registration)> = view.all(COMMITMENT_OF, (netuid.0,)).await?;
            let one = |((_, hotkey), found): ((u16, [u8; 32]), Registration)| {
                (Hotkey::from_bytes(hotkey), found.commitment())
            };
            Ok(all.into_iter().map(one).collect())
        };
        self.connection.call("commitments", read).await
    }

    async fn collateral(&self, netuid: NetUid) -> Result<Option<BTreeMap<Hotkey, Collateral>>, ChainError> {
        let read = |link| async move { metagraph::collateral(&View::finalized(link).await?, netuid).await };
        self.connection.call("collateral", read).await
    }

    async fn subnet_owner(&self, netuid: NetUid) -> Result<Option<Coldkey>, ChainError> {
        let read = |link| async move {
            let owner: Option<[u8; 32]> =
                View::finalized(link).await?.storage(SUBNET_OWNER, (netuid.0,)).await?;
            Ok(owner.filter(|owner| *owner != [0; 32]).map(Coldkey::from_bytes))
        };
        self.connection.call("subnet_owner", read).await
    }

    async fn registration_terms(&self, netuid: NetUid) -> Result<RegistrationTerms, ChainError> {
        let read = |link| async move {
            let (view, subnet) = (View::finalized(link).await?, (netuid.0,));
            Ok(RegistrationTerms {
                price: Rao(view.value(BURN, subnet).await?),
                allowed: view.value(REGISTRATION_ALLOWED, subnet).await?,
                collateral_share: view.if_present(COLLATERAL_LOCK_SHARE, subnet).await?,
            })
        };
        self.connection.call("registration_terms", read).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_fields_are_told_by_the_name_of_their_kind() {
        let field =
            |name: &str, bytes: &[u8]| committed(&Value::unnamed_variant(name, [Value::from_bytes(bytes)]));
        assert_eq!(field("Raw3", b"abc"), Some(CommittedField::Raw(b"abc".to_vec())));
        assert_eq!(field("BigRaw", b"abc"), Some(CommittedField::Raw(b"abc".to_vec())));
        let digest = Digest::from_bytes([7; 32]);
        assert_eq!(
            field("BlakeTwo256", &[7; 32]),
            Some(CommittedField::Hash { kind: "BlakeTwo256".to_owned(), digest })
        );
        assert_eq!(committed(&Value::unnamed_variant("None", [])), None);
        let other = Some(CommittedField::Other("TimelockEncrypted".to_owned()));
        let locked = Value::named_variant(
            "TimelockEncrypted",
            [("encrypted", Value::from_bytes(b"x")), ("reveal_round", Value::u128(9))],
        );
        assert_eq!(committed(&locked), other);
    }
}
