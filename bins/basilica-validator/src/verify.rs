//! Has the running validator check a node in full now, and waits for the verdict: `verify`.
//!
//! A verdict counts if its check began at or after the moment at which it was asked for. A check that was under way then
//! saw the node as it was before, and by ending it puts off the one that was asked for: it is asked for again. Whatever keeps
//! the validator from answering for a while (a restart, its limit of requests) ends nothing before the operator's patience does.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use basilica_console as console;
use basilica_http::VerdictRow;
use basilica_http::client::AskError;
use basilica_ports::Clock;
use basilica_store::{OpenOptions, ValidatorDatabase};
use basilica_system::SystemClock;
use basilica_types::{Millis, NodeId, Timestamp};
use basilica_validator_service::ValidatorConfig;
use serde_json::json;

use crate::ask::{self, NodeName, Validator};
use crate::{database, print};

/// Between two questions to the running validator.
const PAUSE: Millis = Millis::from_secs(1);
/// The same after one that it did not answer.
const LONGER_PAUSE: Millis = Millis::from_secs(5);
/// Between two lines about what is waited for.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Has the running validator check a node in full now, and tells the verdict. Exit code 1 if it is not a pass.
pub(crate) async fn verify(
    config: &ValidatorConfig,
    node: &NodeName,
    patience: Millis,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let validator = Validator::of(config)?;
    let (id, clock) = (node.id(), SystemClock::new());
    ask::node(&validator, node).await?;
    let before = ask::verdicts(&validator, id).await?;
    let asked = clock.now();
    hasten(config, id, asked).await?;
    let awaited = Awaited::new(asked, &before);
    let verdicts = awaited
        .wait(
            &clock,
            id,
            patience,
            async || ask::verdicts(&validator, id).await,
            async || hasten(config, id, clock.now()).await,
        )
        .await?;
    if json {
        print(&format!("{:#}\n", json!({ "verdicts": verdicts })))?;
    } else {
        for verdict in &verdicts {
            print(&format!("miner {}\n{}", verdict.miner_hotkey, ask::told_verdict(verdict)))?;
        }
    }
    let passed = verdicts.iter().all(|verdict| verdict.outcome == "passed");
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(console::FAILURE) })
}

/// Which verdicts are the answer.
struct Awaited {
    /// When it was asked for. Moments have one form, in which later ones come later.
    since: String,
    /// The digests of the verdicts that are not.
    seen: BTreeSet<String>,
}

impl Awaited {
    fn new(since: Timestamp, before: &[VerdictRow]) -> Self {
        let seen = before.iter().map(|verdict| verdict.digest.clone()).collect();
        Self { since: since.rfc3339(), seen }
    }

    fn answers(&self, verdict: &VerdictRow) -> bool {
        verdict.kind == "full" && verdict.started >= self.since
    }

    /// Full checks that ended since, and had begun before.
    fn overtaken<'a>(&self, verdicts: &'a [VerdictRow]) -> Vec<&'a VerdictRow> {
        let full = verdicts.iter().filter(|verdict| verdict.kind == "full" && !self.answers(verdict));
        full.filter(|verdict| !self.seen.contains(&verdict.digest)).collect()
    }

    /// Asks for verdicts until one answers, and hastens again whenever a check that was under way has ended.
    async fn wait(
        mut self,
        clock: &dyn Clock,
        id: NodeId,
        patience: Millis,
        ask: impl AsyncFn() -> Result<Vec<VerdictRow>, AskError>,
        hasten: impl AsyncFn() -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<VerdictRow>> {
        let (began, mut said) = (clock.monotonic(), None::<Duration>);
        loop {
            let silent = match ask().await {
                Ok(verdicts) => {
                    let answers: Vec<VerdictRow> =
                        verdicts.iter().filter(|verdict| self.answers(verdict)).cloned().collect();
                    if !answers.is_empty() {
                        return Ok(answers);
                    }
                    let overtaken = self.overtaken(&verdicts);
                    // Two such within the hour are a ban (RULES R3): the second is not ours to hurry.
                    if let Some(fault) = overtaken.iter().find(|row| row.fault.as_deref() == Some("node")) {
                        bail!(
                            "a check of {id} that was under way found {}, by the node's own fault; the next one comes in its time, \
                             because a second such finding within the hour is a ban (`basilica-validator why {id}`)",
                            fault.outcome
                        );
                    }
                    if !overtaken.is_empty() {
                        hasten().await?;
                        self.seen.extend(overtaken.iter().map(|row| row.digest.clone()));
                    }
                    None
                }
                Err(error) if error.may_pass() => Some(anyhow::Error::new(error)),
                Err(error) => return Err(error.into()),
            };
            let waited = clock.monotonic().saturating_sub(began);
            let last = silent.as_ref().map_or_else(String::new, |error| format!("; {error:#}"));
            if waited >= patience.as_duration() {
                bail!(
                    "no full check of {id} that began after it was asked for ended within {} s{last}; it stays due, and `basilica-validator why {id}` will have its verdict",
                    patience.0 / 1_000
                );
            }
            if said.is_none_or(|said| waited.saturating_sub(said) >= SAY_AGAIN) {
                console::tell(&format!(
                    "{id}: waiting for the full check, {} s so far{last}",
                    waited.as_secs()
                ));
                said = Some(waited);
            }
            clock.sleep(if silent.is_some() { LONGER_PAUSE } else { PAUSE }).await;
        }
    }
}

