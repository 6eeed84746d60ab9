//! Questions to a running validator, over its own API.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use basilica_types::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// For one whole question.
const DEADLINE: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes: 10,000 nodes take about 10 MB.
const ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// Prints a line of an answer.
fn print(line: &str) -> anyhow::Result<()> {
    crate::print(&format!("{line}\n"))
}

/// The JSON at a path; any status, because an unhealthy validator answers 503 with its reasons.
async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, Value)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(DEADLINE, exchange)
        .await
        .with_context(|| format!("ask the validator at {address}: no answer within 5 s"))?
        .with_context(|| format!("ask the validator at {address}; is it running, with this configuration"))?;
    let text = String::from_utf8(answer).context("the answer is not text")?;
    let (head, body) = text.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    let status =
        head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("the answer is not HTTP")?;
    let body = if status == 404 {
        Value::Null
    } else {
        serde_json::from_str(body).context("the answer is not JSON")?
    };
    Ok((status, body))
}

/// A moment of an answer as people read it.
fn moment(at: &Value) -> String {
    at.as_i64().map_or_else(|| "-".to_owned(), |ms| Timestamp(ms).rfc3339())
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or("-")
}

/// Health and all nodes. Succeeds if the validator is healthy.
pub(crate) async fn status(address: SocketAddr, json: bool) -> anyhow::Result<ExitCode> {
    let (code, health) = get(address, "/health").await?;
    let (_, nodes) = get(address, "/nodes").await?;
    let (_, fleet) = get(address, "/fleet").await?;
    let epochs = &fleet["epochs"];
    if json {
        print(
            &serde_json::json!({ "health": health, "epochs": epochs, "nodes": nodes["nodes"] }).to_string(),
        )?;
    } else {
        print(&format!("validator is {}", text(&health, "status")))?;
        for (name, state) in health["checks"].as_object().into_iter().flatten() {
            print(&format!("  {name}: {}", state.as_str().unwrap_or("?")))?;
        }
        for line in told_epochs(epochs) {
            print(&line)?;
        }
        for node in nodes["nodes"].as_array().into_iter().flatten() {
            print(&line(node))?;
        }
    }
    Ok(if code == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// When fleet epochs come, as far as anybody can tell, and how the last one went.
fn told_epochs(epochs: &Value) -> Vec<String> {
    let (next, last) = (&epochs["next"], &epochs["last"]);
    let mut lines = Vec::new();
    if next.is_object() {
        lines.push(format!(
            "next fleet epoch: at any block after {}, with a chance of 1 in {} for each",
            next["after_block"], next["mean_blocks"]
        ));
    } else {
        lines.push("next fleet epoch: never (verification.fleet_epoch_blocks is 0)".to_owned());
    }
    if last.is_object() {
        lines.push(format!(
            "last fleet epoch: block {} at {}, {} nodes, {} challenged at once, {} passed, {} under way",
            last["block"],
            moment(&last["at"]),
            last["nodes"],
            last["challenged_at_once"],
            last["passed"],
            last["under_way"]
        ));
    }
    lines
}

fn line(node: &Value) -> String {
    // A light check that passes does not make a failed full one good.
    let (last, full) = (&node["last_verdict"], &node["last_full"]);
    let verdict = if text(last, "outcome") == "failed" || full.is_null() { last } else { full };
    let reason = if verdict.is_null() { "no verdict yet" } else { text(verdict, "reason") };
    let score =
        node["score"].as_u64().map_or("-".to_owned(), |score| format!("{}.{:02}", score / 100, score % 100));
    format!(
        "{}  {}  {}  {}  gate {}  score {score}",
        text(node, "node_id"),
        text(node, "address"),
        text(node, "state"),
        reason,
        text(node, "gate")
    )
}

/// Everything about one node. Fails for an unknown one.
pub(crate) async fn why(address: SocketAddr, wanted: &str, json: bool) -> anyhow::Result<ExitCode> {
    let (_, nodes) = get(address, "/nodes").await?;
    let mut all = nodes["nodes"].as_array().into_iter().flatten();
    let found = all.find(|node| text(node, "node_id") == wanted || text(node, "address") == wanted);
    let Some(node) = found else {
        bail!("the validator knows no node {wanted:?}; `basilica-validator status` lists them");
    };
    let path = format!("/nodes/{}/verdicts", text(node, "node_id"));
    let (_, verdicts) = get(address, &path).await?;
    if json {
        print(&serde_json::json!({ "node": node, "verdicts": verdicts["verdicts"] }).to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&line(node))?;
    print(&format!("  multiplier {} ppm", node["multiplier"]))?;
    let (banned, next) = (moment(&node["banned_until"]), moment(&node["next_check"]));
    print(&format!("  banned until {banned}  next check {next}"))?;
    for verdict in verdicts["verdicts"].as_array().into_iter().flatten() {
        let (kind, outcome) = (text(verdict, "kind"), text(verdict, "outcome"));
        print(&format!(
            "  {} {kind:<5} {outcome} (fault {}): {}",
            moment(&verdict["finished"]),
            text(verdict, "fault"),
            text(verdict, "explanation")
        ))?;
        for line in measured(&verdict["measured"]) {
            print(&line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a verdict measured; rates are lower bounds.
fn measured(measured: &Value) -> Vec<String> {
    let rate = |of: &Value| of["bytes_per_second"].as_u64().map_or("-".to_owned(), |rate| rate.to_string());
    let mut lines = Vec::new();
    let stages = &measured["stages"];
    if stages.is_object() {
        let [work, fill, walk, openings] =
            ["work_ms", "fill_ms", "walk_ms", "openings_ms"].map(|stage| &stages[stage]);
        lines.push(format!("      work {work} ms, fill {fill} ms, walk {walk} ms, openings {openings} ms"));
    }
    for read in measured["memory"].as_array().into_iter().flatten() {
        let (uuid, space) = (text(read, "uuid"), text(read, "space"));
        lines.push(format!("      {uuid} {space} memory: at least {} bytes/s", rate(read)));
    }
    let network = &measured["network"];
    if network.is_object() {
        lines.push(format!(
            "      network: at least {} bytes/s ({}, {} of {} bytes)",
            rate(network),
            text(network, "end"),
            network["received"],
            network["asked"]
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_told_as_far_as_anybody_can_tell() {
        let told = told_epochs(&serde_json::json!({
            "next": { "after_block": 7, "mean_blocks": 450 },
            "last": { "block": 3, "at": 0, "nodes": 5, "challenged_at_once": 4, "passed": 3, "under_way": 0 },
        }));
        let expected = [
            "next fleet epoch: at any block after 7, with a chance of 1 in 450 for each",
            "last fleet epoch: block 3 at 1970-01-01T00:00:00.000Z, 5 nodes, 4 challenged at once, 3 passed, 0 under way",
        ];
        assert_eq!(told, expected);
        assert_eq!(told_epochs(&serde_json::json!({ "next": null, "last": null })).len(), 1);
    }

    #[test]
    fn measurements_are_told_where_there_are_any() {
        let told = measured(&serde_json::json!({
            "stages": { "work_ms": 1, "fill_ms": 2, "walk_ms": 3, "openings_ms": 4 },
            "memory": [{ "uuid": "GPU-1", "space": "host", "bytes_per_second": 5 }],
            "network": { "asked": 9, "received": 8, "end": "cut_short", "bytes_per_second": null },
        }));
        let expected = [
            "      work 1 ms, fill 2 ms, walk 3 ms, openings 4 ms",
            "      GPU-1 host memory: at least 5 bytes/s",
            "      network: at least - bytes/s (cut_short, 8 of 9 bytes)",
        ];
        assert_eq!(told, expected);
        assert!(measured(&serde_json::json!({ "stages": null, "memory": [], "network": null })).is_empty());
    }
}
