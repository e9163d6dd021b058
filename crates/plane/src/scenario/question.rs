//! One question of a scenario: as a request of the distribution API, through the pipeline.

use super::ScenarioError;
use super::artifact::{Artifact, Artifacts};
use crate::answer::{Served, What};
use crate::ask::{Ask, Credentials, Method, Peer, Wishes};
use crate::explain::{Supposed, supposed};
use crate::incoming::Incoming;
use crate::pipeline;
use crate::plane::Plane;
use crate::refusal::Refusal;
use blobs::ReadHow;
use bytes::Bytes;
use futures_util::stream;
use oci::{Digest, Tag};
use policy::{Caller, Said};
use resources::{ScenarioAnswer, ScenarioCase};
use std::net::IpAddr;
use telemetry::RequestIds;

/// Where whoever asks is, if a question does not say it.
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Asks; what is answered, and in which words.
pub(super) async fn ask(
    plane: &Plane,
    artifacts: &Artifacts,
    case: &ScenarioCase,
) -> Result<(ScenarioAnswer, String), ScenarioError> {
    let wrong = |reason: String| ScenarioError::senseless(format!("case {:?}", case.it), reason);
    let view = plane.core.view();
    let address = match &case.address {
        Some(text) => text.parse().map_err(|_| wrong(format!("{text:?} is no address")))?,
        None => ADDRESS,
    };
    let who = Supposed {
        text: case.r#as.as_deref().unwrap_or("anonymous"),
        groups: &case.groups,
        cluster: case.cluster.as_deref(),
        address: Some(address),
    };
    let principal = supposed(&view, who).map_err(|error| wrong(error.to_string()))?;
    let (environment, purpose) = (case.environment.as_deref(), case.purpose.as_deref());
    let said = Said { host: case.host.as_deref(), environment, purpose };
    let caller = match view.governance.environments.settle(principal, said) {
        Ok(caller) => caller,
        Err(denial) => return Ok((ScenarioAnswer::Deny, denial.message())),
    };
    let answered = match action(artifacts, case).map_err(wrong)? {
        Wanted::Request { method, path } => {
            send(plane, &caller, method, &path, case.host.as_deref(), Incoming::none()).await
        }
        Wanted::Push { artifact, name, reference } => {
            push(plane, &caller, artifact, &name, &[&reference], case.host.as_deref()).await
        }
    };
    told(answered).map_err(wrong)
}

enum Wanted<'a> {
    Request { method: Method, path: String },
    Push { artifact: &'a Artifact, name: String, reference: String },
}

/// What exactly one of the fields asks for.
fn action<'a>(artifacts: &'a Artifacts, case: &ScenarioCase) -> Result<Wanted<'a>, String> {
    let fields = [
        ("head", &case.head),
        ("pull", &case.pull),
        ("layer", &case.layer),
        ("push", &case.push),
        ("delete", &case.delete),
        ("list", &case.list),
        ("referrers", &case.referrers),
    ];
    let given: Vec<(&str, &str)> =
        fields.iter().filter_map(|(field, text)| Some((*field, text.as_deref()?))).collect();
    let [(field, text)] = given.as_slice() else {
        return Err(
            "says exactly one of head, pull, layer, push, delete, list and referrers".to_owned()
        );
    };
    if case.artifact.is_some() != (*field == "push") {
        return Err("`artifact` says what `push` pushes, and stands with no other".to_owned());
    }
    let request = |method, path| Ok(Wanted::Request { method, path });
    if *field == "list" {
        return request(Method::Get, format!("/v2/{text}/tags/list"));
    }
    let (name, reference) = split(text)?;
    match *field {
        "push" => {
            let id = case.artifact.as_ref().map(|id| id.as_str()).unwrap_or_default();
            let (name, reference) = (name.to_owned(), reference.to_owned());
            Ok(Wanted::Push { artifact: found(artifacts, id)?, name, reference })
        }
        "layer" => {
            let (id, platform) = id_of(reference);
            if platform.is_some() {
                return Err("a layer is the first of an artifact; leave the platform out".into());
            }
            let layer = found(artifacts, id)?.first_layer;
            request(Method::Get, format!("/v2/{name}/blobs/{layer}"))
        }
        "referrers" => {
            let digest = digest(artifacts, reference)?;
            request(Method::Get, format!("/v2/{name}/referrers/{digest}"))
        }
        _ => {
            let method = match *field {
                "head" => Method::Head,
                "delete" => Method::Delete,
                _ => Method::Get,
            };
            let reference = match text.contains('@') {
                true => digest(artifacts, reference)?.to_string(),
                false => reference.to_owned(),
            };
            request(method, format!("/v2/{name}/manifests/{reference}"))
        }
    }
}

/// A name and what stands behind it: a tag, a digest, or an id.
fn split(text: &str) -> Result<(&str, &str), String> {
    if let Some(parts) = text.split_once('@') {
        return Ok(parts);
    }
    match text.rsplit_once(':') {
        Some((name, tag)) if Tag::parse(tag).is_ok() => Ok((name, tag)),
        _ => Err(format!("{text:?} is neither name:tag nor name@id nor name@digest")),
    }
}

