//! Stage 2, route: from method, path, host and query to what is to be done, and who may have it.

use super::Trail;
use super::query::{self, Query};
use crate::ask::{Ask, Method};
use crate::candidates::{Asking, Found, HostedName, PushTo};
use crate::hosted::Write;
use crate::refusal::Refusal;
use crate::view::View;
use oci::Reference;
use oci::route::{Route, RouteError};
use policy::{Action, Intent, Leave, Object};

/// A request, parsed.
#[derive(Debug)]
pub(super) struct Routed {
    pub(super) action: Action,
    pub(super) object: Object,
    /// Of requests that name a repository: who may have it.
    pub(super) found: Option<Found>,
    /// Of requests that change something: what.
    pub(super) write: Option<Write>,
    /// The name as the client wrote it.
    pub(super) asked_name: String,
    pub(super) query: Query,
    /// HEAD: nothing is downloaded for it.
    pub(super) is_head: bool,
}

impl Routed {
    /// Whether the caller may ask this at all.
    pub(super) fn may_ask(&self, asking: Asking<'_>) -> Result<Leave, Refusal> {
        match &self.found {
            Some(found) => found.may_ask(asking, self.action, &self.object),
            None => {
                let access = &asking.governance.access;
                Ok(policy::may_ask_one(access, asking.caller, &self.unnamed(), None)?)
            }
        }
    }

    /// The intent of a request that names no repository.
    pub(super) fn unnamed(&self) -> Intent {
        Intent { action: self.action, name: None, object: self.object.clone() }
    }

    /// Where a push goes. Asked after access, so that who may not push hears that.
    pub(super) fn push_target(&self) -> Result<HostedName, Refusal> {
        match self.found.as_ref().map(Found::push_to) {
            Some(PushTo::Hosted(hosted)) => Ok(hosted.clone()),
            Some(PushTo::Remote(located)) => Err(Refusal::Unsupported(format!(
                "{} is in a remote repository, which takes no pushes and deletes; \
                 `lockgate cache purge` makes it forget",
                located.name
            ))),
            Some(PushTo::Nowhere) | None => {
                Err(Refusal::Internal("a push without a name got past access".to_owned()))
            }
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
    let query = query::read(ask.query)?;
    let (name, action, object) = parts(&route, ask.method);
    let found = match name {
        Some(name) => Some(view.routes.locate(name, ask.host, query.ns.as_deref())?),
        None => None,
    };
    if let Some(candidate) = found.as_ref().and_then(Found::first) {
        trail.set_target(candidate.name(), reference(&object));
    }
    let write = write(&route, ask.method)?;
    // Only lists and writes say the name back.
    let is_said_back = write.is_some() || matches!(object, Object::Tags);
    let asked_name = name.filter(|_| is_said_back).unwrap_or_default().to_owned();
    let is_head = ask.method == Method::Head;
    Ok(Routed { action, object, found, write, asked_name, query, is_head })
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

pub(super) fn reference(object: &Object) -> Option<String> {
    match object {
        Object::Manifest(reference) => Some(reference.to_string()),
        Object::Blob(digest) | Object::Referrers(digest) => Some(digest.to_string()),
        _ => None,
    }
}

/// Whether the endpoint takes the method at all.
fn allow(route: &Route<'_>, method: Method) -> Result<(), Refusal> {
    use Method::{Delete, Get, Head, Patch, Post, Put};
    let (takes, allow): (&[Method], &'static str) = match route {
        Route::Base | Route::Catalog | Route::Tags(_) | Route::Referrers(..) => {
            (&[Get, Head], "GET, HEAD")
        }
        Route::Manifest(..) => (&[Get, Head, Put, Delete], "GET, HEAD, PUT, DELETE"),
        Route::Blob(..) => (&[Get, Head, Delete], "GET, HEAD, DELETE"),
        Route::Uploads(_) => (&[Post], "POST"),
        Route::Upload(..) => (&[Get, Head, Patch, Put, Delete], "GET, HEAD, PATCH, PUT, DELETE"),
    };
    if takes.contains(&method) { Ok(()) } else { Err(Refusal::Method { allow }) }
}

/// The name, what is to be done, and to what.
fn parts<'p>(route: &Route<'p>, method: Method) -> (Option<&'p str>, Action, Object) {
    let on_artifact = match method {
        Method::Post | Method::Put | Method::Patch => Action::Push,
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

/// What is to be changed, if anything is.
fn write(route: &Route<'_>, method: Method) -> Result<Option<Write>, Refusal> {
    let session = |id: &str| blobs::UploadId::parse(id).map_err(|_| Refusal::UploadUnknown);
    Ok(Some(match (route, method) {
        (Route::Uploads(_), _) => Write::Begin,
        (Route::Upload(_, id), Method::Get | Method::Head) => Write::Status(session(id)?),
        (Route::Upload(_, id), Method::Patch) => Write::Extend(session(id)?),
        (Route::Upload(_, id), Method::Put) => Write::Finish(session(id)?),
        (Route::Upload(_, id), _) => Write::Cancel(session(id)?),
        (Route::Manifest(_, reference), Method::Put) => Write::PutManifest(reference.clone()),
        (Route::Manifest(_, reference), Method::Delete) => Write::DeleteManifest(reference.clone()),
        (Route::Blob(_, digest), Method::Delete) => Write::DeleteBlob(*digest),
        _ => return Ok(None),
    }))
}

/// The reference of a manifest request.
pub(super) fn manifest_reference(object: &Object) -> Option<&Reference> {
    match object {
        Object::Manifest(reference) => Some(reference),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_fit_endpoints() {
        let refused = |path: &str, method| {
            let route = Route::parse(path).unwrap().unwrap();
            allow(&route, method).is_err()
        };
        assert!(!refused("/v2/a/manifests/1", Method::Put));
        assert!(refused("/v2/a/manifests/1", Method::Post));
        assert!(refused("/v2/a/tags/list", Method::Put));
        assert!(refused("/v2/a/blobs/uploads/", Method::Get));
        assert!(!refused("/v2/a/blobs/uploads/x", Method::Delete));
        assert!(refused("/v2/", Method::Other));
        let route = Route::parse("/v2/a/manifests/1").unwrap().unwrap();
        let Err(Refusal::Method { allow }) = allow(&route, Method::Other) else { panic!() };
        assert_eq!(allow, "GET, HEAD, PUT, DELETE");
    }
}
