//! Hosted repositories: what is pushed here, kept until somebody takes it away.
//!
//! Their catalog is the truth, not a memory of somebody else's: what it cannot say now is "cannot
//! tell", never "not there" (design, invariant 4). No push waits for an upstream.

mod adopt;
mod blob;
mod check;
mod delete;
mod known;
mod manifest;
mod mount;
mod read;
mod receive;
mod settle;
mod upload;
mod uploads;
mod write;

pub(crate) use read::{blob, manifest, referrers, tags};
pub use uploads::PushSettings;
pub(crate) use uploads::Uploads;
pub(crate) use write::{Push, Write, write};
pub(crate) use {
    adopt::adopt,
    blob::keep,
    manifest::{Placing, place},
};
