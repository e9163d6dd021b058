//! The chain: what makes an edit, a removal or another order visible.
//!
//! Every line ends with `,"hash":"<64 hex>"}`. The hash is the SHA-256 of the hash of the line before,
//! as its 64 characters, followed by the line up to that `,"hash"`. So a shell can follow it:
//! `printf '%s%s' "$previous" "${line%,\"hash\":*}" | sha256sum`. Before the first line of all there
//! are 64 zeros. The chain needs no key: whoever can write the whole record can make another one.
//! Against that stands an [`Anchor`](crate::Anchor) kept elsewhere.

use aws_lc_rs::digest::{Context, SHA256};
use std::fmt;

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

const HEX: &[u8; 16] = b"0123456789abcdef";
const BEFORE: &[u8] = b",\"hash\":\"";
const AFTER: &[u8] = b"\"}";
/// Of the last member of a line, with the brace that ends it.
const TAIL_BYTES: usize = BEFORE.len() + 64 + AFTER.len();

impl Hash {
    /// What stands before the first line of all.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of a text.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(text);
        Self::finish(context)
    }

    pub(crate) fn finish(context: Context) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }

    /// Reads the printed form: 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_hex(text.as_bytes())
    }

    fn from_hex(hex: &[u8]) -> Option<Self> {
        let hex: &[u8; 64] = hex.try_into().ok()?;
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(hash))
    }

    fn to_hex(self) -> [u8; 64] {
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        hex
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_hex()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no hash of 64 hex digits"))
    }
}

fn link(previous: &Hash, body: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&previous.to_hex());
    context.update(body);
    Hash::finish(context)
}

/// Ends the line that begins at `start` of `lines` and has no closing brace yet.
pub(crate) fn seal(previous: &Hash, lines: &mut Vec<u8>, start: usize) -> Hash {
    let hash = link(previous, &lines[start..]);
    lines.extend_from_slice(BEFORE);
    lines.extend_from_slice(&hash.to_hex());
    lines.extend_from_slice(AFTER);
    lines.push(b'\n');
    hash
}

/// The hash that a line (without its end of line) carries, if it is the right one after `previous`.
pub(crate) fn check(previous: &Hash, line: &[u8]) -> Option<Hash> {
    let (body, hash) = split(line)?;
    (link(previous, body) == hash).then_some(hash)
}

/// A line without its hash and its closing brace, and the hash.
pub(crate) fn split(line: &[u8]) -> Option<(&[u8], Hash)> {
    let (body, tail) = line.split_at_checked(line.len().checked_sub(TAIL_BYTES)?)?;
    let hex = tail.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
    Some((body, Hash::from_hex(hex)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_line_is_right_after_its_predecessor_alone() {
        let mut lines = b"{\"seq\":1".to_vec();
        let first = seal(&Hash::NONE, &mut lines, 0);
        let line = lines.strip_suffix(b"\n").unwrap();
        assert_eq!(check(&Hash::NONE, line), Some(first));
        assert_eq!(check(&first, line), None);
        let parsed: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert_eq!(parsed["hash"], first.to_string());
        // As documented: printf '%s%s' 000… '{"seq":1' | sha256sum
        let text = format!("{}{{\"seq\":1", "0".repeat(64));
        assert_eq!(Hash::of(text.as_bytes()), first);
        for at in 0..line.len() {
            let mut other = line.to_vec();
            other[at] ^= 1;
            assert_eq!(check(&Hash::NONE, &other), None, "byte {at}");
        }
    }

    #[test]
    fn no_line_is_too_short_to_be_refused() {
        for line in [&b""[..], b"}", b",\"hash\":\"\"}", &[b'0'; 74]] {
            assert_eq!(split(line), None);
        }
        assert_eq!(Hash::parse(&"A".repeat(64)), None);
        assert_eq!(Hash::parse(&"a".repeat(64)).unwrap().to_string(), "a".repeat(64));
    }
}
