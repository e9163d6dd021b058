//! What exists: contents, tags, reach, revisions, pins; SQLite.
//!
//! It exists so that nobody else speaks SQL, and so that no write ever waits in a request: `submit`
//! hands a [`Batch`] to one writer thread that commits many batches at once. Reads are short and
//! fail fast. While the database is locked, read-only or gone, batches wait in memory, bounded, and
//! what has to be dropped is counted, never silent (contracts §4, §5, §6, §9, §10).

mod backup;
mod batch;
mod catalog;
mod columns;
mod connect;
mod error;
mod file;
mod governance;
mod hosted;
mod migrate;
mod read;
mod readers;
mod rows;
mod ticket;
mod write;

pub use batch::Batch;
pub use catalog::{Catalog, Opened};
pub use error::{Error, WriteError};
pub use governance::{AdmissionRow, AdmittedRow, SofteningRow};
pub use hosted::{
    BlobRow, Collection, Dead, DeadWhy, HostedUse, Kept, MarkQuery, Marked, PushedBlob,
    PushedManifest, SchemaVersion, TagEntry,
};
pub use rows::{
    CacheCursor, CacheFilter, CachedRow, Content, ContentRow, Edge, JobRow, JobState, Listed,
    Listing, ListingKey, ManifestRow, PinRow, Pinned, ReferrerRow, RepositoryUse, RevisionRow,
    Role, Status, TagRow, Usage, Victim, VictimContent, VictimCursor,
};
pub use ticket::Ticket;
