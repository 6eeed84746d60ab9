//! What of the miner's key is not finished, as anybody is told who asks how the miner stands.

use basilica_miner_service::config::MinerConfig;
use basilica_status::counted;

use super::Host;
use super::files::{KeyFiles, with};
use crate::select::Named as _;

/// Warnings, from the files beside the key alone: none of them is changed, and nobody is kept from working with them.
pub(crate) fn unfinished(config: &MinerConfig) -> Vec<String> {
    // A link stays beside the files of the key that it leads to.
    let key = config.fleet.ssh_key.canonicalize().unwrap_or_else(|_| config.fleet.ssh_key.clone());
    let (next, former) = (with(&key, ".next"), with(&key, ".former"));
    let next = next.exists().then(|| {
        format!(
            "`basilica-miner keys rotate` has not come to its end: its new key, {}, is not used before all nodes have it. If it does not run \
             now, run it again; it goes on where it stands",
            next.display()
        )
    });
    let former = (next.is_none() && former.exists()).then(|| {
        format!(
            "`basilica-miner keys rotate` has not come to its end: the key before, {}, is kept, because a node may know it alone, and no \
             other is made until then. If it does not run now, run it again",
            former.display()
        )
    });
    let owed = owed(config).map_or_else(|error| Some(format!("{error:#}")), |owed| told(&owed));
    next.into_iter().chain(former).chain(owed).collect()
}

/// Servers that are not listed and may let in the miner's key.
pub(crate) fn owed(config: &MinerConfig) -> anyhow::Result<Vec<Host>> {
    let mut owed = KeyFiles::owed_beside(&config.fleet.ssh_key)?;
    owed.retain(|host| config.fleet.nodes.iter().all(|node| node.id != host.id()));
    Ok(owed)
}

fn told(owed: &[Host]) -> Option<String> {
    let names: Vec<String> = owed.iter().map(|host| host.address.to_string()).collect();
    let node = match names.as_slice() {
        [] => return None,
        [one] => one,
        _ => "NODE",
    };
    Some(format!(
        "{} may still let in the miner's key: {}. When it answers: basilica-miner nodes remove {node} (with --keep-key, if it is gone for good, \
         or has the key no more)",
        counted(names.len(), "unlisted server"),
        names.join(", ")
    ))
}
