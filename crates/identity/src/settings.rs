//! What a provider is, as its document says.

use policy::PrincipalKind;
use policy::cel::Expression;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One provider.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderSettings {
    /// The name of its document.
    pub name: String,
    /// What it is.
    pub kind: ProviderKind,
    /// Signature algorithms that its tokens may have; none with a shared secret.
    pub algorithms: Vec<Algorithm>,
    /// How far clocks may differ.
    pub clock_skew: Duration,
}

/// What a provider is.
#[derive(Clone, Debug, PartialEq)]
pub enum ProviderKind {
    /// Service account tokens of one cluster.
    Kubernetes {
        /// The `iss` of its tokens.
        issuer: String,
        /// Their `aud` for us.
        audience: String,
        /// What the cluster is called here.
        cluster: String,
        /// Its keys.
        keys: KeySource,
    },
    /// OpenID Connect.
    Oidc {
        /// The `iss` of its tokens.
        issuer: String,
        /// Any of these is their `aud` for us.
        audiences: Vec<String>,
        /// User or CI.
        kind: PrincipalKind,
        /// Its keys.
        keys: KeySource,
        /// What claims mean.
        claims: ClaimMapping,
        /// How people log in there.
        login: Option<Login>,
    },
    /// SPIFFE workloads.
    Spiffe {
        /// The trust domain.
        trust_domain: String,
        /// The trust bundle.
        bundle_file: PathBuf,
        /// The `aud` of JWT-SVIDs for us; without it only X.509-SVIDs are taken.
        audience: Option<String>,
    },
    /// Certificates over TLS.
    ClientCertificates {
        /// The CAs.
        ca_file: PathBuf,
        /// User, Node or CI.
        kind: PrincipalKind,
        /// The cluster all of them belong to.
        cluster: Option<String>,
        /// What a certificate means.
        claims: ClaimMapping,
    },
    /// Users and robot tokens in a file.
    Local {
        /// The file.
        users_file: PathBuf,
    },
    /// Nodes of a cluster, by a shared secret.
    ClusterCredential {
        /// What the cluster is called here.
        cluster: String,
        /// Its secrets, one on each line.
        secret_file: PathBuf,
    },
}

/// Where keys are found.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// A JWK set.
    File(PathBuf),
    /// By OpenID Connect discovery below a URL.
    Discovery {
        /// The issuer, or where its metadata is had.
        url: String,
        /// CAs that are trusted besides the system's.
        ca_file: Option<PathBuf>,
    },
}

/// What claims mean. What is left out has a default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimMapping {
    /// The name.
    pub name: Option<Expression>,
    /// The groups.
    pub groups: Option<Expression>,
    /// Attributes.
    pub attributes: BTreeMap<String, Expression>,
}

/// How people log in by a browser.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// The client that was registered for us.
    pub client_id: String,
    /// Scopes besides `openid`.
    pub scopes: Vec<String>,
}

/// How people can log in, for `lockgate login`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginOffer {
    /// The provider.
    pub provider: String,
    /// Where.
    pub issuer: String,
    /// The client that was registered for us.
    pub client_id: String,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
}

/// Signature algorithms (RFC 7518 §3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Algorithm {
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

impl Algorithm {
    /// What providers take that say nothing.
    pub const DEFAULT: [Self; 2] = [Self::RS256, Self::ES256];

    pub(crate) fn jwt(self) -> jsonwebtoken::Algorithm {
        use jsonwebtoken::Algorithm as Jwt;
        match self {
            Self::RS256 => Jwt::RS256,
            Self::RS384 => Jwt::RS384,
            Self::RS512 => Jwt::RS512,
            Self::PS256 => Jwt::PS256,
            Self::PS384 => Jwt::PS384,
            Self::PS512 => Jwt::PS512,
            Self::ES256 => Jwt::ES256,
            Self::ES384 => Jwt::ES384,
            Self::EdDSA => Jwt::EdDSA,
        }
    }
}
