//! Mapped files: the one module with unsafe code.
//!
//! A slice of a shared mapping goes to a plaintext socket with one copy, in the kernel, which is
//! the cheapest way there is to send a file through an HTTP library. What makes it sound:
//!
//! * A mapped range is never written or truncated afterwards. A committed blob's file is only
//!   ever unlinked, which keeps its pages; of a part, only segments that are fully written are
//!   mapped, and a part is only ever written and cut behind them. The data directory belongs to
//!   this process (its lock, mode 0700); another directory that holds blobs has to as well.
//! * Our own code does not look at the bytes: on a failing disk that would raise SIGBUS, while a
//!   write to a socket fails with EFAULT. Who must look (TLS) reads copies instead.
#![allow(
    unsafe_code,
    reason = "mmap, madvise and mincore have no safe form; the module text says why each use is sound"
)]

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Bytes whose presence is asked for, or that are read from disk, at a time. A power of two and a
/// multiple of every page size.
pub(crate) const WINDOW_BYTES: usize = 4 << 20;
/// Page table entries looked at per `mincore` call.
const PAGES_MAX: usize = 1024;

/// Address space that mappings may take together.
#[derive(Debug)]
pub(crate) struct MapBudget {
    used_bytes: AtomicU64,
    max_bytes: u64,
}

impl MapBudget {
    pub(crate) fn new(max_bytes: u64) -> Arc<Self> {
        Arc::new(Self { used_bytes: AtomicU64::new(0), max_bytes })
    }

    /// Takes a share; `None` when there is not enough left.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<MapCharge> {
        let taken = self.used_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= self.max_bytes)
        });
        taken.ok().map(|_| MapCharge { budget: self.clone(), bytes })
    }

    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Acquire)
    }
}

/// A share of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct MapCharge {
    budget: Arc<MapBudget>,
    bytes: u64,
}

impl Drop for MapCharge {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[derive(Debug)]
struct Region {
    map: Mmap,
    _charge: MapCharge,
}

/// What the slices of a region keep alive.
struct Holder(Arc<Region>);

impl AsRef<[u8]> for Holder {
    fn as_ref(&self) -> &[u8] {
        &self.0.map
    }
}

/// A mapped range of a file, shared by all who read it; unmapped with its last slice.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    region: Arc<Region>,
    /// Made once, so that a slice costs a reference count and no allocation.
    bytes: Bytes,
}

/// A mapping that others may still hold.
#[derive(Debug)]
pub(crate) struct WeakMapping(Weak<Region>);