/// An id, and the platform behind it.
fn id_of(reference: &str) -> (&str, Option<&str>) {
    match reference.split_once('/') {
        Some((id, platform)) => (id, Some(platform)),
        None => (reference, None),
    }
}

fn digest(artifacts: &Artifacts, reference: &str) -> Result<Digest, String> {
    if reference.contains(':') {
        return Digest::parse(reference).map_err(|error| error.to_string());
    }
    let (id, platform) = id_of(reference);
    let artifact = found(artifacts, id)?;
    let Some(platform) = platform else { return Ok(artifact.root.digest) };
    let child = artifact.children.iter().find(|(of, _)| of == platform);
    child
        .map(|(_, child)| child.digest)
        .ok_or_else(|| format!("artifact {id} has no image for {platform} in an index"))
}

fn found<'a>(artifacts: &'a Artifacts, id: &str) -> Result<&'a Artifact, String> {
    artifacts
        .find(id)
        .ok_or_else(|| format!("no artifact has the id {id:?}; there are: {}", artifacts.ids()))
}

/// One request through the pipeline.
async fn send(
    plane: &Plane,
    caller: &Caller,
    method: Method,
    path: &str,
    host: Option<&str>,
    incoming: Incoming,
) -> Result<Served, Refusal> {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let peer = Peer {
        address: caller.principal.address(),
        is_loopback: caller.principal.is_local(),
        is_operator: false,
    };
    let ask = Ask {
        method,
        path,
        query,
        host,
        peer,
        credentials: Credentials::default(),
        wishes: Wishes::default(),
        read: ReadHow::Copied,
    };
    let core = &plane.core;
    let request_id = RequestIds::new().next();
    let mut trail = plane.trail(request_id, method.as_str(), path, peer.address);
    pipeline::answer(core, &core.view(), caller, &ask, incoming, &mut trail).await
}

/// A push as clients do it: blobs, then manifests, the index last. What the last of it was answered, or
/// the first refusal.
pub(super) async fn push(
    plane: &Plane,
    caller: &Caller,
    artifact: &Artifact,
    name: &str,
    references: &[&str],
    host: Option<&str>,
) -> Result<Served, Refusal> {
    for bytes in &artifact.blobs {
        let path = format!("/v2/{name}/blobs/uploads/?digest={}", Digest::sha256(bytes));
        send(plane, caller, Method::Post, &path, host, body(bytes)).await?;
    }
    let mut last = None;
    for document in artifact.documents() {
        let by_digest = [document.digest.to_string()];
        let is_root = document.digest == artifact.root.digest;
        let names: Vec<&str> = match is_root && !references.is_empty() {
            true => references.to_vec(),
            false => by_digest.iter().map(String::as_str).collect(),
        };
        for reference in names {
            let path = format!("/v2/{name}/manifests/{reference}");
            let media_type = Some(document.media_type.as_str().to_owned());
            let incoming = body(&document.bytes).with_lines(media_type, None);
            last = Some(send(plane, caller, Method::Put, &path, host, incoming).await?);
        }
    }
    last.ok_or_else(|| Refusal::Internal("an artifact without a manifest".to_owned()))
}

fn body(bytes: &Bytes) -> Incoming {
    let length = Some(bytes.len() as u64);
    Incoming::new(stream::iter([Ok(bytes.clone())]), length)
}

/// The answer in the words of scenarios.
fn told(answered: Result<Served, Refusal>) -> Result<(ScenarioAnswer, String), String> {
    match answered {
        Ok(served) => {
            let mut warnings = served.warnings;
            let mut texts = Vec::new();
            match served.what {
                What::Tags { tags, .. } => texts.extend(tags.iter().map(ToString::to_string)),
                What::Referrers { descriptors, .. } => {
                    texts.extend(descriptors.into_iter().filter_map(|it| it.artifact_type));
                }
                What::ManifestCreated { warnings: of_push, .. } => warnings.extend(of_push),
                _ => {}
            }
            let answer = match warnings.is_empty() {
                true => ScenarioAnswer::Allow,
                false => ScenarioAnswer::Warn,
            };
            texts.extend(warnings);
            Ok((answer, texts.join(", ")))
        }
        Err(refusal) => {
            let answer = match &refusal {
                Refusal::Denied(_) => ScenarioAnswer::Deny,
                Refusal::LoginNeeded(_) | Refusal::Unauthorized { .. } => ScenarioAnswer::Login,
                Refusal::CannotTell(_) | Refusal::Indeterminate { .. } => {
                    ScenarioAnswer::CannotTell
                }
                Refusal::Absent { .. } | Refusal::NoRepository(_) => ScenarioAnswer::Absent,
                Refusal::Internal(bug) => return Err(format!("ended in a bug of Lockgate: {bug}")),
                _ => ScenarioAnswer::Invalid,
            };
            Ok((answer, refusal.to_string()))
        }
    }
}
