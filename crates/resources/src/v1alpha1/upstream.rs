//! `Upstream`: a remote registry.

use crate::{HttpUrl, NamePrefix, UrlPattern, WireDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A remote registry: where it is, how to log in, what it may do to us.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpstreamSpec {
    /// Tried in order; the next one only when an answer is not known, never when it is "absent".
    #[schemars(length(min = 1, max = 16))]
    pub endpoints: Vec<Endpoint>,
    /// The longest prefix of the upstream's repository name wins; none matching: anonymous.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub credentials: Vec<Credential>,
    /// Trust and client certificate; without it the system's certificate authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// Proxy through which the upstream, its realms and its redirects are reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<HttpUrl>,
    /// Where credentials and redirects may go besides the endpoints themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boundary: Option<Boundary>,
    /// How long to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// How much to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// What kind of registry it is; by its host if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// One address of the registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// https://, or http:// for a registry without TLS.
    pub url: HttpUrl,
}

/// How to log in for the names under a prefix: exactly one of the ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credential {
    /// Beginning of the upstream's repository names; empty for all of them. Unique.
    pub prefix: NamePrefix,
    /// User name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<Basic>,
    /// A token that is sent as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer: Option<Bearer>,
    /// A docker `config.json` with its credential helpers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_config: Option<DockerConfig>,
    /// A program that speaks the docker credential helper protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
    /// Amazon ECR, by `docker-credential-ecr-login`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecr: Option<CloudHelper>,
    /// Google Artifact Registry, by `docker-credential-gcr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gcp: Option<CloudHelper>,
    /// Azure Container Registry, by `docker-credential-acr-env`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure: Option<CloudHelper>,
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Basic {
    /// The user name.
    #[schemars(length(min = 1, max = 256))]
    pub username: String,
    /// File that holds the password; read again when it changes.
    #[schemars(length(min = 1, max = 4096))]
    pub password_file: String,
}

/// A token that is sent as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bearer {
    /// File that holds the token; read again when it changes.
    #[schemars(length(min = 1, max = 4096))]
    pub token_file: String,
}

/// A docker `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DockerConfig {
    /// The file; read again when it changes.
    #[schemars(length(min = 1, max = 4096))]
    pub file: String,
}

/// A program that speaks the docker credential helper protocol (`get`, the host on its input).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exec {
    /// The program: a path, or a name that is looked up in PATH.
    #[schemars(length(min = 1, max = 4096))]
    pub command: String,
    /// Arguments before `get`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 1024)))]
    pub args: Vec<String>,
}

/// A cloud's own credential helper, whose passwords live for hours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloudHelper {
    /// The helper, if it is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub command: Option<String>,
}

/// Trust and client certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpstreamTls {
    /// PEM file of certificate authorities that are trusted besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ca_file: Option<String>,
    /// PEM file of the client certificate and its chain; needs `keyFile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cert_file: Option<String>,
    /// PEM file of the client certificate's key; needs `certFile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub key_file: Option<String>,
}

/// Where credentials and redirects may go besides the endpoints themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Boundary {
    /// Token services that may see our credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub realms: Vec<UrlPattern>,
    /// Servers that answers may redirect to; they never see credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub redirects: Vec<UrlPattern>,
    /// Whether private and loopback addresses may be connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_addresses: Option<bool>,
}

/// How long to wait for an upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// For a connection, TLS included; 2s if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<WireDuration>,
    /// For the head of an answer; 5s if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<WireDuration>,
    /// Between two pieces of a body; 20s if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall: Option<WireDuration>,
}

/// How much to ask of an upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Connections at once; 64 if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub connections: Option<u32>,
    /// Requests per second; no limit if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub requests_per_second: Option<u32>,
}

/// What kind of registry it is, for what its API does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Profile {
    /// Docker Hub: `library/`, three host names, its rate-limit headers.
    DockerHub,
    /// Amazon ECR.
    Ecr,
    /// Google Artifact Registry or Container Registry.
    Gcp,
    /// Azure Container Registry.
    Acr,
    /// Any other.
    Generic,
}