impl WeakMapping {
    pub(crate) fn upgrade(&self) -> Option<Mapping> {
        self.0.upgrade().map(Mapping::of)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl Mapping {
    /// Maps a range of a file, which must lie in it and never change again. `offset` is a multiple
    /// of [`WINDOW_BYTES`], `length` more than none.
    pub(crate) fn new(
        file: &File,
        offset: u64,
        length: usize,
        charge: MapCharge,
    ) -> io::Result<Self> {
        if length == 0 || !offset.is_multiple_of(WINDOW_BYTES as u64) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the bytes of the range do not change while mapped; see the module text.
        let map = unsafe { MmapOptions::new().offset(offset).len(length).map(file)? };
        Ok(Self::of(Arc::new(Region { map, _charge: charge })))
    }

    fn of(region: Arc<Region>) -> Self {
        let bytes = Bytes::from_owner(Holder(region.clone()));
        Self { region, bytes }
    }

    pub(crate) fn downgrade(&self) -> WeakMapping {
        WeakMapping(Arc::downgrade(&self.region))
    }

    /// Some of it. The range lies inside.
    pub(crate) fn slice(&self, range: Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    /// Whether every page of a range is in memory, so that touching it waits for no disk. Cheap
    /// enough for an async worker: a look at page tables or the page cache, about a microsecond
    /// for a window.
    pub(crate) fn is_resident(&self, range: Range<usize>) -> bool {
        let page = page_bytes();
        let end = range.end.min(self.bytes.len());
        if range.start >= end {
            return true;
        }
        let mut at = range.start / page * page;
        let mut present = [0u8; PAGES_MAX];
        while at < end {
            let pages = (end - at).div_ceil(page).min(PAGES_MAX);
            let length = (pages * page).min(self.bytes.len() - at);
            // SAFETY: `at` is inside the mapping and a multiple of the page size, `length` ends
            // inside it too, and `present` has room for one byte per page.
            let result = unsafe {
                let start = self.region.map.as_ptr().add(at);
                libc::mincore(start.cast_mut().cast(), length, present.as_mut_ptr().cast())
            };
            // The lowest bit alone has a meaning (mincore(2)).
            if result != 0 || present[..pages].iter().any(|byte| byte & 1 == 0) {
                return false;
            }
            at += length;
        }
        true
    }

    /// Blocks: reads a range from disk into memory. An error of the disk, or a kernel before 5.14,
    /// is an error here and no signal. The window behind it is begun too, but not waited for.
    pub(crate) fn populate(&self, range: Range<usize>) -> io::Result<()> {
        // A hint, so that the disk gets few large requests; the next call does the work.
        let ahead = range.start..range.end.saturating_add(WINDOW_BYTES);
        let _ = self.advise(ahead, libc::MADV_WILLNEED);
        self.advise(range, libc::MADV_POPULATE_READ)
    }

    /// Blocks briefly: gives back the page table entries, and with them what counts as memory of
    /// this process. The bytes stay in the page cache, and the mapping as usable as before.
    pub(crate) fn release_pages(&self) {
        // On a shared mapping of a file this loses nothing (madvise(2), MADV_DONTNEED).
        let _ = self.advise(0..self.bytes.len(), libc::MADV_DONTNEED);
    }

    fn advise(&self, range: Range<usize>, advice: libc::c_int) -> io::Result<()> {
        let end = range.end.min(self.bytes.len());
        let start = range.start / page_bytes() * page_bytes();
        if start >= end {
            return Ok(());
        }
        // SAFETY: the range lies in the mapping and starts on a page; none of the advices given
        // here changes what the bytes of a shared file mapping read as.
        let result = unsafe {
            let address = self.region.map.as_ptr().add(start);
            libc::madvise(address.cast_mut().cast(), end - start, advice)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn page_bytes() -> usize {
    static PAGE: OnceLock<usize> = OnceLock::new();
    *PAGE.get_or_init(|| {
        // SAFETY: asks for a constant of the system.
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(4096)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(length: usize) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; length]).unwrap();
        file
    }

    #[test]
    fn address_space_is_given_back_with_the_last_slice() {
        let budget = MapBudget::new(10_000);
        let mapping = Mapping::new(&file(9000), 0, 9000, budget.reserve(9000).unwrap()).unwrap();
        let slice = mapping.slice(8999..9000);
        let weak = mapping.downgrade();
        drop(mapping);
        assert!(budget.reserve(9000).is_none());
        assert_eq!(weak.upgrade().unwrap().slice(8999..9000), slice);
        drop(slice);
        assert!(weak.upgrade().is_none() && !weak.is_alive());
        assert_eq!(budget.used_bytes(), 0);
        assert!(budget.reserve(u64::MAX).is_none());
    }

    #[test]
    fn populated_is_resident() {
        let length = 2 * WINDOW_BYTES + 123;
        let budget = MapBudget::new(u64::MAX);
        let charge = budget.reserve(length as u64).unwrap();
        let file = file(length);
        let mapping = Mapping::new(&file, 0, length, charge).unwrap();
        file.sync_all().unwrap();
        // Drops the pages where the file system can; without that, populating has less to do.
        let all = rustix::fs::Advice::DontNeed;
        rustix::fs::fadvise(&file, 0, None, all).unwrap();
        for range in [0..1, 5000..WINDOW_BYTES + 5, 2 * WINDOW_BYTES..length, 0..length] {
            mapping.populate(range.clone()).unwrap();
            assert!(mapping.is_resident(range.clone()), "{range:?}");
        }
        let before = mapping.slice(0..length);
        mapping.release_pages();
        assert!(before.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn pages_that_are_not_in_memory_are_seen() {
        // A hole that nobody read: no page of it can be in memory.
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        let charge = MapBudget::new(1 << 20).reserve(1 << 20).unwrap();
        let mapping = Mapping::new(&file, 0, 1 << 20, charge).unwrap();
        assert!(!mapping.is_resident(0..1 << 20));
        assert!(mapping.is_resident(7..7), "nothing is always there");
    }

    #[test]
    fn nothing_cannot_be_mapped() {
        let budget = MapBudget::new(u64::MAX);
        let map = |offset, length| {
            Mapping::new(&file(100), offset, length, budget.reserve(1).unwrap()).map(|_| ())
        };
        assert_eq!(map(0, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(map(1, 10).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(map(0, 100).is_ok());
    }
}
