//! Windows of weights.

use async_trait::async_trait;
use basilica_ports::{
    NewWindow, Opened, PreparedWeights, StoreError, WeightStore, WeightWindow, WeightsOutcome, WindowState,
};
use basilica_types::{BlockNumber, FencingToken, NetUid, Timestamp, Uid, Weight};
use sqlx::SqliteConnection;

use super::ValidatorDatabase;
use super::columns::{self, Unexpected, parse, signed, unsigned, weights_to_text};
use crate::database::{corrupt, unavailable};

#[derive(sqlx::FromRow)]
struct WindowRow {
    id: i64,
    netuid: i64,
    fencing: i64,
    created: i64,
    weights: String,
    expected: String,
    extrinsic: Vec<u8>,
    hash: String,
    nonce: i64,
    genesis: String,
    born: i64,
    born_hash: String,
    dies: i64,
    state: String,
    block: Option<i64>,
    error: Option<String>,
    read_back: Option<String>,
}

impl WindowRow {
    fn state(&self) -> Result<WindowState, StoreError> {
        let block = || -> Result<BlockNumber, StoreError> {
            let block = self.block.ok_or(Unexpected).map_err(corrupt("windows.block"))?;
            unsigned(block, "windows.block").map(BlockNumber)
        };
        Ok(match (self.state.as_str(), &self.error) {
            ("prepared", _) => WindowState::Prepared,
            ("set", _) => WindowState::Concluded(WeightsOutcome::Set { block: block()? }),
            ("failed", Some(error)) => {
                WindowState::Concluded(WeightsOutcome::Failed { block: block()?, error: error.clone() })
            }
            ("expired", _) => WindowState::Concluded(WeightsOutcome::Expired),
            _ => return Err(corrupt("windows.state")(Unexpected)),
        })
    }
}

impl TryFrom<WindowRow> for WeightWindow {
    type Error = StoreError;

    fn try_from(row: WindowRow) -> Result<Self, StoreError> {
        let state = row.state()?;
        let read_back = row.read_back.as_deref().map(|text| columns::weights(text, "windows.read_back"));
        let netuid = NetUid(unsigned(row.netuid, "windows.netuid")?);
        Ok(Self {
            id: row.id,
            opened: NewWindow {
                netuid,
                fencing: FencingToken(unsigned(row.fencing, "windows.fencing")?),
                created: Timestamp(row.created),
                weights: columns::weights(&row.weights, "windows.weights")?,
                expected: columns::weights(&row.expected, "windows.expected")?,
                prepared: PreparedWeights {
                    extrinsic: row.extrinsic,
                    hash: parse(&row.hash, "windows.hash")?,
                    nonce: unsigned(row.nonce, "windows.nonce")?,
                    netuid,
                    genesis: parse(&row.genesis, "windows.genesis")?,
                    born: BlockNumber(unsigned(row.born, "windows.born")?),
                    born_hash: parse(&row.born_hash, "windows.born_hash")?,
                    dies: BlockNumber(unsigned(row.dies, "windows.dies")?),
                },
            },
            state,
            read_back: read_back.transpose()?,
        })
    }
}

async fn token(connection: &mut SqliteConnection) -> Result<FencingToken, StoreError> {
    let token: i64 = sqlx::query_scalar("SELECT token FROM leadership")
        .fetch_one(connection)
        .await
        .map_err(unavailable("read leadership"))?;
    unsigned(token, "leadership.token").map(FencingToken)
}

#[async_trait]
impl WeightStore for ValidatorDatabase {
    async fn fencing_token(&self) -> Result<FencingToken, StoreError> {
        let mut connection = self.0.readers().acquire().await.map_err(unavailable("read leadership"))?;
        token(&mut connection).await
    }

    async fn open_window(&self, window: &NewWindow) -> Result<Opened, StoreError> {
        let operation = unavailable("open window");
        let mut transaction = self.0.begin("open window").await?;
        let current = token(&mut transaction).await?;
        if current != window.fencing {
            return Ok(Opened::Fenced { current });
        }
        let under_way: Option<i64> = sqlx::query_scalar("SELECT id FROM windows WHERE state = 'prepared'")
            .fetch_optional(&mut *transaction)
            .await
            .map_err(&operation)?;
        if let Some(id) = under_way {
            return Ok(Opened::Busy(id));
        }
        let prepared = &window.prepared;
        let id = sqlx::query(
            "INSERT INTO windows
                 (netuid, fencing, created, weights, expected, extrinsic, hash, nonce, born, dies, genesis,
                  born_hash, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 'prepared')",
        )
        .bind(i64::from(window.netuid.0))
        .bind(signed(window.fencing.0, "windows.fencing")?)
        .bind(window.created.0)
        .bind(weights_to_text(&window.weights))
        .bind(weights_to_text(&window.expected))
        .bind(&prepared.extrinsic)
        .bind(prepared.hash.to_string())
        .bind(signed(prepared.nonce, "windows.nonce")?)
        .bind(signed(prepared.born.0, "windows.born")?)
        .bind(signed(prepared.dies.0, "windows.dies")?)
        .bind(prepared.genesis.to_string())
        .bind(prepared.born_hash.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(&operation)?
        .last_insert_rowid();
        transaction.commit().await.map_err(operation)?;
        Ok(Opened::Window(id))
    }

    async fn conclude_window(&self, id: i64, outcome: &WeightsOutcome) -> Result<(), StoreError> {
        let (state, block, error) = match outcome {
            WeightsOutcome::Set { block } => ("set", Some(block), None),
            WeightsOutcome::Failed { block, error } => ("failed", Some(block), Some(error.as_str())),
            WeightsOutcome::Expired => ("expired", None, None),
        };
        let operation = unavailable("conclude window");
        let mut transaction = self.0.begin("conclude window").await?;
        sqlx::query(
            "UPDATE windows SET state = ?2, block = ?3, error = ?4 WHERE id = ?1 AND state = 'prepared'",
        )
        .bind(id)
        .bind(state)
        .bind(block.map(|block| signed(block.0, "windows.block")).transpose()?)
        .bind(error)
        .execute(&mut *transaction)
        .await
        .map_err(&operation)?;
        transaction.commit().await.map_err(operation)
    }

    async fn record_read_back(&self, id: i64, weights: &[(Uid, Weight)]) -> Result<(), StoreError> {
        let operation = unavailable("store weights read back");
        let mut transaction = self.0.begin("store weights read back").await?;
        sqlx::query("UPDATE windows SET read_back = ?2 WHERE id = ?1")
            .bind(id)
            .bind(weights_to_text(weights))
            .execute(&mut *transaction)
            .await
            .map_err(&operation)?;
        transaction.commit().await.map_err(operation)
    }

    async fn windows(&self, limit: u32) -> Result<Vec<WeightWindow>, StoreError> {
        let rows: Vec<WindowRow> = sqlx::query_as("SELECT * FROM windows ORDER BY id DESC LIMIT ?1")
            .bind(i64::from(limit))
            .fetch_all(self.0.readers())
            .await
            .map_err(unavailable("read windows"))?;
        rows.into_iter().map(WeightWindow::try_from).collect()
    }

    async fn last_set(&self) -> Result<Option<BlockNumber>, StoreError> {
        let block: Option<i64> = sqlx::query_scalar("SELECT max(block) FROM windows WHERE state = 'set'")
            .fetch_one(self.0.readers())
            .await
            .map_err(unavailable("read windows"))?;
        block.map(|block| unsigned(block, "windows.block").map(BlockNumber)).transpose()
    }
}
