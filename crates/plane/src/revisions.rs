//! Sets of resources coming into force, one after the other (contracts §6).
//!
//! What was in force is kept twice: in the catalog, and as one file in the data directory, so that
//! a plane whose files are wrong, or whose catalog is gone, starts with the last good set and says
//! so. A rollback holds until the files say something new, across restarts too.

use crate::admin::{AdminError, RevisionView};
use crate::plane::{Core, Plane};
use crate::shelf::Shelf;
use crate::view::View;
use catalog::Batch;
use oci::Digest;
use parking_lot::Mutex;
use resources::{Problems, Set};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use telemetry::ReloadTarget;

/// The set in force, in the data directory.
const FILE: &str = "revision.yaml";
/// A rollback in force.
const ROLLBACK_FILE: &str = "rollback.json";
/// After this, no request that took the view before has still to begin its download.
const REQUESTS_BEFORE: std::time::Duration = std::time::Duration::from_secs(5);
/// Revisions looked through for a prefix.
const REVISIONS_MAX: u32 = 10_000;

/// What applying did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// What is in force now.
    pub revision: Digest,
    /// Whether it was not in force before.
    pub changed: bool,
}

/// Why documents did not come into force.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// They are wrong; each problem names its place.
    #[error("{0}")]
    Documents(Problems),
    /// No key can be made to sign tokens with.
    #[error("no key can be made to sign tokens with: {0}")]
    Keys(String),
}

/// A rollback that holds until the files say something new.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rollback {
    /// What is in force instead.
    to: Digest,
    /// What the files say.
    instead_of: Digest,
}

/// The sets that were in force, and how the last one came to be.
pub(crate) struct Revisions {
    data_dir: PathBuf,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last good set that the files said.
    last_read: Option<Digest>,
    /// Why what the files say is not in force.
    problem: Option<String>,
}

impl Revisions {
    /// The view to start with.
    pub(crate) async fn start(
        shelf: &Arc<Shelf>,
        data_dir: PathBuf,
        read: Result<Set, Problems>,
        source: &str,
    ) -> Result<(Self, View), ApplyError> {
        let now = shelf.clock.now();
        let build = |set, source: &str| View::build(set, source, now, None, &shelf.metrics);
        let mut state = State::default();
        let last_read = read.as_ref().ok().map(Set::revision);
        let built = read.and_then(|set| {
            let rollback = last_read.and_then(|read| rollback_of(&data_dir, shelf, &read));
            match rollback {
                Some(set) => build(set, "a rollback"),
                None => build(set, source),
            }
        });
        let view = match built {
            Ok(view) => {
                state.last_read = last_read;
                view
            }
            Err(problems) => {
                let Some(set) = last_good(&data_dir, shelf) else {
                    return Err(ApplyError::Documents(problems));
                };
                say(&problems, source);
                shelf.metrics.reload_failed(ReloadTarget::Resources);
                state.problem = Some(one_line(&problems, source));
                let view = build(set, "the last good set").map_err(ApplyError::Documents)?;
                tracing::warn!(revision = %view.revision, "started with the last set that was in force");
                view
            }
        };
        let revisions =
            Self { data_dir, turn: tokio::sync::Mutex::default(), state: Mutex::new(state) };
        revisions.keep(shelf, &view).await;
        Ok((revisions, view))
    }

    pub(crate) fn problem(&self) -> Option<String> {
        self.state.lock().problem.clone()
    }

    pub(crate) async fn apply(
        &self,
        core: &Arc<Core>,
        read: Result<Set, Problems>,
        source: &str,
    ) -> Result<Applied, ApplyError> {
        let _turn = self.turn.lock().await;
        let current = core.view();
        let unchanged = Applied { revision: current.revision, changed: false };
        let built = read.and_then(|set| {
            let revision = set.revision();
            let known = self.state.lock().last_read == Some(revision);
            if known || revision == current.revision {
                return Ok((revision, None));
            }
            let now = core.shelf.clock.now();
            let view = View::build(set, source, now, Some(&current), &core.shelf.metrics)?;
            Ok((revision, Some(view)))
        });
        let built = match built {
            Ok((revision, Some(view))) => {
                core.places.check(core, &view).await.map(|()| (revision, Some(view)))
            }
            other => other,
        };
        match built {
            Ok((revision, view)) => {
                let was_wrong = {
                    let mut state = self.state.lock();
                    state.last_read = Some(revision);
                    state.problem.take().is_some()
                };
                if was_wrong {
                    tracing::info!(source, "the resources can be read again");
                }
                let Some(view) = view else { return Ok(unchanged) };
                let _ = fs::remove_file(self.data_dir.join(ROLLBACK_FILE));
                self.activate(core, view).await;
                Ok(Applied { revision, changed: true })
            }
            Err(problems) => {
                let text = one_line(&problems, source);
                let is_news = self.state.lock().problem.replace(text.clone()) != Some(text);
                if is_news {
                    say(&problems, source);
                    core.shelf.metrics.reload_failed(ReloadTarget::Resources);
                }
                Err(ApplyError::Documents(problems))
            }
        }
    }

