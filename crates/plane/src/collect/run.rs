//! One way through the hosted names: all of them, or those that were asked for.

use super::name::{self, Fate, Subject, Terms};
use super::report::{GcReport, OfName};
use crate::candidates::HostedName;
use crate::keep::Keep;
use crate::plane::Core;
use crate::shelf::Shelf;
use crate::view::Repository;
use oci::{Digest, Name, Reference, Tag};
use policy::NamePattern;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names read at a time.
const PAGE: u32 = 500;
/// Distinct blobs that a run which removes nothing remembers, to count each once.
const COUNTED_MAX: usize = 2_000_000;
/// It rests after so much work, so that a name of some milliseconds is no pause of its own.
const BURST: Duration = Duration::from_millis(50);
const REST_MAX: Duration = Duration::from_secs(10);
/// So many names that fail one after the other end a run: then it is not for the names.
const FAILURES_MAX: u32 = 20;
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// What a run is about.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Only this repository (`metadata.name`).
    pub(crate) repository: Option<String>,
    /// Only names that match.
    pub(crate) names: Option<NamePattern>,
    /// Nothing is removed.
    pub(crate) is_dry: bool,
    /// Instead of what each repository says.
    pub(crate) untagged_for: Option<Duration>,
    pub(crate) blobs_unused_for: Duration,
    /// It works for one part in so many of the time.
    pub(crate) share: u32,
}

/// A run as it goes on.
pub(super) struct Run<'r> {
    core: &'r Arc<Core>,
    keep: &'r Arc<Keep>,
    scope: &'r Scope,
    report: GcReport,
    /// What a dry run found: size, and names that would drop it.
    dropped: HashMap<Digest, (u64, u32)>,
    failed_names: u64,
    failures_in_a_row: u32,
    busy: Duration,
}

impl<'r> Run<'r> {
    pub(super) fn new(core: &'r Arc<Core>, keep: &'r Arc<Keep>, scope: &'r Scope) -> Self {
        let report = GcReport { dry_run: scope.is_dry, ..GcReport::default() };
        Self {
            core,
            keep,
            scope,
            report,
            dropped: HashMap::new(),
            failed_names: 0,
            failures_in_a_row: 0,
            busy: Duration::ZERO,
        }
    }

    /// Goes through the names, and tells of it now and then.
    pub(super) async fn go(mut self, tell: impl Fn(&GcReport)) -> (GcReport, u64) {
        let keep = self.keep.clone();
        if !self.core.shelf.may_remove() {
            // What nothing is known to need may be needed all the same.
            self.fail(crate::names::NOT_SURE.to_owned());
            return (self.report, self.failed_names);
        }
        let is_written = self.core.shelf.blocking(move |_| keep.write_uses()).await;
        if is_written != Some(true) && !self.scope.is_dry {
            self.fail("the catalog cannot be written now".to_owned());
            return (self.report, self.failed_names);
        }
        for repository in self.repositories() {
            self.count(&repository).await;
        }
        tell(&self.report);
        let mut told = Instant::now();
        for repository in self.repositories() {
            let mut after: Option<Name> = None;
            while let Some(page) = self.page(&repository, after.as_ref()).await {
                after = page.last().map(|subject| subject.of.name.clone());
                for subject in page {
                    if !self.is_asked(&subject.of.name) {
                        continue;
                    }
                    self.one(&subject).await;
                    if self.failures_in_a_row >= FAILURES_MAX {
                        let rest = format!("given up after {FAILURES_MAX} names that failed");
                        self.fail(rest);
                        return (self.report, self.failed_names);
                    }
                    if told.elapsed() >= TOLD_EVERY {
                        told = Instant::now();
                        tell(&self.report);
                    }
                }
            }
        }
        self.count_freed().await;
        (self.report, self.failed_names)
    }

    fn is_asked(&self, name: &Name) -> bool {
        self.scope.names.as_ref().is_none_or(|pattern| pattern.matches(name))
    }

    fn fail(&mut self, problem: String) {
        self.failed_names += 1;
        self.report.fail(problem);
    }

    fn repositories(&self) -> Vec<Arc<Repository>> {
        let view = self.core.view();
        let is_asked = |repository: &&Arc<Repository>| {
            let asked = self.scope.repository.as_deref();
            repository.hosted().is_some()
                && asked.is_none_or(|asked| repository.name().as_str() == asked)
        };
        view.repositories.iter().filter(is_asked).cloned().collect()
    }

    /// How many names there are to go through. What cannot be read is told when it is gone through.
    async fn count(&mut self, repository: &Arc<Repository>) {
        let (repository, pattern) = (repository.name().to_string(), self.scope.names.clone());
        let count = move |shelf: &Shelf| {
            let (mut count, mut after) = (0, None);
            loop {
                let names = shelf.catalog.names_of(&repository, after.as_ref(), PAGE);
                let names = names.unwrap_or_default();
                let is_asked =
                    |name: &&Name| pattern.as_ref().is_none_or(|pattern| pattern.matches(name));
                count += names.iter().filter(is_asked).count() as u64;
                match names.last() {
                    Some(last) => after = Some(last.clone()),
                    None => return count,
                }
            }
        };
        self.report.names_total += self.core.shelf.blocking(count).await.unwrap_or(0);
    }

