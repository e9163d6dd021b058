//! `Signer`: a named key or identity whose signatures count.

use crate::{HttpUrl, ResourceName, ShortText, TextGlob};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Exactly one of `keyless`, `publicKey`, `notation` and `pgp`. This version verifies no signatures:
/// rules about them answer "unknown".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignerSpec {
    /// An identity that a certificate authority vouched for (Sigstore).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyless: Option<Keyless>,
    /// A key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// Notary Project signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notation: Option<Notation>,
    /// OpenPGP signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgp: Option<Pgp>,
}

/// An identity that a certificate authority vouched for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Keyless {
    /// Who vouched for the identity to the authority.
    pub issuer: HttpUrl,
    /// The identity.
    pub subject: KeylessSubject,
    /// The TrustRoot: `public` or a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_root: Option<ResourceName>,
}

/// The identity: exactly one of `exact` and `glob`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeylessSubject {
    /// It is this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub exact: Option<String>,
    /// It fits this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glob: Option<TextGlob>,
}

/// A key: exactly one of `file`, `pem` and `kms`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublicKey {
    /// PEM file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub file: Option<String>,
    /// PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub pem: Option<String>,
    /// Reference to a key management service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms: Option<ShortText>,
}

/// Notary Project signatures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notation {
    /// PEM file of the CAs.
    #[schemars(length(min = 1, max = 4096))]
    pub trust_store: String,
    /// `x509.subject: …` of trusted identities, or `*`.
    #[schemars(length(min = 1, max = 64))]
    pub identities: Vec<ShortText>,
}

/// OpenPGP signatures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pgp {
    /// File of the keys.
    #[schemars(length(min = 1, max = 4096))]
    pub file: String,
}
