//! A window of weights as its row.

use basilica_ports::{
    Effect, Expiry, Lost, NewWindow, PreparedWeights, Salt, StoreError, WeightWindow, WindowEnd, WindowForm,
    WindowState,
};
use basilica_types::{BlockNumber, FencingToken, MechanismId, NetUid, Timestamp};
use zeroize::Zeroizing;

use super::columns::{self, Unexpected, parse, unsigned};
use crate::database::corrupt;

#[derive(sqlx::FromRow)]
pub(super) struct WindowRow {
    id: i64,
    netuid: i64,
    mechanism: i64,
    fencing: i64,
    created: i64,
    weights: String,
    expected: String,
    version_key: String,
    form: String,
    commitment: Option<String>,
    salt: Option<String>,
    round: Option<i64>,
    extrinsic: Vec<u8>,
    hash: String,
    nonce: i64,
    genesis: String,
    born: i64,
    born_hash: String,
    dies: i64,
    state: String,
    committed: Option<i64>,
    block: Option<i64>,
    reason: Option<String>,
    read_back: Option<String>,
    #[sqlx(flatten)]
    reveal: RevealRow,
}

/// All of them or none.
#[derive(sqlx::FromRow)]
struct RevealRow {
    reveal_extrinsic: Option<Vec<u8>>,
    reveal_hash: Option<String>,
    reveal_nonce: Option<i64>,
    reveal_genesis: Option<String>,
    reveal_born: Option<i64>,
    reveal_born_hash: Option<String>,
    reveal_dies: Option<i64>,
}

pub(super) fn salt_to_text(salt: &Salt) -> String {
    serde_json::to_string(salt.expose()).expect("numbers always serialise")
}

fn salt(text: String) -> Result<Salt, StoreError> {
    let text = Zeroizing::new(text);
    serde_json::from_str(&text).map(Salt::new).map_err(corrupt("windows.salt"))
}

/// What must be there in this state or form.
fn there<T>(value: Option<T>, column: &'static str) -> Result<T, StoreError> {
    value.ok_or(Unexpected).map_err(corrupt(column))
}

fn block(number: Option<i64>, column: &'static str) -> Result<BlockNumber, StoreError> {
    unsigned(there(number, column)?, column).map(BlockNumber)
}

impl WindowRow {
    fn state(&self) -> Result<WindowState, StoreError> {
        const REASON: &str = "windows.reason";
        let committed = || block(self.committed, "windows.committed");
        let end = || block(self.block, "windows.block");
        let reason = || there(self.reason.as_deref(), REASON);
        Ok(match self.state.as_str() {
            "prepared" => WindowState::Prepared,
            "committed" => WindowState::Committed { block: committed()? },
            "revealing" => WindowState::Revealing { block: committed()? },
            "set" => WindowState::Ended(WindowEnd::Set { block: end()? }),
            "revealed" => WindowState::Ended(WindowEnd::Revealed { committed: committed()?, block: end()? }),
            "refused" => {
                WindowState::Ended(WindowEnd::Refused { block: end()?, error: reason()?.to_owned() })
            }
            "expired" => WindowState::Ended(WindowEnd::Expired(there(Expiry::parse(reason()?), REASON)?)),
            "lost" => WindowState::Ended(WindowEnd::Lost(there(Lost::parse(reason()?), REASON)?)),
            _ => return Err(corrupt("windows.state")(Unexpected)),
        })
    }

    fn form(&mut self) -> Result<WindowForm, StoreError> {
        let commitment = || parse(there(self.commitment.as_deref(), COMMITMENT)?, COMMITMENT);
        Ok(match self.form.as_str() {
            "open" => WindowForm::Open,
            "hash" => WindowForm::Hash {
                hash: commitment()?,
                salt: salt(there(self.salt.take(), "windows.salt")?)?,
            },
            "timelocked" => {
                let round = unsigned(there(self.round, "windows.round")?, "windows.round")?;
                WindowForm::Timelocked { digest: commitment()?, round }
            }
            _ => return Err(corrupt("windows.form")(Unexpected)),
        })
    }
}

const COMMITMENT: &str = "windows.commitment";

impl RevealRow {
    fn prepared(
        self,
        (netuid, mechanism): (NetUid, MechanismId),
    ) -> Result<Option<PreparedWeights>, StoreError> {
        let Some(extrinsic) = self.reveal_extrinsic else { return Ok(None) };
        let nonce = there(self.reveal_nonce, "reveals.nonce")?;
        Ok(Some(PreparedWeights {
            extrinsic,
            hash: parse(&there(self.reveal_hash, "reveals.hash")?, "reveals.hash")?,
            nonce: unsigned(nonce, "reveals.nonce")?,
            netuid,
            mechanism,
            effect: Effect::Reveal,
            genesis: parse(&there(self.reveal_genesis, "reveals.genesis")?, "reveals.genesis")?,
            born: block(self.reveal_born, "reveals.born")?,
            born_hash: parse(&there(self.reveal_born_hash, "reveals.born_hash")?, "reveals.born_hash")?,
            dies: block(self.reveal_dies, "reveals.dies")?,
        }))
    }
}

impl TryFrom<WindowRow> for WeightWindow {
    type Error = StoreError;

    fn try_from(mut row: WindowRow) -> Result<Self, StoreError> {
        let (state, form) = (row.state()?, row.form()?);
        let read_back = row.read_back.as_deref().map(|text| columns::weights(text, "windows.read_back"));
        let netuid = NetUid(unsigned(row.netuid, "windows.netuid")?);
        let mechanism = MechanismId(unsigned(row.mechanism, "windows.mechanism")?);
        Ok(Self {
            id: row.id,
            opened: NewWindow {
                netuid,
                mechanism,
                fencing: FencingToken(unsigned(row.fencing, "windows.fencing")?),
                created: Timestamp(row.created),
                weights: columns::weights(&row.weights, "windows.weights")?,
                expected: columns::weights(&row.expected, "windows.expected")?,
                version_key: parse(&row.version_key, "windows.version_key")?,
                form,
                prepared: PreparedWeights {
                    extrinsic: row.extrinsic,
                    hash: parse(&row.hash, "windows.hash")?,
                    nonce: unsigned(row.nonce, "windows.nonce")?,
                    netuid,
                    mechanism,
                    effect: Effect::Weights,
                    genesis: parse(&row.genesis, "windows.genesis")?,
                    born: BlockNumber(unsigned(row.born, "windows.born")?),
                    born_hash: parse(&row.born_hash, "windows.born_hash")?,
                    dies: BlockNumber(unsigned(row.dies, "windows.dies")?),
                },
            },
            state,
            reveal: row.reveal.prepared((netuid, mechanism))?,
            read_back: read_back.transpose()?,
        })
    }
}
