//! How full the file system is that holds the store.

use crate::error::Error;
use std::path::Path;

/// Space and inodes of a file system, as this process may use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// All bytes, reserved ones included.
    pub total_bytes: u64,
    /// Bytes this process can still write (without what is reserved for root).
    pub free_bytes: u64,
    /// All inodes; 0 where the file system makes them on demand (btrfs) and so has no limit.
    pub total_inodes: u64,
    /// Inodes this process can still use; means nothing when `total_inodes` is 0.
    pub free_inodes: u64,
}

impl Disk {
    pub(crate) fn of(path: &Path) -> Result<Self, Error> {
        let stat = rustix::fs::statvfs(path)
            .map_err(|error| Error::io("ask for the free space of", path, error))?;
        // Blocks are counted in units of `f_frsize` (POSIX `statvfs`).
        Ok(Self {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_inodes: stat.f_files,
            free_inodes: stat.f_favail,
        })
    }
}
