//! From columns to domain values and back: fallible one way, exact the other.

use std::collections::BTreeSet;
use std::str::FromStr;

use basilica_ports::{Absence, BoxError, PaidGpu, StoreError};
use basilica_types::{Category, GpuUuid, Timestamp, Uid, Weight};
use basilica_verification::timing::DeadlineRecord;
use basilica_verification::{CheckKind, Fault, Outcome, ProvenGpu, Reason};
use basilica_wire::discovery::NodeStatus;
use codec::DecodeAll as _;

use crate::database::corrupt;

/// A value that the schema allows and no version of this program writes.
#[derive(Debug, thiserror::Error)]
#[error("unexpected value")]
pub(super) struct Unexpected;

pub(super) fn parse<T: FromStr>(text: &str, column: &'static str) -> Result<T, StoreError>
where
    T::Err: Into<BoxError>,
{
    text.parse().map_err(corrupt(column))
}

pub(super) fn kind(text: &str, column: &'static str) -> Result<CheckKind, StoreError> {
    let kinds = [CheckKind::Light, CheckKind::Full];
    kinds.into_iter().find(|kind| kind.as_str() == text).ok_or(Unexpected).map_err(corrupt(column))
}

/// `passed`, or a reason with its fault.
pub(super) fn outcome(code: &str, fault: Option<&str>, column: &'static str) -> Result<Outcome, StoreError> {
    match (code, fault) {
        ("passed", None) => Ok(Outcome::Passed),
        (code, Some(fault)) => Ok(Outcome::Failed {
            reason: parse::<Reason>(code, column)?,
            fault: parse::<Fault>(fault, column)?,
        }),
        (_, None) => Err(corrupt(column)(Unexpected)),
    }
}

/// The status column of an absence.
pub(super) const fn absence_status(absence: Absence) -> Option<NodeStatus> {
    match absence {
        Absence::Unlisted => None,
        Absence::Unreachable => Some(NodeStatus::Unreachable),
        Absence::Maintenance => Some(NodeStatus::Maintenance),
        Absence::KeyPending => Some(NodeStatus::KeyPending),
    }
}

pub(super) fn absence(status: Option<&str>, column: &'static str) -> Result<Absence, StoreError> {
    let status = status.map(|word| NodeStatus::from_wire(word).ok_or(Unexpected)).transpose();
    Absence::of(status.map_err(corrupt(column))?).ok_or(Unexpected).map_err(corrupt(column))
}

/// The fault column of an outcome.
pub(super) const fn fault(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Passed => None,
        Outcome::Failed { fault, .. } => Some(fault.as_str()),
    }
}

/// Unsigned to SQLite's signed; a value beyond is refused, not wrapped.
pub(super) fn signed(value: u64, column: &'static str) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(corrupt(column))
}

pub(super) fn unsigned<T: TryFrom<i64>>(value: i64, column: &'static str) -> Result<T, StoreError>
where
    T::Error: Into<BoxError>,
{
    T::try_from(value).map_err(corrupt(column))
}

/// `[uuid, category]`, and the memory in bytes where it is known.
#[derive(serde::Serialize, serde::Deserialize)]
struct GpuText(GpuUuid, Category, #[serde(default, skip_serializing_if = "Option::is_none")] Option<u64>);

pub(super) fn gpus_to_text(gpus: &[PaidGpu]) -> String {
    let texts =
        gpus.iter().map(|PaidGpu { gpu, memory_bytes }| GpuText(gpu.uuid, gpu.category, *memory_bytes));
    serde_json::to_string(&texts.collect::<Vec<_>>()).expect("texts and numbers always serialise")
}

pub(super) fn uuids_to_text(uuids: &BTreeSet<GpuUuid>) -> String {
    serde_json::to_string(uuids).expect("texts always serialise")
}

pub(super) fn gpus(text: &str, column: &'static str) -> Result<Vec<PaidGpu>, StoreError> {
    let texts: Vec<GpuText> = serde_json::from_str(text).map_err(corrupt(column))?;
    let paid =
        |GpuText(uuid, category, memory_bytes)| PaidGpu { gpu: ProvenGpu { uuid, category }, memory_bytes };
    Ok(texts.into_iter().map(paid).collect())
}

pub(super) fn times_to_text(times: &[Timestamp]) -> String {
    let times: Vec<i64> = times.iter().map(|at| at.0).collect();
    serde_json::to_string(&times).expect("numbers always serialise")
}

pub(super) fn times(text: &str, column: &'static str) -> Result<Vec<Timestamp>, StoreError> {
    let times: Vec<i64> = serde_json::from_str(text).map_err(corrupt(column))?;
    Ok(times.into_iter().map(Timestamp).collect())
}

/// Before its first proof a node has none.
pub(super) fn deadlines(bytes: Option<&[u8]>) -> Result<DeadlineRecord, StoreError> {
    let read = |mut bytes| DeadlineRecord::decode_all(&mut bytes).map_err(corrupt("nodes.deadlines"));
    bytes.map_or(Ok(DeadlineRecord::default()), read)
}

pub(super) fn weights_to_text(weights: &[(Uid, Weight)]) -> String {
    serde_json::to_string(weights).expect("pairs of numbers always serialise")
}

pub(super) fn weights(text: &str, column: &'static str) -> Result<Vec<(Uid, Weight)>, StoreError> {
    serde_json::from_str(text).map_err(corrupt(column))
}
