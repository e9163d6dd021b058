//! A backup of the catalog and of what lies beside it, while the plane serves.

use super::{Held, JobState, JobView};
use crate::backup::{BackupRequest, write_backup};
use crate::plane::Core;
use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// Makes it, and tells of it as it goes on.
pub(super) async fn run(core: &Arc<Core>, job: &Arc<Held>, request: &BackupRequest) {
    let (told_to, teller) = (core.clone(), job.clone());
    let (data_dir, to) = (core.data_dir.clone(), request.to.clone());
    let work = move |shelf: &crate::shelf::Shelf| {
        let mut told: Option<Instant> = None;
        let tell = |done: u64, total: u64| {
            if total > 0 && told.is_none_or(|at| at.elapsed() >= TOLD_EVERY || done == total) {
                told = Some(Instant::now());
                teller.change(&told_to, |view| {
                    (view.done_bytes, view.total_bytes) = (done, total);
                });
            }
            if teller.cancel.is_cancelled() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        write_backup(&shelf.catalog, &data_dir, &to, shelf.clock.now(), tell)
    };
    let problem = match core.shelf.blocking(work).await {
        Some(Ok(summary)) => {
            tracing::info!(to = %request.to.display(), blobs = summary.blobs, "a backup is made");
            None
        }
        Some(Err(error)) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            Some(format!("{error}{cause}"))
        }
        None => Some("it panicked; see the log".to_owned()),
    };
    job.change(core, |view| {
        view.state = if problem.is_none() { JobState::Done } else { JobState::Failed };
        view.done_bytes = if problem.is_none() { view.total_bytes } else { view.done_bytes };
        let state = view.state;
        if let Some(item) = view.items.first_mut() {
            item.state = state;
            item.problem = problem;
        }
    });
}

/// What becomes of one that the last process did not finish.
pub(super) fn cut_short(view: &mut JobView) {
    view.state = JobState::Failed;
    if let Some(item) = view.items.first_mut() {
        item.state = JobState::Failed;
        item.problem = Some("the plane stopped before it was done; begin it again".to_owned());
    }
}
