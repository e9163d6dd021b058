//! The bytes of one blob as they arrive, over as many connections as it takes.

use crate::failure::Failure;
use bytes::Bytes;

/// What tells whether a blob is still the one that was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// Length of the whole blob.
    pub total_bytes: Option<u64>,
    /// `ETag`, as the upstream gave it.
    pub etag: Option<String>,
}

/// Where a transfer begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Bytes already held.
    pub offset_bytes: u64,
    /// What the upstream said when they were fetched.
    pub validators: Option<Validators>,
}

/// A blob on its way.
#[derive(Debug)]
pub struct Transfer {
    validators: Validators,
    offset: u64,
    endpoint: String,
}

impl Transfer {
    /// Length of the whole blob in bytes, where the upstream told.
    pub fn total_bytes(&self) -> Option<u64> {
        self.validators.total_bytes
    }

    /// What to come back with after a break.
    pub fn validators(&self) -> &Validators {
        &self.validators
    }

    /// Where the next piece begins in the blob.
    pub fn offset_bytes(&self) -> u64 {
        self.offset
    }

    /// Which endpoint is sending: `scheme://host[:port]`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The next piece; `None` when the blob is whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        Err(Failure::indeterminate("not yet written"))
    }
}
