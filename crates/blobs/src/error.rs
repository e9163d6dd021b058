//! What can go wrong with bytes at rest.

use crate::object::Trouble;
use oci::Digest;
use std::io;
use std::path::{Path, PathBuf};

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, in words that fit after "cannot".
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No space, no inodes, over a quota or over the file size limit.
    #[error("no space to {action} {}", path.display())]
    NoSpace {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not those of the digest.
    #[error("{}: the bytes of {wanted} hash to {found}", path.display())]
    WrongDigest {
        /// The file that holds them, or would have.
        path: PathBuf,
        /// What they should be.
        wanted: Box<Digest>,
        /// What they are.
        found: Box<Digest>,
    },
    /// Somebody else in this process has the part or the upload session open.
    #[error("{} is being written already", path.display())]
    Busy {
        /// Its file.
        path: PathBuf,
    },
    /// The part had bytes when it was opened and they have not been hashed yet.
    #[error("{} has bytes that were not hashed yet", path.display())]
    NotRehashed {
        /// The part.
        path: PathBuf,
    },
    /// Bytes of the part were passed on without being kept.
    #[error("{} lacks bytes that were not kept", path.display())]
    Incomplete {
        /// The part.
        path: PathBuf,
    },
    /// The blob is longer than the caller can take.
    #[error("{} has {size_bytes} bytes, more than the {max_bytes} wanted", path.display())]
    TooLarge {
        /// The blob's file.
        path: PathBuf,
        /// Its size.
        size_bytes: u64,
        /// The caller's bound.
        max_bytes: usize,
    },
    /// A file ends before it should: damaged, or read past what was written.
    #[error("{} ends before byte {offset}", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
        /// The byte that is not there.
        offset: u64,
    },
    /// A committed file has another length than its blob: damaged.
    #[error("{} has {found_bytes} bytes instead of {wanted_bytes}", path.display())]
    WrongSize {
        /// The file that was.
        path: PathBuf,
        /// Its length.
        found_bytes: u64,
        /// The length of the blob.
        wanted_bytes: u64,
    },
    /// There is no such blob.
    #[error("{} is not there", path.display())]
    Absent {
        /// Where it would be.
        path: PathBuf,
    },
    /// An object store could not be asked, or said no. Never that a blob is not there.
    #[error("cannot {action} {}: {trouble}", path.display())]
    Remote {
        /// What was tried.
        action: &'static str,
        /// On which object or place, as a URL without secrets.
        path: PathBuf,
        /// Why not, as far as it can be told.
        trouble: Trouble,
        /// What the client or the store said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A place cannot be used as it is written.
    #[error("{place} cannot be used to hold blobs")]
    BadPlace {
        /// The place, without secrets.
        place: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A text that names no upload session.
    #[error("an upload session is named by 32 characters of lower-case hex")]
    NoUploadId,
    /// The system gave no random bytes, so that no upload session can be named.
    #[error("the system gave no random bytes")]
    NoRandomness,
    /// More was to be kept beside an upload session than fits.
    #[error("{about_bytes} bytes about an upload session, more than the {max_bytes} that are kept")]
    AboutTooLong {
        /// How many there were.
        about_bytes: usize,
        /// How many there may be.
        max_bytes: usize,
    },
    /// The runtime ended while a read was under way.
    #[error("reading {} was stopped", path.display())]
    Stopped {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// Whether more space would have helped.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }

    /// Whether it says that bytes at rest are not what they were: missing, or unreadable for good.
    /// Trouble that may pass (no memory, no descriptors, a signal) is none.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Absent { .. }
            | Self::TooShort { .. }
            | Self::WrongSize { .. }
            | Self::WrongDigest { .. } => true,
            Self::Io { action: "read", source, .. } => {
                let code = source.raw_os_error();
                matches!(code, Some(libc::EIO | libc::EBADMSG | libc::EUCLEAN))
            }
            _ => false,
        }
    }

    /// Whether an object store said that the thing asked for is not there.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Remote { trouble: Trouble::Absent, .. })
    }

    /// Whether the same may work a moment later: an object store was out of reach or out of order.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Remote { trouble, .. } if trouble.may_pass())
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.to_owned(), source.into());
        match source.kind() {
            // EFBIG counts too: a file size limit is met by a big blob as a full disk is.
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::NoSpace { action, path, source },
            _ => Self::Io { action, path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn full_disks_are_told_from_other_trouble() {
        let error = |code| Error::io("write", Path::new("x"), io::Error::from_raw_os_error(code));
        for code in [libc::ENOSPC, libc::EDQUOT, libc::EFBIG] {
            assert!(error(code).is_no_space(), "{code}");
        }
        let broken = error(libc::EIO);
        assert!(!broken.is_damage(), "what was not read may be whole");
        let rotten = |code| {
            Error::io("read", Path::new("x"), io::Error::from_raw_os_error(code)).is_damage()
        };
        assert!(rotten(libc::EIO) && !rotten(libc::ENOMEM));
        assert!(!broken.is_no_space());
        assert_eq!(broken.to_string(), "cannot write x");
        assert!(broken.source().is_some());
    }
}
