//! Where a fill's bytes go: hashed and written, or, when the disk is full, only hashed.

use super::state::FillFailure;
use crate::shelf::Shelf;
use blobs::{Part, Validators};
use bytes::Bytes;
use oci::{Digest, Hasher};

/// Where the bytes go.
pub(super) enum Sink {
    /// Into the part file.
    Part(Box<Part>),
    /// To the readers only: the disk became full. The part keeps the hash.
    Unkept(Box<Part>),
    /// To the readers only: there is no part at all.
    Bare(Box<Hasher>),
}

/// Writes and hashes on the blocking pool; goes on without writing when the disk is full.
pub(super) fn append(
    shelf: &Shelf,
    sink: Sink,
    chunk: Bytes,
    validators: Option<Validators>,
) -> Result<Sink, blobs::Error> {
    let chunks = [chunk];
    let mut part = match sink {
        Sink::Part(part) => part,
        Sink::Unkept(mut part) => {
            part.hash_only(&chunks);
            return Ok(Sink::Unkept(part));
        }
        Sink::Bare(mut hasher) => {
            chunks.iter().for_each(|chunk| hasher.update(chunk));
            return Ok(Sink::Bare(hasher));
        }
    };
    let written = if shelf.is_full() { None } else { Some(part.append(&chunks)) };
    match written {
        Some(Ok(())) => {
            if let Some(validators) = validators {
                // Without them a resume just begins at zero.
                let _ = part.set_validators(validators);
            }
            return Ok(Sink::Part(part));
        }
        Some(Err(error)) if !error.is_no_space() => return Err(error),
        Some(Err(_)) => shelf.set_full("a download cannot be written"),
        None => {}
    }
    part.hash_only(&chunks);
    Ok(Sink::Unkept(part))
}

impl Sink {
    pub(super) fn digest_so_far(&self) -> Digest {
        match self {
            Self::Part(part) | Self::Unkept(part) => part.digest_so_far(),
            Self::Bare(hasher) => hasher.as_ref().clone().finish(),
        }
    }
}

/// The blocking pool gave nothing back.
pub(super) fn panicked() -> FillFailure {
    FillFailure::Internal("the store panicked; see the log of the plane".into())
}
