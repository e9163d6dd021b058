//! The names of upload sessions. They are random, so that knowing one means having been told.

use crate::error::Error;
use std::fmt;

const BYTES: usize = 16;

/// Names an upload session: 128 random bits. Printed and parsed as 32 characters of lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(u128);

impl UploadId {
    /// A name that nobody can guess. [`Error::NoRandomness`] when the system gives none.
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = [0; BYTES];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::NoRandomness)?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }

    /// The name that a text is. [`Error::NoUploadId`] unless it is exactly what would be printed.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 2 * BYTES || !text.bytes().all(is_hex) {
            return Err(Error::NoUploadId);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| Error::NoUploadId)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_name_in_one_way_only() {
        let id = UploadId(0x0abc);
        assert_eq!(id.to_string(), "00000000000000000000000000000abc");
        assert_eq!(UploadId::parse(&id.to_string()).unwrap(), id);
        let random = UploadId::random().unwrap();
        assert_eq!(UploadId::parse(&random.to_string()).unwrap(), random);
        assert_ne!(random, UploadId::random().unwrap());
        for text in [
            "",
            "0abc",
            "00000000000000000000000000000ABC",
            "+0000000000000000000000000000abc",
            "../0000000000000000000000000abcd",
            "000000000000000000000000000000abc",
        ] {
            assert!(matches!(UploadId::parse(text), Err(Error::NoUploadId)), "{text}");
        }
    }
}
