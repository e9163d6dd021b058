//! The task behind: it makes a fresh catalog whole, then keeps the documents in step.

use super::rebuild::{MissingContent, RebuildError, RebuildReport, rebuild};
use super::write::{WriteError, drop_orphan, is_written, write};
use crate::plane::Core;
use crate::shelf::Shelf;
use oci::Name;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// From a change to its document: what changes together is written once.
const DELAY: Duration = Duration::from_secs(1);
/// It writes for at most one part in so many of the time, and goes through all names for one in more.
const WRITE_SHARE: u32 = 4;
const PASS_SHARE: u32 = 20;
const REST_MAX: Duration = Duration::from_secs(10);
/// A name is written again when so many times the time has passed that it took the last time: one of
/// a hundred thousand tags is not written with every tag.
const NAME_SHARE: u32 = 20;
const NAME_REST_MAX: Duration = Duration::from_secs(60);
/// All names are looked through after the start, when places changed, and so often.
const PASS_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// How often it is looked whether places changed, or a fresh catalog came.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// After a failure.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A start waits no longer for the first look into the store.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// Names read at a time.
const PAGE: u32 = 500;

/// The task.
pub(crate) struct Scribe {
    core: Arc<Core>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What the task remembers between its rounds.
#[derive(Default)]
struct Rounds {
    /// Names that rest, until when.
    resting: HashMap<Name, Instant>,
    /// When all names are looked through again; `None`: now.
    next_pass: Option<Instant>,
    /// Where the documents were the last time.
    places: Vec<String>,
}

impl Scribe {
    /// Begins before the first request is answered: a catalog that does not know all names must not
    /// be taken for one that does.
    pub(crate) async fn start(core: Arc<Core>) -> Arc<Self> {
        let scribe =
            Arc::new(Self { core, stop: CancellationToken::new(), tasks: TaskTracker::new() });
        let _ = tokio::time::timeout(FIRST_LOOK, scribe.look()).await;
        let task = scribe.clone();
        scribe.tasks.spawn(async move {
            let stop = task.stop.clone();
            stop.run_until_cancelled(task.run()).await;
        });
        scribe
    }

    /// Writes what is left to write.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let shelf = &self.core.shelf;
        let (names, is_cut) = shelf.names.take_all();
        if is_cut {
            tracing::warn!("not all documents of names are written; the next start does it");
        }
        let work = move |shelf: &Shelf| {
            let failed = names.iter().filter_map(|name| write(shelf, name).err()).next();
            if let Some(error) = failed
                && !matches!(error, WriteError::Incomplete)
            {
                tracing::error!(%error, "documents of names could not be written; the next start does it");
            }
        };
        shelf.blocking(work).await;
    }

