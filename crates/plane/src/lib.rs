//! The pipeline: what is asked, by whom, of what, whether it may be, and where the bytes are.
//!
//! ```text
//! identify → route → resolve → gather → decide → serve → record
//! ```
//!
//! It exists so that one straight line ([`Plane::handle`]) stands between a request and a byte.
//! Around it: the [`View`] that a request takes once (contracts §6), the shared fill of a cold
//! blob, the memory that serves what is hot without the catalog, and the housekeeping that keeps
//! the store within its bounds. `edge` puts it on the wire, `lockgate` puts it together.

mod admin;
mod answer;
mod ask;
mod backup;
mod cached;
mod candidates;
mod clock;
mod collect;
mod decisions;
mod explain;
mod facts_revisions;
mod fill;
mod freshness;
mod govern;
mod holds;
mod hosted;
mod incoming;
mod jobs;
mod keep;
mod lists;
mod manifests;
mod memory;
mod names;
mod pipeline;
mod places;
mod plane;
mod refusal;
mod revisions;
mod rot;
mod routes;
mod scenario;
mod shelf;
mod singleflight;
mod stream;
mod tags;
mod tokens;
mod view;
mod waivers;

pub use admin::{
    AdminError, CacheEntry, CachePage, CacheStats, CatalogStatus, DiskStatus, EndpointView,
    PinView, PurgeTarget, Purged, RepositoryUsage, RevisionStatus, RevisionView, Status,
    StoreStatus, UpstreamView,
};
pub use answer::{BlobAnswer, CacheState, ManifestContent, Served, UploadState, What};
pub use ask::{Ask, Credentials, Method, Peer, Wishes};
pub use backup::{
    BackedUpFile, BackupError, BackupRequest, BackupSummary, check_backup, write_backup,
};
pub use clock::Clock;
pub use collect::{GcCounts, GcKept, GcLine, GcName, GcReport, GcSettings};
pub use decisions::{DecisionView, OutcomeView};
pub use explain::{CheckReport, CheckRequest, CheckResult};
pub use fill::FillSettings;
pub use hosted::PushSettings;
pub use incoming::{Incoming, IncomingError};
pub use jobs::{
    AdoptRequest, CopyRequest, GcRequest, JobState, JobView, MigrateRequest, MigrateTo, MoveKind,
    MoveLine, MoveReport, PrefetchRequest, Reported, VerifyRequest,
};
pub use keep::KeepSettings;
pub use names::{
    MissingContent, RebuildError, RebuildReport, UnreadableName, newer_documents, rebuild,
    take_in_cached,
};
pub use pipeline::{Trail, TrailEnd};
pub use places::PlaceView;
pub use places::open_places;
pub use plane::{Options, Plane};
pub use refusal::Refusal;
pub use revisions::{Applied, ApplyError};
pub use scenario::{CaseReport, ScenarioError, ScenarioReport, play_scenario};
pub use stream::{ByteStream, StreamError};
pub use tokens::{TokenAsk, TokenGrant, TokenGrantType, TokenRefusal};
pub use view::View;
pub use waivers::WaiverView;

pub use identity::{Authorization, LoginOffer};

pub use blobs::{ReadHow, UploadId};