    /// Puts a former set in force again.
    async fn rollback(&self, core: &Arc<Core>, set: Set) -> Result<Applied, AdminError> {
        let _turn = self.turn.lock().await;
        let current = core.view();
        let revision = set.revision();
        if revision == current.revision {
            return Ok(Applied { revision, changed: false });
        }
        let now = core.shelf.clock.now();
        let view = View::build(set, "a rollback", now, Some(&current), &core.shelf.metrics)
            .map_err(|problems| {
                AdminError::Invalid(format!("the set is refused now: {problems}"))
            })?;
        let usable = core.places.check(core, &view).await;
        usable.map_err(|problems| {
            AdminError::Invalid(format!("the set is refused now: {problems}"))
        })?;
        // On disk before in force: a rollback that a restart undoes is none.
        let instead_of = self.state.lock().last_read.unwrap_or(current.revision);
        let path = self.data_dir.join(ROLLBACK_FILE);
        let marker = serde_json::to_vec(&Rollback { to: revision, instead_of })
            .map_err(|error| AdminError::Unavailable(error.to_string()))?;
        write_whole(&path, &marker).map_err(|error| {
            AdminError::Unavailable(format!("{} cannot be written: {error}", path.display()))
        })?;
        self.activate(core, view).await;
        Ok(Applied { revision, changed: true })
    }

    async fn activate(&self, core: &Arc<Core>, view: View) {
        let before = core.view();
        for name in before.upstreams.keys().filter(|name| !view.upstreams.contains_key(*name)) {
            core.shelf.metrics.retire_upstream(name);
        }
        self.keep(&core.shelf, &view).await;
        core.places.activate(core, &view).await;
        tracing::info!(revision = %view.revision, source = view.source, "resources are in force");
        core.swap(view);
        let (core, view) = (core.clone(), core.view());
        // Behind: who asks is answered by the new view already.
        tokio::spawn(async move {
            crate::govern::end_fills(&core, &view).await;
            // A request of the view before may have begun one meanwhile.
            tokio::time::sleep(REQUESTS_BEFORE).await;
            crate::govern::end_fills(&core, &core.view()).await;
        });
    }

    /// Keeps the text of a view in the catalog and in the data directory.
    async fn keep(&self, shelf: &Arc<Shelf>, view: &View) {
        let text = view.set.to_yaml();
        let documents = view.set.documents().len() as u64;
        let mut batch = Batch::new();
        batch.put_revision(&view.revision, &text, &view.source, documents, view.activated);
        shelf.submit(batch);
        shelf.metrics.set_revision(&view.revision.to_string(), &view.source);
        let path = self.data_dir.join(FILE);
        let written = shelf.blocking(move |_| write_whole(&path, text.as_bytes())).await;
        if let Some(Err(error)) = written {
            tracing::error!(%error, "{FILE} cannot be written: a restart without a catalog could not use this set");
        }
    }
}

impl Plane {
    pub(crate) fn resources_problem(&self) -> Option<String> {
        self.revisions.problem()
    }

    /// Sets of resources that were in force, the last one first.
    ///
    /// # Errors
    /// When the catalog does not answer.
    pub async fn revisions(&self, limit: u32) -> Result<Vec<RevisionView>, AdminError> {
        let rows = self.core.shelf.blocking(move |shelf| shelf.catalog.revisions(limit)).await;
        let active = self.core.view().revision;
        let rows = crate::admin::read(rows)?;
        Ok(rows
            .into_iter()
            .map(|row| RevisionView {
                digest: row.digest,
                source: row.source,
                documents: row.documents,
                first_activated: row.first_activated,
                last_activated: row.last_activated,
                active: row.digest == active,
            })
            .collect())
    }

