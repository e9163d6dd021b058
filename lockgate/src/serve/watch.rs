//! Watches the files of resources: by inotify for haste, by looking every few seconds for what
//! inotify does not tell (network file systems, a swapped mount).

use super::files::ResourceFiles;
use edge::server::Certificates;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use plane::Plane;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often files are looked at.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// Files are read when nothing was written for so long: an edit is often several writes.
const QUIET: Duration = Duration::from_millis(300);
/// Whoever writes without end is not waited for longer.
const QUIET_MAX: Duration = Duration::from_secs(3);

/// The watcher of a plane.
pub(super) struct Watch {
    pub(super) files: ResourceFiles,
    pub(super) plane: Arc<Plane>,
    pub(super) certificates: Certificates,
    /// The fingerprint of the files that the plane has read; `None` when they could not be read,
    /// which may pass without any of them changing.
    pub(super) seen: Option<u64>,
}

impl Watch {
    /// Runs until it is aborted.
    pub(super) async fn run(mut self, mut hangups: tokio::signal::unix::Signal) {
        let changed = Arc::new(Notify::new());
        let mut notifier = Notifier::default();
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(path) = self.files.path() {
                notifier.keep(path, &changed);
            }
            tokio::select! {
                () = changed.notified() => {
                    settle(&changed).await;
                    self.look().await;
                }
                _ = poll.tick() => self.look().await,
                _ = hangups.recv() => {
                    tracing::info!("SIGHUP: reading resources and certificates again");
                    let certificates = self.certificates.clone();
                    // What goes wrong is logged and counted there.
                    let _ = tokio::task::spawn_blocking(move || certificates.reload()).await;
                    self.apply().await;
                }
            }
        }
    }

    async fn look(&mut self) {
        if self.seen.is_none() || self.fingerprint().await != self.seen {
            self.apply().await;
        }
    }

    async fn fingerprint(&self) -> Option<u64> {
        let files = self.files.clone();
        tokio::task::spawn_blocking(move || files.fingerprint()).await.ok()
    }

    /// Reads and puts in force. What is wrong, the plane logs, counts and shows.
    async fn apply(&mut self) {
        // Before reading: a change while we read is seen the next time.
        let seen = self.fingerprint().await;
        let read = self.files.read().await;
        self.seen = seen.filter(|_| read.is_ok());
        let _ = self.plane.apply(read, &self.files.source()).await;
    }
}

/// Waits until no change comes for a moment.
async fn settle(changed: &Notify) {
    let quiet = async { while timeout(QUIET, changed.notified()).await.is_ok() {} };
    let _ = timeout(QUIET_MAX, quiet).await;
}

/// The inotify watch, made again when the directory is another one than before.
#[derive(Default)]
struct Notifier {
    watching: Option<(RecommendedWatcher, (u64, u64))>,
}

impl Notifier {
    fn keep(&mut self, path: &Path, changed: &Arc<Notify>) {
        let Ok(metadata) = fs::metadata(path) else {
            self.watching = None;
            return;
        };
        let id = (metadata.dev(), metadata.ino());
        if self.watching.as_ref().is_some_and(|(_, watched)| *watched == id) {
            return;
        }
        let had_one = self.watching.take().is_some();
        let notify = changed.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is no change; our own would never end.
            let is_read = event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_)));
            if !is_read {
                notify.notify_one();
            }
        });
        let watched = watcher.and_then(|mut watcher| {
            watcher.watch(path, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        match watched {
            Ok(watcher) => self.watching = Some((watcher, id)),
            Err(error) => {
                tracing::debug!(%error, "no change notifications; looking every few seconds");
            }
        }
        if had_one {
            changed.notify_one();
        }
    }
}
