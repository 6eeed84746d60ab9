//! What is looked at, and what a key makes of it. Pure.

use basilica_status::{MinerStatus, NodeStatus};

/// A list of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pane {
    Nodes,
    Sessions,
    Verdicts,
    Alerts,
}

impl Pane {
    pub(crate) const ALL: [Self; 4] = [Self::Nodes, Self::Sessions, Self::Verdicts, Self::Alerts];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Sessions => "sessions",
            Self::Verdicts => "verdicts",
            Self::Alerts => "alerts",
        }
    }

    fn step(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0);
        Self::ALL[(at + by) % Self::ALL.len()]
    }

    pub(crate) fn rows(self, status: &MinerStatus) -> usize {
        match self {
            Self::Nodes => status.nodes.len(),
            Self::Sessions => status.sessions.len(),
            Self::Verdicts => status.nodes.iter().map(|node| node.judgements.len()).sum(),
            Self::Alerts => status.alerts.len(),
        }
    }
}

/// By what nodes are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    State,
    Address,
    Use,
    Heat,
}

impl Sort {
    const ALL: [Self; 4] = [Self::State, Self::Address, Self::Use, Self::Heat];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Address => "address",
            Self::Use => "use",
            Self::Heat => "heat",
        }
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

/// What was pressed, as far as it means anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    NextPane,
    PreviousPane,
    Pane(usize),
    Open,
    Back,
    Sort,
    Reverse,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) pane: Pane,
    pub(crate) row: usize,
    pub(crate) sort: Sort,
    pub(crate) reverse: bool,
    /// One node in full, scrolled by so many lines.
    pub(crate) open: Option<(basilica_types::NodeId, u16)>,
}

const PAGE: usize = 10;

impl View {
    pub(crate) const fn new() -> Self {
        Self { pane: Pane::Nodes, row: 0, sort: Sort::State, reverse: false, open: None }
    }

    /// Nodes in the order in which they are shown.
    pub(crate) fn nodes<'a>(&self, status: &'a MinerStatus) -> Vec<&'a NodeStatus> {
        let mut nodes: Vec<&NodeStatus> = status.nodes.iter().collect();
        match self.sort {
            Sort::State => nodes.sort_by_key(|node| node.state),
            Sort::Address => nodes.sort_by(|a, b| a.address.cmp(&b.address)),
            Sort::Use => nodes.sort_by_key(|node| std::cmp::Reverse(node.gpus.utilization())),
            Sort::Heat => nodes.sort_by_key(|node| std::cmp::Reverse(node.gpus.hottest())),
        }
        if self.reverse {
            nodes.reverse();
        }
        nodes
    }

    pub(crate) fn press(&mut self, key: Key, status: &MinerStatus) {
        if let Some((_, scrolled)) = &mut self.open {
            match key {
                Key::Up => *scrolled = scrolled.saturating_sub(1),
                Key::Down => *scrolled = scrolled.saturating_add(1),
                Key::PageUp => *scrolled = scrolled.saturating_sub(10),
                Key::PageDown => *scrolled = scrolled.saturating_add(10),
                Key::First => *scrolled = 0,
                Key::Back | Key::Open => self.open = None,
                _ => {}
            }
            return;
        }
        match key {
            Key::Up => self.row = self.row.saturating_sub(1),
            Key::Down => self.row += 1,
            Key::PageUp => self.row = self.row.saturating_sub(PAGE),
            Key::PageDown => self.row += PAGE,
            Key::First => self.row = 0,
            Key::Last => self.row = usize::MAX,
            Key::NextPane => self.show(self.pane.step(1)),
            Key::PreviousPane => self.show(self.pane.step(Pane::ALL.len() - 1)),
            Key::Pane(at) => self.show(Pane::ALL.get(at).copied().unwrap_or(self.pane)),
            Key::Open => self.open(status),
            Key::Back => {}
            Key::Sort => self.sort = self.sort.next(),
            Key::Reverse => self.reverse = !self.reverse,
        }
        self.clamp(status);
    }

    fn show(&mut self, pane: Pane) {
        (self.pane, self.row) = (pane, 0);
    }

    fn open(&mut self, status: &MinerStatus) {
        let node = match self.pane {
            Pane::Nodes => self.nodes(status).get(self.row).map(|node| node.id),
            Pane::Verdicts => judged(status).nth(self.row).map(|(node, _)| node.id),
            Pane::Sessions | Pane::Alerts => None,
        };
        self.open = node.map(|node| (node, 0));
    }

    /// Keeps the row on one that is there, however the snapshot has changed.
    pub(crate) fn clamp(&mut self, status: &MinerStatus) {
        self.row = self.row.min(self.pane.rows(status).saturating_sub(1));
        if self.open.is_some_and(|(id, _)| !status.nodes.iter().any(|node| node.id == id)) {
            self.open = None;
        }
    }
}

