//! `basilica proof verify` and `basilica verdict verify`: what a validator says, checked by anybody.
//!
//! Promises: nothing but the files is asked; they are strangers' bytes, read up to their bound and no further; a file that
//! is read and does not hold ends with its own exit code, so that a script can tell it from a file that is missing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use basilica_console::{print, read_at_most};
use basilica_proof::report::Report;
use basilica_proof::{TRANSCRIPT_BYTES_MAX, Transcript};
use basilica_types::{Category, Hotkey};
use basilica_verification::verdict_log::{INCLUSION_BYTES_MAX, Inclusion, SignedDay};
use basilica_verification::{CardRow, CardTable, Discrepancy, Measured, Outcome, SignedVerdict, audit};
use basilica_wire::{EnvelopeError, MAX_ENVELOPE};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Shown below the help of every command.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 it holds, 1 a file cannot be read, 2 the command line is wrong,
5 it was read and does not hold.";

const DOES_NOT_HOLD: u8 = 5;
/// Far above a page /gpu-categories with as many cards as a validator lists.
const CATEGORIES_BYTES_MAX: u64 = 1 << 20;

/// Proofs of GPUs.
#[derive(Debug, Subcommand)]
pub(crate) enum Proof {
    /// Check the transcript of a GPU proof, as a validator keeps it: every commitment and every opened product.
    ///
    /// Times are not in a transcript; they are the validator's word and stand in its signed verdict.
    #[command(after_help = EXIT_CODES)]
    Verify {
        /// The transcript, or `-` for standard input. A validator serves it at /transcripts/DIGEST.
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Verdicts of validators.
#[derive(Debug, Subcommand)]
pub(crate) enum VerdictCommand {
    /// Check a signed verdict: its signature, and with --transcript whether the proof bears it out.
    #[command(after_help = EXIT_CODES)]
    Verify(VerifyVerdict),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyVerdict {
    /// The verdict, or `-` for standard input. A validator serves it at /verdicts/DIGEST.
    file: PathBuf,
    /// The transcript that the verdict rests on.
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
    /// The validator's table of cards, where it has entries of its own; the built-in one if not given. A validator serves it at
    /// /gpu-categories.
    #[arg(long, value_name = "FILE", requires = "transcript")]
    categories: Option<PathBuf>,
    /// What shows that the verdict is in its validator's log. A validator serves it at /verdicts/DIGEST/inclusion once the day
    /// is over.
    #[arg(long, value_name = "FILE")]
    inclusion: Option<PathBuf>,
    /// Whose verdict it must be, as SS58. Without it, look who signed it: anyone can sign one.
    #[arg(long, value_name = "HOTKEY")]
    validator: Option<Hotkey>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Proof {
    /// Does what was asked.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Verify { file, json } = self;
        let transcript = read_transcript(&file)?;
        let replay = transcript.verify();
        let report = Report::new(&transcript, &replay);
        let answer = serde_json::to_value(&report).context("write the report as json")?;
        say(json, &answer, || proof_text(&transcript, &report))?;
        Ok(ended(replay.is_ok()))
    }
}

impl VerdictCommand {
    /// Does what was asked.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self::Verify(VerifyVerdict { file, transcript, categories, inclusion, validator, json }) = self;
        let bytes = read(&file, MAX_ENVELOPE as u64)?;
        let signed = match SignedVerdict::decode_verified(&bytes) {
            Ok(signed) if signed.signer() == signed.content().validator => signed,
            Ok(signed) => {
                let (named, signer) = (signed.content().validator, signed.signer());
                return not_theirs(
                    json,
                    true,
                    &format!("it names validator {named}, and {signer} signed it"),
                );
            }
            Err(error @ EnvelopeError::Signature { .. }) => {
                return not_theirs(json, false, &error.to_string());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("{} is no signed verdict", file.display()));
            }
        };
        let verdict = signed.content();
        if let Some(meant) = validator.filter(|meant| *meant != verdict.validator) {
            return not_theirs(json, true, &format!("{} signed it, not {meant}", verdict.validator));
        }
        let audited = match &transcript {
            Some(path) => {
                let cards = categories.as_deref().map_or_else(|| Ok(CardTable::built_in()), read_cards)?;
                Some(audit(verdict, &read_transcript(path)?, &cards))
            }
            None => None,
        };
        let contradiction = audited.as_ref().and_then(|audited| audited.as_ref().err());
        let shown = inclusion.as_deref().map(|path| logged(&signed, path)).transpose()?;
        let mut answer = verdict_json(&signed, contradiction, transcript.is_some());
        answer["log"] = shown.as_ref().map_or(Value::Null, LogLine::json);
        let is_logged = shown.as_ref().is_none_or(|shown| shown.0.is_ok());
        answer["holds"] = (contradiction.is_none() && is_logged).into();
        say(json, &answer, || {
            let text = verdict_text(&signed, contradiction, transcript.is_some());
            text + &shown.as_ref().map_or_else(String::new, LogLine::text)
        })?;
        Ok(ended(contradiction.is_none() && is_logged))
    }
}

/// A verdict's place in its validator's log, or why it has none.
struct LogLine(Result<(SignedDay, u64), String>);

/// Compares a verdict with the inclusion in a file.
fn logged(signed: &SignedVerdict, path: &Path) -> anyhow::Result<LogLine> {
    let bytes = read(path, INCLUSION_BYTES_MAX as u64)?;
    let inclusion = Inclusion::decode_bounded(&bytes)
        .with_context(|| format!("{} shows no inclusion in a log", path.display()))?;
    let day = match inclusion.verify(&signed.digest()) {
        Ok(day) if day.signer() == signed.signer() => day.clone(),
        Ok(day) => return Ok(LogLine(Err(format!("the log is that of {}", day.signer())))),
        Err(error) => return Ok(LogLine(Err(format!("{:#}", anyhow::Error::new(error))))),
    };
    Ok(LogLine(Ok((day, inclusion.index()))))
}

impl LogLine {
    fn json(&self) -> Value {
        match &self.0 {
            Ok((day, index)) => {
                let record = day.content();
                json!({ "holds": true, "day": record.day().to_string(), "netuid": record.netuid().0, "index": index,
                    "verdicts": record.count(), "root": record.root(), "record": day.digest(),
                    "previous": record.previous() })
            }
            Err(why) => json!({ "holds": false, "explanation": why }),
        }
    }

