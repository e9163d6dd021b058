//! A disk that becomes full on demand, for tests: a real one needs a mount of its own, and so root.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

const UNLIMITED: u64 = u64::MAX;

/// How many more bytes may be written.
#[derive(Debug)]
pub(crate) struct WriteLimit(AtomicU64);

impl WriteLimit {
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        Self(AtomicU64::new(bytes.unwrap_or(UNLIMITED)))
    }

    pub(crate) fn set(&self, bytes: Option<u64>) {
        self.0.store(bytes.unwrap_or(UNLIMITED), Ordering::Release);
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
        let taken = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| match left {
            UNLIMITED => None,
            left => Some(left.saturating_sub(wanted as u64)),
        });
        taken.map_or(wanted, |left| wanted.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }
}
