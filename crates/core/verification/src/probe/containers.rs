//! Container engines: which one runs here, and which of its containers are rentals.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the derive of codec casts the variant indexes that stand here"
)]

use codec::{Decode, Encode};
use serde::Serialize;

/// A program that runs containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Docker Engine.
    #[codec(index = 0)]
    Docker,
    /// Podman.
    #[codec(index = 1)]
    Podman,
}

impl Engine {
    /// In the order in which they are looked for.
    pub const ALL: [Self; 2] = [Self::Docker, Self::Podman];

    /// The program, and the name of its section.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// Whether there is an engine, and whether it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineState {
    /// It was not asked for.
    #[codec(index = 0)]
    NotAsked,
    /// Neither program is there.
    #[codec(index = 1)]
    Absent,
    /// One is there, and does not answer this user.
    #[codec(index = 2)]
    Silent(Engine),
    /// It answers.
    #[codec(index = 3)]
    Answers(Engine),
}

/// Most rental containers that are listed of one node.
const RENTALS_MAX: usize = 64;
/// Longest rental id.
const RENTAL_ID_MAX: usize = 64;

/// A running container that says it is a rental (label `basilica.rental_id`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RentalContainer {
    /// The engine's id, 64 hex digits.
    pub id: String,
    /// The label's value.
    pub rental: String,
}

/// Lines that no engine prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of containers is not one")]
pub struct ListingError;

/// What `ps --no-trunc --filter label=basilica.rental_id --format '{{.ID}} {{.Label "basilica.rental_id"}}'` printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing(pub Vec<RentalContainer>);

impl Listing {
    /// Reads the lines.
    pub fn parse(output: &[u8]) -> Result<Self, ListingError> {
        let text = std::str::from_utf8(output).map_err(|_| ListingError)?;
        let mut all: Vec<RentalContainer> = Vec::new();
        for line in text.split_terminator('\n') {
            let (id, rental) = line.split_once(' ').ok_or(ListingError)?;
            let is_id =
                id.len() == 64 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            let is_rental = (1..=RENTAL_ID_MAX).contains(&rental.len())
                && rental.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
            if !is_id || !is_rental || all.len() >= RENTALS_MAX || all.iter().any(|other| other.id == id) {
                return Err(ListingError);
            }
            all.push(RentalContainer { id: id.to_owned(), rental: rental.to_owned() });
        }
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded of Docker 20.10.24 and of the client 28.2.2 against it: both print the same.
    const DOCKER: &[u8] = b"9a8ed659bc17b7571b9ed947907e0f2d596e370ef35713676316270916938ae8 rental-1\n";

    #[test]
    fn what_docker_prints_is_read() {
        let read = Listing::parse(DOCKER).unwrap();
        assert_eq!(read.0.len(), 1);
        assert_eq!(read.0[0].rental, "rental-1");
        assert_eq!(Listing::parse(b""), Ok(Listing::default()), "no rentals: nothing is printed");
    }

    #[test]
    fn nothing_else_is() {
        let twice = [DOCKER, DOCKER].concat();
        let many: Vec<u8> = (0..=RENTALS_MAX).flat_map(|n| format!("{n:064x} r\n").into_bytes()).collect();
        let long = format!("{} {}\n", "a".repeat(64), "r".repeat(65));
        let coloured = format!("{} \u{1b}[31mr\n", "a".repeat(64));
        let cases: [&[u8]; 8] =
            [b"\n", b"short r\n", b"\xff\xfe", b"\0", &twice, &many, long.as_bytes(), coloured.as_bytes()];
        for bad in cases {
            assert_eq!(Listing::parse(bad), Err(ListingError), "{:?}", String::from_utf8_lossy(bad));
        }
        assert!(Listing::parse(&DOCKER[..30]).is_err(), "cut off");
    }
}
