//! Windows of weights.
//!
//! Every step of a window is one transaction that checks where the window is and who leads, so that of two leaders one
//! is refused, and a step that is done again after a crash does nothing.

use async_trait::async_trait;
use basilica_ports::{
    Leadership as _, NewWindow, Opened, PreparedWeights, StoreError, WeightStore, WeightWindow, WindowEnd,
    WindowForm,
};
use basilica_scoring::weights::Part;
use basilica_types::{BlockNumber, FencingToken, Uid, Weight};

use super::columns::{signed, unsigned, weights_to_text};
use super::window_row::{WindowRow, salt_to_text};
use super::{ValidatorDatabase, emissions};
use crate::database::unavailable;
use crate::sql::{On, Statement, query};

async fn token(on: impl Into<On<'_>>) -> Result<FencingToken, StoreError> {
    let token: i64 =
        query("SELECT token FROM leadership").scalar(on).await.map_err(unavailable("read leadership"))?;
    unsigned(token, "leadership.token").map(FencingToken)
}

/// Binds a signed call, in the order extrinsic, hash, nonce, genesis, born, born_hash, dies.
fn bind_call(statement: Statement, prepared: &PreparedWeights) -> Result<Statement, StoreError> {
    Ok(statement
        .bind(&prepared.extrinsic)
        .bind(prepared.hash.to_string())
        .bind(signed(prepared.nonce, "nonce")?)
        .bind(prepared.genesis.to_string())
        .bind(signed(prepared.born.0, "born")?)
        .bind(prepared.born_hash.to_string())
        .bind(signed(prepared.dies.0, "dies")?))
}

/// The columns commitment, salt and round.
type FormColumns = (Option<String>, Option<String>, Option<i64>);

fn form_columns(form: &WindowForm) -> Result<FormColumns, StoreError> {
    Ok(match form {
        WindowForm::Open => (None, None, None),
        WindowForm::Hash { hash, salt } => (Some(hash.to_string()), Some(salt_to_text(salt)), None),
        WindowForm::Timelocked { digest, round } => {
            (Some(digest.to_string()), None, Some(signed(*round, "windows.round")?))
        }
    })
}

impl ValidatorDatabase {
    /// Runs one update of a window; an update that finds the window elsewhere changes nothing.
    async fn step(&self, operation: &'static str, update: Statement) -> Result<(), StoreError> {
        let mut transaction = self.begin(operation).await?;
        update.execute(&mut transaction).await.map_err(unavailable(operation))?;
        transaction.commit().await.map_err(unavailable(operation))
    }
}

#[async_trait]
impl WeightStore for ValidatorDatabase {
    async fn fencing_token(&self) -> Result<FencingToken, StoreError> {
        match self.held() {
            Some(held) => Ok(held),
            None => Err(StoreError::Fenced { held: None, current: token(self.readers()).await? }),
        }
    }

