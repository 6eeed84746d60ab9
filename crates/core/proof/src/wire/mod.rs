//! Bytes of the protocol: a strict codec, the messages, and frames on a duplex stream.

mod codec;
mod frame;
mod message;

pub use codec::DecodeError;
pub(crate) use codec::{Reader, Writer};
pub use frame::{FRAME_HEADER_BYTES, FrameBuffer, FrameTooLarge, frame};
pub use message::{Accept, Kind, Message, Opening, REFUSAL_TEXT_MAX, Refusal, RefusalCode, Root};