    fn text(&self) -> String {
        match &self.0 {
            Ok((day, index)) => {
                let record = day.content();
                format!(
                    "It is in its validator's log of {}: number {} of {} verdicts.\n  root        {}\n  record      {}\n",
                    record.day(),
                    index + 1,
                    record.count(),
                    record.root(),
                    day.digest()
                )
            }
            Err(why) => format!("It is NOT shown to be in its validator's log: {why}.\n"),
        }
    }
}

/// Somebody else's verdict, or nobody's: `signed` says whether the signature in it is its signer's.
fn not_theirs(json: bool, signed: bool, why: &str) -> anyhow::Result<ExitCode> {
    let signature = if signed { "valid" } else { "invalid" };
    let answer = json!({ "holds": false, "signature": signature, "explanation": why });
    say(json, &answer, || format!("The verdict is not the validator's: {why}.\n"))?;
    Ok(ended(false))
}

fn ended(holds: bool) -> ExitCode {
    if holds { ExitCode::SUCCESS } else { DOES_NOT_HOLD.into() }
}

fn say(json: bool, answer: &Value, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    let text = if json { format!("{answer:#}\n") } else { text() };
    print(&text).context("write to standard output")
}

fn read_transcript(path: &Path) -> anyhow::Result<Transcript> {
    let bytes = read(path, TRANSCRIPT_BYTES_MAX)?;
    Transcript::decode(&bytes).with_context(|| format!("{} is no transcript of a proof", path.display()))
}

/// The table of cards on a page `/gpu-categories`.
fn read_cards(path: &Path) -> anyhow::Result<CardTable> {
    let bytes = read(path, CATEGORIES_BYTES_MAX)?;
    let no_table = || format!("{} is no page /gpu-categories", path.display());
    let page: Value = serde_json::from_slice(&bytes).with_context(no_table)?;
    let rows = page["cards"].as_array().context("it has no cards").with_context(no_table)?;
    let rows = rows.iter().map(read_card).collect::<anyhow::Result<_>>().with_context(no_table)?;
    CardTable::only(rows).map_err(|(_, error)| error).with_context(no_table)
}

fn read_card(row: &Value) -> anyhow::Result<CardRow> {
    let name = row["name"].as_str().context("a card has no name")?;
    let named = |category: &Category| Some(category.as_str()) == row["category"].as_str();
    let category = Category::ALL.into_iter().find(named);
    let mib = |bound: &str| row[bound].as_u64().with_context(|| format!("{name} has no {bound}"));
    let category = category.with_context(|| format!("{name} has no category"))?;
    Ok(CardRow::new(name.parse()?, category, mib("min_vram_mib")?, mib("max_vram_mib")?)?)
}

fn read(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let bytes = if path == Path::new("-") {
        read_at_most(std::io::stdin().lock(), limit)
    } else {
        read_at_most(std::fs::File::open(path).with_context(|| format!("open {shown}"))?, limit)
    };
    bytes.with_context(|| format!("read {shown}"))
}

fn proof_text(transcript: &Transcript, report: &Report) -> String {
    let mut lines = vec![match (report.reason, &report.explanation) {
        (Some(reason), Some(why)) => format!("The proof does not hold: {why} ({reason})."),
        _ => "The proof holds.".to_owned(),
    }];
    for device in &report.devices {
        lines.push(format!("  gpu {}       {} {}", device.index, device.uuid, device.class));
        lines.push(format!(
            "              {} products of {n} x {k} by {k} x {n} in a chain, {} cells opened after the last",
            device.rounds,
            device.openings,
            n = device.side,
            k = device.inner,
        ));
        lines.push(format!(
            "              a prover that skips 5 % of this passes with probability {}",
            device.evasion_at_5_percent
        ));
        for memory in &device.memory {
            lines.push(format!(
                "              {} bytes of {} memory, read {} times over in {} lanes, {} steps opened",
                memory.bytes,
                memory.space,
                memory.bytes_read / memory.bytes,
                memory.lanes,
                memory.openings
            ));
            lines.push(format!(
                "              a device that lacks 1 % of it passes with probability {}",
                memory.evasion_at_1_percent
            ));
        }
    }
    if transcript.challenge().devices().iter().any(|device| device.claim.class.is_simulated()) {
        lines.push("              simulated: some CPU multiplied, no GPU is proven".to_owned());
    }
    lines.push(format!("  node        {}", report.node));
    lines.push(format!("  host key    {}", report.host_key));
    lines.push(format!("  nonce       {}", report.validator_nonce));
    lines.push(format!("  transcript  {}", report.transcript));
    lines.push("Who judged it, and when: `basilica verdict verify VERDICT --transcript THIS`.\n".to_owned());
    lines.join("\n")
}

fn verdict_json(signed: &SignedVerdict, contradiction: Option<&Discrepancy>, compared: bool) -> Value {
    let verdict = signed.content();
    let fault = match verdict.outcome {
        Outcome::Failed { fault, .. } => Some(fault.as_str()),
        Outcome::Passed => None,
    };
    let gpus = verdict.gpus.iter().map(|gpu| json!({ "uuid": gpu.uuid, "category": gpu.category }));
    json!({
        "holds": contradiction.is_none(), "signature": "valid", "transcript_compared": compared,
        "contradiction": contradiction.map(told),
        "digest": signed.digest(), "previous": verdict.previous, "validator": verdict.validator,
        "miner": verdict.miner, "node": verdict.node, "kind": verdict.kind.as_str(),
        "started": verdict.started, "finished": verdict.finished,
        "outcome": verdict.outcome.code(), "fault": fault, "gpus": gpus.collect::<Vec<_>>(),
        "count_unproven": verdict.unproven().map(|count| json!({ "claimed": count.claimed, "paid": count.paid })),
        "tries": verdict.evidence.tries, "transcript": verdict.evidence.transcript,
        "prover": verdict.evidence.prover, "policy": verdict.policy, "measured": verdict.evidence.measured,
        "probes": verdict.evidence.probes,
    })
}

/// With its causes.
fn told(found: &Discrepancy) -> String {
    format!("{:#}", anyhow::Error::from(found.clone()))
}

fn verdict_text(signed: &SignedVerdict, contradiction: Option<&Discrepancy>, compared: bool) -> String {
    let verdict = signed.content();
    let first = match (contradiction, compared, verdict.evidence.transcript) {
        (Some(found), ..) => {
            format!("The verdict is signed, and its proof contradicts it: {}.", told(found))
        }
        (None, true, _) => "The verdict is signed, and its proof bears it out.".to_owned(),
        (None, false, Some(_)) => {
            "The verdict is signed. Give --transcript to see whether its proof bears it out.".to_owned()
        }
        (None, false, None) => "The verdict is signed. It rests on no transcript.".to_owned(),
    };
    let outcome = match verdict.outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed { reason, fault } => {
            format!("{} (fault: {}): {}", reason.code(), fault.as_str(), reason.explanation())
        }
    };
    let mut lines = vec![
        first,
        format!("  outcome     {} check: {outcome}", verdict.kind.as_str()),
        format!("  finished    {}", verdict.finished.rfc3339()),
        format!("  validator   {}", verdict.validator),
        format!("  miner       {}", verdict.miner),
        format!("  node        {}", verdict.node),
    ];
    lines.extend(verdict.gpus.iter().map(|gpu| format!("  proven gpu  {} {}", gpu.uuid, gpu.category)));
    lines.extend(verdict.unproven().map(|count| format!("              {count}")));
    lines.extend(measured_lines(&verdict.evidence.measured));
    lines.extend(verdict.evidence.probes.lines().map(|line| format!("  probe       {line}")));
    lines.extend(verdict.evidence.transcript.map(|digest| format!("  transcript  {digest}")));
    lines.extend(verdict.previous.map(|digest| format!("  before it   {digest}")));
    lines.push(format!("  digest      {}\n", signed.digest()));
    lines.join("\n")
}

/// What the validator measured, by its clock; rates are lower bounds.
fn measured_lines(measured: &Measured) -> Vec<String> {
    let rate = |rate: Option<u64>| rate.map_or_else(|| "-".to_owned(), |rate| rate.to_string());
    let mut lines: Vec<String> = Vec::new();
    if let Some(stages) = measured.stages {
        let [work, fill, walk, openings] = [stages.work, stages.fill, stages.walk, stages.openings];
        lines.push(format!("  took        work {work}, fill {fill}, walk {walk}, openings {openings}"));
    }
    lines.extend(measured.memory.iter().map(|read| {
        let per_second = rate(read.bytes_per_second());
        format!("  read        {} at least {per_second} bytes/s of {} memory", read.uuid, read.space)
    }));
    lines.extend(measured.network.map(|transfer| {
        let per_second = rate(transfer.bytes_per_second());
        let (received, asked, end) = (transfer.received, transfer.asked, transfer.end.as_str());
        format!("  network     at least {per_second} bytes/s; {received} of {asked} bytes came ({end})")
    }));
    lines
}
