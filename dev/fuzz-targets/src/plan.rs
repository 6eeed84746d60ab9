//! Bytes of the fuzzer as choices: what runs out is zero, so that every input means something.

/// Most bytes that one change puts into a stream.
const PUT_MAX: usize = 64;

pub(crate) struct Plan<'a>(&'a [u8]);

impl<'a> Plan<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// A position in something of this length, or its end.
    fn position(&mut self, length: usize) -> usize {
        self.number() % (length + 1)
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()) % PUT_MAX;
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Changes a stream as a hostile sender or a broken line would.
    pub(crate) fn change(&mut self, stream: &mut Vec<u8>) {
        let at = self.position(stream.len());
        match self.byte() % 6 {
            0 => {
                let mask = 1 << (self.byte() % 8);
                stream.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= mask);
            }
            1 => {
                let byte = self.byte();
                stream.iter_mut().skip(at).take(1).for_each(|old| *old = byte);
            }
            2 => stream.truncate(at),
            3 => drop(stream.splice(at..at, self.bytes().iter().copied())),
            4 => {
                let end = (at + 1 + self.position(256)).min(stream.len());
                stream.drain(at..end);
            }
            // A piece once more, somewhere else.
            _ => {
                let end = (at + self.position(2_048)).min(stream.len());
                let piece = stream[at..end].to_vec();
                let to = self.position(stream.len());
                stream.splice(to..to, piece);
            }
        }
    }
}
