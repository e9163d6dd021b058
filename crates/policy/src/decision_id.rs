//! Decision ids: UUIDv7, printed as 26 characters of lower-case Crockford base32 (contracts §11),
//! so that the time in an id finds its record.

use std::fmt;

/// Names one decision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DecisionId(u128);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl DecisionId {
    /// A fresh id (RFC 9562 §5.7).
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().as_u128())
    }

    /// Reads the printed form; case does not matter, `i l o` are read as `1 1 0`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 26 {
            return None;
        }
        let mut value: u128 = 0;
        for (position, character) in text.bytes().enumerate() {
            let lower = match character.to_ascii_lowercase() {
                b'i' | b'l' => b'1',
                b'o' => b'0',
                other => other,
            };
            let digit = ALPHABET.iter().position(|known| *known == lower)?;
            // 26 × 5 = 130 bits: the first character may only carry three.
            if position == 0 && digit > 7 {
                return None;
            }
            value = value << 5 | digit as u128;
        }
        Some(Self(value))
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 26];
        for (position, slot) in text.iter_mut().enumerate() {
            let shift = 5 * (25 - position);
            *slot = ALPHABET[(self.0 >> shift & 31) as usize];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_back() {
        let id = DecisionId::generate();
        let text = id.to_string();
        assert_eq!(text.len(), 26);
        assert_eq!(DecisionId::parse(&text), Some(id));
        assert_eq!(DecisionId::parse(&text.to_uppercase()), Some(id));
        assert_eq!(DecisionId(u128::MAX).to_string(), "7zzzzzzzzzzzzzzzzzzzzzzzzz");
        for bad in ["", "8zzzzzzzzzzzzzzzzzzzzzzzzz", "u0000000000000000000000000", "0"] {
            assert_eq!(DecisionId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn later_ids_sort_later() {
        let first = DecisionId::generate();
        std::thread::sleep(std::time::Duration::from_millis(3));
        assert!(DecisionId::generate().to_string() > first.to_string());
    }
}
