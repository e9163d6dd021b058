//! Blobs made on the fly: a 1 GiB layer that costs no memory and next to no time.
//!
//! Page `i` of a blob is a 16-byte head that depends on the seed and on `i`, followed by a window of
//! one shared 2 MiB table of random bytes; where the window starts depends on both as well. So no two
//! pages are alike (a page served at the wrong place is noticed), and serving one copies nothing.

use crate::digest::Sha256;
use bytes::{Bytes, BytesMut};
use std::sync::OnceLock;

/// Bytes in one page.
pub const PAGE_BYTES: u64 = 1 << 20;
const HEAD_BYTES: u64 = 16;

/// The bytes at hand at some offset: two parts, since a page's head is not part of the shared table.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    /// The first part; often empty.
    pub head: Bytes,
    /// The second part.
    pub tail: Bytes,
}

impl Piece {
    /// Bytes in both parts.
    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Whether both parts are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Piece {
    fn from(tail: Bytes) -> Self {
        Self { head: Bytes::new(), tail }
    }
}

/// A blob known by its size and seed alone. The same two always give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Synthetic {
    size_bytes: u64,
    seed: u64,
}

impl Synthetic {
    /// The blob of `size_bytes` that `seed` stands for.
    pub fn new(size_bytes: u64, seed: u64) -> Self {
        Self { size_bytes, seed }
    }

    /// Its length.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// At most `max` bytes from `offset`, ending with the page at the latest; empty past the end.
    pub fn piece(&self, offset: u64, max: u64) -> Piece {
        let within = offset % PAGE_BYTES;
        let length = max.min(PAGE_BYTES - within).min(self.size_bytes.saturating_sub(offset));
        let (head, window) = self.page(offset / PAGE_BYTES);
        let end = within + length;
        let head_part = slice(within.min(HEAD_BYTES), end.min(HEAD_BYTES));
        let tail_part =
            slice(within.max(HEAD_BYTES) - HEAD_BYTES, end.max(HEAD_BYTES) - HEAD_BYTES);
        let head = match head_part.is_empty() {
            true => Bytes::new(),
            false => Bytes::copy_from_slice(&head[head_part]),
        };
        Piece { head, tail: table().slice(window + tail_part.start..window + tail_part.end) }
    }

    /// The digest, found by hashing the whole content (about a second per GiB or two).
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        self.for_each_piece(|piece| {
            hasher.update(&piece.head);
            hasher.update(&piece.tail);
        });
        hasher.finish()
    }

    /// The whole content in memory; for small blobs.
    pub fn to_bytes(&self) -> Bytes {
        let mut all = BytesMut::with_capacity(self.size_bytes as usize);
        self.for_each_piece(|piece| {
            all.extend_from_slice(&piece.head);
            all.extend_from_slice(&piece.tail);
        });
        all.freeze()
    }

    fn for_each_piece(&self, mut visit: impl FnMut(Piece)) {
        let mut offset = 0;
        while offset < self.size_bytes {
            let piece = self.piece(offset, PAGE_BYTES);
            offset += piece.len() as u64;
            visit(piece);
        }
    }

    fn page(&self, index: u64) -> ([u8; HEAD_BYTES as usize], usize) {
        let first = mix(self.seed ^ mix(index));
        let second = mix(first);
        let mut head = [0; HEAD_BYTES as usize];
        head[..8].copy_from_slice(&first.to_le_bytes());
        head[8..].copy_from_slice(&second.to_le_bytes());
        (head, (mix(second) % PAGE_BYTES) as usize)
    }
}

fn slice(start: u64, end: u64) -> std::ops::Range<usize> {
    start as usize..end.max(start) as usize
}

/// Two pages of random bytes, shared by every synthetic blob of the process.
fn table() -> &'static Bytes {
    static TABLE: OnceLock<Bytes> = OnceLock::new();
    TABLE.get_or_init(|| {
        let words = 2 * PAGE_BYTES / 8;
        let mut all = Vec::with_capacity(2 * PAGE_BYTES as usize);
        (0..words).for_each(|word| all.extend_from_slice(&mix(word).to_le_bytes()));
        Bytes::from(all)
    })
}

/// SplitMix64 (Steele, Lea and Flood: Fast Splittable Pseudorandom Number Generators, 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_from_any_offset_agree_with_the_whole() {
        let blob = Synthetic::new(PAGE_BYTES * 2 + 777, 5);
        let whole = blob.to_bytes();
        assert_eq!(whole.len() as u64, blob.size_bytes());
        for start in [0, 1, 15, 16, 17, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 3, PAGE_BYTES * 2]
        {
            for max in [1, 10, 16, 40, PAGE_BYTES] {
                let piece = blob.piece(start, max);
                let got = [piece.head.as_ref(), piece.tail.as_ref()].concat();
                assert!(!got.is_empty() && got.len() as u64 <= max);
                assert_eq!(got, whole[start as usize..start as usize + got.len()]);
            }
        }
        assert!(blob.piece(blob.size_bytes(), 10).is_empty());
    }

    #[test]
    fn seeds_and_pages_differ_and_repeat() {
        let digest = |size, seed| Synthetic::new(size, seed).digest();
        assert_eq!(digest(3000, 1), digest(3000, 1));
        assert_ne!(digest(3000, 1), digest(3000, 2));
        let two = Synthetic::new(PAGE_BYTES * 2, 1).to_bytes();
        assert_ne!(two[..PAGE_BYTES as usize], two[PAGE_BYTES as usize..]);
    }
}
