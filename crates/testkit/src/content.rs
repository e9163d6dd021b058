//! What a blob or an answer is made of: bytes held in memory, or bytes made while they are sent.

use crate::digest::sha256;
use crate::synthetic::{Piece, Synthetic};
use bytes::Bytes;

/// A body, by whatever means it comes to be. Cloning is cheap.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes in memory.
    Held(Bytes),
    /// Bytes made on the fly.
    Synthetic(Synthetic),
    /// The same page over and over, `size_bytes` in all: for bodies that are only meant to be long.
    Repeated {
        /// What is repeated.
        page: Bytes,
        /// The length of the whole.
        size_bytes: u64,
    },
}

impl Content {
    /// A run of `size_bytes` spaces: blank to a JSON parser, which therefore goes on reading.
    pub fn blank(size_bytes: u64) -> Self {
        Self::Repeated { page: Bytes::from(vec![b' '; 64 << 10]), size_bytes }
    }

    /// Its length.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Synthetic(synthetic) => synthetic.size_bytes(),
            Self::Repeated { size_bytes, .. } => *size_bytes,
        }
    }

    /// At most `max` bytes from `offset`; empty only past the end.
    pub fn piece(&self, offset: u64, max: u64) -> Piece {
        let length = max.min(self.size_bytes().saturating_sub(offset));
        match self {
            Self::Held(bytes) if length == 0 => bytes.slice(0..0).into(),
            Self::Held(bytes) => bytes.slice(offset as usize..(offset + length) as usize).into(),
            Self::Synthetic(synthetic) => synthetic.piece(offset, length),
            Self::Repeated { page, .. } => {
                let from = (offset % page.len() as u64) as usize;
                let to = page.len().min(from + length as usize);
                page.slice(from..to).into()
            }
        }
    }

    /// Its digest. Reads the whole content.
    pub fn digest(&self) -> String {
        match self {
            Self::Held(bytes) => sha256(bytes),
            Self::Synthetic(synthetic) => synthetic.digest(),
            Self::Repeated { .. } => sha256(&self.to_bytes()),
        }
    }

    /// The whole content in memory; for small ones.
    pub fn to_bytes(&self) -> Bytes {
        if let Self::Held(bytes) = self {
            return bytes.clone();
        }
        let mut all = Vec::with_capacity(self.size_bytes() as usize);
        while (all.len() as u64) < self.size_bytes() {
            let piece = self.piece(all.len() as u64, u64::MAX);
            all.extend_from_slice(&piece.head);
            all.extend_from_slice(&piece.tail);
        }
        all.into()
    }
}

impl<T: Into<Bytes>> From<T> for Content {
    fn from(bytes: T) -> Self {
        Self::Held(bytes.into())
    }
}
