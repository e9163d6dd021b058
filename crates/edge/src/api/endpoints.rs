//! Every endpoint of the management API, in one table.

use crate::percent::decode;
use std::borrow::Cow;

/// What an endpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    OpenApi,
    Status,
    ListCache,
    CacheStats,
    Purge,
    Verify,
    Gc,
    Backup,
    ListPlaces,
    Migrate,
    Copy,
    Adopt,
    ListPins,
    Pin,
    Unpin,
    Prefetch,
    ListJobs,
    Job,
    JobEvents,
    CancelJob,
    ListRevisions,
    RevisionText,
    Rollback,
    ListUpstreams,
    ProbeUpstreams,
    Decision,
    Check,
    ListWaivers,
}

/// An endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) method: &'static str,
    /// With at most one segment in braces.
    pub(super) path: &'static str,
    pub(super) operation: Operation,
    /// `operationId`.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: &'static [QueryParameter],
    /// The schema of the request's body, if it has one.
    pub(super) body: Option<&'static str>,
    pub(super) answer: Answer,
}

/// A parameter of the query.
#[derive(Debug)]
pub(super) struct QueryParameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) summary: &'static str,
    pub(super) required: bool,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// 1 to [`LIMIT_MAX`], [`LIMIT_DEFAULT`] if left out.
    Limit,
}

/// The answer when all goes well.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content: Content,
    pub(super) summary: &'static str,
}