/// Makes the full check due at `now`.
async fn hasten(config: &ValidatorConfig, id: NodeId, now: Timestamp) -> anyhow::Result<()> {
    let url = database::url(config)?;
    let options = OpenOptions { migrate: false, ..database::options(config) };
    let store = ValidatorDatabase::open_beside(&url, options).await?;
    let asked = store.hasten(id, now).await;
    store.close().await;
    if asked? == 0 {
        bail!(
            "no miner names node {id} as available, so that it is not checked; `basilica-validator why {id}` says more"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use basilica_runtime_service::testing::VirtualClock;

    use super::*;

    const NODE: NodeId = NodeId::from_bytes([7; 16]);
    const PATIENCE: Millis = Millis::from_secs(60);

    /// A verdict on a check that began so many seconds after 2025 did, where the clock of these tests starts.
    fn verdict(digest: &str, kind: &str, second: u8) -> VerdictRow {
        serde_json::from_value(json!({
            "digest": digest, "previous": null, "miner_hotkey": "5F", "node_id": NODE.to_string(), "kind": kind,
            "started": format!("2025-01-01T00:00:{second:02}.000Z"), "finished": "2025-01-01T00:00:50.000Z",
            "outcome": "passed", "explanation": "", "fault": null, "gpus": [], "count_unproven": null, "tries": 1,
            "transcript": null, "prover": "", "policy": "", "measured": {}, "probes": {},
        }))
        .unwrap()
    }

    fn refused(status: u16) -> AskError {
        AskError::Refused { path: String::new(), status, detail: "in its own words".to_owned() }
    }

    type Answer = Result<Vec<VerdictRow>, AskError>;

    /// Asked for after ten seconds with `before` known; these are the validator's answers, and nothing new after them. What
    /// came of it, and how often it was hastened again.
    async fn waits(before: &[VerdictRow], answers: Vec<Answer>) -> (anyhow::Result<Vec<VerdictRow>>, u32) {
        let clock = VirtualClock::new();
        clock.advance(Millis::from_secs(10));
        let (answers, hastened) = (RefCell::new(answers.into_iter()), Cell::new(0));
        let waiting = Awaited::new(clock.now(), before).wait(
            clock.as_ref(),
            NODE,
            PATIENCE,
            async || answers.borrow_mut().next().unwrap_or_else(|| Ok(before.to_vec())),
            async || {
                hastened.set(hastened.get() + 1);
                Ok(())
            },
        );
        let time = async {
            loop {
                clock.sleepers(1).await;
                clock.advance_to_next();
            }
        };
        let result = tokio::select! {
            result = waiting => result,
            () = time => unreachable!("time does not end"),
        };
        (result, hastened.get())
    }

    #[tokio::test]
    async fn only_a_full_check_that_began_since_answers() {
        let before = [verdict("old", "full", 1)];
        let under_way = [verdict("under way", "full", 9), verdict("light", "light", 30), before[0].clone()];
        let then = [&[verdict("new", "full", 10)], &under_way[..]].concat();
        let answers = vec![Ok(before.to_vec()), Ok(under_way.to_vec()), Ok(under_way.to_vec()), Ok(then)];
        let (result, hastened) = waits(&before, answers).await;
        let told: Vec<String> = result.unwrap().into_iter().map(|verdict| verdict.digest).collect();
        assert_eq!(told, ["new"]);
        assert_eq!(hastened, 1, "once for the check that was under way");
    }

    #[tokio::test]
    async fn a_fault_of_the_node_that_was_being_found_is_not_followed_by_another() {
        let mut found = verdict("under way", "full", 9);
        found.outcome = "proof_opening_mismatch".to_owned();
        found.fault = Some("node".to_owned());
        let (result, hastened) = waits(&[], vec![Ok(vec![found])]).await;
        let why = result.unwrap_err().to_string();
        assert!(why.contains("proof_opening_mismatch") && hastened == 0, "{why}");
    }

    #[tokio::test]
    async fn a_validator_that_does_not_answer_for_a_while_ends_nothing() {
        let deadline = || AskError::Deadline { address: ([127, 0, 0, 1], 1).into() };
        let broken = AskError::Exchange { address: ([127, 0, 0, 1], 1).into(), source: "reset".into() };
        let new = vec![verdict("new", "full", 11)];
        let answers = vec![Err(refused(429)), Err(refused(503)), Err(deadline()), Err(broken), Ok(new)];
        assert_eq!(waits(&[], answers).await.0.unwrap().len(), 1);
        let ended = waits(&[], vec![Err(refused(404))]).await.0.unwrap_err();
        assert!(ended.to_string().contains("404"), "{ended}");
    }

    #[tokio::test]
    async fn patience_ends_with_what_was_last_in_the_way() {
        let nothing = waits(&[], Vec::new()).await.0.unwrap_err().to_string();
        assert!(nothing.contains("within 60 s") && nothing.contains("stays due"), "{nothing}");
        let silent = (0..20).map(|_| Err(refused(503))).collect();
        let silent = waits(&[], silent).await.0.unwrap_err().to_string();
        assert!(silent.contains("in its own words"), "{silent}");
    }
}
