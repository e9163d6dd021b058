//! SHA-256 digests in the form OCI writes them, so that the kit needs none of the crates it helps
//! to test.

use aws_lc_rs::digest::{Context, SHA256};
use std::fmt::Write as _;

/// The digest of `bytes`, as `sha256:` and 64 lower-case hex digits (OCI image-spec, descriptor.md).
pub fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(bytes);
    hasher.finish()
}

/// A SHA-256 that takes its input in pieces.
pub struct Sha256(Context);

impl Sha256 {
    /// Starts with no input.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Adds `bytes` to the input.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added, in the form of [`sha256`].
    pub fn finish(self) -> String {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in self.0.finish().as_ref() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_well_known_one() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
    }

    #[test]
    fn pieces_hash_as_the_whole_does() {
        let mut hasher = Sha256::default();
        hasher.update(b"ab");
        hasher.update(b"c");
        assert_eq!(hasher.finish(), sha256(b"abc"));
    }
}
