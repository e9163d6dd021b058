//! Bytes by digest in a file system or an object store: verified writes, ranged reads, parts of
//! downloads, upload sessions, removing, copying from place to place.
//!
//! It exists so that one place touches artifact bytes at rest, and so that one rule holds there:
//! what can be read as a digest was hashed to that digest, whole, before it got its name. A kill
//! at any moment leaves either no blob or the whole right one.
//!
//! Below the data directory: `blobs/<algorithm>/<first 2 hex>/<hex>` for what is committed,
//! `blobs/names/<name>/_index.json` for what a name holds (a document of the caller's),
//! `fills/<algorithm>-<hex>.part` for what is being downloaded, `….json` beside it for what the
//! upstream said about it, `uploads/<id>.data` for what clients push, `….json` beside it for what
//! the caller wants to know of the session later. A committed file is never written, truncated or
//! renamed again, only unlinked; readers rely on that to map it.
//!
//! Committed blobs may also lie elsewhere ([`Place`]): in other directories or in object stores, under
//! the same names. Of the places that are set, the first is written to and all are read in order.
//! Whatever comes in is staged below the data directory first.
//!
//! Functions said to block belong on a blocking pool; streams and part readers do that themselves
//! and need a tokio runtime.

mod append;
mod blob;
mod cache;
mod check;
mod copy;
mod dir;
mod disk;
mod documents;
mod error;
mod layout;
mod limit;
mod map;
mod object;
mod open;
mod part;
mod place;
mod places;
mod pread;
mod reader;
mod reading;
mod rescue;
mod segments;
mod store;
mod stream;
mod take_in;
mod upload;
mod upload_id;
mod uploads;
mod validators;
mod walk;

pub use blob::{Blob, ReadHow};
pub use check::{Looked, Verdict};
pub use copy::Copied;
pub use disk::Disk;
pub use error::Error;
pub use object::{ObjectWaits, Trouble};
pub use part::Part;
pub use place::Place;
pub use places::OpenPlace;
pub use reader::PartReader;
pub use store::{Options, Store};
pub use stream::BlobStream;
pub use upload::Upload;
pub use upload_id::UploadId;
pub use uploads::ParkedUpload;
pub use validators::Validators;
pub use walk::ParkedPart;
