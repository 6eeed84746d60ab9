//! What the miner adds to its health port: its snapshot, as JSON.

use basilica_miner_service::StatusView;
use basilica_runtime_service::{AdminPage, AdminPages};

/// Where the snapshot is.
pub(crate) const STATUS: &str = "/status.json";

pub(crate) fn of(status: StatusView) -> AdminPages {
    AdminPages::new(move |path| {
        let is_page = path == STATUS;
        is_page.then(|| match status.newest() {
            Some(newest) => AdminPage::json(serde_json::to_vec(newest.as_ref()).expect("a snapshot is JSON")),
            None => AdminPage::not_yet("the miner is starting; try again in a moment\n"),
        })
    })
}
