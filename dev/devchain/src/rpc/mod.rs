//! The legacy JSON-RPC of a Substrate node, by hand: names, aliases, parameters, answers, notifications and error codes.
//!
//! [`methods`] makes the module; `rpc_methods` lists what is in it and nothing else, because clients choose their back end
//! by that list (a `chainHead_*` name there would make subxt leave the legacy calls). [`server`] serves it.

mod author;
mod chain;
mod dev;
mod error;
mod eth;
mod heads;
mod line;
mod outlet;
pub mod server;
mod state;
mod storage;
mod system;
mod unreliable;

use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde::de::DeserializeOwned;

use crate::node::Node;
use crate::runtime::Hash;

type Answer<T> = Result<T, ErrorObjectOwned>;

/// Every method of the chain; the `dev_*` ones only with controls.
///
/// # Errors
/// Two methods have the same name, which is a mistake in this module.
pub fn methods(node: Arc<Node>, controls: bool) -> Result<RpcModule<Arc<Node>>, RegisterMethodError> {
    let mut module = RpcModule::new(node);
    chain::register(&mut module)?;
    heads::register(&mut module)?;
    state::register(&mut module)?;
    storage::register(&mut module)?;
    author::register(&mut module)?;
    system::register(&mut module)?;
    eth::register(&mut module)?;
    if controls {
        dev::register(&mut module)?;
    }
    let mut names: Vec<String> = module.method_names().map(str::to_owned).collect();
    names.push("rpc_methods".to_owned());
    names.sort_unstable();
    let listed = serde_json::json!({ "methods": names });
    module.register_method("rpc_methods", move |_, _, _| listed.clone())?;
    Ok(module)
}

/// Bytes as clients write them: hex with or without `0x`.
fn bytes_of(text: &str) -> Answer<Vec<u8>> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text))
        .map_err(|source| error::invalid_params(format!("not hexadecimal: {source}")))
}

fn hash_of(text: &str) -> Answer<Hash> {
    let bytes: [u8; 32] = bytes_of(text)?
        .try_into()
        .map_err(|_| error::invalid_params("a block hash has 32 bytes".to_owned()))?;
    Ok(Hash::from(bytes))
}

fn hex_of(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn hash_text(hash: &Hash) -> String {
    hex_of(hash.as_bytes())
}

/// A method's positional parameters, read from the left. Missing ones at the end count as `null`.
struct Arguments {
    rest: std::vec::IntoIter<serde_json::Value>,
}

impl Arguments {
    fn of(params: &Params<'_>) -> Answer<Self> {
        let values = match params.as_str() {
            None => Vec::new(),
            Some(_) => params.parse::<Vec<serde_json::Value>>()?,
        };
        Ok(Self { rest: values.into_iter() })
    }

    fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Answer<Option<T>> {
        match self.rest.next() {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|source| error::invalid_params(format!("parameter {name}: {source}"))),
        }
    }

    fn required<T: DeserializeOwned>(&mut self, name: &str) -> Answer<T> {
        self.optional(name)?.ok_or_else(|| error::invalid_params(format!("parameter {name} is missing")))
    }

    fn hash(&mut self) -> Answer<Option<Hash>> {
        self.optional::<String>("block hash")?.as_deref().map(hash_of).transpose()
    }

    fn bytes(&mut self, name: &str) -> Answer<Vec<u8>> {
        bytes_of(&self.required::<String>(name)?)
    }
}
