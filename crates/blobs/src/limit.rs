//! A disk that becomes full on demand, for tests.
//!
//! A real full disk needs a mount of its own, and so root; the file size limit of the process
//! (RLIMIT_FSIZE) would hit every other test that runs beside this one. So writes of artifact
//! bytes ask here first. Without a limit that is one atomic load per write of many kilobytes.

use std::io;
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

    /// How many of `wanted` bytes may be written now: at least one, as with a disk that becomes
    /// full in the middle of a write; `ENOSPC` when none may.
    pub(crate) fn take(&self, wanted: usize) -> io::Result<usize> {
        let mut left = self.0.load(Ordering::Acquire);
        loop {
            if left == UNLIMITED || wanted == 0 {
                return Ok(wanted);
            }
            if left == 0 {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            let taken = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
            let rest = left - taken as u64;
            match self.0.compare_exchange(left, rest, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(taken),
                Err(now) => left = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_is_left_then_nothing() {
        let limit = WriteLimit::new(Some(10));
        assert_eq!(limit.take(4).unwrap(), 4);
        assert_eq!(limit.take(20).unwrap(), 6);
        assert_eq!(limit.take(1).unwrap_err().kind(), io::ErrorKind::StorageFull);
        limit.set(None);
        assert_eq!(limit.take(usize::MAX).unwrap(), usize::MAX);
    }
}