/// Every judgement with its node.
pub(crate) fn judged(
    status: &MinerStatus,
) -> impl Iterator<Item = (&NodeStatus, &basilica_status::Judgement)> {
    status.nodes.iter().flat_map(|node| node.judgements.iter().map(move |judgement| (node, judgement)))
}

#[cfg(test)]
mod tests {
    use basilica_status::NodeState;
    use basilica_status::testing::{gpus, judgement, node, well};

    use super::*;

    #[test]
    fn keys_move_within_what_is_there() {
        let status = well();
        let mut view = View::new();
        view.press(Key::Up, &status);
        assert_eq!(view.row, 0);
        view.press(Key::Last, &status);
        assert_eq!(view.row, 1);
        view.press(Key::PageDown, &status);
        assert_eq!(view.row, 1);
        view.press(Key::NextPane, &status);
        assert_eq!((view.pane, view.row), (Pane::Sessions, 0));
        view.press(Key::PreviousPane, &status);
        view.press(Key::PreviousPane, &status);
        assert_eq!(view.pane, Pane::Alerts);
        view.press(Key::Pane(2), &status);
        assert_eq!(view.pane, Pane::Verdicts);
    }

    #[test]
    fn a_row_that_goes_takes_nobody_along() {
        let mut status = well();
        let mut view = View::new();
        view.press(Key::Last, &status);
        view.press(Key::Open, &status);
        assert_eq!(view.open, Some((status.nodes[1].id, 0)));
        status.nodes.pop();
        view.clamp(&status);
        assert_eq!((view.row, view.open), (0, None));
        status.nodes.clear();
        view.press(Key::Down, &status);
        view.press(Key::Open, &status);
        assert_eq!((view.row, view.open), (0, None));
    }

    #[test]
    fn nodes_are_sorted_by_what_matters() {
        let mut status = well();
        status.nodes.push(node(3));
        status.nodes[1].gpus = gpus("x");
        status.nodes[2].state = NodeState::Unreachable;
        let mut view = View::new();
        let order = |view: &View| -> Vec<u8> {
            let last = |node: &NodeStatus| node.address.to_string().as_bytes()[13] - b'0';
            view.nodes(&status).into_iter().map(last).collect()
        };
        assert_eq!(order(&view), [3, 1, 2]);
        view.press(Key::Sort, &status);
        assert_eq!(order(&view), [1, 2, 3]);
        view.press(Key::Sort, &status);
        assert_eq!(order(&view)[0], 2);
        view.press(Key::Reverse, &status);
        assert_eq!(order(&view)[2], 2);
    }

    #[test]
    fn a_verdict_opens_its_node() {
        let mut status = well();
        status.nodes[1].judgements = vec![judgement()];
        let mut view = View::new();
        view.press(Key::Pane(2), &status);
        view.press(Key::Open, &status);
        assert_eq!(view.open, Some((status.nodes[1].id, 0)));
        view.press(Key::Down, &status);
        view.press(Key::Back, &status);
        assert_eq!(view.open, None);
    }
}
