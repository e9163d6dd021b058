//! Upload sessions: begun, taken up by the one who began them, and cleared away.
//!
//! A session lies in the store, which keeps its bytes across a restart and its hash from one request
//! to the next. Between requests nothing of it is open here.

use super::write::Push;
use crate::clock::before;
use crate::refusal::Refusal;
use crate::shelf::Shelf;
use blobs::{Upload, UploadId};
use jiff::Timestamp;
use oci::Algorithm;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use telemetry::Metrics;

/// How pushes are taken.
#[derive(Clone, Copy, Debug)]
pub struct PushSettings {
    /// The largest blob that is taken, in bytes; protects the disk where no quota does.
    pub blob_max_bytes: u64,
    /// Upload sessions that lie here at a time; protects the inodes of the disk.
    pub sessions_max: u64,
    /// How long a push waits for the catalog before its client is told to try again.
    pub patience: Duration,
}

impl Default for PushSettings {
    fn default() -> Self {
        Self { blob_max_bytes: 1 << 40, sessions_max: 100_000, patience: Duration::from_secs(30) }
    }
}

/// All upload sessions.
pub(crate) struct Uploads {
    shelf: Arc<Shelf>,
    settings: PushSettings,
    /// About how many there are: those of earlier processes count from the first sweep on.
    count: AtomicU64,
}

/// What is kept beside a session.
#[derive(Serialize, Deserialize)]
struct About {
    /// The canonical name it is for.
    name: String,
    /// The key of the principal that began it.
    principal: String,
    /// The decision that allowed it.
    decision: String,
    /// What it will be hashed with, if the client said so.
    algorithm: Option<String>,
    created: Timestamp,
}

/// A session that a request writes to. Dropped, it is parked.
pub(super) struct Session {
    pub(super) upload: Box<Upload>,
    _counted: Counted,
}

/// One of the sessions that are written to now.
struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.upload_opened();
        Self(metrics.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.upload_closed();
    }
}

impl Uploads {
    pub(crate) fn new(shelf: Arc<Shelf>, settings: PushSettings) -> Self {
        Self { shelf, settings, count: AtomicU64::new(0) }
    }

    /// How long a push waits for the catalog.
    pub(super) fn patience(&self) -> Duration {
        self.settings.patience
    }

    /// The largest blob that is taken.
    pub(super) fn blob_max_bytes(&self) -> u64 {
        self.settings.blob_max_bytes
    }

    /// Begins a session for the one who asks.
    pub(super) async fn begin(
        &self,
        push: &Push,
        algorithm: Option<Algorithm>,
    ) -> Result<Session, Refusal> {
        let about = About {
            name: push.name.name.to_string(),
            principal: push.permit.principal().key().to_owned(),
            decision: push.permit.id().to_string(),
            algorithm: algorithm.map(|algorithm| algorithm.to_string()),
            created: self.shelf.clock.now(),
        };
        if self.count.load(Ordering::Relaxed) >= self.settings.sessions_max {
            return Err(too_many());
        }
        let about = serde_json::to_string(&about).map_err(|e| Refusal::Internal(e.to_string()))?;
        let begun = self.shelf.blocking(move |shelf| {
            let mut upload = shelf.store.begin_upload(&about)?;
            upload.hash_with(algorithm.unwrap_or(Algorithm::Sha256));
            Ok(Box::new(upload))
        });
        let session = self.opened(begun.await)?;
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(session)
    }

    /// Takes up a session, if the one who asks began it under the same name.
    pub(super) async fn take_up(&self, push: &Push, id: UploadId) -> Result<Session, Refusal> {
        let (name, principal) =
            (push.name.name.to_string(), push.permit.principal().key().to_owned());
        let taken = self.shelf.blocking(move |shelf| {
            let Some(mut upload) = shelf.store.upload(&id)? else { return Ok(None) };
            // What cannot be read was not written by this plane: nobody's.
            let about = serde_json::from_str::<About>(upload.about()).ok();
            let about = about.filter(|it| it.name == name && it.principal == principal);
            let Some(about) = about else { return Ok(None) };
            if let Some(algorithm) = about.algorithm.as_deref().and_then(algorithm) {
                upload.hash_with(algorithm);
            }
            Ok(Some(Box::new(upload)))
        });
        match taken.await {
            Some(Ok(None)) => Err(Refusal::UploadUnknown),
            Some(Ok(Some(upload))) => self.opened(Some(Ok(upload))),
            Some(Err(error)) => self.opened(Some(Err(error))),
            None => self.opened(None),
        }
    }

