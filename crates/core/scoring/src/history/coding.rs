//! The stored form of records: SCALE behind a version and the stamp of the policy that folded them.
//!
//! Bytes of another version or policy are not wrong but old: the history that they stand for is folded anew. Anything else that
//! this program would not write is an error.

use basilica_types::{Millis, Timestamp};
use codec::{Compact, Decode, DecodeAll as _, Encode};

use super::conduct::{Conduct, Down, EVENTS, Event, LEAVES, Ramp};
use super::gpu::{GpuRecord, Place};
use super::marks::Marks;
use super::record::ATTEMPTS;
use super::{Absence, Policy, Record};

/// Goes up whenever the meaning of the bytes, or the fold itself, changes.
const VERSION: u8 = 2;

/// Why stored bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// They were folded by other rules: fold the history anew.
    #[error("record was folded by other rules (version {version}, stamp {stamp:?})")]
    OtherRules {
        /// Version of the program's fold.
        version: u8,
        /// The policy's numbers that it depends on.
        stamp: [u64; 2],
    },
    /// They are no encoding.
    #[error("record does not decode")]
    Malformed(#[from] codec::Error),
    /// They decode to what no fold comes to, or not in the one way that it is written.
    #[error("record holds {0}, which no history leads to")]
    Impossible(&'static str),
}

type Moment = i64;
type Span = (Moment, Moment);
/// First moment, then the time passed since the one before, each with what it was.
type Coded = Option<(Moment, Vec<(Compact<u64>, u8)>)>;

#[derive(Encode, Decode)]
struct ConductBytes {
    events: Coded,
    banned_until: Option<Moment>,
    proof_banned_until: Option<Moment>,
    down: Option<(Moment, Moment, bool)>,
    out_of_service: Option<(Moment, Moment, bool)>,
    ramp: (Compact<u64>, Moment, bool, bool),
    absent: Option<(Moment, u8)>,
    missed: Compact<u64>,
    leaves: Vec<Span>,
}

#[derive(Encode, Decode)]
struct RecordBytes {
    conduct: ConductBytes,
    full_failed: bool,
    last_full_passed: Option<Moment>,
    excused: Compact<u64>,
    excused_since: Option<Moment>,
    attempts: Coded,
    logged_in: bool,
    served_until: Option<Moment>,
    last: Option<Moment>,
}

#[derive(Encode, Decode)]
struct GpuBytes {
    conduct: ConductBytes,
    place: u8,
}

const EVENT_CODES: [Event; 3] = [Event::Rental, Event::Validation, Event::Proof];
const ABSENCE_CODES: [Absence; 4] =
    [Absence::Unreachable, Absence::Unlisted, Absence::Maintenance, Absence::KeyPending];
const PLACE_CODES: [Place; 3] = [Place::Node, Place::UnknownHost, Place::Missing];
const ATTEMPT_CODES: [bool; 2] = [false, true];

fn code_of<T: PartialEq>(codes: &[T], value: &T) -> u8 {
    let place = codes.iter().position(|code| code == value);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
}

fn value_of<T: Copy>(codes: &[T], code: u8, what: &'static str) -> Result<T, RecordError> {
    codes.get(usize::from(code)).copied().ok_or(RecordError::Impossible(what))
}

fn code_marks<M: Copy + PartialEq, const MOST: usize>(marks: &Marks<M, MOST>, codes: &[M]) -> Coded {
    let (first, _) = marks.as_slice().first()?;
    let mut before = *first;
    let coded = marks.as_slice().iter().map(|(at, mark)| {
        let passed = at.since(before).0;
        before = *at;
        (Compact(passed), code_of(codes, mark))
    });
    Some((first.0, coded.collect()))
}

fn read_marks<M: Copy, const MOST: usize>(
    coded: Coded,
    codes: &[M],
    what: &'static str,
) -> Result<Marks<M, MOST>, RecordError> {
    let Some((first, coded)) = coded else { return marks_of(Vec::new(), what) };
    let mut at = Timestamp(first);
    let marks = coded.into_iter().map(|(Compact(passed), code)| {
        at = at.saturating_add(Millis(passed));
        Ok((at, value_of(codes, code, what)?))
    });
    marks_of(marks.collect::<Result<_, RecordError>>()?, what)
}

fn marks_of<M: Copy, const MOST: usize>(
    marks: Vec<(Timestamp, M)>,
    what: &'static str,
) -> Result<Marks<M, MOST>, RecordError> {
    Marks::of(marks).ok_or(RecordError::Impossible(what))
}

const fn code_down(down: Down) -> (Moment, Moment, bool) {
    (down.first.0, down.event.0, down.full)
}

const fn read_down((first, event, full): (Moment, Moment, bool)) -> Down {
    Down { first: Timestamp(first), event: Timestamp(event), full }
}

impl From<&Conduct> for ConductBytes {
    fn from(c: &Conduct) -> Self {
        Self {
            events: code_marks::<_, EVENTS>(&c.events, &EVENT_CODES),
            banned_until: c.banned_until.map(|at| at.0),
            proof_banned_until: c.proof_banned_until.map(|at| at.0),
            down: c.down.map(code_down),
            out_of_service: c.out_of_service.map(code_down),
            ramp: (Compact(c.ramp.accrued), c.ramp.counted_to.0, c.ramp.started, c.ramp.running),
            absent: c.absent.map(|(at, absence)| (at.0, code_of(&ABSENCE_CODES, &absence))),
            missed: Compact(c.missed),
            leaves: c.leaves.iter().map(|(from, to)| (from.0, to.0)).collect(),
        }
    }
}

impl TryFrom<ConductBytes> for Conduct {
    type Error = RecordError;

    fn try_from(b: ConductBytes) -> Result<Self, RecordError> {
        let leaves: Vec<_> =
            b.leaves.into_iter().map(|(from, to)| (Timestamp(from), Timestamp(to))).collect();
        if leaves.len() > LEAVES {
            return Err(RecordError::Impossible("more leaves than are kept"));
        }
        let absent = b.absent.map(|(at, code)| {
            value_of(&ABSENCE_CODES, code, "an unknown absence").map(|absence| (Timestamp(at), absence))
        });
        let (Compact(accrued), counted_to, started, running) = b.ramp;
        Ok(Self {
            events: read_marks(b.events, &EVENT_CODES, "an unknown or surplus event")?,
            banned_until: b.banned_until.map(Timestamp),
            proof_banned_until: b.proof_banned_until.map(Timestamp),
            down: b.down.map(read_down),
            out_of_service: b.out_of_service.map(read_down),
            ramp: Ramp { accrued, counted_to: Timestamp(counted_to), started, running },
            absent: absent.transpose()?,
            missed: b.missed.0,
            leaves,
        })
    }
}

fn write(policy: &Policy, body: &impl Encode) -> Vec<u8> {
    let mut bytes = (VERSION, policy.stamp()).encode();
    body.encode_to(&mut bytes);
    bytes
}

fn read<B: Decode>(policy: &Policy, mut bytes: &[u8]) -> Result<B, RecordError> {
    let (version, stamp) = <(u8, [u64; 2])>::decode(&mut bytes)?;
    if (version, stamp) != (VERSION, policy.stamp()) {
        return Err(RecordError::OtherRules { version, stamp });
    }
    Ok(B::decode_all(&mut bytes)?)
}

/// A value has one spelling.
fn check_spelling(written: &[u8], read: &[u8]) -> Result<(), RecordError> {
    if written == read { Ok(()) } else { Err(RecordError::Impossible("another spelling of itself")) }
}

impl Record {
    /// The stored form, folded by this policy.
    pub fn to_bytes(&self, policy: &Policy) -> Vec<u8> {
        let moment = |at: Option<Timestamp>| at.map(|at| at.0);
        let body = RecordBytes {
            conduct: ConductBytes::from(&self.conduct),
            full_failed: self.full_failed,
            last_full_passed: moment(self.last_full_passed),
            excused: Compact(self.excused),
            excused_since: moment(self.excused_since),
            attempts: code_marks::<_, ATTEMPTS>(&self.attempts, &ATTEMPT_CODES),
            logged_in: self.logged_in,
            served_until: moment(self.served_until),
            last: moment(self.last),
        };
        write(policy, &body)
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`RecordError::OtherRules`] if another version or policy folded it, the others if no program did.
    pub fn from_bytes(policy: &Policy, bytes: &[u8]) -> Result<Self, RecordError> {
        let body: RecordBytes = read(policy, bytes)?;
        let record = Self {
            conduct: body.conduct.try_into()?,
            full_failed: body.full_failed,
            last_full_passed: body.last_full_passed.map(Timestamp),
            excused: body.excused.0,
            excused_since: body.excused_since.map(Timestamp),
            attempts: read_marks(body.attempts, &ATTEMPT_CODES, "an unknown or surplus attempt")?,
            logged_in: body.logged_in,
            served_until: body.served_until.map(Timestamp),
            last: body.last.map(Timestamp),
        };
        check_spelling(&record.to_bytes(policy), bytes)?;
        Ok(record)
    }
}

impl GpuRecord {
    /// The stored form, folded by this policy.
    pub fn to_bytes(&self, policy: &Policy) -> Vec<u8> {
        write(
            policy,
            &GpuBytes {
                conduct: ConductBytes::from(&self.conduct),
                place: code_of(&PLACE_CODES, &self.place),
            },
        )
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// As [`Record::from_bytes`].
    pub fn from_bytes(policy: &Policy, bytes: &[u8]) -> Result<Self, RecordError> {
        let body: GpuBytes = read(policy, bytes)?;
        let place = value_of(&PLACE_CODES, body.place, "an unknown place")?;
        let record = Self { conduct: body.conduct.try_into()?, place };
        check_spelling(&record.to_bytes(policy), bytes)?;
        Ok(record)
    }
}
