//! What the server tells of itself, and to whom for how long.

use tokio_stream::{Stream, StreamExt as _};
use tonic::Streaming;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;

use super::*;
use crate::BriefLimits;

/// Far beyond any test.
const LONG: Millis = Millis::from_secs(3600);

async fn limited(reflection: BriefLimits) -> Running {
    Running::start(None, ServerLimits { reflection, ..ServerLimits::default() }).await
}

fn list() -> ServerReflectionRequest {
    let message_request = Some(MessageRequest::ListServices(String::new()));
    ServerReflectionRequest { host: String::new(), message_request }
}

async fn ask(
    channel: Channel,
    messages: impl Stream<Item = ServerReflectionRequest> + Send + 'static,
) -> Result<Streaming<ServerReflectionResponse>, Status> {
    let mut client = ServerReflectionClient::new(channel);
    Ok(client.server_reflection_info(Request::new(messages)).await?.into_inner())
}

#[tokio::test]
async fn reflection_lists_both_spellings() {
    let running = Running::start(None, ServerLimits::default()).await;
    let mut answers = ask(running.channel().await, tokio_stream::once(list())).await.unwrap();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = list.service.into_iter().map(|s| s.name).collect();
    for expected in
        ["basilca.miner.v1.MinerDiscovery", "basilica.miner.v1.MinerDiscovery", "grpc.health.v1.Health"]
    {
        assert!(names.iter().any(|n| n == expected), "{expected} in {names:?}");
    }
    assert!(answers.message().await.unwrap().is_none(), "it ends as its caller does");
}

#[tokio::test]
async fn a_stream_that_its_caller_never_ends_ends_by_itself_and_makes_room() {
    let running =
        limited(BriefLimits { within: Millis(300), messages: 9, streams: 1, streams_per_address: 1 }).await;
    let channel = running.channel().await;
    let asked = tokio_stream::once(list()).chain(tokio_stream::pending());
    let mut answers = ask(channel.clone(), asked).await.unwrap();
    assert!(answers.message().await.unwrap().is_some());
    let told = "reflection ends after 300 ms; call again";
    assert_eq!(refusal(answers.message().await), (Code::DeadlineExceeded, told.to_owned()));
    // The older version has the same bounds, and shares the one place: it is free once the server has let go of it.
    let asked = || {
        let message_request =
            Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()));
        let list = v1alpha::ServerReflectionRequest { host: String::new(), message_request };
        tokio_stream::once(list).chain(tokio_stream::pending())
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = loop {
        match client.server_reflection_info(Request::new(asked())).await {
            Ok(answers) => break answers.into_inner(),
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    };
    assert!(answers.message().await.unwrap().is_some());
    assert_eq!(refusal(answers.message().await), (Code::DeadlineExceeded, told.to_owned()));
}

#[tokio::test]
async fn a_stream_has_so_many_messages_and_each_is_small() {
    let running =
        limited(BriefLimits { within: LONG, messages: 3, streams: 1, streams_per_address: 1 }).await;
    let channel = running.channel().await;
    // Each is sent when the one before was answered.
    let (send, asked) = tokio::sync::mpsc::channel(1);
    send.send(list()).await.unwrap();
    let asked = tokio_stream::wrappers::ReceiverStream::new(asked);
    let mut answers = ask(channel.clone(), asked).await.unwrap();
    for _ in 0..3 {
        assert!(answers.message().await.unwrap().is_some());
        send.send(list()).await.unwrap();
    }
    let told = "reflection ends after 3 messages; call again";
    assert_eq!(refusal(answers.message().await), (Code::ResourceExhausted, told.to_owned()));
    let large = ServerReflectionRequest { host: "x".repeat(5_000), ..list() };
    let mut answers = loop {
        match ask(channel.clone(), tokio_stream::once(large.clone())).await {
            Ok(answers) => break answers,
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status}"),
        }
    };
    assert!(!matches!(answers.message().await, Ok(Some(_))), "it is not read, so not answered");
}

#[tokio::test]
async fn so_many_streams_of_an_address_are_open_at_once_over_all_its_connections() {
    let running =
        limited(BriefLimits { within: LONG, messages: 9, streams: 9, streams_per_address: 2 }).await;
    let asked = || tokio_stream::once(list()).chain(tokio_stream::pending());
    let (caller, theirs) = tokio::sync::mpsc::channel(1);
    let theirs = tokio_stream::wrappers::ReceiverStream::new(theirs);
    let _first = ask(running.channel().await, theirs).await.unwrap();
    let _second = ask(running.channel().await, asked()).await.unwrap();
    let third = ask(running.channel().await, asked()).await;
    let told = "too many streams of reflection; try again later";
    assert_eq!(refusal(third), (Code::ResourceExhausted, told.to_owned()));
    running.raw().await.authenticate_validator(convert::auth_request_message(&auth_request())).await.unwrap();
    // A caller that ends its stream makes room at once.
    drop(caller);
    let channel = running.channel().await;
    while let Err(status) = ask(channel.clone(), asked()).await {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    }
}
