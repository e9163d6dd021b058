//! Whether bytes are the right ones, as cheaply as that can be told.

use testkit::{Sha256, Synthetic};

/// What is known beforehand of the bytes to come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// All of them.
    Synthetic { seed: u64, size: u64 },
    /// That all clients get the same.
    Alike,
    /// Nothing but that all lengths are the same.
    Length,
}

/// A check in progress. Takes bytes in order.
pub(crate) enum Check {
    Compare { blob: Synthetic, offset: u64, wrong_at: Option<u64> },
    Verify { sha256: Sha256, quick: QuickHash },
    Quick(QuickHash),
    Count,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Compared { wrong_at: Option<u64> },
    Verified { digest: String, quick: u64 },
    Quick(u64),
    Counted,
}

impl Check {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Compare { blob, offset, wrong_at } => {
                if wrong_at.is_none() {
                    *wrong_at = first_difference(blob, *offset, bytes);
                }
                *offset += bytes.len() as u64;
            }
            Self::Verify { sha256, quick } => {
                sha256.update(bytes);
                quick.update(bytes);
            }
            Self::Quick(quick) => quick.update(bytes),
            Self::Count => {}
        }
    }

    pub(crate) fn finish(self) -> Finding {
        match self {
            Self::Compare { wrong_at, .. } => Finding::Compared { wrong_at },
            Self::Verify { sha256, quick } => {
                Finding::Verified { digest: sha256.finish(), quick: quick.finish() }
            }
            Self::Quick(quick) => Finding::Quick(quick.finish()),
            Self::Count => Finding::Counted,
        }
    }
}

/// The offset of the first byte that is not the blob's, if any.
fn first_difference(blob: &Synthetic, start: u64, bytes: &[u8]) -> Option<u64> {
    let mut done = 0;
    while done < bytes.len() {
        let at = start + done as u64;
        let piece = blob.piece(at, (bytes.len() - done) as u64);
        if piece.is_empty() {
            return Some(at);
        }
        for part in [&piece.head, &piece.tail] {
            let given = &bytes[done..done + part.len()];
            if given != part.as_ref() {
                let same = given.iter().zip(part.iter()).take_while(|(one, other)| one == other);
                return Some(start + (done + same.count()) as u64);
            }
            done += part.len();
        }
    }
    None
}

const LANES: usize = 4;
const BLOCK_BYTES: usize = LANES * 8;

/// A 64-bit hash at close to the speed of reading memory: four lanes of multiply and rotate. It
/// tells accidents apart, not attackers. The result does not depend on how the input is cut up.
#[derive(Clone)]
pub(crate) struct QuickHash {
    lanes: [u64; LANES],
    rest: Vec<u8>,
    length: u64,
}

impl QuickHash {
    pub(crate) fn new() -> Self {
        Self { lanes: [1, 2, 3, 4], rest: Vec::with_capacity(BLOCK_BYTES), length: 0 }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if !self.rest.is_empty() {
            let (taken, left) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.rest.len()));
            self.rest.extend_from_slice(taken);
            bytes = left;
            if self.rest.len() < BLOCK_BYTES {
                return;
            }
            let block = std::mem::take(&mut self.rest);
            self.blocks(&block);
        }
        let whole = bytes.len() / BLOCK_BYTES * BLOCK_BYTES;
        self.blocks(&bytes[..whole]);
        self.rest.extend_from_slice(&bytes[whole..]);
    }

    fn blocks(&mut self, bytes: &[u8]) {
        let mut lanes = self.lanes;
        let (blocks, _) = bytes.as_chunks::<BLOCK_BYTES>();
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane = step(*lane, u64::from_le_bytes(*word));
            }
        }
        self.lanes = lanes;
    }

    pub(crate) fn finish(mut self) -> u64 {
        let mut last = std::mem::take(&mut self.rest);
        last.resize(BLOCK_BYTES, 0);
        self.blocks(&last);
        self.lanes.iter().fold(self.length, |hash, lane| step(hash, *lane))
    }
}

fn step(hash: u64, word: u64) -> u64 {
    (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick(parts: &[&[u8]]) -> u64 {
        let mut hash = QuickHash::new();
        parts.iter().for_each(|part| hash.update(part));
        hash.finish()
    }

    #[test]
    fn the_quick_hash_does_not_depend_on_how_input_is_cut() {
        let all = Synthetic::new(1000, 3).to_bytes();
        for cut in [0, 1, 31, 32, 33, 500, 999] {
            assert_eq!(quick(&[&all]), quick(&[&all[..cut], &all[cut..]]));
        }
        assert_eq!(quick(&[&all]), quick(&all.chunks(7).collect::<Vec<_>>()));
        assert_ne!(quick(&[&all]), quick(&[&all[..999]]));
        assert_ne!(quick(&[b"a"]), quick(&[b"a\0"]));
    }

    #[test]
    fn a_difference_is_found_where_it_is() {
        let blob = Synthetic::new(3 << 20, 9);
        let mut bytes = blob.to_bytes().to_vec();
        assert_eq!(first_difference(&blob, 0, &bytes), None);
        assert_eq!(first_difference(&blob, 77, &bytes[77..]), None);
        bytes[2_000_000] ^= 1;
        assert_eq!(first_difference(&blob, 77, &bytes[77..]), Some(2_000_000));
        bytes.push(0);
        assert_eq!(first_difference(&blob, 3 << 20, &[0]), Some(3 << 20));
    }
}
