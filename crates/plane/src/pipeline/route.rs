//! Stage 2, route: from method, path, host and query to an intent under a canonical name.

use super::Trail;
use crate::ask::{Ask, Method};
use crate::refusal::Refusal;
use crate::routes::Located;
use crate::view::View;
use oci::Reference;
use oci::route::{Route, RouteError};
use policy::{Action, Intent, Object};
use std::borrow::Cow;

/// Most entries of a page that a client may ask for; more are cut to it.
const PAGE_MAX: usize = 10_000;
/// The longest query that is read.
const QUERY_MAX_BYTES: usize = 4096;

/// A request, parsed.
#[derive(Debug)]
pub(super) struct Routed {
    intent: Intent,
    /// Of requests that name a repository.
    pub(super) located: Option<Located>,
    /// The name as the client wrote it.
    pub(super) asked_name: String,
    pub(super) page: Page,
    /// HEAD: nothing is downloaded for it.
    pub(super) is_head: bool,
}

/// Parameters of lists.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) n: Option<usize>,
    pub(super) last: Option<String>,
    pub(super) artifact_type: Option<String>,
    ns: Option<String>,
}

impl Routed {
    pub(super) fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The credential scope that the upstream would be asked with.
    pub(super) fn scope(&self) -> Option<String> {
        let located = self.located.as_ref()?;
        located.repository.scope(&located.upstream_name)
    }

