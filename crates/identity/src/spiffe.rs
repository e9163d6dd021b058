//! SPIFFE: JWT-SVIDs and X.509-SVIDs of one trust domain (SPIFFE standards, "JWT-SVID", "X509-SVID").

use crate::IdentifyError;
use crate::certificates::{Authorities, Said};
use crate::jwks::{self, KeySet};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use policy::{Identity, PrincipalKind, attribute};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

/// The longest id (SPIFFE-ID §2.4).
const ID_MAX_BYTES: usize = 2048;

/// What a trust bundle holds: either may be missing.
pub(crate) struct Bundle {
    pub(crate) keys: Option<KeySet>,
    pub(crate) authorities: Option<Authorities>,
}

#[derive(Deserialize)]
struct WireBundle {
    keys: Vec<WireKey>,
}

#[derive(Deserialize)]
struct WireKey {
    #[serde(default, rename = "use")]
    used: Option<String>,
    #[serde(default)]
    x5c: Vec<String>,
}

/// Reads a SPIFFE bundle: a JWK set, or PEM of authorities.
pub(crate) fn parse(bytes: &[u8]) -> Result<Bundle, String> {
    if bytes.trim_ascii_start().starts_with(b"-----") {
        return Ok(Bundle { keys: None, authorities: Some(Authorities::parse(bytes)?) });
    }
    let wire: WireBundle =
        serde_json::from_slice(bytes).map_err(|error| format!("no trust bundle: {error}"))?;
    let mut ders = Vec::new();
    for key in wire.keys.iter().filter(|key| key.used.as_deref() == Some("x509-svid")) {
        for text in key.x5c.iter().take(1) {
            let der = BASE64_STANDARD.decode(text).map_err(|error| format!("x5c: {error}"))?;
            ders.push(CertificateDer::from(der));
        }
    }
    let authorities = if ders.is_empty() { None } else { Some(Authorities::of(&ders)?) };
    let has_tokens = wire.keys.iter().any(|key| key.used.as_deref() != Some("x509-svid"));
    let keys = if has_tokens { Some(jwks::parse(bytes)?) } else { None };
    if keys.is_none() && authorities.is_none() {
        return Err("the trust bundle is empty".to_owned());
    }
    Ok(Bundle { keys, authorities })
}

/// The workload of an id, which must be of the trust domain.
pub(crate) fn workload(
    provider: &str,
    trust_domain: &str,
    id: &str,
) -> Result<Identity, IdentifyError> {
    let wrong = IdentifyError::wrong;
    let rest = id
        .strip_prefix("spiffe://")
        .filter(|_| id.len() <= ID_MAX_BYTES)
        .ok_or_else(|| wrong("the SPIFFE id is none"))?;
    let (domain, path) = rest.split_once('/').ok_or_else(|| wrong("the SPIFFE id has no path"))?;
    if domain != trust_domain {
        return Err(wrong("the SPIFFE id is of another trust domain"));
    }
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    if !path.split('/').all(is_segment) {
        return Err(wrong("the SPIFFE id's path is malformed"));
    }
    let mut identity = Identity::new(PrincipalKind::Workload, provider, trust_domain, id)
        .with_attribute(attribute::SPIFFE_ID, id);
    let segments: Vec<&str> = path.split('/').collect();
    if let ["ns", namespace, "sa", account] = segments.as_slice() {
        identity = identity
            .with_attribute(attribute::NAMESPACE, namespace)
            .with_attribute(attribute::SERVICE_ACCOUNT, account);
    }
    Ok(identity)
}

/// The id of an X.509-SVID: exactly one URI, and no authority's certificate.
pub(crate) fn id_of(said: &Said) -> Result<&str, IdentifyError> {
    let wrong = IdentifyError::wrong;
    if said.is_authority {
        return Err(wrong("an authority's certificate is no workload's"));
    }
    match said.uris.as_slice() {
        [id] => Ok(id),
        _ => Err(wrong("an X.509-SVID has exactly one URI")),
    }
}
