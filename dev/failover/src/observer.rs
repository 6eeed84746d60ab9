//! What the database saw: triggers that record every committed write, and somebody who looks.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Row as _};

/// Every row that is written to these tables leaves a line in `writes`, in the same transaction: with the token that the
/// transaction holds the lock of, and the name that its process connected by. All writers hold that lock, so `seq` grows
/// in the order of their commits.
const TRIGGERS: &str = "
CREATE TABLE writes (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, token BIGINT NOT NULL, process TEXT NOT NULL,
    tab TEXT NOT NULL, op TEXT NOT NULL
);
CREATE FUNCTION note_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO writes (token, process, tab, op)
        SELECT token, current_setting('application_name'), TG_TABLE_NAME, TG_OP FROM leadership;
    RETURN NULL;
END $$;
";
const WATCHED: [&str; 6] = ["verdicts", "windows", "reveals", "nodes", "miners", "history"];

/// A committed write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The leadership's token when it was made.
    pub token: i64,
    /// Which validator made it.
    pub process: String,
    /// To which table.
    pub table: String,
}

/// A connection of its own to the server.
#[derive(Debug)]
pub(crate) struct Observer {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl Observer {
    pub(crate) fn new(url: &str) -> Self {
        Self { options: url.parse().unwrap(), connection: None }
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        if self.connection.is_none() {
            self.connection = Some(PgConnection::connect_with(&self.options).await?);
        }
        self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    pub(crate) async fn install(&mut self) {
        let triggers: String = WATCHED
            .iter()
            .map(|table| {
                format!(
                    "CREATE TRIGGER note_{table} AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW \
                     EXECUTE FUNCTION note_write();"
                )
            })
            .collect();
        let script = format!("{TRIGGERS}{triggers}");
        let connection = self.connection().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(connection).await.unwrap();
    }

    async fn one(&mut self, query: &'static str, bind: i64) -> Option<i64> {
        let answer = match self.connection().await {
            Ok(connection) => sqlx::query(query).bind(bind).fetch_one(connection).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(row) => row.get(0),
            Err(_) => {
                // The server is being restarted; the next look connects anew.
                self.connection = None;
                None
            }
        }
    }

    /// The newest token; none while the server is down.
    pub(crate) async fn token(&mut self) -> Option<i64> {
        self.one("SELECT max(token) FROM leadership WHERE token >= $1", 0).await
    }

    /// The last committed write's number; none while the server is down.
    pub(crate) async fn last_write(&mut self) -> Option<i64> {
        self.one("SELECT coalesce(max(seq), 0) FROM writes WHERE seq >= $1", 0).await
    }

    /// Waits for a committed write under a token newer than this.
    pub(crate) async fn write_after_token(&mut self, token: i64) {
        self.until("SELECT count(*) FROM (SELECT 1 FROM writes WHERE token > $1 LIMIT 1) AS new", token)
            .await;
    }

    /// Waits until whoever leads with this token has stored some verdicts.
    pub(crate) async fn verdicts_under(&mut self, token: i64) {
        self.until("SELECT count(*) / 6 FROM writes WHERE token >= $1 AND tab = 'verdicts'", token).await;
    }

    /// Waits until whoever leads with this token has stored some rows.
    pub(crate) async fn writes_under(&mut self, token: i64) {
        self.until("SELECT count(*) / 6 FROM writes WHERE token >= $1", token).await;
    }

    /// Waits for a committed write after that one.
    pub(crate) async fn write_after(&mut self, seq: i64) {
        self.until("SELECT count(*) FROM (SELECT 1 FROM writes WHERE seq > $1 LIMIT 1) AS new", seq).await;
    }

    async fn until(&mut self, query: &'static str, bind: i64) {
        let wait = async {
            while self.one(query, bind).await.is_none_or(|count| count == 0) {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        };
        assert!(
            tokio::time::timeout(Duration::from_secs(60), wait).await.is_ok(),
            "nobody wrote within a minute"
        );
    }

    /// Every committed write, in order.
    pub(crate) async fn writes(&mut self) -> Vec<Write> {
        let connection = self.connection().await.unwrap();
        let rows = sqlx::query("SELECT token, process, tab FROM writes ORDER BY seq")
            .fetch_all(connection)
            .await
            .unwrap();
        rows.iter().map(|r| Write { token: r.get(0), process: r.get(1), table: r.get(2) }).collect()
    }

    /// Every verdict: its node, its digest and the one before.
    pub(crate) async fn verdicts(&mut self) -> Vec<(String, String, Option<String>)> {
        let connection = self.connection().await.unwrap();
        let rows = sqlx::query("SELECT node, digest, previous FROM verdicts ORDER BY seq")
            .fetch_all(connection)
            .await;
        rows.unwrap().iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect()
    }

    /// The signed calls of every window: its number and the bytes.
    pub(crate) async fn calls(&mut self) -> Vec<(i64, Vec<u8>)> {
        let query = "SELECT id, extrinsic FROM windows UNION ALL SELECT \"window\", extrinsic FROM reveals";
        let connection = self.connection().await.unwrap();
        let rows = sqlx::query(query).fetch_all(connection).await.unwrap();
        rows.iter().map(|r| (r.get(0), r.get(1))).collect()
    }
}