    /// The documents of a set that was in force, as YAML. `digest` may be a unique prefix of the hex
    /// text (at least 6 characters), with or without `sha256:`.
    ///
    /// # Errors
    /// When there is no such set, or more than one.
    pub async fn revision_text(&self, digest: &str) -> Result<(Digest, String), AdminError> {
        let prefix = digest.trim_start_matches("sha256:").to_owned();
        if prefix.len() < 6 || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(AdminError::Invalid(
                "a revision is named by at least 6 characters of its digest".to_owned(),
            ));
        }
        let rows = self.core.shelf.blocking(|shelf| shelf.catalog.revisions(REVISIONS_MAX)).await;
        let fits = |found: &Digest| found.hex().starts_with(&prefix);
        let mut found = crate::admin::read(rows)?.into_iter().map(|row| row.digest).filter(fits);
        let Some(digest) = found.next() else {
            return Err(AdminError::NotFound(format!("no revision begins with {prefix}")));
        };
        if found.next().is_some() {
            return Err(AdminError::Invalid(format!(
                "more than one revision begins with {prefix}"
            )));
        }
        let text =
            self.core.shelf.blocking(move |shelf| shelf.catalog.revision_text(&digest)).await;
        match crate::admin::read(text)? {
            Some(text) => Ok((digest, text)),
            None => Err(AdminError::NotFound(format!("the text of {digest} is not kept"))),
        }
    }

    /// Puts a former set in force again, until the files say something new.
    ///
    /// # Errors
    /// When there is no such set, or this version refuses it.
    pub async fn rollback(&self, digest: &str) -> Result<Applied, AdminError> {
        let (digest, text) = self.revision_text(digest).await?;
        let set = resources::read_text(&format!("revision {digest}"), &text)
            .map_err(|problems| AdminError::Invalid(problems.to_string()))?;
        self.revisions.rollback(&self.core, set).await
    }
}

/// The rollback that holds while the files say `read`.
fn rollback_of(data_dir: &Path, shelf: &Shelf, read: &Digest) -> Option<Set> {
    let bytes = fs::read(data_dir.join(ROLLBACK_FILE)).ok()?;
    let rollback: Rollback = serde_json::from_slice(&bytes).ok()?;
    if rollback.instead_of != *read {
        return None;
    }
    let text = shelf.catalog.revision_text(&rollback.to).ok().flatten();
    let text = text.or_else(|| fs::read_to_string(data_dir.join(FILE)).ok())?;
    let set = resources::read_text("rollback", &text).ok()?;
    (set.revision() == rollback.to).then_some(set)
}

/// The last set that was in force: from the catalog, else from the data directory.
fn last_good(data_dir: &Path, shelf: &Shelf) -> Option<Set> {
    let from_catalog = || {
        let row = shelf.catalog.revisions(1).ok()?.into_iter().next()?;
        shelf.catalog.revision_text(&row.digest).ok()?
    };
    let from_file = || fs::read_to_string(data_dir.join(FILE)).ok();
    [from_catalog(), from_file()].into_iter().flatten().find_map(|text| {
        resources::read_text("last good set", &text)
            .inspect_err(|problems| tracing::error!(%problems, "a kept set cannot be read"))
            .ok()
    })
}

/// Replaces a file whole: after a crash it is the old one or the new one. For its owner alone: it
/// names upstreams and the files of their credentials.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&temporary)?;
    // One that a crash left behind keeps the mode it had.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn say(problems: &Problems, source: &str) {
    for problem in problems.iter().take(20) {
        tracing::error!(source, "resources: {problem}");
    }
    tracing::error!(
        source,
        count = problems.len(),
        "the resources are wrong; what was in force stays"
    );
}

fn one_line(problems: &Problems, source: &str) -> String {
    let first = problems.iter().next().map(ToString::to_string).unwrap_or_default();
    let more = problems.len().saturating_sub(1);
    let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    format!("resources from {source} are not in force: {first}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(path.with_extension("new"), "left behind by a crash").unwrap();
        fs::set_permissions(path.with_extension("new"), fs::Permissions::from_mode(0o644)).unwrap();
        for text in ["one", "two"] {
            write_whole(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
