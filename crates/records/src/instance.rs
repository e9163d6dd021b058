//! Whose record it is: the id of one writer, and the name of its directory.

use crate::Error;
use std::fmt;
use std::sync::Arc;

/// The id of a process that keeps a record, the same after each of its starts. It is the name of a
/// directory, so it has only letters that mean nothing there.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instance(Arc<str>);

impl Instance {
    /// Longest id; a host's name fits.
    const MAX_BYTES: usize = 63;

    /// Reads an id: 1 to 63 of `a-z`, `0-9`, `-`, `_` and `.`, the first no `.`.
    ///
    /// # Errors
    /// [`Error::BadInstance`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_good = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        let fits = (1..=Self::MAX_BYTES).contains(&text.len()) && !text.starts_with('.');
        match fits && text.bytes().all(is_good) {
            true => Ok(Self(text.into())),
            false => Err(Error::BadInstance(text.chars().take(80).collect())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_harmless_as_names_of_directories() {
        for good in ["a", "node-7.eu_1", "0"] {
            assert_eq!(Instance::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "A", "a b", &"a".repeat(64), "é"] {
            assert!(Instance::parse(bad).is_err(), "{bad}");
        }
    }
}
