//! Asks a stranger's API what it thinks of a miner's nodes.
//!
//! The other side may be anybody: names are resolved here and the connection goes to the very address that the policy allowed (RULES
//! R11), answers are bounded in time, bytes and number, nothing of them is followed (no redirects) but a cursor of hex digits,
//! and a field that has another form than this program writes makes the whole answer none.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use basilica_ports::{
    AddressPolicy, JudgedNode, JudgedNodes, ValidatorApi, ValidatorApiError, ValidatorPlace,
};
use basilica_types::{BasisPoints, Digest, Host, Hotkey, Ppm, Timestamp};
use hyper::body::Bytes;

use crate::client::{self, AskError};
use crate::model::{Node, NodePage, VerdictSummaryRow};

/// For the resolver.
const RESOLVE: Duration = Duration::from_secs(5);
/// Bytes of one page.
const PAGE: usize = 8 << 20;
/// Bytes of a signed verdict.
const VERDICT: usize = 1 << 20;
/// Pages of one list, and nodes of one page.
const PAGES: usize = 9;
const NODES: usize = 500;
/// Bytes of one text.
const TEXT: usize = 512;

/// Validators' APIs over plain HTTP.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpValidatorApi;

#[async_trait]
impl ValidatorApi for HttpValidatorApi {
    async fn nodes(&self, at: &ValidatorPlace, miner: Hotkey) -> Result<JudgedNodes, ValidatorApiError> {
        let address = resolve(at).await?;
        let mut judged = JudgedNodes { nodes: Vec::new(), at: Timestamp(0) };
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES {
            let more = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let path = format!("/miners/{miner}/nodes?limit={NODES}{more}");
            let Some(body) = ask(at, address, &path, PAGE).await? else { break };
            let page: NodePage =
                serde_json::from_slice(&body).map_err(|_| malformed(at, "it is no page of nodes"))?;
            if page.nodes.len() > NODES {
                return Err(malformed(at, "its page has more nodes than were asked for"));
            }
            judged.at = moment(at, &page.timestamp)?;
            for node in &page.nodes {
                if node.miner_hotkey == miner.to_string() {
                    judged.nodes.push(read(at, node)?);
                }
            }
            cursor = page.next_cursor;
            match &cursor {
                None => break,
                Some(next) if is_cursor(next) => {}
                Some(_) => return Err(malformed(at, "its cursor is no cursor")),
            }
        }
        Ok(judged)
    }

    async fn verdict(
        &self,
        at: &ValidatorPlace,
        digest: Digest,
    ) -> Result<Option<Vec<u8>>, ValidatorApiError> {
        let address = resolve(at).await?;
        let body = ask(at, address, &format!("/verdicts/{digest}"), VERDICT).await?;
        Ok(body.map(|body| body.to_vec()))
    }
}

fn malformed(place: &ValidatorPlace, what: &'static str) -> ValidatorApiError {
    ValidatorApiError::Malformed { place: place.clone(), what }
}

/// The cursor goes into the next request as it is.
fn is_cursor(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The first address that may be dialled.
async fn resolve(at: &ValidatorPlace) -> Result<SocketAddr, ValidatorApiError> {
    let found: Vec<SocketAddr> = match &at.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, at.port)],
        Host::Name(name) => {
            let lookup = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((name.as_str(), at.port)));
            let failed = |source| ValidatorApiError::Address { place: at.clone(), source: Some(source) };
            match lookup.await {
                Ok(Ok(found)) => found.take(16).collect(),
                Ok(Err(error)) => return Err(failed(error.into())),
                Err(elapsed) => return Err(failed(elapsed.into())),
            }
        }
    };
    let is_allowed = |address: &SocketAddr| match at.addresses {
        AddressPolicy::Any => true,
        AddressPolicy::PublicOnly => Host::is_public_address(address.ip()),
    };
    let allowed = found.into_iter().find(is_allowed);
    allowed.ok_or_else(|| ValidatorApiError::Address { place: at.clone(), source: None })
}

/// The body of a 200; none of a 404.
async fn ask(
    at: &ValidatorPlace,
    address: SocketAddr,
    path: &str,
    most: usize,
) -> Result<Option<Bytes>, ValidatorApiError> {
    let place = at.to_string();
    let authority = place.trim_start_matches("http://");
    let answer = client::get_at_most(address, authority, path, most).await;
    let (status, body) = answer.map_err(|error| match error {
        AskError::Refused { status, .. } => ValidatorApiError::Refused { place: at.clone(), status },
        error => ValidatorApiError::Unreachable { place: at.clone(), source: error.into() },
    })?;
    match status.as_u16() {
        200 => Ok(Some(body)),
        404 => Ok(None),
        status => Err(ValidatorApiError::Refused { place: at.clone(), status }),
    }
}

fn moment(at: &ValidatorPlace, text: &str) -> Result<Timestamp, ValidatorApiError> {
    Timestamp::from_rfc3339(text).ok_or_else(|| malformed(at, "a moment has another form"))
}

fn optional_moment(at: &ValidatorPlace, text: Option<&str>) -> Result<Option<Timestamp>, ValidatorApiError> {
    text.map(|text| moment(at, text)).transpose()
}

fn text(at: &ValidatorPlace, text: &str) -> Result<String, ValidatorApiError> {
    if text.len() > TEXT { Err(malformed(at, "a text is too long")) } else { Ok(text.to_owned()) }
}

fn digest(
    at: &ValidatorPlace,
    verdict: Option<&VerdictSummaryRow>,
) -> Result<Option<Digest>, ValidatorApiError> {
    let read = verdict.map(|verdict| verdict.digest.parse()).transpose();
    read.map_err(|_| malformed(at, "a verdict's digest is none"))
}

fn read(at: &ValidatorPlace, node: &Node) -> Result<JudgedNode, ValidatorApiError> {
    let share = |_| malformed(at, "a share is above the whole");
    Ok(JudgedNode {
        node: node.node_id.parse().map_err(|_| malformed(at, "a node's id is none"))?,
        listed: text(at, &node.state)?,
        gate: node.gate.as_ref().map(|gate| text(at, gate)).transpose()?,
        gate_explanation: node.gate_explanation.as_ref().map(|why| text(at, why)).transpose()?,
        score: node.score.map(BasisPoints::new).transpose().map_err(share)?,
        ramp: node.multiplier.map(Ppm::new).transpose().map_err(share)?,
        banned_until: optional_moment(at, node.banned_until.as_deref())?,
        next_check: optional_moment(at, Some(&node.next_check))?,
        last: digest(at, node.last_verdict.as_ref())?,
        last_full: digest(at, node.last_full.as_ref())?,
    })
}

#[cfg(test)]
mod tests;
