//! What moves content into hosted repositories has in common: where it goes, how far it is, and what
//! is told of it at the end.

use super::{Held, JobState};
use crate::candidates::HostedName;
use crate::plane::Core;
use crate::view::View;
use oci::{Digest, Name};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Lines of a report; all are counted.
const LINES_MAX: usize = 1000;
/// Characters of one reason.
const WHY_MAX: usize = 500;

/// What a job brought into hosted repositories: by `copy` from another registry, by `adopt` from the
/// cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveReport {
    /// Nothing was changed: it tells what would be.
    pub dry_run: bool,
    /// Names to look at, as far as is known.
    pub names_total: u64,
    /// Names that were looked at.
    pub names_done: u64,
    /// The name it is at.
    pub name: Option<String>,
    /// Of a copy, tags that are the same at both ends; of an adoption, images that were hosted before.
    pub same: u64,
    /// Of a copy, tags that were brought; of an adoption, images that are hosted now.
    pub moved: u64,
    /// Tags that name something else at the destination, and were left alone.
    pub differs: u64,
    /// Tags that only the destination has.
    pub only_here: u64,
    /// Images that were not adopted because parts of them are not here.
    pub incomplete: u64,
    /// Tags or names that could not be brought.
    pub failed: u64,
    /// What differs, is incomplete or failed, and why. Comes with the end, as the rest below.
    pub lines: Vec<MoveLine>,
    /// There are more: only some are listed.
    pub cut: bool,
    /// What there is to know beside.
    pub notes: Vec<String>,
    /// Of an adoption in place: the `Repository` documents to put in force in place of those there are.
    pub documents: Option<String>,
}

/// One thing of a [`MoveReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveLine {
    /// What became of it.
    pub kind: MoveKind,
    /// The name: of a copy at the source, of an adoption as the plane has it.
    pub name: String,
    /// The tag, or the digest where there is none; `None`: all of the name.
    pub what: Option<String>,
    /// What the destination has.
    pub here: Option<Digest>,
    /// What the source has.
    pub there: Option<Digest>,
    /// Why.
    pub why: Option<String>,
}

/// What became of something that was to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MoveKind {
    /// It is something else at the destination.
    Differs,
    /// Parts of it are not here.
    Incomplete,
    /// It could not be brought.
    Failed,
}

impl MoveReport {
    /// Whether all that was asked for is at the destination, as it is at the source.
    pub fn is_even(&self) -> bool {
        self.differs + self.incomplete + self.failed == 0
    }

    /// Without what comes with the end.
    fn counts(&self) -> Self {
        let name = self.name.clone();
        Self { name, lines: Vec::new(), notes: Vec::new(), documents: None, ..*self }
    }
}

/// A job that moves content in, as it goes on.
pub(super) struct Moving<'j> {
    pub(super) core: &'j Arc<Core>,
    job: &'j Held,
    report: Mutex<MoveReport>,
}

impl<'j> Moving<'j> {
    /// Begins, or begins again after a restart: what is there already is found so.
    pub(super) fn begin(core: &'j Arc<Core>, job: &'j Held, is_dry: bool) -> Self {
        let report = MoveReport { dry_run: is_dry, ..MoveReport::default() };
        job.change(core, |view| {
            (view.total_bytes, view.done_bytes, view.held_bytes) = (0, 0, 0);
            if let Some(item) = view.items.first_mut() {
                item.state = JobState::Running;
            }
        });
        let moving = Self { core, job, report: Mutex::new(report) };
        moving.tell(|_| ());
        moving
    }

    /// Changes the counts, and tells.
    pub(super) fn tell(&self, change: impl FnOnce(&mut MoveReport)) {
        let mut report = self.report.lock();
        change(&mut report);
        let counts = report.counts();
        drop(report);
        self.job.change(self.core, |view| view.moved = Some(Box::new(counts)));
    }