    /// Whether the repository can do this at all. Asked after access, so that who may not push
    /// hears that.
    pub(super) fn is_supported(&self) -> Result<(), Refusal> {
        match self.intent.action {
            Action::Push | Action::Delete => {
                let name = self.intent.name.as_ref().map(ToString::to_string).unwrap_or_default();
                Err(Refusal::Unsupported(format!(
                    "{name} is in a remote repository, which takes no pushes and deletes; \
                     `lockgate cache purge` makes it forget"
                )))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn route(view: &View, ask: &Ask<'_>, trail: &mut Trail) -> Result<Routed, Refusal> {
    let route = match Route::parse(ask.path) {
        Some(Ok(route)) => route,
        Some(Err(error)) => {
            trail.set_route(telemetry::Route::Other);
            return Err(Refusal::Route(error));
        }
        None => return Err(Refusal::Route(RouteError::Unknown)),
    };
    trail.set_route(label(&route));
    allow(&route, ask.method)?;
    let page = page(ask.query)?;
    let (name, action, object) = parts(&route, ask.method);
    let located = match name {
        Some(name) => Some(view.routes.locate(name, ask.host, page.ns.as_deref())?),
        None => None,
    };
    if let Some(located) = &located {
        trail.set_target(&located.name, reference(&object));
    }
    let intent = Intent { action, name: located.as_ref().map(|l| l.name.clone()), object };
    let asked_name = match intent.object {
        Object::Tags => name.unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    Ok(Routed { intent, located, asked_name, page, is_head: ask.method == Method::Head })
}

fn label(route: &Route<'_>) -> telemetry::Route {
    match route {
        Route::Base => telemetry::Route::Root,
        Route::Catalog => telemetry::Route::Catalog,
        Route::Manifest(..) => telemetry::Route::Manifest,
        Route::Blob(..) => telemetry::Route::Blob,
        Route::Uploads(_) | Route::Upload(..) => telemetry::Route::Upload,
        Route::Tags(_) => telemetry::Route::Tags,
        Route::Referrers(..) => telemetry::Route::Referrers,
    }
}

fn reference(object: &Object) -> Option<String> {
    match object {
        Object::Manifest(reference) => Some(reference.to_string()),
        Object::Blob(digest) | Object::Referrers(digest) => Some(digest.to_string()),
        _ => None,
    }
}

/// Whether the endpoint takes the method at all.
fn allow(route: &Route<'_>, method: Method) -> Result<(), Refusal> {
    use Method::{Delete, Get, Head, Push};
    let (takes, allow): (&[Method], &'static str) = match route {
        Route::Base | Route::Catalog | Route::Tags(_) | Route::Referrers(..) => {
            (&[Get, Head], "GET, HEAD")
        }
        // What writes is answered later, and by name; no remote repository takes it (RFC 9110
        // §10.2.1: `Allow` lists what this resource takes).
        Route::Manifest(..) => (&[Get, Head, Push, Delete], "GET, HEAD"),
        Route::Blob(..) => (&[Get, Head, Delete], "GET, HEAD"),
        Route::Uploads(_) => (&[Push], "POST"),
        Route::Upload(..) => (&[Get, Push, Delete], "GET, PATCH, PUT, DELETE"),
    };
    if takes.contains(&method) { Ok(()) } else { Err(Refusal::Method { allow }) }
}

/// The name, what is to be done, and to what.
fn parts<'p>(route: &Route<'p>, method: Method) -> (Option<&'p str>, Action, Object) {
    let on_artifact = match method {
        Method::Push => Action::Push,
        Method::Delete => Action::Delete,
        _ => Action::Pull,
    };
    match route {
        Route::Base => (None, Action::Pull, Object::Base),
        Route::Catalog => (None, Action::List, Object::Catalog),
        Route::Manifest(name, reference) => {
            (Some(name), on_artifact, Object::Manifest(reference.clone()))
        }
        Route::Blob(name, digest) => (Some(name), on_artifact, Object::Blob(*digest)),
        Route::Uploads(name) | Route::Upload(name, _) => (Some(name), Action::Push, Object::Upload),
        Route::Tags(name) => (Some(name), Action::List, Object::Tags),
        Route::Referrers(name, digest) => {
            (Some(name), Action::Referrers, Object::Referrers(*digest))
        }
    }
}

fn page(query: Option<&str>) -> Result<Page, Refusal> {
    let mut page = Page::default();
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(page) };
    if query.len() > QUERY_MAX_BYTES {
        return Err(Refusal::Query(format!("the query is longer than {QUERY_MAX_BYTES} bytes")));
    }
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "n" => once("n", &mut page.n, number(&value)?)?,
            "last" => once("last", &mut page.last, text("last", value)?)?,
            "ns" => once("ns", &mut page.ns, text("ns", value)?)?,
            "artifactType" if !value.is_empty() => {
                page.artifact_type = Some(text("artifactType", value)?);
            }
            // Unknown parameters are for others; the specification adds some now and then.
            _ => {}
        }
    }
    page.ns = page.ns.filter(|ns| !ns.is_empty());
    page.last = page.last.filter(|last| !last.is_empty());
    Ok(page)
}

/// Takes a parameter that stands once: of two, whoever is in front of us may have judged the other.
fn once<T>(what: &str, held: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match held.replace(value) {
        None => Ok(()),
        Some(_) => {
            Err(Refusal::Query(format!("the parameter {what} stands twice in the query; send one")))
        }
    }
}

fn number(value: &str) -> Result<usize, Refusal> {
    let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    match value.parse::<usize>() {
        Ok(n) if is_number => Ok(n.min(PAGE_MAX)),
        // Digits that overflow ask for more than any page has.
        Err(_) if is_number => Ok(PAGE_MAX),
        _ => {
            Err(Refusal::Query("the parameter n is a number of entries, such as n=100".to_owned()))
        }
    }
}

fn text(what: &str, value: Cow<'_, str>) -> Result<String, Refusal> {
    if value.len() > 512 || value.chars().any(char::is_control) {
        return Err(Refusal::Query(format!("the parameter {what} cannot be used")));
    }
    Ok(value.into_owned())
}

/// The reference of a manifest request.
pub(super) fn manifest_reference(intent: &Intent) -> Option<&Reference> {
    match &intent.object {
        Object::Manifest(reference) => Some(reference),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_with_care() {
        let read = page(Some("n=5&last=v1%2F2&ns=docker.io&x=y&artifactType=a%2Fb")).unwrap();
        assert_eq!((read.n, read.last.as_deref()), (Some(5), Some("v1/2")));
        assert_eq!(read.ns.as_deref(), Some("docker.io"));
        assert_eq!(read.artifact_type.as_deref(), Some("a/b"));
        assert_eq!(page(Some("n=99999999999999999999999")).unwrap().n, Some(PAGE_MAX));
        for bad in ["n=", "n=-1", "n=x", "n=%00", "ns=%0a", "last=%7f", "ns=a&ns=a", "ns=&ns=a"] {
            assert!(page(Some(bad)).is_err(), "{bad}");
        }
        for twice in ["n=1&n=2", "last=a&last=b"] {
            assert!(page(Some(twice)).is_err(), "{twice}");
        }
        assert!(page(Some("x=1&x=2")).is_ok(), "what we do not read is not judged");
        assert!(page(Some(&"a".repeat(5000))).is_err());
        assert!(page(Some("ns=&last=")).unwrap().ns.is_none());
    }

    #[test]
    fn methods_fit_endpoints() {
        let refused = |path: &str, method| {
            let route = Route::parse(path).unwrap().unwrap();
            allow(&route, method).is_err()
        };
        assert!(!refused("/v2/a/manifests/1", Method::Push));
        assert!(refused("/v2/a/tags/list", Method::Push));
        assert!(refused("/v2/a/blobs/uploads/", Method::Get));
        assert!(!refused("/v2/a/blobs/uploads/x", Method::Delete));
        assert!(refused("/v2/", Method::Other));
        let route = Route::parse("/v2/a/manifests/1").unwrap().unwrap();
        let Err(Refusal::Method { allow }) = allow(&route, Method::Other) else { panic!() };
        assert_eq!(allow, "GET, HEAD");
    }
}
