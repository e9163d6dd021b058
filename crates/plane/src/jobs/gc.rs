//! Collection at an operator's word: of what is asked for, sooner than it would come by itself, or
//! only to see what would go.

use super::{Held, JobState};
use crate::admin::AdminError;
use crate::collect::{Collector, GcReport, Scope};
use crate::plane::Core;
use crate::view::View;
use policy::NamePattern;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// It works for one part in so many of the time: pushes and pulls want the catalog too.
const SHARE: u32 = 2;

/// What is to be collected.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GcRequest {
    /// Only this hosted `Repository` (`metadata.name`).
    #[serde(default)]
    pub repository: Option<String>,
    /// Only names that match, such as `team/app/**`.
    #[serde(default)]
    pub names: Option<String>,
    /// Tells what would go, and removes nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// How long manifests that no tag leads to are kept after their last use, such as `0s`; else what
    /// each repository says (`untagged.keepFor`).
    #[serde(default)]
    pub untagged_for: Option<String>,
    /// How long blobs that no manifest lists are kept after their last use; else `gc.blobGrace`.
    #[serde(default)]
    pub blobs_unused_for: Option<String>,
}

/// Whether the request can be read; gives the words for what it is about.
pub(super) fn check(view: &View, request: &GcRequest) -> Result<String, AdminError> {
    ages(request).map_err(AdminError::Invalid)?;
    pattern(request).map_err(AdminError::Invalid)?;
    let Some(name) = &request.repository else {
        return Ok(request.names.clone().unwrap_or_else(|| "hosted repositories".to_owned()));
    };
    let known = view.repositories.iter().find(|known| known.name().as_str() == name);
    match known.map(|known| known.hosted().is_some()) {
        Some(true) => Ok(name.clone()),
        Some(false) => {
            let text = format!("the Repository {name:?} is not hosted; nothing in it is collected");
            Err(AdminError::Invalid(text))
        }
        None => Err(AdminError::NotFound(format!("there is no Repository {name:?}"))),
    }
}

fn ages(request: &GcRequest) -> Result<(Option<Duration>, Option<Duration>), String> {
    let read = |what: &str, text: &Option<String>| {
        let text = text.as_deref();
        let age = text.map(resources::parse_duration).transpose();
        age.map_err(|error| format!("{what}: {error}"))
    };
    let untagged = read("untaggedFor", &request.untagged_for)?;
    Ok((untagged, read("blobsUnusedFor", &request.blobs_unused_for)?))
}

fn pattern(request: &GcRequest) -> Result<Option<NamePattern>, String> {
    let pattern = request.names.as_deref().map(NamePattern::parse).transpose();
    pattern.map_err(|error| format!("names: {error}"))
}

/// Collects, and tells of it as it goes on.
pub(super) async fn run(
    core: &Arc<Core>,
    collector: &Arc<Collector>,
    job: &Held,
    request: &GcRequest,
) {
    let set = |state: JobState, problem: Option<String>, report: GcReport| {
        job.change(core, |view| {
            view.state = state;
            if let Some(item) = view.items.first_mut() {
                item.state = state;
                item.problem = problem;
            }
            view.gc = Some(Box::new(report));
        });
    };
    let empty = GcReport { dry_run: request.dry_run, ..GcReport::default() };
    set(JobState::Running, None, empty.clone());
    let scope = match scope(collector, request) {
        Ok(scope) => scope,
        Err(problem) => return set(JobState::Failed, Some(problem), empty),
    };
    let tell = |report: &GcReport| set(JobState::Running, None, report.counts());
    let report = collector.run(&scope, tell).await;
    match report.problems.first() {
        None => set(JobState::Done, None, report),
        Some(problem) => set(JobState::Failed, Some(problem.clone()), report.clone()),
    }
}

fn scope(collector: &Collector, request: &GcRequest) -> Result<Scope, String> {
    let (untagged_for, blobs_unused_for) = ages(request)?;
    Ok(Scope {
        repository: request.repository.clone(),
        names: pattern(request)?,
        is_dry: request.dry_run,
        untagged_for,
        blobs_unused_for: blobs_unused_for.unwrap_or(collector.settings().blob_grace),
        share: SHARE,
    })
}
