//! Messages off the wire, refused before they take far more memory than they have bytes.
//!
//! A list's entry may have two bytes on the wire and hundreds in memory: an answer of 4 MiB could be two million nodes, and more than half a
//! gigabyte in the validator that asked. So entries are counted in the bytes, before anything is made of them. Rejected: counting
//! the decoded message, which is there by then, and smaller answers, which honest miners with many nodes need.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::Buf;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

use crate::convert::{self, FieldError};
use crate::protocol::miner;

/// A message of which the bytes alone can be too much.
pub(crate) trait Bounded: Message + Default {
    /// That the message has no more entries than are accepted. Bytes that are no message are for the decoder to refuse.
    fn check(_bytes: &[u8]) -> Result<(), FieldError> {
        Ok(())
    }
}

impl Bounded for miner::ValidatorAuthRequest {}
impl Bounded for miner::MinerAuthResponse {}
impl Bounded for miner::DiscoverNodesRequest {}
impl Bounded for miner::ListNodeConnectionDetailsResponse {
    fn check(bytes: &[u8]) -> Result<(), FieldError> {
        const NODES: usize = 1;
        const HOST_KEYS: usize = 9;
        let mut nodes = 0;
        for node in entries(bytes, NODES) {
            nodes += 1;
            convert::few_nodes(nodes)?;
            convert::few_host_keys(entries(node, HOST_KEYS).count())?;
        }
        Ok(())
    }
}

/// What a message has under this number, each entry's bytes, up to where the bytes are no message any more.
fn entries(bytes: &[u8], number: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(field(bytes), |(_, rest)| field(rest))
        .filter_map(move |(entry, _)| entry.filter(|(found, _)| *found == number).map(|(_, bytes)| bytes))
}

/// A field's number and bytes, if it is of the kind that lists are made of.
type Entry<'a> = Option<(usize, &'a [u8])>;

/// The first field, and what follows it; none where there is none. A group, which no message of ours has but a decoder passes over, is
/// two fields without bytes and those between them: what it has inside counts, too.
fn field(mut bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let key = prost::decode_length_delimiter(&mut bytes).ok()?;
    let length = match key & 7 {
        0 => {
            prost::decode_length_delimiter(&mut bytes).ok()?;
            0
        }
        3 | 4 => 0,
        1 => 8,
        2 => prost::decode_length_delimiter(&mut bytes).ok()?,
        5 => 4,
        _ => return None,
    };
    let (value, rest) = bytes.split_at_checked(length)?;
    Some(((key & 7 == 2).then_some((key >> 3, value)), rest))
}

/// Protobuf, by `prost`.
#[derive(Debug)]
pub(crate) struct BoundedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Bounded + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

#[derive(Debug)]
pub(crate) struct BoundedDecoder<U>(PhantomData<U>);

impl<U: Bounded> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        U::check(&bytes).map_err(|error| Status::data_loss(error.to_string()))?;
        U::decode(bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use basilica_wire::discovery::MAX_NODES;

    use super::*;

    type List = miner::ListNodeConnectionDetailsResponse;

    fn list(nodes: usize, host_keys: usize) -> List {
        let node = miner::NodeConnectionDetails {
            host_keys: vec![String::new(); host_keys],
            ..miner::NodeConnectionDetails::default()
        };
        List { nodes: vec![node; nodes], ..List::default() }
    }

    #[test]
    fn as_many_entries_as_are_accepted_pass_and_one_more_does_not() {
        let check = |nodes, host_keys| List::check(&list(nodes, host_keys).encode_to_vec());
        assert!(check(0, 0).is_ok() && check(MAX_NODES, 8).is_ok());
        let error = check(MAX_NODES + 1, 0).unwrap_err();
        assert_eq!(error.to_string(), "nodes has 4097 entries, at most 4096 are accepted");
        let error = check(1, 9).unwrap_err();
        assert_eq!(error.to_string(), "host_keys has 9 entries, at most 8 are accepted");
    }

    #[test]
    fn whatever_stands_between_them_entries_are_counted() {
        let between: [&[u8]; 8] = [
            b"",
            b"\x30\x96\x01",
            b"\x31ABCDEFGH",
            b"\x32\x03abc",
            b"\x35ABCD",
            b"\x33\x08\x01\x34",
            b"\x33\x3b\x12\x02ab\x3c\x34",
            b"\xfa\xff\xff\xff\x0f\x01x",
        ];
        for field in between {
            let bytes = [field, b"\x0a\x00".as_slice()].concat().repeat(MAX_NODES + 1);
            assert_eq!(List::decode(&bytes[..]).unwrap().nodes.len(), MAX_NODES + 1, "{field:x?}");
            assert!(List::check(&bytes).is_err(), "{field:x?}");
            assert!(List::check(&bytes[field.len() + 2..]).is_ok(), "{field:x?}");
        }
    }

    #[test]
    fn what_ends_the_count_ends_the_decoding_too() {
        let nodes = b"\x0a\x00".repeat(MAX_NODES + 1);
        // Cut off, the end of a group, kinds that do not exist, field 0, a number that is too long.
        let nonsense: [&[u8]; 6] = [
            b"\x0a\xff",
            b"\x0c",
            b"\x0e",
            b"\x0f",
            b"\x02\x00",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ];
        for bytes in nonsense {
            let bytes = [bytes, &nodes].concat();
            let decoded = List::decode(&bytes[..]).map(|list| list.nodes.len());
            assert!(List::check(&bytes).is_err() || decoded.is_err(), "{:x?} {decoded:?}", &bytes[..12]);
        }
    }
}
