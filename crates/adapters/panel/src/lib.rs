//! The miner's status as web pages: an overview, and one page for each node.
//!
//! Rendered here from one snapshot, without scripts, so that nothing has to be built or loaded and a page is what the snapshot was.
//! The browser asks again every ten seconds. Everything that is not ours is escaped where it is written (askama does so by the
//! template's file name), and the pages need no more than the styles beside them, which is all that the port's policy lets a
//! browser load. This crate is the only one that sees askama.
//!
//! Rejected: all nodes' details on one page (200 nodes with eight GPUs are a megabyte every ten seconds, and what was folded out folds
//! up with each of them) and a script that fetches the JSON (a policy without scripts needs no trust in any).

mod page;
mod say;

use basilica_status::MinerStatus;
use basilica_types::NodeId;

/// The styles, for [`STYLE_PATH`].
pub const STYLE: &str = include_str!("../assets/style.css");
/// Where the pages look for their styles.
pub const STYLE_PATH: &str = "/style.css";

/// The overview, for `/`.
pub fn overview(status: &MinerStatus) -> String {
    page::overview(status)
}

/// A node's page, for `/nodes/ID`; none if there is no such node.
pub fn node(status: &MinerStatus, id: NodeId) -> Option<String> {
    page::node(status, id)
}

#[cfg(test)]
mod tests;
