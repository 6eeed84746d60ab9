//! The log as those who act see it: they leave a line and go on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use basilica_ports::Clock;

use crate::chain::Line;
use crate::file::{AuditRules, OpenError, Writer};

/// Lines that wait to be written: some seconds of a thousand nodes.
const WAITING: usize = 16_384;

/// What hears whether lines can be written, and if not, why.
type Told = dyn Fn(Result<(), String>) + Send + Sync;

/// The log. Its lines are written by a thread of its own: a disk that stalls must not hold up whoever stamps the time at which a
/// proof came. Dropped, it ends when all lines are written.
pub struct AuditLog {
    pub(crate) clock: Arc<dyn Clock>,
    told: Arc<Told>,
    /// Lines for which there was no room, which the writer does not know of yet.
    missed: Arc<AtomicU64>,
    /// None only while it is dropped.
    lines: Option<SyncSender<Line<'static>>>,
    writer: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditLog")
    }
}

impl AuditLog {
    /// Opens the log for going on after its last line, or begins one. `told` hears whether lines can be written, whenever that
    /// changes or is tried.
    ///
    /// # Errors
    /// If it can be neither made nor read, somebody else writes it, or there is no thread to be had.
    pub fn open(
        path: &Path,
        rules: AuditRules,
        clock: Arc<dyn Clock>,
        told: Box<Told>,
    ) -> Result<Self, OpenError> {
        let writer = Writer::open(path, rules)?;
        let told: Arc<Told> = told.into();
        let (lines, waiting) = sync_channel(WAITING);
        let telling = Arc::clone(&told);
        let missed = Arc::new(AtomicU64::new(0));
        let known = Arc::clone(&missed);
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let writing = thread
            .spawn(move || write(writer, &waiting, &known, &*telling))
            .map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        Ok(Self { clock, told, missed, lines: Some(lines), writer: Some(writing) })
    }

    /// Adds a line. What fails is told to whoever was named for it.
    pub(crate) fn add(&self, line: Line<'static>) {
        let Some(lines) = &self.lines else { return };
        let why = match lines.try_send(line) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => "the audit log's disk is too slow",
            Err(TrySendError::Disconnected(_)) => "the audit log's thread has ended",
        };
        self.missed.fetch_add(1, Ordering::Relaxed);
        lost(&*self.told, why.to_owned());
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        drop(self.lines.take());
        if let Some(writer) = self.writer.take() {
            // It panicked: it has told so, and nothing is left to write.
            let _ = writer.join();
        }
    }
}

fn write(mut writer: Writer, lines: &Receiver<Line<'static>>, missed: &AtomicU64, told: &Told) {
    while let Ok(line) = lines.recv() {
        writer.missed(missed.swap(0, Ordering::Relaxed));
        match writer.add(line) {
            Ok(()) => told(Ok(())),
            Err(error) => lost(told, format!("{} cannot be written: {error}", writer.path().display())),
        }
    }
}

fn lost(told: &Told, why: String) {
    tracing::error!(%why, "an operation is not in the audit log");
    told(Err(why));
}

#[cfg(test)]
mod tests;
