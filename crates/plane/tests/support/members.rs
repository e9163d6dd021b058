//! Planes of several repositories: their documents, and every kind of request by one name.

use super::{LOOPBACK, Rig};
use oci::Digest;
use plane::{Incoming, Method, Peer, Refusal, Served, What};
use testkit::{FakeRegistry, Image, Seen};

const HEAD: &str = "apiVersion: lockgate.dev/v1alpha1\nkind:";

/// A remote repository and its upstream, which has the same name. `spec`: further lines of the
/// repository's `remote`, each behind a comma.
pub fn remote(name: &str, url: &str, spec: &str) -> String {
    format!(
        "{HEAD} Upstream\nmetadata: {{ name: {name} }}\nspec:\n  endpoints: [{{ url: \"{url}\" \
         }}]\n  boundary: {{ privateAddresses: true }}\n  timeouts: {{ connect: 500ms, firstByte: \
         500ms, stall: 500ms }}\n---\n{HEAD} Repository\nmetadata: {{ name: {name} }}\nspec: {{ \
         remote: {{ upstream: {name}{spec} }} }}\n"
    )
}

/// A hosted repository.
pub fn hosted(name: &str) -> String {
    format!("{HEAD} Repository\nmetadata: {{ name: {name} }}\nspec: {{ hosted: {{}} }}\n")
}

/// A virtual repository. `members`: each as a flow mapping without braces; `rest`: further fields of
/// `virtual`, each behind a comma.
pub fn union(name: &str, members: &[&str], rest: &str) -> String {
    let members: Vec<String> = members.iter().map(|it| format!("{{ repository: {it} }}")).collect();
    let members = members.join(", ");
    format!(
        "{HEAD} Repository\nmetadata: {{ name: {name} }}\nspec: {{ virtual: {{ members: \
         [{members}]{rest} }} }}\n"
    )
}

/// Who may do what: actions, then names.
pub fn access(rules: &[(&str, &str)]) -> String {
    let rules: Vec<String> = rules
        .iter()
        .map(|(actions, names)| {
            format!(
                "{{ subjects: [{{ kind: Anonymous }}], actions: [{actions}], repositories: \
                 [{names}] }}"
            )
        })
        .collect();
    format!(
        "{HEAD} AccessPolicy\nmetadata: {{ name: all }}\nspec: {{ allow: [{}] }}\n",
        rules.join(", ")
    )
}

/// All of them as one text.
pub fn documents(all: &[String]) -> String {
    all.join("---\n")
}

/// A kind of request by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    HeadTag,
    GetTag,
    HeadDigest,
    GetDigest,
    HeadBlob,
    GetBlob,
    Tags,
    Referrers,
}

impl Asked {
    pub const ALL: [Self; 8] = [
        Self::HeadTag,
        Self::GetTag,
        Self::HeadDigest,
        Self::GetDigest,
        Self::HeadBlob,
        Self::GetBlob,
        Self::Tags,
        Self::Referrers,
    ];

    /// What has no other place than one member; a list is a union of all.
    pub const THINGS: [Self; 6] = [
        Self::HeadTag,
        Self::GetTag,
        Self::HeadDigest,
        Self::GetDigest,
        Self::HeadBlob,
        Self::GetBlob,
    ];

    /// Asks it of an image by another name than its own. A blob is read to its end.
    pub async fn of(self, rig: &Rig, name: &str, image: &Image) -> Result<Served, Refusal> {
        let tag = image.tag.as_deref().unwrap_or("1");
        let (method, path) = match self {
            Self::HeadTag => (Method::Head, format!("manifests/{tag}")),
            Self::GetTag => (Method::Get, format!("manifests/{tag}")),
            Self::HeadDigest => (Method::Head, format!("manifests/{}", image.digest)),
            Self::GetDigest => (Method::Get, format!("manifests/{}", image.digest)),
            Self::HeadBlob => (Method::Head, format!("blobs/{}", image.layers[0].digest)),
            Self::GetBlob => (Method::Get, format!("blobs/{}", image.layers[0].digest)),
            Self::Tags => (Method::Get, "tags/list".to_owned()),
            Self::Referrers => (Method::Get, format!("referrers/{}", image.digest)),
        };
        let path = format!("/v2/{name}/{path}");
        let served = rig.send_as(LOOPBACK, method, &path, Incoming::none()).await?;
        match (&served.what, self) {
            (What::Manifest(content), _) => assert_eq!(content.bytes, image.manifest, "{self:?}"),
            (What::Blob(blob), Self::GetBlob) => {
                let bytes = super::collect(blob.stream(None)).await.unwrap();
                assert_eq!(Digest::sha256(&bytes).to_string(), image.layers[0].digest);
            }
            (What::Blob(_), Self::HeadBlob) | (What::Tags { .. }, Self::Tags) => {}
            (What::Referrers { .. }, Self::Referrers) => {}
            (other, _) => panic!("{self:?}: {other:?}"),
        }
        Ok(served)
    }
}

/// The tags of a name.
pub async fn tags(rig: &Rig, name: &str) -> Result<Vec<String>, Refusal> {
    match rig.get(&format!("/v2/{name}/tags/list")).await?.what {
        What::Tags { tags, .. } => Ok(tags.iter().map(ToString::to_string).collect()),
        other => panic!("no tags: {other:?}"),
    }
}

/// The digests of what refers to one, in order. `query`: with its question mark.
pub async fn referrers(
    rig: &Rig,
    name: &str,
    subject: &str,
    query: &str,
) -> Result<Vec<String>, Refusal> {
    match rig.get(&format!("/v2/{name}/referrers/{subject}{query}")).await?.what {
        What::Referrers { descriptors, .. } => {
            Ok(descriptors.iter().map(|entry| entry.digest.to_string()).collect())
        }
        other => panic!("no referrers: {other:?}"),
    }
}

/// Requests for artifacts that a registry has seen: methods and paths.
pub fn seen(registry: &FakeRegistry) -> Vec<String> {
    let is_about_artifacts = |seen: &&Seen| seen.path != "/v2/";
    registry
        .requests()
        .iter()
        .filter(is_about_artifacts)
        .map(|seen| format!("{} {}", seen.method, seen.path))
        .collect()
}

/// A client of another network.
pub const ELSEWHERE: Peer = Peer {
    address: Some(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3))),
    is_loopback: false,
    is_operator: false,
};