    async fn open_window(&self, window: &NewWindow, parts: &[Part]) -> Result<Opened, StoreError> {
        let operation = unavailable("open window");
        let mut transaction = self.begin("open window").await?;
        let current = token(&mut transaction).await?;
        if current != window.fencing {
            transaction.roll_back().await.map_err(operation)?;
            return Ok(Opened::Fenced { current });
        }
        let under_way: Option<i64> =
            query("SELECT id FROM windows WHERE state IN ('prepared', 'committed', 'revealing')")
                .scalar_optional(&mut transaction)
                .await
                .map_err(&operation)?;
        if let Some(id) = under_way {
            transaction.roll_back().await.map_err(operation)?;
            return Ok(Opened::Busy(id));
        }
        let (commitment, salt, round) = form_columns(&window.form)?;
        let insert = query(
            "INSERT INTO windows
                 (extrinsic, hash, nonce, genesis, born, born_hash, dies, netuid, mechanism, fencing, created, weights,
                  expected, version_key, form, commitment, salt, round, state)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 'prepared') RETURNING id",
        );
        let id: i64 = bind_call(insert, &window.prepared)?
            .bind(i64::from(window.netuid.0))
            .bind(i64::from(window.mechanism.0))
            .bind(signed(window.fencing.0, "windows.fencing")?)
            .bind(window.created.0)
            .bind(weights_to_text(&window.weights))
            .bind(weights_to_text(&window.expected))
            .bind(window.version_key.to_string())
            .bind(window.form.as_str())
            .bind(commitment)
            .bind(salt)
            .bind(round)
            .scalar(&mut transaction)
            .await
            .map_err(&operation)?;
        emissions::keep(&mut transaction, id, parts).await?;
        transaction.commit().await.map_err(operation)?;
        Ok(Opened::Window(id))
    }

    async fn emission(&self, id: i64, skip: u32, limit: u32) -> Result<Vec<Part>, StoreError> {
        emissions::of_window(self, id, skip, limit).await
    }

    async fn record_commit(&self, id: i64, block: BlockNumber) -> Result<(), StoreError> {
        let update = query(
            "UPDATE windows SET state = 'committed', committed = $2 WHERE id = $1 AND state = 'prepared'",
        );
        let block = signed(block.0, "windows.committed")?;
        self.step("record commit of weights", update.bind(id).bind(block)).await
    }

    async fn open_reveal(
        &self,
        id: i64,
        fencing: FencingToken,
        reveal: &PreparedWeights,
    ) -> Result<Opened, StoreError> {
        let operation = unavailable("open reveal");
        let mut transaction = self.begin("open reveal").await?;
        let current = token(&mut transaction).await?;
        if current != fencing {
            transaction.roll_back().await.map_err(operation)?;
            return Ok(Opened::Fenced { current });
        }
        let moved = query("UPDATE windows SET state = 'revealing' WHERE id = $1 AND state = 'committed'")
            .bind(id)
            .execute(&mut transaction)
            .await
            .map_err(&operation)?;
        if moved == 0 {
            transaction.roll_back().await.map_err(operation)?;
            return Ok(Opened::Busy(id));
        }
        let insert = query(
            "INSERT INTO reveals (extrinsic, hash, nonce, genesis, born, born_hash, dies, \"window\")
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        );
        bind_call(insert, reveal)?.bind(id).execute(&mut transaction).await.map_err(&operation)?;
        transaction.commit().await.map_err(operation)?;
        Ok(Opened::Window(id))
    }

    async fn drop_reveal(&self, id: i64) -> Result<(), StoreError> {
        let operation = unavailable("drop reveal");
        let mut transaction = self.begin("drop reveal").await?;
        let moved = query("UPDATE windows SET state = 'committed' WHERE id = $1 AND state = 'revealing'")
            .bind(id)
            .execute(&mut transaction)
            .await
            .map_err(&operation)?;
        if moved > 0 {
            query("DELETE FROM reveals WHERE \"window\" = $1")
                .bind(id)
                .execute(&mut transaction)
                .await
                .map_err(&operation)?;
        }
        transaction.commit().await.map_err(operation)
    }

    async fn end_window(&self, id: i64, end: &WindowEnd) -> Result<(), StoreError> {
        let (state, block, reason) = match end {
            WindowEnd::Set { block } => ("set", Some(block), None),
            WindowEnd::Revealed { block, .. } => ("revealed", Some(block), None),
            WindowEnd::Refused { block, error } => ("refused", Some(block), Some(error.as_str())),
            WindowEnd::Expired(why) => ("expired", None, Some(why.as_str())),
            WindowEnd::Lost(why) => ("lost", None, Some(why.as_str())),
        };
        let update = query(
            "UPDATE windows SET state = $2, block = $3, reason = $4
             WHERE id = $1 AND state IN ('prepared', 'committed', 'revealing')",
        );
        let block = block.map(|block| signed(block.0, "windows.block")).transpose()?;
        self.step("end window", update.bind(id).bind(state).bind(block).bind(reason)).await
    }

    async fn record_read_back(&self, id: i64, weights: &[(Uid, Weight)]) -> Result<(), StoreError> {
        let update = query("UPDATE windows SET read_back = $2 WHERE id = $1");
        self.step("store weights read back", update.bind(id).bind(weights_to_text(weights))).await
    }

    async fn windows(&self, limit: u32) -> Result<Vec<WeightWindow>, StoreError> {
        let rows: Vec<WindowRow> = query(
            "SELECT windows.*, reveals.extrinsic AS reveal_extrinsic, reveals.hash AS reveal_hash,
                    reveals.nonce AS reveal_nonce, reveals.genesis AS reveal_genesis, reveals.born AS reveal_born,
                    reveals.born_hash AS reveal_born_hash, reveals.dies AS reveal_dies
             FROM windows LEFT JOIN reveals ON reveals.\"window\" = windows.id ORDER BY windows.id DESC LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.readers())
        .await
        .map_err(unavailable("read windows"))?;
        rows.into_iter().map(WeightWindow::try_from).collect()
    }

    async fn last_set(&self) -> Result<Option<BlockNumber>, StoreError> {
        let block: Option<i64> = query("SELECT max(block) FROM windows WHERE state IN ('set', 'revealed')")
            .scalar(self.readers())
            .await
            .map_err(unavailable("read windows"))?;
        block.map(|block| unsigned(block, "windows.block").map(BlockNumber)).transpose()
    }
}
