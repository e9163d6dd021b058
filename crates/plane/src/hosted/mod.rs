//! Hosted repositories: what is pushed here, kept until somebody takes it away.
//!
//! Their catalog is the truth, not a memory of somebody else's: what it cannot say now is "cannot
//! tell", never "not there" (design, invariant 4). No push waits for an upstream.

mod known;
mod read;
mod write;

pub(crate) use read::{blob, manifest, referrers, tags};
pub(crate) use write::{Push, Write, write};
