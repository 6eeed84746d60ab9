//! What the miner adds to its health port: its snapshot, as JSON and as web pages.

use basilica_miner_service::StatusView;
use basilica_panel as panel;
use basilica_runtime_service::{AdminPage, AdminPages};
use basilica_status::{MinerStatus, Words};

use crate::program::Program;

/// Where the snapshot is.
pub(crate) const STATUS: &str = "/status.json";

/// Commands in it are for the configuration that this miner runs on.
pub(crate) fn of(status: StatusView, program: Program) -> AdminPages {
    AdminPages::new(move |path| {
        if path == panel::STYLE_PATH {
            return Some(AdminPage::css(panel::STYLE));
        }
        let is_page = matches!(path, "/" | STATUS) || path.starts_with("/nodes/");
        match status.newest().filter(|_| is_page) {
            Some(newest) => page(&for_this(MinerStatus::clone(&newest), &program), path),
            None => is_page.then(|| AdminPage::not_yet("the miner is starting; try again in a moment\n")),
        }
    })
}

fn for_this(mut status: MinerStatus, program: &Program) -> MinerStatus {
    let words = |words: &Words| Words::from(program.in_words(words.as_str()));
    for alert in &mut status.alerts {
        alert.todo = words(&alert.todo);
    }
    for node in &mut status.nodes {
        node.advice = node.advice.as_ref().map(words);
    }
    status
}

fn page(status: &MinerStatus, path: &str) -> Option<AdminPage> {
    match path {
        "/" => Some(AdminPage::html(panel::overview(status))),
        STATUS => Some(AdminPage::json(serde_json::to_vec(status).expect("a snapshot is JSON"))),
        _ => {
            let id = path.strip_prefix("/nodes/")?.parse().ok()?;
            panel::node(status, id).map(AdminPage::html)
        }
    }
}
