//! The screen, drawn from what is known and what is looked at.

use basilica_status::{MinerStatus, NodeState, Severity};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, TableState, Wrap};

use crate::view::{Pane, View, judged};
use crate::{rows, say};

/// What is known of the miner.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) status: Option<MinerStatus>,
    /// Why the last question was not answered; none if it was.
    pub(crate) problem: Option<String>,
}

const HELP: &str = " q quit · tab pane · ↑↓ move · enter node · esc back · s sort · r reverse";

pub(crate) fn draw(frame: &mut Frame<'_>, known: &Known, view: &View) {
    let problem_lines = u16::from(known.problem.is_some()) * 2;
    let [head, problem, tabs, body, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(problem_lines),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    if let Some(why) = &known.problem {
        let told = if known.status.is_some() { format!("what you see is old: {why}") } else { why.clone() };
        frame.render_widget(Paragraph::new(told).style(bad()).wrap(Wrap { trim: true }), problem);
    }
    frame.render_widget(Paragraph::new(HELP).style(soft()), foot);
    let Some(status) = &known.status else {
        let waits = if known.problem.is_some() { "asking again…" } else { "asking the miner…" };
        frame.render_widget(Paragraph::new(waits), body);
        return;
    };
    let [first, second] = say::heading(status);
    let first = Line::styled(first, Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Paragraph::new(vec![first, Line::raw(second)]), head);
    frame.render_widget(Paragraph::new(titles(status, view)), tabs);
    match view.open {
        Some((id, scrolled)) => details(frame, body, status, (id, scrolled)),
        None => list(frame, body, status, view),
    }
}

fn titles(status: &MinerStatus, view: &View) -> Line<'static> {
    let title = |(at, pane): (usize, &Pane)| {
        let text = format!(" {} {} ({}) ", at + 1, pane.title(), pane.rows(status));
        let is_shown = *pane == view.pane;
        let urgent = *pane == Pane::Alerts && status.alerts.iter().any(|a| a.severity == Severity::Critical);
        let style = if urgent { bad() } else { Style::new() };
        Span::styled(text, if is_shown { style.add_modifier(Modifier::REVERSED) } else { style })
    };
    let mut spans: Vec<Span<'static>> = Pane::ALL.iter().enumerate().map(title).collect();
    if view.pane == Pane::Nodes {
        let order = if view.reverse { ", reversed" } else { "" };
        spans.push(Span::styled(format!("  by {}{order}", view.sort.title()), soft()));
    }
    Line::from(spans)
}

/// The column of nodes' states.
const STATE: usize = 1;
/// From so many columns on, all that is known of nodes fits.
const WIDE: u16 = 132;
/// What is shown of nodes on a narrower screen; the rest is in each node's details.
const NARROW: [usize; 5] = [0, STATE, 4, 5, 8];

fn list(frame: &mut Frame<'_>, area: Rect, status: &MinerStatus, view: &View) {
    let now = status.at;
    match view.pane {
        Pane::Nodes => {
            let columns: &[usize] = if area.width < WIDE { &NARROW } else { &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9] };
            let nodes = view.nodes(status);
            let rows = nodes.into_iter().map(|node| {
                let cells = rows::node(node, now);
                let style = by_state(node.state);
                Row::new(columns.iter().map(move |at| {
                    let cell = Cell::from(cells[*at].clone());
                    if *at == STATE { cell.style(style) } else { cell }
                }))
            });
            let head: Vec<&str> = columns.iter().map(|at| rows::NODES[*at]).collect();
            let widths: Vec<Constraint> =
                columns.iter().map(|at| Constraint::Min([24, 14, 11, 26, 5, 6, 7, 4, 18, 8][*at])).collect();
            table(frame, area, (&head, rows.collect(), &widths), view.row);
        }
        Pane::Sessions => {
            let rows = status.sessions.iter().map(|session| Row::new(rows::session(session, now)));
            let widths = [48, 16, 14, 11, 5].map(Constraint::Min);
            table(frame, area, (&rows::SESSIONS, rows.collect(), &widths), view.row);
        }
        Pane::Verdicts => {
            let rows = judged(status).map(|(node, judgement)| {
                let has_failed = judgement.last.as_ref().is_some_and(|last| !last.passed);
                let row = Row::new(rows::verdict(node, judgement, now));
                if has_failed { row.style(bad()) } else { row }
            });
            let widths = [24, 13, 22, 22, 8, 8, 11].map(Constraint::Min);
            table(frame, area, (&rows::VERDICTS, rows.collect(), &widths), view.row);
        }
        Pane::Alerts => alerts(frame, area, status, view.row),
    }
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    (head, rows, widths): (&[&str], Vec<Row<'_>>, &[Constraint]),
    row: usize,
) {
    if rows.is_empty() {
        frame.render_widget(Paragraph::new("nothing to show").style(soft()), area);
        return;
    }
    let head = Row::new(head.iter().copied()).style(soft().add_modifier(Modifier::UNDERLINED));
    let table = Table::new(rows, widths)
        .header(head)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::default().with_selected(Some(row));
    frame.render_stateful_widget(table, area, &mut state);
}

/// The chosen alert in full below the list.
fn alerts(frame: &mut Frame<'_>, area: Rect, status: &MinerStatus, row: usize) {
    let [above, below] = Layout::vertical([Constraint::Min(3), Constraint::Length(8)]).areas(area);
    let rows = status.alerts.iter().map(|alert| {
        let style = if alert.severity == Severity::Critical { bad() } else { Style::new().fg(Color::Yellow) };
        let [severity, rest @ ..] = rows::alert(alert);
        let cells = std::iter::once(Cell::from(severity).style(style));
        Row::new(cells.chain(rest.into_iter().map(Cell::from)))
    });
    let widths = [Constraint::Length(8), Constraint::Fill(1), Constraint::Fill(1)];
    table(frame, above, (&rows::ALERTS, rows.collect(), &widths), row);
    if let Some(alert) = status.alerts.get(row) {
        let since = alert.since.map(|since| say::lasting(status.at, Some(since)));
        let lines = [
            alert.what.to_string(),
            format!("why:  {}", alert.why),
            format!("next: {}", alert.todo),
            since.map_or_else(String::new, |since| format!("since {since}")),
        ];
        let text = Text::from_iter(lines.map(Line::raw));
        let block = Block::bordered().title(format!(" {} ", alert.severity.as_str()));
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }).block(block), below);
    }
}

fn details(
    frame: &mut Frame<'_>,
    area: Rect,
    status: &MinerStatus,
    (id, scrolled): (basilica_types::NodeId, u16),
) {
    let Some(node) = status.nodes.iter().find(|node| node.id == id) else { return };
    let lines = rows::details(node, status).into_iter().map(|line| {
        let is_heading = !line.starts_with(' ');
        let style = if is_heading { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
        Line::styled(line, style)
    });
    let text = Text::from_iter(lines);
    // At least the last line stays on the screen.
    let most = u16::try_from(text.lines.len()).unwrap_or(u16::MAX).saturating_sub(1);
    let paragraph = Paragraph::new(text).wrap(Wrap { trim: false }).scroll((scrolled.min(most), 0));
    frame.render_widget(paragraph, area);
}

const fn by_state(state: NodeState) -> Style {
    match state {
        NodeState::Healthy => Style::new().fg(Color::Green),
        NodeState::Maintenance | NodeState::Unknown => soft(),
        NodeState::Degraded | NodeState::LockedOut => Style::new().fg(Color::Yellow),
        _ => bad(),
    }
}

const fn bad() -> Style {
    Style::new().fg(Color::Red)
}

const fn soft() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

#[cfg(test)]
mod tests;
