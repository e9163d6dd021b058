//! For tests: a registry that misbehaves on request, a test CA, a client that hides nothing.
//!
//! # A registry
//!
//! [`FakeRegistry`] is an OCI registry on a loopback port. It holds what a test publishes, records
//! what it is asked and what it sent, and goes wrong in the ways registries and networks do.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! use testkit::{Fault, FakeRegistry, ImageSpec, Match, client};
//!
//! let registry = FakeRegistry::start().await;
//! let image = registry.image("library/alpine", "3", ImageSpec::layers([1000, 300_000]));
//!
//! // The first request for a blob ends early; the next ones are fine.
//! let rule = registry.behave(Match::blobs().first(1), Fault::Truncate(500));
//! let cut = client::get(registry.addr(), &image.layer_path(0), &[]).await?;
//! assert_eq!((cut.status, cut.body.len(), cut.clean_end()), (200, 500, false));
//! let rest = client::get(registry.addr(), &image.layer_path(0), &[("range", "bytes=500-")]).await?;
//! assert_eq!((rest.status, rest.body.len(), rest.clean_end()), (206, 500, true));
//!
//! assert_eq!(rule.hits(), 1);
//! assert_eq!(registry.bytes_sent_for(&image.layers[0].digest), 1000);
//! assert_eq!(registry.count(|seen| seen.header("range").is_some()), 1);
//! # Ok(()) }
//! ```
//!
//! Faults that apply to one request act together: `Slow` with `Truncate`, `Chunked` with `Reset`,
//! `IgnoreRange` with `Stall`. [`Gate`] holds an answer, or the rest of one, until the test says so,
//! which makes races repeatable:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # use testkit::{Fault, FakeRegistry, Gate, Match, client};
//! # let registry = FakeRegistry::start().await;
//! let digest = registry.synthetic_blob("big", 10 << 20, 1); // made while it is sent
//! let gate = Gate::new();
//! registry.behave(Match::blobs(), Fault::HoldAt(1 << 20, gate.clone()));
//! let path = testkit::blob_path("big", &digest);
//! let pull = tokio::spawn(client::get_owned(registry.addr(), path, vec![]));
//! registry.eventually("1 MiB is out", |seen| seen.bytes_sent_for(&digest) == 1 << 20).await;
//! gate.open();
//! assert!(pull.await.unwrap().unwrap().clean_end());
//! # }
//! ```
//!
//! # Who may pull
//!
//! [`Auth`] is Basic or the token dance; its clones share tokens and counters, so a second registry
//! can be the token server of the first: `Auth::bearer().realm(&format!("{}/token", other.url()))`,
//! set on both.
//!
//! # TLS
//!
//! [`TestCa`] issues certificates: `FakeRegistry::builder().tls(&ca)`, `.require_client_cert(&ca)`,
//! `ca.expired_server(&["127.0.0.1"])`.
//!
//! # An object store
//!
//! [`FakeS3`] is a bucket that checks signatures and goes wrong on request.
//!
//! # A client
//!
//! [`client`] tells what others hide: the reason phrase, and whether a body ended as it should.
//!
//! # From the shell
//!
//! `testkit-registry` is a registry of synthetic blobs as a process, steered by [`control`];
//! `testkit-herd` pulls one URL with many clients at once and checks what they get.

mod auth;
mod bandwidth;
pub mod client;
mod connection;
mod content;
pub mod control;
mod digest;
mod faults;
pub mod flags;
mod image;
mod limits;
mod log;
mod orders;
mod plan;
mod publish;
mod registry;
mod routes;
mod s3;
mod store;
mod synthetic;
mod tls;
mod wire;

pub use auth::{Auth, base64};
pub use bandwidth::Bandwidth;
pub use content::Content;
pub use control::Mode;
pub use digest::{Sha256, sha256};
pub use faults::{Canned, Fault, Gate, Match, Rule};
pub use image::{
    Blob, DOCKER_LIST, DOCKER_MANIFEST, Image, ImageSpec, Index, OCI_INDEX, OCI_MANIFEST,
    blob_path, manifest_path,
};
pub use limits::RateLimit;
pub use log::{PathTotals, Seen};
pub use registry::{Builder, FakeRegistry, Referrers};
pub use s3::{FakeS3, S3Fault};
pub use synthetic::{PAGE_BYTES, Piece, Synthetic};
pub use tls::{Issued, TestCa};
pub use wire::Request;
