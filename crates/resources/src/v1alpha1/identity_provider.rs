//! `IdentityProvider`: who vouches for those who ask.

use crate::{Expression, HttpUrl, ResourceName, ShortText, WireDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Exactly one of `kubernetes`, `oidc`, `spiffe`, `clientCertificates`, `local` and
/// `clusterCredential`. Two providers may have one issuer and one audience only if their keys come from
/// different places (`jwksFile`, `discoveryUrl`): the keys tell them apart, so that two clusters that
/// call themselves the same stay two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityProviderSpec {
    /// Service account tokens of one cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesTokens>,
    /// People and CI jobs with OpenID Connect tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// SPIFFE workloads, with JWT-SVIDs or X.509-SVIDs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe: Option<Spiffe>,
    /// Certificates of clients over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// Users and robot tokens in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<Local>,
    /// Nodes of a cluster that cannot send a service account token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_credential: Option<ClusterCredential>,
    /// Signature algorithms that tokens may have; RS256 and ES256 if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9))]
    pub algorithms: Vec<SignatureAlgorithm>,
    /// How far clocks may differ, at most a minute; 30s if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<WireDuration>,
}

/// Service account tokens of one cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesTokens {
    /// The `iss` of its tokens.
    pub issuer: HttpUrl,
    /// The `aud` that its tokens for us have.
    pub audience: ShortText,
    /// What the cluster is called here.
    pub cluster: ResourceName,
    /// JWK set of the cluster's keys; read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub jwks_file: Option<String>,
    /// Where the keys are found, if not in a file and not at the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery_url: Option<HttpUrl>,
    /// PEM file of the CAs that are trusted for discovery, besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ca_file: Option<String>,
}

/// People and CI jobs with OpenID Connect tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Oidc {
    /// The `iss` of its tokens.
    pub issuer: HttpUrl,
    /// Any of these is the `aud` of tokens for us.
    #[schemars(length(min = 1, max = 16))]
    pub audiences: Vec<ShortText>,
    /// What its tokens stand for; User if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<IdentityKind>,
    /// JWK set of its keys; read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub jwks_file: Option<String>,
    /// Where the keys are found, if not in a file and not at the issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery_url: Option<HttpUrl>,
    /// PEM file of the CAs that are trusted for discovery, besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub ca_file: Option<String>,
    /// What claims mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<ClaimMapping>,
    /// How people log in there; `lockgate login` offers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<OidcLogin>,
}

/// What claims, or a certificate, mean: expressions in CEL over `claims` (or `certificate`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimMapping {
    /// The name, a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Expression>,
    /// The groups, a list of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Expression>,
    /// Attributes, a text each: `cluster`, `namespace`, `repository`, `ref`, `purpose` and others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub attributes: BTreeMap<String, Expression>,
}

/// How people log in by a browser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OidcLogin {
    /// The client that was registered for Lockgate there; a public one, with PKCE.
    pub client_id: ShortText,
    /// Scopes to ask for besides `openid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub scopes: Vec<ShortText>,
}

/// SPIFFE workloads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spiffe {
    /// The trust domain, such as `prod.corp.example`.
    pub trust_domain: ShortText,
    /// The trust bundle: a SPIFFE JWK set, or PEM of CAs; read again when it changes.
    #[schemars(length(min = 1, max = 4096))]
    pub bundle_file: String,
    /// The `aud` of JWT-SVIDs for us; without it only X.509-SVIDs are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<ShortText>,
}

/// Certificates of clients over TLS, on listeners with `requestClientCertificate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificates {
    /// PEM file of the CAs; read again when it changes.
    #[schemars(length(min = 1, max = 4096))]
    pub ca_file: String,
    /// What they stand for; User if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<IdentityKind>,
    /// The cluster that all of them belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ResourceName>,
    /// What a certificate means; the common name and the organizations if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<ClaimMapping>,
}

/// What an identity stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IdentityKind {
    /// A person.
    User,
    /// A node of a cluster.
    Node,
    /// A CI job.
    CI,
}

/// Users and robot tokens in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Local {
    /// The file, which `lockgate users` writes; read again when it changes.
    #[schemars(length(min = 1, max = 4096))]
    pub users_file: String,
}

/// Nodes of a cluster that cannot send a service account token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterCredential {
    /// What the cluster is called here.
    pub cluster: ResourceName,
    /// The password of its nodes, one on each line; read again when it changes.
    #[schemars(length(min = 1, max = 4096))]
    pub secret_file: String,
}

/// Signature algorithms of tokens (RFC 7518 §3.1). None with a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum SignatureAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}
