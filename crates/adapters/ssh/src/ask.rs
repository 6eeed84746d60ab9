//! One question to a port of a node, over plain TCP: whether the world can reach it.

use basilica_ports::{AddressPolicy, Ask, ShellError};
use basilica_types::Host;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::dial::lost;

const ASKING: &str = "asking a port";

pub(crate) async fn ask(ask: &Ask) -> Result<Vec<u8>, ShellError> {
    if ask.addresses == AddressPolicy::PublicOnly && !Host::is_public_address(ask.at.ip()) {
        return Err(ShellError::ForbiddenAddress { address: ask.address.clone(), ip: ask.at.ip() });
    }
    tokio::time::timeout(ask.deadline.as_duration(), talk(ask))
        .await
        .map_err(|_| ShellError::Deadline { step: ASKING, limit: ask.deadline })?
}

async fn talk(ask: &Ask) -> Result<Vec<u8>, ShellError> {
    let refused =
        |source: std::io::Error| ShellError::Connect { address: ask.address.clone(), source: source.into() };
    let mut stream = TcpStream::connect(ask.at).await.map_err(refused)?;
    stream.write_all(&ask.question).await.map_err(|source| lost(ASKING, source))?;
    let mut answer = Vec::new();
    let most = u64::try_from(ask.most).unwrap_or(u64::MAX).saturating_add(1);
    stream.take(most).read_to_end(&mut answer).await.map_err(|source| lost(ASKING, source))?;
    if answer.len() > ask.most {
        return Err(ShellError::TooMuchOutput { limit: ask.most });
    }
    Ok(answer)
}
