//! Moving in: what the cache holds of a remote repository becomes hosted, so that it outlives its
//! upstream (`lockgate adopt`).
//!
//! In place, the rows of the names become hosted: nothing evicts them any more, and when a `hosted`
//! document stands in the place of the `remote` one, everything goes on under the same names. Or it
//! is pushed into a hosted repository. Only what is here with all of its parts is taken.

mod name;

use super::Held;
use super::moving::{Destination, Moving};
use crate::admin::AdminError;
use crate::plane::Core;
use crate::shelf::Shelf;
use crate::view::{Repository, View};
use oci::Name;
use policy::{NamePattern, SystemPermit};
use resources::Kind;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names read at a time.
const PAGE: u32 = 1000;
/// Names of one job.
const NAMES_MAX: usize = 100_000;

/// What is to be adopted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdoptRequest {
    /// Names as the cache has them, such as `docker.io/library/**`.
    pub names: String,
    /// A hosted `Repository` (`metadata.name`), or names below one of it, to put the content into;
    /// else it becomes hosted where it is.
    #[serde(default)]
    pub into: Option<String>,
    /// Asks no upstream for what is missing.
    #[serde(default)]
    pub offline: bool,
    /// Tells what would be adopted, and changes nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// An adoption at work.
struct Work<'j> {
    moving: Moving<'j>,
    into: Option<Destination>,
    is_offline: bool,
    is_dry: bool,
}

/// Whether the request can be begun; gives the words for what it is about.
pub(super) fn check(view: &View, request: &AdoptRequest) -> Result<String, AdminError> {
    parse(view, request).map(drop).map_err(AdminError::Invalid)?;
    Ok(request.names.clone())
}

fn parse(
    view: &View,
    request: &AdoptRequest,
) -> Result<(NamePattern, Option<Destination>), String> {
    let pattern = NamePattern::parse(&request.names).map_err(|error| format!("names: {error}"))?;
    let into = request.into.as_deref().map(|into| Destination::parse(view, into)).transpose();
    Ok((pattern, into.map_err(|problem| format!("into: {problem}"))?))
}

/// Adopts, and tells of it as it goes on.
pub(super) async fn run(core: &Arc<Core>, job: &Held, request: &AdoptRequest) {
    let permit = SystemPermit::new();
    tracing::info!(decision = %permit.id(), names = request.names, "adoption begins");
    let moving = Moving::begin(core, job, request.dry_run);
    let view = core.view();
    let (pattern, into) = match parse(&view, request) {
        Ok(parsed) => parsed,
        Err(problem) => return moving.end(Some(problem)),
    };
    let (names, others) = match names(core, &view, &pattern).await {
        Ok(found) => found,
        Err(problem) => return moving.end(Some(problem)),
    };
    if names.is_empty() {
        let problem = "the cache holds no name of a remote repository that matches";
        return moving.end(Some(problem.to_owned()));
    }
    moving.tell(|report| report.names_total = names.len() as u64);
    let is_in_place = into.is_none();
    let work = Work { moving, into, is_offline: request.offline, is_dry: request.dry_run };
    let mut touched = BTreeSet::new();
    for (repository, name) in &names {
        work.moving.tell(|report| report.name = Some(name.to_string()));
        touched.insert(repository.name().clone());
        name::adopt(&work, repository, name).await;
        work.moving.tell(|report| report.names_done += 1);
    }
    if is_in_place {
        let documents: String = touched.iter().filter_map(|name| document(&view, name)).collect();
        work.moving.tell(|report| {
            if others > 0 {
                report.notes.push(format!(
                    "{others} further names of these repositories do not match and are not adopted"
                ));
            }
        });
        work.moving.documents(documents);
    }
    work.moving.end(None);
}

/// Cached names of remote repositories that match, and how many others these repositories have.
async fn names(
    core: &Arc<Core>,
    view: &View,
    pattern: &NamePattern,
) -> Result<(Vec<(Arc<Repository>, Name)>, usize), String> {
    let (mut found, mut others) = (Vec::new(), 0);
    for repository in view.repositories.iter().filter(|it| it.remote().is_some()) {
        let name = repository.name().clone();
        let read = move |shelf: &Shelf| -> Result<Vec<Name>, catalog::Error> {
            let mut all: Vec<Name> = Vec::new();
            loop {
                let page = shelf.catalog.names_of(name.as_str(), all.last(), PAGE)?;
                if page.is_empty() || all.len() > NAMES_MAX {
                    return Ok(all);
                }
                all.extend(page);
            }
        };
        let all = core.shelf.blocking(read).await.ok_or("a read of the catalog panicked")?;
        let (fit, rest): (Vec<Name>, Vec<Name>) = all
            .map_err(|error| error.to_string())?
            .into_iter()
            .partition(|name| pattern.matches(name));
        others += if fit.is_empty() { 0 } else { rest.len() };
        found.extend(fit.into_iter().map(|name| (repository.clone(), name)));
    }
    match found.len() > NAMES_MAX {
        true => Err(format!("more than {NAMES_MAX} names match; name fewer at a time")),
        false => Ok((found, others)),
    }
}

/// The document of a repository with `hosted` in the place of `remote`.
fn document(view: &View, name: &Name) -> Option<String> {
    let mut json = view.set.get(Kind::Repository, name.as_str())?.to_json();
    let spec = json.get_mut("spec")?.as_object_mut()?;
    spec.remove("remote");
    spec.insert("hosted".to_owned(), json!({}));
    let set = resources::read_text("adopted.json", &json.to_string()).ok()?;
    Some(set.to_yaml())
}
