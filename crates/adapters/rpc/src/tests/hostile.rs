//! What a miner may send to make a validator suffer.

use super::*;
use crate::protocol::common;
use crate::protocol::miner::miner_discovery_server::{MinerDiscovery, MinerDiscoveryServer};

/// Answers a discovery with so many nodes of two bytes each.
struct Crowd(usize);

#[async_trait]
impl MinerDiscovery for Crowd {
    async fn authenticate_validator(
        &self,
        _: Request<miner::ValidatorAuthRequest>,
    ) -> Result<tonic::Response<miner::MinerAuthResponse>, Status> {
        // Many times a grant, in words that nobody reads.
        let error = common::ErrorInfo { message: "x".repeat(70_000), ..Default::default() };
        Ok(tonic::Response::new(miner::MinerAuthResponse { error: Some(error), ..Default::default() }))
    }

    async fn discover_nodes(
        &self,
        _: Request<miner::DiscoverNodesRequest>,
    ) -> Result<tonic::Response<miner::ListNodeConnectionDetailsResponse>, Status> {
        let nodes = vec![miner::NodeConnectionDetails::default(); self.0];
        Ok(tonic::Response::new(miner::ListNodeConnectionDetailsResponse { nodes, ..Default::default() }))
    }
}

#[tokio::test]
async fn a_miner_whose_answer_is_small_on_the_wire_and_huge_in_memory_is_refused_before_it_is_read() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = MinerDiscoveryServer::new(Crowd(100_000));
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let mut tasks = JoinSet::new();
    tasks.spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    let client = GrpcMinerDialer::default().dial(address).await.unwrap();
    let error = client.discover(discover_request()).await.unwrap_err();
    // By the bytes: the message would be refused by the name of its field.
    let MinerCallError::Malformed { field: "response", source } = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("at most 4096 are accepted"), "{source}");
    let error = client.authenticate(auth_request()).await.unwrap_err();
    assert!(matches!(error, MinerCallError::Malformed { field: "response", .. }), "{error:?}");
}
