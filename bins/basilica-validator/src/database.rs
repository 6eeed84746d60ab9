//! Where the validator's tables are, by its configuration.

use anyhow::{Context as _, bail};
use basilica_store::{OpenOptions, ValidatorDatabase};
use basilica_types::DatabaseUrl;
use basilica_validator_service::ValidatorConfig;

use crate::build::expand;

/// Most bytes of a password's file.
const PASSWORD_BYTES: u64 = 4096;

/// The configured database, with the password from its file.
pub(crate) fn url(config: &ValidatorConfig) -> anyhow::Result<DatabaseUrl> {
    let (DatabaseUrl::Postgres(url), Some(file)) = (&config.database.url, &config.database.password_file)
    else {
        return Ok(config.database.url.clone());
    };
    let path = expand(file)?;
    let shown = path.display();
    let bytes = std::fs::File::open(&path)
        .and_then(|file| basilica_console::read_at_most(file, PASSWORD_BYTES))
        .with_context(|| format!("read the database's password from {shown}"))?;
    let text = zeroize::Zeroizing::new(bytes);
    let line = std::str::from_utf8(&text).ok().map(|text| text.trim_end_matches(['\r', '\n']));
    match line {
        Some(line) if !line.is_empty() && !line.contains(['\n', '\0']) => {
            Ok(DatabaseUrl::Postgres(url.with_password(line)))
        }
        _ => bail!("the database's password in {shown} is not one line of text"),
    }
}

pub(crate) const fn options(config: &ValidatorConfig) -> OpenOptions {
    OpenOptions { readers: config.database.max_connections, migrate: config.database.run_migrations }
}

/// What a start would find missing, without asking a server anything.
pub(crate) async fn check(config: &ValidatorConfig) -> anyhow::Result<()> {
    Ok(ValidatorDatabase::check(&url(config)?, options(config)).await?)
}
