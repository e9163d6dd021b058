//! Moving in: repositories of another registry, with all tags, platforms and referrers, become
//! content of a hosted one (`lockgate copy`).
//!
//! It can be run again and again, and goes on where it was stopped: what the destination has is not
//! fetched again, and a tag that names something else there is left alone unless it was said
//! otherwise. Nothing is deleted. Blobs come through the shared fills, with the lowest call on the
//! source's budget.

mod blob;
mod name;
mod source;
mod tree;

use super::Held;
use super::moving::{Destination, Moving};
use crate::admin::AdminError;
use crate::plane::Core;
use policy::SystemPermit;
use serde::{Deserialize, Serialize};
use source::{Source, Wanted};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// Patterns and names of one job.
const WANTED_MAX: usize = 10_000;

/// What is to be copied, from where to where.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CopyRequest {
    /// The source: the address of a registry, such as `https://old.example`, or the `metadata.name`
    /// of an `Upstream`. An `Upstream` with that address lends its credentials and its trust.
    pub from: String,
    /// Repositories at the source: names, or patterns such as `apps/**` over its `_catalog`. At most
    /// 10,000.
    pub names: Vec<String>,
    /// The hosted `Repository` (`metadata.name`), or names below one of it, such as `team/imported`.
    pub to: String,
    /// Moves tags of the destination that name something else.
    #[serde(default)]
    pub update: bool,
    /// Compares, and copies nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// A docker `config.json` on the plane's machine, to log in with.
    #[serde(default)]
    pub docker_config: Option<PathBuf>,
    /// The user to log in as.
    #[serde(default)]
    pub username: Option<String>,
    /// The file of that user's password, on the plane's machine.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// A copy at work.
struct Work<'j> {
    moving: Moving<'j>,
    source: Source,
    to: Destination,
    is_update: bool,
    is_dry: bool,
    /// Why there is no use in going on: the destination takes no more.
    halted: OnceLock<String>,
}

/// Whether the request can be begun; gives the words for what it is about. Who has not the plane's
/// own machine may use what the documents name, and no other address or file.
pub(super) fn check(
    core: &Core,
    request: &CopyRequest,
    is_operator: bool,
) -> Result<String, AdminError> {
    let view = core.view();
    if request.names.is_empty() || request.names.len() > WANTED_MAX {
        let text = format!("a copy names 1 to {WANTED_MAX} repositories or patterns");
        return Err(AdminError::Invalid(text));
    }
    Wanted::parse(&request.names).map_err(AdminError::Invalid)?;
    Destination::parse(&view, &request.to)
        .map_err(|problem| AdminError::Invalid(format!("to: {problem}")))?;
    let source = Source::find(core, &view, request)
        .map_err(|problem| AdminError::Invalid(format!("from: {problem}")))?;
    if source.is_ad_hoc && !is_operator {
        let text = "only an Upstream document can be named from here: an address or a file of its \
                    own is for the plane's machine, by the socket in the data directory";
        return Err(AdminError::Invalid(text.to_owned()));
    }
    Ok(format!("{} to {}", request.from, request.to))
}

/// Copies, and tells of it as it goes on.
pub(super) async fn run(core: &Arc<Core>, job: &Held, request: &CopyRequest) {
    let permit = SystemPermit::new();
    tracing::info!(decision = %permit.id(), from = request.from, to = request.to, "copy begins");
    let moving = Moving::begin(core, job, request.dry_run);
    let view = core.view();
    let found = Source::find(core, &view, request)
        .and_then(|source| Ok((source, Destination::parse(&view, &request.to)?)))
        .and_then(|found| Ok((found, Wanted::parse(&request.names)?)));
    let ((source, to), wanted) = match found {
        Ok(found) => found,
        Err(problem) => return moving.end(Some(problem)),
    };
    let names = match source.names(&wanted).await {
        Ok(names) => names,
        Err(problem) => return moving.end(Some(problem)),
    };
    moving.tell(|report| report.names_total = names.len() as u64);
    let (is_update, is_dry) = (request.update, request.dry_run);
    let work = Work { moving, source, to, is_update, is_dry, halted: OnceLock::new() };
    for name in &names {
        work.moving.tell(|report| report.name = Some(name.to_string()));
        name::copy(&work, name).await;
        work.moving.tell(|report| report.names_done += 1);
    }
    let halted = work.halted.get().cloned();
    work.moving.end(halted);
}