/// What an answer holds.
#[derive(Debug)]
pub(super) enum Content {
    Nothing,
    /// JSON of a named schema.
    Json(&'static str),
    /// `{items, continue}` of a named schema.
    List(&'static str),
    Yaml,
    /// Server-sent events, each with JSON of a named schema.
    Events(&'static str),
    /// The description itself.
    OpenApi,
}

/// Most entries of a page.
pub(super) const LIMIT_MAX: u32 = 1000;

/// Entries of a page, if the client does not say.
pub(super) const LIMIT_DEFAULT: u32 = 100;

const LIMIT: QueryParameter = QueryParameter {
    name: "limit",
    kind: Kind::Limit,
    summary: "Most entries of the page",
    required: false,
};

const CONTINUE: QueryParameter =
    text("continue", "The `continue` of the page before: go on after it");

const fn text(name: &'static str, summary: &'static str) -> QueryParameter {
    QueryParameter { name, kind: Kind::Text, summary, required: false }
}

const fn get(
    path: &'static str,
    operation: Operation,
    id: &'static str,
    summary: &'static str,
    content: Content,
) -> Endpoint {
    let answer = Answer { status: 200, content, summary };
    Endpoint { method: "GET", path, operation, id, summary, query: &[], body: None, answer }
}

impl Endpoint {
    /// The same, asked by POST: the question is too large for a URL.
    const fn by_post(self) -> Self {
        Self { method: "POST", ..self }
    }
}

const fn change(
    method: &'static str,
    path: &'static str,
    operation: Operation,
    id: &'static str,
    summary: &'static str,
    (body, answer): (Option<&'static str>, Answer),
) -> Endpoint {
    Endpoint { method, path, operation, id, summary, query: &[], body, answer }
}

const fn ok(status: u16, content: Content, summary: &'static str) -> Answer {
    Answer { status, content, summary }
}

/// The table.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    get(
        "/api/v1/openapi.json",
        Operation::OpenApi,
        "openApi",
        "This description",
        Content::OpenApi,
    ),
    get(
        "/api/v1/status",
        Operation::Status,
        "status",
        "The state of the process: revision, store, catalog, upstreams, warnings",
        Content::Json("Status"),
    ),
    get(
        "/api/v1/decisions/{id}",
        Operation::Decision,
        "decision",
        "A decision by its id; the last few thousand of this process are known. Whoever asked may see their own",
        Content::Json("Decision"),
    ),
    Endpoint {
        body: Some("CheckRequest"),
        ..get(
            "/api/v1/checks",
            Operation::Check,
            "check",
            "What pulls or pushes would be answered; nothing is served. About oneself, without Administer",
            Content::Json("CheckReport"),
        )
    }
    .by_post(),
    Endpoint {
        query: &[
            text("repository", "Only names of this Repository (`metadata.name`)"),
            text("pattern", "Only names that match, such as `docker.io/library/**`"),
            LIMIT,
            CONTINUE,
        ],
        ..get(
            "/api/v1/cache",
            Operation::ListCache,
            "listCache",
            "What the cache holds, by name and digest",
            Content::List("CacheEntry"),
        )
    },
    get(
        "/api/v1/cache/stats",
        Operation::CacheStats,
        "cacheStats",
        "How much the cache holds, in all and by repository",
        Content::Json("CacheStats"),
    ),
    change(
        "POST",
        "/api/v1/cache/purge",
        Operation::Purge,
        "purgeCache",
        "Forgets a digest, a tag, or all names that match a pattern",
        (Some("PurgeRequest"), ok(200, Content::Json("Purged"), "What was purged")),
    ),
    change(
        "POST",
        "/api/v1/cache/verify",
        Operation::Verify,
        "verifyCache",
        "Begins to read what the store has and to hold it against its digests; damaged blobs are removed",
        (Some("VerifyRequest"), ok(202, Content::Json("Job"), "The job; `Location` names it")),
    ),
    change(
        "POST",
        "/api/v1/gc",
        Operation::Gc,
        "gc",
        "Begins to take away what hosted names hold and nothing needs, or to tell what that would be",
        (Some("GcRequest"), ok(202, Content::Json("Job"), "The job; `Location` names it")),
    ),
    change(
        "POST",
        "/api/v1/backup",
        Operation::Backup,
        "backup",
        "Begins to write a backup of the catalog and of what lies beside it to a directory of the plane's machine; only by the socket",
        (Some("BackupRequest"), ok(202, Content::Json("Job"), "The job; `Location` names it")),
    ),
    get(
        "/api/v1/store/places",
        Operation::ListPlaces,
        "listPlaces",
        "The places of the store in order: blobs are written to the first, and read in all; each is asked now",
        Content::List("StorePlace"),
    ),
    change(
        "POST",
        "/api/v1/store/migrate",
        Operation::Migrate,
        "migrateStore",
        "Begins to copy all blobs to another place, verified, while serving; only by the socket",
        (Some("MigrateRequest"), ok(202, Content::Json("Job"), "The job; `Location` names it")),
    ),
    change(
        "POST",
        "/api/v1/copy",
        Operation::Copy,
        "copy",
        "Begins to copy repositories of another registry, with all tags and referrers, into a hosted one; an address or a file of its own only by the socket",
        (Some("CopyRequest"), ok(202, Content::Json("Job"), "The job; `Location` names it")),
    ),
    change(
        "POST",
        "/api/v1/adopt",
        Operation::Adopt,
        "adopt",
        "Begins to make hosted what the cache holds of remote repositories, so that it outlives their upstreams",
        (Some("AdoptRequest"), ok(202, Content::Json("Job"), "The job; `Location` names it")),
    ),
    get(
        "/api/v1/pins",
        Operation::ListPins,
        "listPins",
        "What eviction leaves alone",
        Content::List("Pin"),
    ),
    change(
        "POST",
        "/api/v1/pins",
        Operation::Pin,
        "pin",
        "Keeps eviction away from a reference",
        (Some("PinRequest"), ok(201, Content::Json("Pin"), "The pin")),
    ),
    Endpoint {
        query: &[QueryParameter {
            required: true,
            ..text("reference", "As it was pinned, such as `docker.io/library/alpine:3`")
        }],
        ..change(
            "DELETE",
            "/api/v1/pins",
            Operation::Unpin,
            "unpin",
            "Takes a pin back",
            (None, ok(204, Content::Nothing, "It is no longer pinned")),
        )
    },
    change(
        "POST",
        "/api/v1/prefetch",
        Operation::Prefetch,
        "prefetch",
        "Begins to fetch references before anybody asks for them",
        (Some("PrefetchRequest"), ok(202, Content::Json("Job"), "The job; `Location` names it")),
    ),
    get(
        "/api/v1/jobs",
        Operation::ListJobs,
        "listJobs",
        "Jobs, newest first",
        Content::List("Job"),
    ),
    get("/api/v1/jobs/{id}", Operation::Job, "job", "A job as it stands", Content::Json("Job")),
    get(
        "/api/v1/jobs/{id}/events",
        Operation::JobEvents,
        "jobEvents",
        "A job at every change, until it ends",
        Content::Events("Job"),
    ),
    change(
        "DELETE",
        "/api/v1/jobs/{id}",
        Operation::CancelJob,
        "cancelJob",
        "Stops a job",
        (None, ok(200, Content::Json("Job"), "The job as it stands now")),
    ),
    Endpoint {
        query: &[LIMIT],
        ..get(
            "/api/v1/revisions",
            Operation::ListRevisions,
            "listRevisions",
            "Sets of resources that were in force, the last one first",
            Content::List("Revision"),
        )
    },
    get(
        "/api/v1/revisions/{digest}",
        Operation::RevisionText,
        "revision",
        "The documents of a set; `ETag` is its digest",
        Content::Yaml,
    ),
    change(
        "POST",
        "/api/v1/revisions/{digest}/rollback",
        Operation::Rollback,
        "rollback",
        "Puts a former set in force again, until the files say something new",
        (None, ok(200, Content::Json("RevisionStatus"), "What is in force now")),
    ),
    get(
        "/api/v1/waivers",
        Operation::ListWaivers,
        "listWaivers",
        "Waivers, expired ones too, and how often each was used since the process started",
        Content::List("Waiver"),
    ),
    get(
        "/api/v1/upstreams",
        Operation::ListUpstreams,
        "listUpstreams",
        "Health of every upstream, from what is known",
        Content::List("Upstream"),
    ),
    change(
        "POST",
        "/api/v1/upstreams/probe",
        Operation::ProbeUpstreams,
        "probeUpstreams",
        "Asks every upstream now",
        (None, ok(200, Content::List("Upstream"), "What they said")),
    ),
];

/// What a method and a path name.
pub(super) enum Found<'p> {
    /// An endpoint, and the segment that stands for its braces.
    Endpoint(&'static Endpoint, Option<Cow<'p, str>>),
    /// The path exists for these methods, as in `Allow`.
    OtherMethods(String),
    /// Nothing.
    Nothing,
}

/// Looks an endpoint up. A path without braces goes before one with.
pub(super) fn find<'p>(method: &str, path: &'p str) -> Found<'p> {
    let mut allow: Vec<&str> = Vec::new();
    for endpoint in ENDPOINTS {
        let Some(parameter) = fits(endpoint.path, path) else { continue };
        if endpoint.method == method {
            return Found::Endpoint(endpoint, parameter);
        }
        allow.push(endpoint.method);
    }
    if allow.is_empty() { Found::Nothing } else { Found::OtherMethods(allow.join(", ")) }
}

