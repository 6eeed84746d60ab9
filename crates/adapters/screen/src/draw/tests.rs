use basilica_status::testing::{HOUR, NOW, ago, gpus, judgement, node, well};
use basilica_status::{Judgement, SessionStatus, alerts};
use basilica_types::{Hotkey, Ppm, SessionId, Timestamp};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::view::Key;

fn busy() -> MinerStatus {
    let mut status = well();
    status.nodes.push(node(3));
    status.nodes[0].gpus = gpus("NVIDIA H100 80GB HBM3");
    let broken = &mut status.nodes[1];
    (broken.state, broken.since) = (NodeState::Unreachable, Some(ago(2 * HOUR)));
    broken.error = Some("Connection refused".into());
    status.nodes[2].judgements = vec![Judgement {
        banned_until: Some(Timestamp(NOW.0 + HOUR)),
        ramp: Some(Ppm::new(500_000).unwrap()),
        last: judgement().last_full,
        ..judgement()
    }];
    status.sessions = vec![SessionStatus {
        id: SessionId::from_random([7; 8]),
        validator: Hotkey::from_bytes([2; 32]),
        since: ago(HOUR / 2),
        until: Timestamp(NOW.0 + HOUR / 2),
        nodes: 1,
    }];
    status.alerts = alerts(&status);
    status
}

fn screen(known: &Known, view: &View, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, known, view)).unwrap();
    terminal.backend().to_string()
}

fn known(status: MinerStatus) -> Known {
    Known { status: Some(status), problem: None }
}

#[test]
fn every_pane_is_drawn() {
    let status = busy();
    for (at, name) in ["nodes", "sessions", "verdicts", "alerts"].iter().enumerate() {
        let mut view = View::new();
        view.press(Key::Pane(at), &status);
        insta::assert_snapshot!(*name, screen(&known(status.clone()), &view, (140, 16)));
    }
}

#[test]
fn a_narrow_screen_shows_what_matters_most() {
    insta::assert_snapshot!("narrow", screen(&known(busy()), &View::new(), (80, 9)));
}

#[test]
fn a_node_is_drawn_in_full() {
    let status = busy();
    let mut view = View::new();
    view.press(Key::Open, &status);
    insta::assert_snapshot!("details_broken", screen(&known(status.clone()), &view, (100, 14)));
    let mut view = View::new();
    view.press(Key::Pane(2), &status);
    view.press(Key::Open, &status);
    insta::assert_snapshot!("details_banned", screen(&known(status), &view, (100, 18)));
}

#[test]
fn a_miner_that_does_not_answer_is_told_and_what_was_known_stays() {
    let problem = Some("no miner answers on 127.0.0.1:8091".to_owned());
    let none = Known { status: None, problem: problem.clone() };
    insta::assert_snapshot!("silent", screen(&none, &View::new(), (80, 8)));
    let old = screen(&Known { status: Some(well()), problem }, &View::new(), (140, 10));
    assert!(
        old.contains("what you see is old: no miner answers") && old.contains("root@192.0.2.1:22"),
        "{old}"
    );
}

#[test]
fn the_smallest_screen_is_drawn_without_harm() {
    let status = busy();
    for size in [(1, 1), (2, 3), (20, 5), (400, 100)] {
        for at in 0..4 {
            let mut view = View::new();
            view.press(Key::Pane(at), &status);
            screen(&known(status.clone()), &view, size);
            view.press(Key::Open, &status);
            view.press(Key::PageDown, &status);
            screen(&known(status.clone()), &view, size);
        }
    }
}
