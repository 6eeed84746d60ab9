//! Frames on a byte stream: a u32 little-endian length, then that many bytes.

/// Bytes before each frame's body.
pub const FRAME_HEADER_BYTES: usize = 4;

/// A frame whose announced length exceeds what may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame of {bytes} bytes where at most {limit} may come")]
pub struct FrameTooLarge {
    /// Announced body length.
    pub bytes: u32,
    /// The bound at that point of the protocol.
    pub limit: u32,
}

/// Puts a body into a frame.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("messages are bounded far below 4 GiB");
    let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + body.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Collects one frame at a time from chunks of any size. Holds at most one frame: bytes beyond it stay with the
/// caller, so a peer cannot make it grow.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    held: Vec<u8>,
}

impl FrameBuffer {
    /// Takes bytes from the front of `chunk` until a frame is complete; leaves the rest in `chunk`. An oversized
    /// frame is refused as soon as its header is known, before any of its body is kept.
    pub fn fill(&mut self, chunk: &mut &[u8], limit: u32) -> Result<Option<Vec<u8>>, FrameTooLarge> {
        self.take(chunk, FRAME_HEADER_BYTES);
        let Some(header) = self.held.first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(None) };
        let bytes = u32::from_le_bytes(*header);
        if bytes > limit {
            return Err(FrameTooLarge { bytes, limit });
        }
        let complete = FRAME_HEADER_BYTES + bytes as usize;
        self.take(chunk, complete);
        if self.held.len() < complete {
            return Ok(None);
        }
        let body = self.held.split_off(FRAME_HEADER_BYTES);
        self.held.clear();
        Ok(Some(body))
    }

    /// True between frames.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn take(&mut self, chunk: &mut &[u8], wanted: usize) {
        let missing = wanted.saturating_sub(self.held.len()).min(chunk.len());
        let (head, rest) = chunk.split_at(missing);
        self.held.extend_from_slice(head);
        *chunk = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_whatever_the_chunks() {
        let stream = [frame(b"one"), frame(b""), frame(b"three")].concat();
        for size in 1..=stream.len() {
            let mut buffer = FrameBuffer::default();
            let mut frames = Vec::new();
            for mut chunk in stream.chunks(size) {
                while let Some(body) = buffer.fill(&mut chunk, 5).unwrap() {
                    frames.push(body);
                    if chunk.is_empty() {
                        break;
                    }
                }
            }
            assert_eq!(frames, [b"one".to_vec(), b"".to_vec(), b"three".to_vec()], "chunks of {size}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn an_oversized_frame_is_refused_at_its_header() {
        let mut buffer = FrameBuffer::default();
        let mut chunk: &[u8] = &[0xff, 0xff, 0xff, 0x7f, 1, 2, 3];
        let refused = buffer.fill(&mut chunk, 64).unwrap_err();
        assert_eq!(refused, FrameTooLarge { bytes: 0x7fff_ffff, limit: 64 });
        assert_eq!(chunk, [1, 2, 3], "nothing of the body was taken");
    }
}