    fn opened(
        &self,
        upload: Option<Result<Box<Upload>, blobs::Error>>,
    ) -> Result<Session, Refusal> {
        match upload {
            Some(Ok(upload)) => Ok(Session { upload, _counted: Counted::new(&self.shelf.metrics) }),
            Some(Err(blobs::Error::Busy { .. })) => Err(Refusal::UploadBusy),
            Some(Err(error)) => Err(trouble(&self.shelf, &error)),
            None => Err(panicked()),
        }
    }

    /// A session is no more.
    pub(super) fn ended(&self) {
        let less = |count: u64| Some(count.saturating_sub(1));
        let _ = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Ends a session.
    pub(super) async fn discard(&self, session: Session) -> Result<(), Refusal> {
        let gone = self.shelf.blocking(move |shelf| {
            let Session { upload, .. } = session;
            upload.discard().map_err(|error| trouble(shelf, &error))
        });
        self.ended();
        gone.await.unwrap_or_else(|| Err(panicked()))
    }

    /// Ends a session of which nobody knows, if there still is one.
    pub(super) async fn remove(&self, id: UploadId) {
        let removed = self.shelf.blocking(move |shelf| shelf.store.remove_upload(&id)).await;
        match removed {
            Some(Ok(true)) => self.ended(),
            Some(Err(error)) => {
                tracing::warn!(%error, "an upload that came to nothing left something behind");
            }
            _ => {}
        }
    }

    /// Blocks: removes sessions to which nothing was written for `ttl`. How many that were.
    pub(crate) fn sweep(&self, ttl: Duration) -> Result<u64, blobs::Error> {
        let oldest = before(self.shelf.clock.now(), ttl);
        let uploads = self.shelf.store.uploads()?;
        let found = uploads.len() as u64;
        let mut removed = 0;
        for upload in uploads {
            let modified = Timestamp::try_from(upload.modified).unwrap_or(Timestamp::MAX);
            if upload.is_open || modified > oldest {
                continue;
            }
            match self.shelf.store.remove_upload(&upload.id) {
                Ok(was_there) => removed += u64::from(was_there),
                // Somebody went on with it just now.
                Err(blobs::Error::Busy { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.count.store(found.saturating_sub(removed), Ordering::Relaxed);
        if removed > 0 {
            tracing::info!(removed, "removed uploads that nobody went on with");
        }
        Ok(removed)
    }
}

/// The algorithm of a name, if it is one that is verified here.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    [Algorithm::Sha256, Algorithm::Sha512].into_iter().find(|it| it.as_str() == name)
}

/// Trouble of the store while something is taken in: all of it in the log, to clients what they can
/// do.
pub(super) fn trouble(shelf: &Shelf, error: &blobs::Error) -> Refusal {
    if error.is_no_space() {
        shelf.set_full("a push cannot be written");
        return full();
    }
    tracing::error!(error = error as &dyn std::error::Error, "the store cannot take a push");
    let reason = "the store cannot take this now; its log says why".to_owned();
    Refusal::Indeterminate { reason, retry_after: Some(RETRY), is_rate_limit: false }
}

/// When to try again what the store could not take.
const RETRY: Duration = Duration::from_secs(30);

/// The disk takes no more.
pub(super) fn full() -> Refusal {
    let reason = "the disk of the store is full: nothing more is taken until space returns; what \
        came so far is kept in the upload session"
        .to_owned();
    Refusal::Indeterminate { reason, retry_after: Some(RETRY), is_rate_limit: false }
}

fn too_many() -> Refusal {
    let reason =
        "too many upload sessions are open; end some, or wait until those that nobody goes \
        on with are removed"
            .to_owned();
    Refusal::Indeterminate { reason, retry_after: Some(RETRY), is_rate_limit: true }
}

pub(super) fn panicked() -> Refusal {
    Refusal::Internal("a push was ended by a bug; see the log".to_owned())
}
