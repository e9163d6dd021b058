//! Content digests, parsed once: `sha256:<64 hex>` and `sha512:<128 hex>`.
//!
//! Kept as raw bytes, so that comparing, hashing and copying cost nothing.

use std::fmt;
use std::str::FromStr;

/// The hash functions the OCI image-spec registers (`descriptor.md`, "Registered algorithms")
/// and we verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, the default everywhere.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name as it stands before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the digest in bytes (half its hex length).
    pub fn len_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The digest of some bytes: what an artifact, manifest or blob is named by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    /// The first `algorithm.len_bytes()` bytes count, the rest is zero.
    bytes: [u8; 64],
}

/// Why a text is not a digest we accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no `algorithm:` part.
    #[error("a digest has the form algorithm:hex, such as sha256:9f86d0…")]
    NoAlgorithm,
    /// An algorithm that is not verified here.
    #[error("digest algorithm {0:?} is not supported; use sha256 or sha512")]
    UnknownAlgorithm(String),
    /// The hex part is too short, too long, or has characters other than `0-9a-f`.
    #[error("a {algorithm} digest has {expected} characters of lower-case hex after the colon")]
    BadHex {
        /// The algorithm named.
        algorithm: Algorithm,
        /// The number of hex characters it needs.
        expected: usize,
    },
}

impl Digest {
    /// Parses `algorithm:hex`. Upper-case hex is refused, as image-spec demands.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or(DigestError::NoAlgorithm)?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            other => {
                return Err(DigestError::UnknownAlgorithm(other.chars().take(32).collect()));
            }
        };
        Self::from_hex(algorithm, hex)
    }

    /// A digest from its algorithm and its lower-case hex text.
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Result<Self, DigestError> {
        let len = algorithm.len_bytes();
        let bad = DigestError::BadHex { algorithm, expected: len * 2 };
        let hex = hex.as_bytes();
        if hex.len() != len * 2 {
            return Err(bad);
        }
        let mut bytes = [0u8; 64];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            match (nibble(pair[0]), nibble(pair[1])) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => return Err(bad),
            }
        }
        Ok(Self { algorithm, bytes })
    }

    /// A digest from raw bytes; `None` if their number is not the algorithm's.
    pub fn from_bytes(algorithm: Algorithm, raw: &[u8]) -> Option<Self> {
        if raw.len() != algorithm.len_bytes() {
            return None;
        }
        let mut bytes = [0u8; 64];
        bytes[..raw.len()].copy_from_slice(raw);
        Some(Self { algorithm, bytes })
    }

    /// The digest of `content`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = crate::Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// The SHA-256 digest of `content`.
    pub fn sha256(content: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, content)
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw digest bytes, 32 or 64 of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.len_bytes()]
    }

    /// The hex part alone.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(128);
        for byte in self.as_bytes() {
            text.push(HEX[usize::from(byte >> 4)] as char);
            text.push(HEX[usize::from(byte & 15)] as char);
        }
        text
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn nibble(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 7 + 128];
        let name = self.algorithm.as_str().as_bytes();
        text[..name.len()].copy_from_slice(name);
        text[name.len()] = b':';
        let mut at = name.len() + 1;
        for byte in self.as_bytes() {
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        f.pad(std::str::from_utf8(&text[..at]).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_registered_algorithms_and_prints_them_back() {
        let sha256 = Digest::sha256(b"abc").to_string();
        assert_eq!(
            sha256,
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Digest::parse(&sha256).unwrap().to_string(), sha256);
        let sha512 = Digest::of(Algorithm::Sha512, b"abc").to_string();
        assert!(sha512.starts_with("sha512:ddaf35a193617aba"));
        assert_eq!(Digest::parse(&sha512).unwrap().hex(), sha512[7..]);
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for text in [
            String::new(),
            hex.to_owned(),
            format!("md5:{hex}"),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{hex}0"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha512:{hex}"),
            format!("sha256:{}é", &hex[2..]),
        ] {
            assert!(Digest::parse(&text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_round_trips(text in "\\PC{0,150}") {
            if let Ok(digest) = Digest::parse(&text) {
                proptest::prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
