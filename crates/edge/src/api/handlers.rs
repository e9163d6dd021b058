//! What each endpoint of the management API does.

use super::endpoints::Operation;
use super::params::Params;
use super::problem::Problem;
use super::{events, no_content, openapi};
use crate::body::Body;
use crate::percent::push_encoded;
use crate::respond::{bytes_response, json_response};
use crate::service::Shared;
use http::{HeaderValue, Response, StatusCode, header};
use oci::{Digest, Name, Tag};
use plane::{
    AdminError, CheckRequest, DecisionView, GcRequest, JobView, PrefetchRequest, PurgeTarget,
    VerifyRequest,
};
use policy::Caller;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A page of anything.
#[derive(Serialize)]
struct List<T> {
    items: Vec<T>,
    #[serde(rename = "continue")]
    continue_after: Option<String>,
}

/// What is to be forgotten: one of three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    digest: Option<Digest>,
    tag: Option<PurgeTag>,
    pattern: Option<String>,
}

/// What is to be read and held against its digest: one of three, or none for everything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verify {
    digest: Option<Digest>,
    reference: Option<String>,
    repository: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeTag {
    name: Name,
    tag: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prefetch {
    references: Vec<String>,
    #[serde(default)]
    platforms: Vec<String>,
}

/// Who asks.
pub(super) struct Asker {
    pub(super) caller: Caller,
    /// Whether they may administer.
    pub(super) administers: Result<(), Box<policy::Denial>>,
    /// Whether logging in could make them somebody who may.
    pub(super) could_log_in: bool,
    pub(super) is_operator: bool,
}

impl Asker {
    /// Lets through who may administer.
    pub(super) fn must_administer(&self) -> Result<(), Problem> {
        match &self.administers {
            Ok(()) => Ok(()),
            Err(denial) if self.could_log_in => Err(Problem::login_needed(denial.clone())),
            Err(denial) => Err(AdminError::Denied(denial.clone()).into()),
        }
    }
}

/// Runs an operation.
pub(super) async fn run(
    shared: &Shared,
    operation: Operation,
    params: &Params<'_>,
    body: &[u8],
    asker: &Asker,
) -> Result<Response<Body>, Problem> {
    let plane = &shared.plane;
    match operation {
        Operation::OpenApi => Ok(json(StatusCode::OK, &openapi::document())),
        Operation::Status => Ok(json(StatusCode::OK, &plane.status())),
        Operation::ListCache => {
            let (repository, pattern) = (params.query("repository"), params.query("pattern"));
            let after = params.query("continue");
            let page = plane.cache_page(repository, pattern, after, params.limit()).await?;
            Ok(json(StatusCode::OK, &page))
        }
        Operation::CacheStats => Ok(json(StatusCode::OK, &plane.cache_stats().await?)),
        Operation::Purge => Ok(json(StatusCode::OK, &plane.purge(purge_target(body)?).await?)),
        Operation::Verify => Ok(accepted(&plane.verify(verify_request(body)?).await?)),
        Operation::Backup => Ok(accepted(&plane.backup(read(body)?).await?)),
        Operation::ListPlaces => Ok(list(plane.places().await)),
        Operation::Copy => Ok(accepted(&plane.copy(read(body)?, asker.is_operator).await?)),
        Operation::Adopt => Ok(accepted(&plane.adopt(read(body)?).await?)),
        Operation::Migrate => Ok(accepted(&plane.migrate(read(body)?).await?)),
        Operation::Gc => Ok(accepted(&plane.gc(gc_request(body)?).await?)),
        Operation::ListPins => Ok(list(plane.pins().await?)),
        Operation::Pin => {
            let pin: Pin = read(body)?;
            Ok(json(StatusCode::CREATED, &plane.pin(&pin.reference).await?))
        }
        Operation::Unpin => {
            plane.unpin(params.query("reference").unwrap_or_default()).await?;
            Ok(no_content())
        }
        Operation::Prefetch => prefetch(shared, body).await,
        Operation::ListJobs => Ok(list(plane.jobs())),
        Operation::Job => Ok(json(StatusCode::OK, &*job(shared, params)?.borrow())),
        Operation::JobEvents => Ok(events::of_job(job(shared, params)?, &shared.stopping)),
        Operation::CancelJob => Ok(json(StatusCode::OK, &plane.cancel_job(params.path())?)),
        Operation::ListRevisions => Ok(list(plane.revisions(params.limit()).await?)),
        Operation::RevisionText => {
            let (digest, text) = plane.revision_text(params.path()).await?;
            Ok(revision(digest, text))
        }
        Operation::Rollback => {
            plane.rollback(params.path()).await?;
            Ok(json(StatusCode::OK, &plane.status().revision))
        }
        Operation::ListWaivers => Ok(list(plane.waivers())),
        Operation::ListUpstreams => Ok(list(plane.upstreams())),
        Operation::ProbeUpstreams => Ok(list(plane.probe_upstreams().await)),
        Operation::Decision => {
            let unknown = || {
                Problem::not_found(
                    "no such decision is known; it may be too long ago, or another process's",
                )
            };
            let decision = plane.decision(params.path());
            // To others, one that is not theirs is not there.
            let is_theirs = |it: &DecisionView| plane.may_see_decision(&asker.caller, it);
            let decision = decision.filter(|it| asker.administers.is_ok() || is_theirs(it));
            match decision {
                Some(decision) => Ok(json(StatusCode::OK, &decision)),
                None if asker.caller.principal.identity().is_some() => Err(unknown()),
                None => {
                    asker.must_administer()?;
                    Err(unknown())
                }
            }
        }
        Operation::Check => {
            let request: CheckRequest = read(body)?;
            if request.asks_for_another() {
                asker.must_administer()?;
            }
            Ok(json(StatusCode::OK, &plane.check(&request, &asker.caller).await?))
        }
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    json_response(status, "application/json", value, false)
}

fn list<T: Serialize>(items: Vec<T>) -> Response<Body> {
    json(StatusCode::OK, &List { items, continue_after: None })
}

/// Reads a body. Unknown fields are errors, so that a typing error never means "all".
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::invalid(format!("the body: {error}")))
}

