//! The loop around keys, answers and frames.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use basilica_status::MinerStatus;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::draw::{Known, draw};
use crate::view::{Key, View};

/// Between two questions to the miner.
const EVERY: Duration = Duration::from_secs(2);
/// How long a key is waited for before answers and the wish to end are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Shows what `ask` answers, again and again, until a key or a signal (SIGINT, SIGTERM, SIGHUP) ends it. The terminal is as before afterwards, after a panic too.
///
/// # Errors
/// Standard output is no terminal, or it cannot be drawn on.
pub fn run(ask: impl FnMut() -> Result<MinerStatus, String> + Send) -> io::Result<()> {
    if !io::stdout().is_terminal() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "standard output is no terminal"));
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let (answers, answered) = sync_channel(1);
    let (leave, left) = sync_channel::<()>(0);
    std::thread::scope(|scope| {
        scope.spawn(move || keep_asking(ask, &answers, &left));
        // Puts a hook before the panic's own that gives the terminal back first.
        let terminal = ratatui::try_init()?;
        let ended = show(terminal, &answered, &stop);
        ratatui::restore();
        // Both ends of the asking thread's channels go, so that it ends with its next look at them.
        drop((leave, answered));
        ended
    })
}

fn keep_asking(
    mut ask: impl FnMut() -> Result<MinerStatus, String>,
    answers: &SyncSender<Result<MinerStatus, String>>,
    left: &Receiver<()>,
) {
    loop {
        if answers.send(ask()).is_err() || left.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn show(
    mut terminal: DefaultTerminal,
    answered: &Receiver<Result<MinerStatus, String>>,
    stop: &AtomicBool,
) -> io::Result<()> {
    let (mut known, mut view) = (Known::default(), View::new());
    loop {
        match answered.try_recv() {
            Ok(Ok(status)) => {
                view.clamp(&status);
                known = Known { status: Some(status), problem: None };
            }
            Ok(Err(problem)) => known.problem = Some(problem),
            Err(_) => {}
        }
        terminal.draw(|frame| draw(frame, &known, &view))?;
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !event::poll(TICK)? {
            continue;
        }
        let Event::Key(pressed) = event::read()? else { continue };
        match meaning(pressed) {
            Some(Meaning::Leave) => return Ok(()),
            Some(Meaning::View(key)) => {
                if let Some(status) = &known.status {
                    view.press(key, status);
                }
            }
            None => {}
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Leave,
    View(Key),
}

fn meaning(pressed: KeyEvent) -> Option<Meaning> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    let is_control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    let key = match pressed.code {
        KeyCode::Char('c' | 'd') if is_control => return Some(Meaning::Leave),
        KeyCode::Char('q' | 'Q') => return Some(Meaning::Leave),
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home | KeyCode::Char('g') => Key::First,
        KeyCode::End | KeyCode::Char('G') => Key::Last,
        KeyCode::Tab | KeyCode::Right => Key::NextPane,
        KeyCode::BackTab | KeyCode::Left => Key::PreviousPane,
        KeyCode::Char(digit @ '1'..='4') => Key::Pane(digit.to_digit(10)? as usize - 1),
        KeyCode::Enter => Key::Open,
        KeyCode::Esc | KeyCode::Backspace => Key::Back,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('r') => Key::Reverse,
        _ => return None,
    };
    Some(Meaning::View(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_c_leaves_and_letters_alone_do_not() {
        let press = |code, modifiers| meaning(KeyEvent::new(code, modifiers));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Meaning::Leave));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(press(KeyCode::Char('3'), KeyModifiers::NONE), Some(Meaning::View(Key::Pane(2))));
    }

    #[test]
    fn asking_ends_when_nobody_listens() {
        let (answers, answered) = sync_channel(1);
        let (leave, left) = sync_channel::<()>(0);
        drop((leave, answered));
        keep_asking(|| Err("silent".to_owned()), &answers, &left);
    }
}