    async fn run(&self) {
        let mut rounds = Rounds::default();
        let mut retry = RETRY.0;
        loop {
            if self.core.shelf.is_incomplete() {
                if self.recover().await {
                    // Its numbers are others now.
                    (rounds.next_pass, retry) = (None, RETRY.0);
                } else {
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY.1);
                }
                continue;
            }
            self.write_changed(&mut rounds).await;
            self.pass(&mut rounds).await;
            let next = if rounds.resting.is_empty() { LOOK_INTERVAL } else { DELAY };
            if self.core.shelf.names.is_clean() {
                let wake = self.core.shelf.names.wake.notified();
                let _ = tokio::time::timeout(next, wake).await;
            }
            tokio::time::sleep(DELAY).await;
        }
    }

    /// Whether the catalog knows all names, if that can be told at once.
    async fn look(&self) {
        let look = |shelf: &Shelf| {
            let fresh_starts = shelf.catalog.fresh_starts();
            let is_complete = shelf.catalog.is_complete()?;
            // One that nothing was ever pushed to has nothing to be made again.
            let is_empty = || shelf.store.documents().next().is_none();
            if is_complete || is_empty() {
                shelf.names.set_complete(fresh_starts);
                if !is_complete {
                    let mut batch = catalog::Batch::new();
                    batch.set_complete();
                    shelf.submit(batch);
                }
            }
            Ok::<_, catalog::Error>(())
        };
        if let Some(Err(error)) = self.core.shelf.blocking(look).await {
            self.core.shelf.names.set_rebuild_problem(error.to_string());
        }
    }

    /// Makes the catalog know all names. `false`: not now.
    async fn recover(&self) -> bool {
        self.look().await;
        if !self.core.shelf.is_incomplete() {
            return true;
        }
        tracing::warn!(
            "the catalog is a fresh one, but the store has hosted names: they are made known again"
        );
        let stop = self.stop.clone();
        let work = move |shelf: &Shelf| {
            let fresh_starts = shelf.catalog.fresh_starts();
            let tell = |report: &RebuildReport| {
                shelf.names.set_progress(report.names, report.names_total);
                let is_over = stop.is_cancelled() || shelf.catalog.fresh_starts() != fresh_starts;
                if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let report = rebuild(&shelf.store, &shelf.catalog, shelf.clock.now(), tell)?;
            if !shelf.catalog.is_durable() {
                shelf.names.set_volatile();
            }
            shelf.names.set_complete(fresh_starts);
            Ok::<_, RebuildError>(report)
        };
        match self.core.shelf.blocking(work).await {
            Some(Ok(report)) => {
                told(&report);
                true
            }
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                tracing::error!(error, "the catalog cannot be rebuilt now; it is tried again");
                self.core.shelf.names.set_rebuild_problem(format!("{error}{cause}"));
                false
            }
            None => false,
        }
    }

    /// Writes the names that changed and do not rest.
    async fn write_changed(&self, rounds: &mut Rounds) {
        let (names, is_cut) = self.core.shelf.names.take();
        if is_cut {
            rounds.next_pass = None;
        }
        let now = Instant::now();
        let rested: Vec<Name> = (rounds.resting.iter())
            .filter(|(_, until)| **until <= now)
            .map(|(name, _)| name.clone())
            .collect();
        let (mut due, mut waiting) = (HashSet::new(), Vec::new());
        for name in names {
            if rounds.resting.get(&name).is_some_and(|until| *until > now) {
                waiting.push(name);
            } else {
                due.insert(name);
            }
        }
        for name in &rested {
            rounds.resting.remove(name);
        }
        for name in &waiting {
            self.core.shelf.names.changed(name);
            self.core.shelf.names.done(name);
        }
        for name in due {
            let began = Instant::now();
            let result = self.one(&name, None).await;
            let took = began.elapsed();
            if result.is_err() {
                self.core.shelf.names.changed(&name);
            }
            self.core.shelf.names.done(&name);
            let rest = match result {
                Ok(()) => (took * NAME_SHARE).min(NAME_REST_MAX),
                Err(()) => RETRY.1,
            };
            if rest > DELAY {
                rounds.resting.insert(name, Instant::now() + rest);
            }
            tokio::time::sleep((took * (WRITE_SHARE - 1)).min(REST_MAX)).await;
        }
    }

    /// Writes one name, if it is not written as of this change.
    async fn one(&self, name: &Name, unless: Option<u64>) -> Result<(), ()> {
        let asked = name.clone();
        let work = move |shelf: &Shelf| {
            if let Some(change) = unless
                && is_written(shelf, &asked, change)?
            {
                return Ok(());
            }
            write(shelf, &asked).map(drop)
        };
        let names = &self.core.shelf.names;
        match self.core.shelf.blocking(work).await {
            Some(Ok(())) => {
                names.set_write_problem(None);
                Ok(())
            }
            // It is written when the catalog is whole again.
            Some(Err(WriteError::Incomplete)) => Err(()),
            Some(Err(error)) => {
                tracing::error!(%name, %error, "the document of a name cannot be written");
                names.set_write_problem(Some(error.to_string()));
                Err(())
            }
            None => Err(()),
        }
    }

    /// Goes through all names, when it is time for that: what a kill left unwritten, and what a new
    /// place does not have, is written.
    async fn pass(&self, rounds: &mut Rounds) {
        let places = self.core.shelf.store.places();
        let is_due = rounds.next_pass.is_none_or(|at| at <= Instant::now());
        // A stand-in in memory has nothing to say to those who come after it.
        if !self.core.shelf.catalog.is_durable() || (!is_due && rounds.places == places) {
            return;
        }
        rounds.places = places;
        let wait = if self.pass_all(rounds).await { PASS_INTERVAL } else { RETRY.1 };
        rounds.next_pass = Some(Instant::now() + wait);
    }

    /// `false`: it did not get to the end.
    async fn pass_all(&self, rounds: &mut Rounds) -> bool {
        let mut after: Option<Name> = None;
        let mut hosted: HashMap<String, bool> = HashMap::new();
        loop {
            let from = after.clone();
            let names =
                self.core.shelf.blocking(move |shelf| shelf.catalog.names(from.as_ref(), PAGE));
            let Some(Ok(names)) = names.await else { return false };
            let Some(last) = names.last() else { break };
            after = Some(last.clone());
            for name in names {
                let repository = name.segments().next().unwrap_or_default().to_owned();
                let is_hosted = match hosted.get(&repository) {
                    Some(known) => *known,
                    None => {
                        let is_hosted = self.has_hosted(repository.clone()).await;
                        hosted.insert(repository, is_hosted);
                        is_hosted
                    }
                };
                if is_hosted && !self.pass_one(&name).await {
                    return false;
                }
                // Changes do not wait for the end of a long way.
                if !self.core.shelf.names.is_clean() {
                    self.write_changed(rounds).await;
                }
            }
        }
        self.drop_orphans().await
    }

    async fn has_hosted(&self, repository: String) -> bool {
        let work = move |shelf: &Shelf| shelf.catalog.hosted_use(&repository);
        matches!(self.core.shelf.blocking(work).await, Some(Ok(held)) if held.rows > 0)
    }

    /// `false`: the way is over for now.
    async fn pass_one(&self, name: &Name) -> bool {
        let began = Instant::now();
        let asked = name.clone();
        let change = self.core.shelf.blocking(move |shelf| shelf.catalog.name_change(&asked)).await;
        if let Some(Ok(Some(change))) = change
            && self.one(name, Some(change)).await.is_err()
        {
            return false;
        }
        let rest = began.elapsed() * (PASS_SHARE - 1);
        tokio::time::sleep(rest.min(REST_MAX)).await;
        !self.core.shelf.is_incomplete()
    }

    /// Removes documents of names that are gone and of which nothing is left.
    async fn drop_orphans(&self) -> bool {
        let work = |shelf: &Shelf| {
            for name in shelf.store.documents() {
                let name = name?;
                if shelf.catalog.name_change(&name)?.is_none() {
                    drop_orphan(shelf, &name)?;
                }
            }
            Ok::<_, WriteError>(())
        };
        match self.core.shelf.blocking(work).await {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                tracing::warn!(%error, "documents of names that are gone cannot be looked through");
                false
            }
            None => false,
        }
    }
}

fn told(report: &RebuildReport) {
    let RebuildReport { names, manifests, tags, missing_total, .. } = report;
    for missing in report.missing.iter().take(20) {
        let MissingContent { name, digest } = missing;
        tracing::error!(%name, %digest, "hosted content is not in the store");
    }
    for unreadable in &report.unreadable {
        let (name, problem) = (&unreadable.name, &unreadable.problem);
        tracing::error!(%name, problem, "the document of a name cannot be read: what it held is not known");
    }
    tracing::warn!(
        names,
        manifests,
        tags,
        missing = missing_total,
        "the catalog is rebuilt from the store"
    );
}