/// An object, although serde would take an empty list for a request that leaves everything out.
fn gc_request(body: &[u8]) -> Result<GcRequest, Problem> {
    let fields: serde_json::Map<String, serde_json::Value> = read(body)?;
    let request = serde_json::from_value(serde_json::Value::Object(fields));
    request.map_err(|error| Problem::invalid(format!("the body: {error}")))
}

fn purge_target(body: &[u8]) -> Result<PurgeTarget, Problem> {
    match read(body)? {
        Purge { digest: Some(digest), tag: None, pattern: None } => Ok(PurgeTarget::Digest(digest)),
        Purge { digest: None, tag: Some(PurgeTag { name, tag }), pattern: None } => {
            let tag = Tag::parse(&tag).map_err(|error| Problem::invalid(error.to_string()))?;
            Ok(PurgeTarget::Tag(name, tag))
        }
        Purge { digest: None, tag: None, pattern: Some(pattern) } => {
            Ok(PurgeTarget::Pattern(pattern))
        }
        _ => Err(Problem::invalid("name one of digest, tag and pattern")),
    }
}

async fn prefetch(shared: &Shared, body: &[u8]) -> Result<Response<Body>, Problem> {
    let Prefetch { references, platforms } = read(body)?;
    let job = shared.plane.prefetch(PrefetchRequest { references, platforms }).await?;
    Ok(accepted(&job))
}

/// A job has begun.
fn accepted(job: &JobView) -> Response<Body> {
    let mut response = json(StatusCode::ACCEPTED, job);
    let mut location = "/api/v1/jobs/".to_owned();
    push_encoded(&mut location, &job.id);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn verify_request(body: &[u8]) -> Result<VerifyRequest, Problem> {
    match read(body)? {
        Verify { digest: None, reference: None, repository: None } => Ok(VerifyRequest::All),
        Verify { digest: Some(digest), reference: None, repository: None } => {
            Ok(VerifyRequest::Digest(digest))
        }
        Verify { digest: None, reference: Some(reference), repository: None } => {
            Ok(VerifyRequest::Reference(reference))
        }
        Verify { digest: None, reference: None, repository: Some(repository) } => {
            Ok(VerifyRequest::Repository(repository))
        }
        _ => Err(Problem::invalid("name at most one of digest, reference and repository")),
    }
}

fn job(
    shared: &Shared,
    params: &Params<'_>,
) -> Result<tokio::sync::watch::Receiver<JobView>, Problem> {
    let gone = || Problem::not_found("there is no such job; it may be too long ago");
    shared.plane.job(params.path()).ok_or_else(gone)
}

fn revision(digest: Digest, text: String) -> Response<Body> {
    let mut response = bytes_response(StatusCode::OK, "application/yaml", text, false);
    if let Ok(etag) = HeaderValue::try_from(format!("\"{digest}\"")) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_verified_is_one_thing_or_everything() {
        assert!(matches!(verify_request(b"{}").unwrap(), VerifyRequest::All));
        let one = verify_request(br#"{"repository":"docker.io"}"#).unwrap();
        assert!(matches!(one, VerifyRequest::Repository(name) if name == "docker.io"));
        for body in ["", r#"{"repo":"a"}"#, r#"{"reference":"a:1","repository":"a"}"#] {
            assert_eq!(verify_request(body.as_bytes()).unwrap_err().status(), 400, "{body}");
        }
    }

    #[test]
    fn a_collection_with_a_typing_error_collects_nothing() {
        let request = gc_request(br#"{"dryRun":true,"untaggedFor":"0s"}"#).unwrap();
        assert!(request.dry_run && request.repository.is_none());
        for body in ["", "[]", r#"{"dryrun":true}"#, r#"{"dryRun":"yes"}"#] {
            assert_eq!(gc_request(body.as_bytes()).unwrap_err().status(), 400, "{body}");
        }
    }

    #[test]
    fn a_purge_names_one_thing() {
        let digest = Digest::sha256(b"");
        let by_digest = format!(r#"{{"digest":"{digest}"}}"#);
        let target = purge_target(by_digest.as_bytes()).unwrap();
        assert!(matches!(target, PurgeTarget::Digest(held) if held == digest));
        let target = purge_target(br#"{"tag":{"name":"a/b","tag":"1"}}"#).unwrap();
        assert!(matches!(target, PurgeTarget::Tag(name, _) if name.as_str() == "a/b"));
        let target = purge_target(br#"{"pattern":"a/**"}"#).unwrap();
        assert!(matches!(target, PurgeTarget::Pattern(pattern) if pattern == "a/**"));
        for body in [
            "",
            "{}",
            "[]",
            r#"{"patern":"a/**"}"#,
            r#"{"digest":"sha256:1"}"#,
            r#"{"tag":{"name":"a/b"}}"#,
            r#"{"tag":{"name":"a/b","tag":"/"}}"#,
            r#"{"tag":{"name":"A","tag":"1"}}"#,
            r#"{"pattern":"a","tag":{"name":"a/b","tag":"1"}}"#,
        ] {
            assert_eq!(purge_target(body.as_bytes()).unwrap_err().status(), 400, "{body}");
        }
    }
}
