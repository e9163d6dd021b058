//! When the files an upstream needs run out: certificates and tokens that say so themselves.

use crate::base64;
use crate::settings::{CredentialKind, Settings};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use std::io::Read;
use std::path::{Path, PathBuf};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// No certificate bundle or token is larger.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Something that will stop working at a known time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// What it is.
    pub what: ExpiryKind,
    /// The file it is in.
    pub path: PathBuf,
    /// When it ends; `None` when the file cannot be read.
    pub not_after: Option<Timestamp>,
    /// Why `not_after` is not known.
    pub problem: Option<String>,
}

/// What runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryKind {
    /// The client certificate; of a chain, the first to end.
    ClientCertificate,
    /// The extra authorities; the first to end.
    CertificateAuthority,
    /// A token that is sent as it is and holds its own end (a JWT).
    Token,
}

/// What of an upstream's files runs out. A token that does not say when is left out.
pub(crate) fn of(settings: &Settings) -> Vec<Expiry> {
    let mut expiries = Vec::new();
    if let Some((path, _)) = &settings.client_cert {
        expiries.push(certificates(ExpiryKind::ClientCertificate, path));
    }
    if let Some(path) = &settings.ca_file {
        expiries.push(certificates(ExpiryKind::CertificateAuthority, path));
    }
    for credential in &settings.credentials {
        if let CredentialKind::Bearer { token_file } = &credential.kind {
            expiries.extend(token(token_file));
        }
    }
    expiries
}

fn certificates(what: ExpiryKind, path: &Path) -> Expiry {
    let first_end = read(path).and_then(|pem| {
        let ends = CertificateDer::pem_slice_iter(&pem).map(|der| {
            der.ok().and_then(|der| not_after(&der)).ok_or("a certificate in it cannot be read")
        });
        let ends = ends.collect::<Result<Vec<Timestamp>, &str>>()?;
        ends.into_iter().min().ok_or_else(|| "it holds no certificate".to_owned())
    });
    expiry(what, path, first_end)
}

fn token(path: &Path) -> Option<Expiry> {
    match read(path) {
        Err(problem) => Some(expiry(ExpiryKind::Token, path, Err(problem))),
        Ok(bytes) => {
            let end = jwt_end(std::str::from_utf8(&bytes).ok()?.trim())?;
            Some(expiry(ExpiryKind::Token, path, Ok(end)))
        }
    }
}

fn expiry(what: ExpiryKind, path: &Path, end: Result<Timestamp, String>) -> Expiry {
    let (not_after, problem) = match end {
        Ok(end) => (Some(end), None),
        Err(problem) => (None, Some(problem)),
    };
    Expiry { what, path: path.to_owned(), not_after, problem }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("cannot be read: {error}");
    let is_file = std::fs::metadata(path).map_err(told)?.is_file();
    if !is_file {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(told)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(told)?;
    Ok(bytes)
}

/// The end of a certificate.
pub(crate) fn not_after(der: &[u8]) -> Option<Timestamp> {
    let certificate = Certificate::from_der(der).ok()?;
    let end = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    Timestamp::from_second(i64::try_from(end.as_secs()).ok()?).ok()
}

/// The `exp` of a JWT (RFC 7519 §4.1.4), whoever signed it.
fn jwt_end(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let payload = base64::decode(token.split('.').nth(1)?)?;
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    (claims.exp.abs() < 1e11).then(|| Timestamp::from_second(claims.exp as i64).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_says_its_end_is_told() {
        let claims = testkit::base64(r#"{"exp":1700000000,"sub":"x"}"#).replace('=', "");
        let end = jwt_end(&format!("h.{claims}.s")).unwrap();
        assert_eq!(end.as_second(), 1_700_000_000);
        assert_eq!(jwt_end("opaque"), None);
        assert_eq!(jwt_end("a.b.c"), None);
    }

    #[test]
    fn the_first_certificate_to_end_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chain.pem");
        let ca = testkit::TestCa::new();
        let pem = ca.client("me").cert_pem + &ca.expired_client("old").cert_pem;
        std::fs::write(&path, pem).unwrap();
        let told = certificates(ExpiryKind::ClientCertificate, &path);
        assert_eq!(told.not_after.unwrap().to_string(), "2011-01-01T00:00:00Z");
        std::fs::write(&path, "nothing").unwrap();
        let told = certificates(ExpiryKind::ClientCertificate, &path);
        assert!(told.not_after.is_none() && told.problem.unwrap().contains("no certificate"));
        let gone = certificates(ExpiryKind::CertificateAuthority, Path::new("/nonexistent"));
        assert!(gone.problem.unwrap().contains("cannot be read"));
    }
}
