//! The chain's rules for a registration, in its own order, before a coldkey pays.

use basilica_ports::{ChainError, FailureClass};
use basilica_types::{Hotkey, NetUid, Rao};
use subxt::dynamic;
use subxt::ext::scale_decode::DecodeAsType;

use crate::item::{ACCOUNT, BURN, NETWORKS_ADDED, REGISTRATION_ALLOWED, UIDS, View};
use crate::metagraph::no_subnet;

/// A rule that a registration would break, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Rule {
    #[error("the root network takes no such registration; choose another subnet")]
    Root,
    #[error("subnet {0} admits no registrations now; its owner can open them")]
    Closed(NetUid),
    #[error("the hotkey is registered on subnet {0} already; nothing is to be done")]
    Registered(NetUid),
    #[error("the price is {} rao, more than the limit of {} rao; wait or raise the limit", .price.0, .limit.0)]
    TooDear { price: Rao, limit: Rao },
    #[error(
        "the price is {} rao and the coldkey can spend {} rao; fund it",
        .price.0, .spendable.0
    )]
    Poor { price: Rao, spendable: Rao },
}

impl Rule {
    const fn class(&self) -> FailureClass {
        match self {
            Self::Root | Self::Registered(_) => FailureClass::Invalid,
            Self::Closed(_) | Self::Poor { .. } => FailureClass::Permanent,
            Self::TooDear { .. } => FailureClass::Transient,
        }
    }
}

impl From<Rule> for ChainError {
    fn from(rule: Rule) -> Self {
        Self::Preflight { class: rule.class(), rule: rule.to_string() }
    }
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Account {
    data: Balance,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Balance {
    free: u64,
}

/// The first rule that registering would break.
pub(crate) async fn check(
    view: &View,
    payer: &Hotkey,
    (netuid, hotkey): (NetUid, &Hotkey),
    limit: Rao,
) -> Result<(), ChainError> {
    let subnet = (netuid.0,);
    if netuid == NetUid(0) {
        return Err(Rule::Root.into());
    }
    if !view.value::<_, bool>(NETWORKS_ADDED, subnet).await? {
        return Err(no_subnet(netuid));
    }
    let price = Rao(view.value(BURN, subnet).await?);
    if price > limit {
        return Err(Rule::TooDear { price, limit }.into());
    }
    if !view.value::<_, bool>(REGISTRATION_ALLOWED, subnet).await? {
        return Err(Rule::Closed(netuid).into());
    }
    let uid: Option<u16> = view.storage(UIDS, (netuid.0, *hotkey.as_bytes())).await?;
    if uid.is_some() {
        return Err(Rule::Registered(netuid).into());
    }
    let spendable = spendable(view, payer).await?;
    if price > spendable { Err(Rule::Poor { price, spendable }.into()) } else { Ok(()) }
}

/// What an account can pay and go on to exist.
async fn spendable(view: &View, account: &Hotkey) -> Result<Rao, ChainError> {
    let account: Option<Account> = view.storage(ACCOUNT, (*account.as_bytes(),)).await?;
    let deposit = view.at.constants().entry(dynamic::constant::<u64>("Balances", "ExistentialDeposit"));
    let deposit = deposit.map_err(|shape| view.unsupported("Balances.ExistentialDeposit", &shape))?;
    Ok(Rao(account.map_or(0, |account| account.data.free).saturating_sub(deposit)))
}
