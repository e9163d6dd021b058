//! Request ids: short, unique among processes for all practical purposes, and nearly free to make.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Crockford's base 32: no letters that look alike.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

const PREFIX_LEN: usize = 8;
const LEN: usize = 16;

/// Makes request ids: eight random characters for the process (40 bits), then a counter. They name
/// a request in logs; they are no secret and prove nothing.
#[derive(Debug)]
pub struct RequestIds {
    prefix: [u8; PREFIX_LEN],
    next: AtomicU64,
}

/// The id of one request: 16 lower-case letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; LEN]);

impl RequestIds {
    /// Ids with a random prefix.
    pub fn new() -> Self {
        // The standard library seeds each `RandomState` from the system's randomness.
        let random = RandomState::new().build_hasher().finish();
        let mut prefix = [0; PREFIX_LEN];
        push_base32(&mut prefix, random);
        Self { prefix, next: AtomicU64::new(1) }
    }

    /// The next id.
    pub fn next(&self) -> RequestId {
        let mut id = [0; LEN];
        id[..PREFIX_LEN].copy_from_slice(&self.prefix);
        push_base32(&mut id[PREFIX_LEN..], self.next.fetch_add(1, Ordering::Relaxed));
        RequestId(id)
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes the low bits of `value`, most significant first, five to a character.
fn push_base32(out: &mut [u8], mut value: u64) {
    for place in out.iter_mut().rev() {
        *place = ALPHABET[(value & 31) as usize];
        value >>= 5;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_sorted_and_differ_between_processes() {
        let ids = RequestIds::new();
        let made: Vec<String> = (0..100).map(|_| ids.next().to_string()).collect();
        assert!(made.is_sorted_by(|a, b| a < b), "{made:?}");
        assert!(made.iter().all(|id| id.len() == 16 && id[..8] == made[0][..8]));
        assert_ne!(RequestIds::new().next().as_str()[..8], made[0][..8]);
        assert!(made[0].ends_with("00000001"), "{}", made[0]);
    }
}
