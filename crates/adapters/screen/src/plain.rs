//! One frame as plain text: for pipes, files and eyes without a terminal.

use basilica_status::MinerStatus;

use crate::view::{View, judged};
use crate::{rows, say};

/// Everything, without colours or controls, in lines as long as they need to be.
pub fn plain(status: &MinerStatus) -> String {
    let mut text = say::heading(status).join("\n");
    text.push('\n');
    for alert in &status.alerts {
        text.push_str(&format!(
            "\n{}: {}\n  why: {}\n  next: {}\n",
            alert.severity.as_str(),
            alert.what,
            alert.why,
            alert.todo
        ));
    }
    let now = status.at;
    let nodes = View::new().nodes(status).into_iter().map(|node| rows::node(node, now).to_vec());
    let sessions = status.sessions.iter().map(|session| rows::session(session, now).to_vec());
    let verdicts = judged(status).map(|(node, judgement)| rows::verdict(node, judgement, now).to_vec());
    table(&mut text, &rows::NODES, nodes.collect());
    table(&mut text, &rows::SESSIONS, sessions.collect());
    table(&mut text, &rows::VERDICTS, verdicts.collect());
    text
}

/// Columns as wide as their widest cell; nothing where there are no rows.
fn table(text: &mut String, head: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let head: Vec<String> = head.iter().map(|title| title.to_uppercase()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&head).chain(&rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in all {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(&format!("{}{}", if std::ptr::eq(row, &head) { "\n" } else { "" }, line.trim_end()));
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use basilica_status::testing::{gpus, judgement, well};
    use basilica_status::{MinerStatus, alerts};

    use super::*;

    #[test]
    fn a_frame_of_text_has_everything() {
        let mut status = well();
        status.nodes[0].gpus = gpus("NVIDIA H100 80GB HBM3");
        status.nodes[0].judgements = vec![judgement()];
        let status = MinerStatus { alerts: alerts(&status), ..status };
        insta::assert_snapshot!(plain(&status));
    }
}
