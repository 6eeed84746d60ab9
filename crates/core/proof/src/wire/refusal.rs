//! A prover's explanation why it does not go on.

use super::codec::{DecodeError, Reader, Writer};

/// Most bytes of a refusal's explanation.
pub const REFUSAL_TEXT_MAX: usize = 256;

/// Why a prover gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum RefusalCode {
    /// The challenge is not of a version it speaks, or malformed.
    Challenge = 1,
    /// The parameters exceed what its backend can hold.
    TooLarge = 2,
    /// A claimed device is not there any more.
    DeviceGone = 3,
    /// A device or driver error.
    Device = 4,
    /// Something else has the devices now: another prover, or whoever holds their memory.
    Busy = 5,
}

/// A prover's explanation. The text comes from the node: shown, never interpreted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: RefusalCode,
    text: String,
}

impl Refusal {
    /// A refusal with its text cut to the bound and to printable ASCII.
    pub fn new(code: RefusalCode, text: &str) -> Self {
        let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
        Self { code, text: text.chars().take(REFUSAL_TEXT_MAX).map(printable).collect() }
    }

    /// The reason.
    pub const fn code(&self) -> RefusalCode {
        self.code
    }

    /// At most [`REFUSAL_TEXT_MAX`] printable ASCII characters.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u16(self.code as u16);
        writer.bytes(self.text.as_bytes());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = match reader.u16()? {
            1 => RefusalCode::Challenge,
            2 => RefusalCode::TooLarge,
            3 => RefusalCode::DeviceGone,
            4 => RefusalCode::Device,
            5 => RefusalCode::Busy,
            _ => return Err(DecodeError::Text("refusal code")),
        };
        let bytes = reader.bytes(REFUSAL_TEXT_MAX)?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Text("refusal"))?;
        let refusal = Self::new(code, text);
        if refusal.text == text { Ok(refusal) } else { Err(DecodeError::Text("refusal")) }
    }
}
