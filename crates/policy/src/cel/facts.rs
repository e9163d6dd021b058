//! The schemas that exist, as tables: the one place where a fact is named and explained to users.

use super::schema::{Field, Type};

/// For how many bytes of a text the cost is reckoned: most names, tags and labels are shorter.
pub(super) const TEXT: u32 = 256;
/// For how many items of what an issuer or a literal decides.
pub(super) const DYN: u32 = 256;

fn text(path: &'static str, doc: &'static str) -> Field {
    Field { path, of: Type::String, max: TEXT, doc }
}

fn scalar(path: &'static str, of: Type, doc: &'static str) -> Field {
    Field { path, of, max: 1, doc }
}

fn texts(path: &'static str, max: u32, doc: &'static str) -> Field {
    Field { path, of: Type::String.list(), max, doc }
}

fn map(path: &'static str, of: Type, max: u32, doc: &'static str) -> Field {
    Field { path, of: of.map(), max, doc }
}

/// What [`Schema::facts`](super::Schema::facts) holds.
pub(super) fn of_requests() -> Vec<Field> {
    let mut fields = of_principals();
    fields.extend(of_intents());
    fields.extend(of_artifacts());
    fields.extend([
        texts(
            "admission.environments",
            64,
            "environments that were served this digest under this name",
        ),
        map("admission.first", Type::Timestamp, 64, "when each of them was served it first"),
        map("admission.last", Type::Timestamp, 64, "when each of them was served it last"),
        scalar("now", Type::Timestamp, "when the request is decided"),
    ]);
    fields
}

fn of_principals() -> Vec<Field> {
    vec![
        text(
            "principal.kind",
            "Anonymous, User, ServiceAccount, Node, Workload or CI: what the caller is",
        ),
        text("principal.provider", "the IdentityProvider that vouched; empty for Anonymous"),
        text(
            "principal.name",
            "what the caller is called: a user name, system:serviceaccount:<namespace>:<name>, a SPIFFE id",
        ),
        text("principal.issuer", "who issued the credential: the iss of a token"),
        texts("principal.groups", 256, "the groups the caller is in"),
        map(
            "principal.attributes",
            Type::String,
            64,
            "what else the provider says of the caller: cluster, namespace, serviceAccount, repository, ref and others",
        ),
    ]
}

fn of_intents() -> Vec<Field> {
    vec![
        text("request.action", "what is asked: pull, push, list, delete, referrers or administer"),
        text("request.reference", "the tag or digest that was asked for, as written"),
        text("request.tag", "the tag that was asked for; empty when asked by digest"),
        scalar("request.isByDigest", Type::Bool, "whether it was asked for by digest"),
        text("request.environment", "the environment the request is decided for"),
        text("request.purpose", "Deploy, Build, Develop, Scan or Replicate"),
        text("request.cluster", "the cluster the caller is in; empty when not known"),
        text("request.address", "the address the caller connects from"),
    ]
}

fn of_artifacts() -> Vec<Field> {
    vec![
        text("artifact.name", "the canonical name, such as docker.io/library/alpine"),
        text("artifact.repository", "the Repository resource that serves it"),
        text("artifact.upstream", "the Upstream it comes from; empty for what is hosted here"),
        text("artifact.digest", "the digest of the manifest"),
        text("artifact.mediaType", "the media type of the manifest"),
        text(
            "artifact.artifactType",
            "its artifact type; without one, the media type of its config",
        ),
        text("artifact.kind", "Image, Index, HelmChart, Bundle, File, Evidence or Other"),
        scalar("artifact.sizeBytes", Type::Int, "bytes of the manifest, its config and its layers"),
        texts(
            "artifact.platforms",
            64,
            "os/architecture[/variant] of the image, or of an index's images",
        ),
        map("artifact.labels", Type::String, 512, "labels of the image's config"),
        map("artifact.annotations", Type::String, 512, "annotations of the manifest"),
        texts("artifact.licences", 64, "SPDX licence ids it declares"),
        text(
            "artifact.baseImage",
            "the name of the base image it declares; empty when it declares none",
        ),
        texts("artifact.tags", 1000, "tags known to name it"),
        scalar("artifact.layerCount", Type::Int, "how many layers it has"),
        scalar(
            "artifact.published",
            Type::Timestamp,
            "when the image was made, as it says of itself",
        ),
        scalar(
            "artifact.firstSeen",
            Type::Timestamp,
            "when it was first seen here under this name",
        ),
    ]
}

/// What [`Schema::claims`](super::Schema::claims) holds.
pub(super) fn of_claims() -> Vec<Field> {
    vec![map(
        "claims",
        Type::Dyn,
        DYN,
        "the claims of the verified token, as the issuer spells them",
    )]
}

/// What [`Schema::certificate`](super::Schema::certificate) holds.
pub(super) fn of_certificates() -> Vec<Field> {
    vec![
        text("certificate.commonName", "the common name (CN) of the subject"),
        texts("certificate.organizations", 64, "the organizations (O) of the subject"),
        texts(
            "certificate.organizationalUnits",
            64,
            "the organizational units (OU) of the subject",
        ),
        texts("certificate.dnsNames", 64, "DNS names of the subject alternative name"),
        texts("certificate.uris", 64, "URIs of the subject alternative name"),
        texts("certificate.emails", 64, "mail addresses of the subject alternative name"),
        text("certificate.serialNumber", "the serial number in lower-case hex"),
    ]
}