    /// Notes something that is not as it should be, and counts it.
    pub(super) fn line(&self, mut line: MoveLine) {
        if let Some(why) = line.why.as_mut().filter(|why| why.chars().count() > WHY_MAX) {
            *why = why.chars().take(WHY_MAX).chain(['…']).collect();
        }
        self.tell(|report| {
            match line.kind {
                MoveKind::Differs => report.differs += 1,
                MoveKind::Incomplete => report.incomplete += 1,
                MoveKind::Failed => report.failed += 1,
            }
            if report.lines.len() < LINES_MAX {
                report.lines.push(line);
            } else {
                report.cut = true;
            }
        });
    }

    /// Notes that something could not be brought.
    pub(super) fn failed(&self, name: &Name, what: Option<String>, why: String) {
        let (kind, name) = (MoveKind::Failed, name.to_string());
        self.line(MoveLine { kind, name, what, here: None, there: None, why: Some(why) });
    }

    /// More bytes to do.
    pub(super) fn more_bytes(&self, bytes: u64) {
        self.job.change(self.core, |view| view.total_bytes += bytes);
    }

    /// Bytes that are done; `held`: they were here already.
    pub(super) fn done_bytes(&self, bytes: u64, held: bool) {
        if bytes > 0 {
            self.job.change(self.core, |view| {
                view.done_bytes += bytes;
                view.held_bytes += if held { bytes } else { 0 };
            });
        }
    }

    /// Notes the documents that are to be put in force.
    pub(super) fn documents(&self, text: String) {
        self.report.lock().documents = Some(text);
    }

    /// The end. `problem`: why it could not even begin.
    pub(super) fn end(self, problem: Option<String>) {
        let mut report = self.report.into_inner();
        report.name = None;
        let problem = problem.or_else(|| {
            (report.failed > 0).then(|| format!("{} could not be brought", report.failed))
        });
        self.job.change(self.core, |view| {
            view.state = if problem.is_some() { JobState::Failed } else { JobState::Done };
            let state = view.state;
            if let Some(item) = view.items.first_mut() {
                (item.state, item.problem) = (state, problem);
            }
            view.moved = Some(Box::new(report));
        });
    }
}

/// Where content goes: a hosted repository, and perhaps names below one of it.
pub(super) struct Destination {
    repository: Name,
    below: Option<Name>,
}

impl Destination {
    /// Reads `team` or `team/imported`; the first is the `metadata.name` of a hosted `Repository`.
    pub(super) fn parse(view: &View, text: &str) -> Result<Self, String> {
        let (repository, below) = match text.split_once('/') {
            Some((repository, below)) => (repository, Some(below)),
            None => (text, None),
        };
        let parse = |text| Name::parse(text).map_err(|error| format!("{text:?}: {error}"));
        let destination =
            Self { repository: parse(repository)?, below: below.map(parse).transpose()? };
        let Some(known) = view.repositories.iter().find(|it| *it.name() == destination.repository)
        else {
            return Err(format!(
                "there is no Repository {repository:?}; write one with `hosted: {{}}` first"
            ));
        };
        match known.hosted() {
            Some(_) => Ok(destination),
            None => Err(format!(
                "the Repository {repository:?} is not hosted: nothing can be put there"
            )),
        }
    }

    /// The destination of a name, by the documents in force now.
    pub(super) fn of(&self, view: &View, name: &Name) -> Result<HostedName, String> {
        let repository = view.repositories.iter().find(|it| *it.name() == self.repository);
        let repository = repository.ok_or("the repository is gone")?.clone();
        let hosted = repository.hosted().ok_or("the repository is not hosted any more")?.clone();
        let base = match &self.below {
            Some(below) => self.repository.join(below),
            None => Ok(self.repository.clone()),
        };
        let name = base.and_then(|base| base.join(name)).map_err(|error| error.to_string())?;
        Ok(HostedName { repository, hosted, name })
    }
}

/// Runs what must not be cut off in the middle, whatever becomes of the job.
pub(super) async fn to_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, crate::refusal::Refusal>> + Send + 'static,
) -> Result<T, crate::refusal::Refusal> {
    let ended = tokio::spawn(work).await;
    ended.unwrap_or_else(|_| {
        let text = "it was ended by a bug; see the log".to_owned();
        Err(crate::refusal::Refusal::Internal(text))
    })
}
