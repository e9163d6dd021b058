//! Mapped segments of a part that is still growing.
//!
//! A segment is mapped once it is fully written. Many readers of one segment share one mapping;
//! it goes when they have gone on, but for a few of the latest.

use crate::cache::OpenBlobs;
use crate::map::{Mapping, WINDOW_BYTES, WeakMapping};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::sync::Arc;

/// Length of a segment.
pub(crate) const SEGMENT_BYTES: u64 = WINDOW_BYTES as u64;
/// Segments kept mapped although nobody reads them just now: readers of a fill come in a bunch.
const RECENT_MAX: usize = 8;

#[derive(Debug)]
pub(crate) struct Segments {
    known: Mutex<Known>,
    /// Gives out address space.
    opens: Arc<OpenBlobs>,
}

#[derive(Debug, Default)]
struct Known {
    /// Ready to be sliced, the latest to come last.
    recent: VecDeque<(u64, Mapping)>,
    /// Every one that may still be mapped.
    mapped: HashMap<u64, WeakMapping>,
}

impl Segments {
    pub(crate) fn new(opens: Arc<OpenBlobs>) -> Self {
        Self { known: Mutex::default(), opens }
    }

    /// The segment with this index, which is fully written. `None`: it cannot be mapped now. The lock
    /// is not held while the system maps or unmaps.
    pub(crate) fn get(&self, file: &File, index: u64) -> Option<Mapping> {
        let mut known = self.known.lock();
        if let Some((mapping, left)) = known.find(index) {
            drop(known);
            drop(left);
            return Some(mapping);
        }
        drop(known);
        let charge = self.opens.reserve(SEGMENT_BYTES)?;
        let made = Mapping::new(file, index * SEGMENT_BYTES, WINDOW_BYTES, charge).ok()?;
        let mut known = self.known.lock();
        // Another reader may have mapped it meanwhile; then ours goes.
        let (mapping, left) = known.find(index).unwrap_or_else(|| known.add(index, made.clone()));
        drop(known);
        drop(left);
        Some(mapping)
    }
}

impl Known {
    /// The segment and what had to leave the recent ones for it.
    fn find(&mut self, index: u64) -> Option<(Mapping, Option<Mapping>)> {
        if let Some((_, mapping)) = self.recent.iter().find(|(at, _)| *at == index) {
            return Some((mapping.clone(), None));
        }
        let mapping = self.mapped.get(&index)?.upgrade()?;
        let left = self.keep(index, mapping.clone());
        Some((mapping, left))
    }

    fn add(&mut self, index: u64, mapping: Mapping) -> (Mapping, Option<Mapping>) {
        self.mapped.retain(|_, mapping| mapping.is_alive());
        self.mapped.insert(index, mapping.downgrade());
        let left = self.keep(index, mapping.clone());
        (mapping, left)
    }

    fn keep(&mut self, index: u64, mapping: Mapping) -> Option<Mapping> {
        let left = (self.recent.len() >= RECENT_MAX).then(|| self.recent.pop_front()).flatten();
        self.recent.push_back((index, mapping));
        left.map(|(_, mapping)| mapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(segments: u64) -> File {
        let mut file = tempfile::tempfile().unwrap();
        for index in 0..segments {
            file.write_all(&vec![index as u8; WINDOW_BYTES]).unwrap();
        }
        file
    }

    #[test]
    fn readers_of_one_segment_share_a_mapping_as_long_as_one_holds_it() {
        let file = file(RECENT_MAX as u64 + 2);
        let opens = OpenBlobs::new(1, u64::MAX);
        let segments = Segments::new(opens);
        let slice = segments.get(&file, 0).unwrap().slice(10..20);
        for index in 1..RECENT_MAX as u64 + 2 {
            let bytes = segments.get(&file, index).unwrap().slice(0..WINDOW_BYTES);
            assert!(bytes.iter().all(|byte| u64::from(*byte) == index));
        }
        assert_eq!(segments.known.lock().recent.len(), RECENT_MAX);
        let again = segments.get(&file, 0).unwrap().slice(10..20);
        assert_eq!(again.as_ptr(), slice.as_ptr());
        let known = segments.known.lock();
        // The first, and the recent ones; segment 1 and 2 left and were unmapped.
        let alive = known.mapped.values().filter(|mapping| mapping.is_alive()).count();
        assert_eq!(alive, RECENT_MAX);
    }

    #[test]
    fn without_address_space_nothing_is_mapped() {
        let segments = Segments::new(OpenBlobs::new(1, SEGMENT_BYTES - 1));
        assert!(segments.get(&file(1), 0).is_none());
    }
}
