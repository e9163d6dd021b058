//! What hosted names hold, kept beside the blobs, so that the store can be understood without the
//! catalog; and the way back from there.
//!
//! Every hosted name has a document in the store ([`document`]): its manifests and tags, as an OCI
//! image index. It is written behind ([`scribe`]), some seconds after a change. When the catalog is
//! a fresh one (lost, or broken and put aside), all names are made again from the documents
//! ([`rebuild`]). Until that is done nobody is told that something hosted is absent, nothing is pushed,
//! and nothing is evicted or collected ([`book`]).

mod book;
mod document;
mod rebuild;
mod scribe;
mod write;

pub(crate) use book::{NOT_SURE, NameBook};
pub use rebuild::{
    MissingContent, RebuildError, RebuildReport, UnreadableName, newer_documents, rebuild,
    take_in_cached,
};
pub(crate) use scribe::Scribe;
