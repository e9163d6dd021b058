//! The vocabulary every other crate speaks: digests, names, tags, references, media types,
//! manifests and the routes of the distribution API.
//!
//! It exists so that a string from a client or an upstream is checked once, at the edge, and is
//! from then on a value that cannot be wrong. No I/O, no async, no clock.
//!
//! Sources: OCI distribution-spec 1.1 (and its main branch), OCI image-spec 1.1,
//! OCI image-spec `descriptor.md` for digests.

mod digest;
pub mod error;
mod evidence;
mod hash;
mod manifest;
mod media_type;
mod name;
mod platform;
mod pushed;
pub mod range;
mod raw_json;
mod reference;
pub mod route;

pub use digest::{Algorithm, Digest, DigestError};
pub use error::ErrorCode;
pub use evidence::EvidenceTag;
pub use hash::Hasher;
pub use manifest::{Descriptor, Manifest, ManifestError, ManifestKind};
pub use media_type::{ACCEPTED_MANIFESTS, MediaType, MediaTypeError};
pub use name::{Name, NameError};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, Tag, TagError};
