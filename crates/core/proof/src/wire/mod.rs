//! Bytes of the protocol: a strict codec, the messages, and frames on a duplex stream.

mod codec;
mod frame;
mod message;
mod opening;
mod refusal;

pub use codec::DecodeError;
pub(crate) use codec::{Reader, Writer};
pub use frame::{FRAME_HEADER_BYTES, FrameBuffer, FrameTooLarge, frame};
pub use message::{Accept, Kind, Message, Root, SegmentRoot};
pub use opening::{LaneState, Opening, WalkOpening};
pub use refusal::{REFUSAL_TEXT_MAX, Refusal, RefusalCode};
