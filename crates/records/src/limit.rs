//! A disk that becomes full, or fails, on demand, for tests: a real one needs a mount of its own, and so
//! root.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const UNLIMITED: u64 = u64::MAX;

/// How many more bytes may be written.
#[derive(Debug)]
pub(crate) struct WriteLimit {
    left_bytes: AtomicU64,
    fails_syncs: AtomicBool,
}

impl WriteLimit {
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        let left_bytes = AtomicU64::new(bytes.unwrap_or(UNLIMITED));
        Self { left_bytes, fails_syncs: AtomicBool::new(false) }
    }

    pub(crate) fn set(&self, bytes: Option<u64>) {
        self.left_bytes.store(bytes.unwrap_or(UNLIMITED), Ordering::Release);
    }

    pub(crate) fn fail_syncs(&self, fails: bool) {
        self.fails_syncs.store(fails, Ordering::Release);
    }

    /// Puts what was written on the disk.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        match self.fails_syncs.load(Ordering::Acquire) {
            true => Err(io::Error::from_raw_os_error(libc::EIO)),
            false => file.sync_data(),
        }
    }

    /// Writes all of `bytes` at `offset`, or what still fits before the disk is full.
    pub(crate) fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let fits = self.take(bytes.len());
        file.write_all_at(&bytes[..fits], offset)?;
        match fits == bytes.len() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
        }
    }

    fn take(&self, wanted: usize) -> usize {
        let less = |left| match left {
            UNLIMITED => None,
            left => Some(left.saturating_sub(wanted as u64)),
        };
        let taken = self.left_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        taken.map_or(wanted, |left| wanted.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }
}