    /// The next names of a repository, by what its document says now. `None`: there are no more, or
    /// it is hosted no longer.
    async fn page(
        &mut self,
        repository: &Arc<Repository>,
        after: Option<&Name>,
    ) -> Option<Vec<Subject>> {
        let view = self.core.view();
        let named = |known: &&Arc<Repository>| known.name() == repository.name();
        let repository = view.repositories.iter().find(named)?.clone();
        let hosted = repository.hosted()?.clone();
        let (asked, after) = (repository.name().to_string(), after.cloned());
        let read = move |shelf: &Shelf| {
            let names = shelf.catalog.names_of(&asked, after.as_ref(), PAGE)?;
            Ok::<_, catalog::Error>((names, pinned_tags(shelf)?))
        };
        let (names, mut pins) = match self.core.shelf.blocking(read).await {
            Some(Ok(read)) => read,
            Some(Err(error)) => {
                self.fail(format!("{}: {error}", repository.name()));
                return None;
            }
            None => return None,
        };
        let subject = |name: Name| {
            let pinned = pins.remove(&name).unwrap_or_default();
            let (repository, hosted) = (repository.clone(), hosted.clone());
            Subject { of: HostedName { repository, hosted, name }, pinned }
        };
        let page: Vec<Subject> = names.into_iter().map(subject).collect();
        (!page.is_empty()).then_some(page)
    }

    async fn one(&mut self, subject: &Subject) {
        let began = Instant::now();
        let Scope { untagged_for, blobs_unused_for, is_dry, .. } = *self.scope;
        let terms = Terms { untagged_for, blobs_unused_for, is_dry };
        let fate = name::collect(self.keep, &self.core.shelf, subject, terms).await;
        self.failures_in_a_row = if fate.is_ok() { 0 } else { self.failures_in_a_row + 1 };
        match fate {
            Ok(Fate::Looked(of)) => self.add(subject, of).await,
            Ok(Fate::Skipped(of)) => {
                self.report.skipped_names += 1;
                self.add(subject, of).await;
            }
            Err(problem) => {
                tracing::error!(name = %subject.of.name, %problem, "collection cannot look at a name");
                self.fail(format!("{}: {problem}", subject.of.name));
            }
        }
        self.report.names_done += 1;
        self.busy += began.elapsed();
        if self.busy >= BURST {
            let busy = std::mem::take(&mut self.busy);
            let rest = busy.saturating_mul(self.scope.share.saturating_sub(1)).min(REST_MAX);
            tokio::time::sleep(rest).await;
        }
    }

    async fn add(&mut self, subject: &Subject, of: OfName) {
        self.report.add(&subject.of.name, &of);
        if of.contents.is_empty() {
            return;
        }
        if self.scope.is_dry {
            for gone in &of.contents {
                if self.dropped.len() >= COUNTED_MAX && !self.dropped.contains_key(&gone.digest) {
                    self.report.cut = true;
                    continue;
                }
                self.dropped.entry(gone.digest).or_insert((gone.size_bytes, 0)).1 += 1;
            }
            return;
        }
        let freed = move |shelf: &Shelf| {
            let is_free = |digest: &Digest| matches!(shelf.catalog.holders(digest, 1), Ok(holders) if holders.is_empty());
            let freed = of.contents.iter().filter(|gone| is_free(&gone.digest));
            freed.map(|gone| gone.size_bytes).sum::<u64>()
        };
        self.report.freed_bytes += self.core.shelf.blocking(freed).await.unwrap_or(0);
    }

    /// What a dry run would free: blobs that no name holds beside those that would drop them.
    async fn count_freed(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        let freed = move |shelf: &Shelf| {
            let is_free = |digest: &Digest, names: u32| {
                let holders = shelf.catalog.holders(digest, names.saturating_add(1));
                holders.is_ok_and(|holders| holders.len() as u64 <= u64::from(names))
            };
            let freed = dropped.iter().filter(|(digest, (_, names))| is_free(digest, *names));
            freed.map(|(_, (size_bytes, _))| size_bytes).sum::<u64>()
        };
        self.report.freed_bytes += self.core.shelf.blocking(freed).await.unwrap_or(0);
    }
}

/// Tags that are pinned by command, by name.
fn pinned_tags(shelf: &Shelf) -> Result<HashMap<Name, Vec<Tag>>, catalog::Error> {
    let mut pinned: HashMap<Name, Vec<Tag>> = HashMap::new();
    for pin in shelf.catalog.pins()? {
        if let Reference::Tag(tag) = pin.reference {
            pinned.entry(pin.name).or_default().push(tag);
        }
    }
    Ok(pinned)
}