/// Whether `path` has the form `template`, and which segment stands for the braces.
fn fits<'p>(template: &str, path: &'p str) -> Option<Option<Cow<'p, str>>> {
    let mut parameter = None;
    let (mut expected, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (expected.next(), given.next()) {
            (None, None) => return Some(parameter),
            (Some(name), Some(segment)) if name.starts_with('{') => {
                if segment.is_empty() {
                    return None;
                }
                parameter = Some(decode(segment, false)?);
            }
            (Some(name), Some(segment)) if name == segment => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> String {
        match find(method, path) {
            Found::Endpoint(endpoint, parameter) => {
                format!("{} {}", endpoint.id, parameter.unwrap_or_default()).trim().to_owned()
            }
            Found::OtherMethods(allow) => format!("405 {allow}"),
            Found::Nothing => "404".to_owned(),
        }
    }

    #[test]
    fn paths_find_their_endpoint() {
        for (method, path, expected) in [
            ("GET", "/api/v1/status", "status"),
            ("GET", "/api/v1/jobs/7", "job 7"),
            ("GET", "/api/v1/jobs/7/events", "jobEvents 7"),
            ("DELETE", "/api/v1/jobs/a%20b", "cancelJob a b"),
            ("GET", "/api/v1/revisions/sha256%3Aab", "revision sha256:ab"),
            ("GET", "/api/v1/revisions/sha256:ab", "revision sha256:ab"),
            ("POST", "/api/v1/revisions/ab/rollback", "rollback ab"),
            ("PUT", "/api/v1/pins", "405 GET, POST, DELETE"),
            ("GET", "/api/v1/cache/purge", "405 POST"),
            ("GET", "/api/v1/jobs/", "404"),
            ("GET", "/api/v1/jobs/%zz", "404"),
            ("GET", "/api/v1", "404"),
            ("GET", "/api/v1/status/", "404"),
            ("GET", "/api/v2/status", "404"),
        ] {
            assert_eq!(found(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn operations_are_named_once() {
        let mut ids: Vec<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.id).collect();
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
