//! The chain's rules for a registration, in its own order, before a coldkey pays.

use basilica_ports::{ChainError, FailureClass};
use basilica_types::{Hotkey, NetUid, Rao};

use crate::item::{BURN, NETWORKS_ADDED, REGISTRATION_ALLOWED, UIDS, View};
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
}

impl Rule {
    const fn class(&self) -> FailureClass {
        match self {
            Self::Root | Self::Registered(_) => FailureClass::Invalid,
            Self::Closed(_) => FailureClass::Permanent,
            Self::TooDear { .. } => FailureClass::Transient,
        }
    }
}

impl From<Rule> for ChainError {
    fn from(rule: Rule) -> Self {
        Self::Preflight { class: rule.class(), rule: rule.to_string() }
    }
}

/// The first rule that registering would break.
pub(crate) async fn check(
    view: &View,
    netuid: NetUid,
    hotkey: &Hotkey,
    limit: Rao,
) -> Result<(), ChainError> {
    let subnet = (netuid.0,);
    if netuid == NetUid(0) {
        return Err(Rule::Root.into());
    }
    if !view.value::<_, bool>(NETWORKS_ADDED, subnet).await? {
        return Err(no_subnet(netuid));
    }
    if !view.value::<_, bool>(REGISTRATION_ALLOWED, subnet).await? {
        return Err(Rule::Closed(netuid).into());
    }
    let uid: Option<u16> = view.storage(UIDS, (netuid.0, *hotkey.as_bytes())).await?;
    if uid.is_some() {
        return Err(Rule::Registered(netuid).into());
    }
    let price = Rao(view.value(BURN, subnet).await?);
    if price > limit {
        return Err(Rule::TooDear { price, limit }.into());
    }
    Ok(())
}
