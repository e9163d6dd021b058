//! Chains of certificates: whether an authority vouches for the first, and what it says of itself.

use crate::IdentifyError;
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde_json::{Value, json};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};

/// Authorities of one bundle.
const AUTHORITIES_MAX: usize = 256;
/// Names of one certificate: all of them are looked at, so there must not be more.
const NAMES_MAX: usize = 64;

/// Authorities that are trusted.
pub(crate) struct Authorities(Vec<TrustAnchor<'static>>);

impl Authorities {
    /// From PEM.
    pub(crate) fn parse(pem: &[u8]) -> Result<Self, String> {
        let all: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(pem).collect();
        let all = all.map_err(|error| format!("not PEM: {error}"))?;
        Self::of(&all)
    }

    pub(crate) fn of(all: &[CertificateDer<'static>]) -> Result<Self, String> {
        if all.is_empty() || all.len() > AUTHORITIES_MAX {
            return Err(format!("1 to {AUTHORITIES_MAX} certificates of authorities are needed"));
        }
        let anchor = |der: &CertificateDer<'static>| {
            let anchor = anchor_from_trusted_cert(der);
            anchor.map(|it| it.to_owned()).map_err(|error| format!("not an authority's: {error}"))
        };
        Ok(Self(all.iter().map(anchor).collect::<Result<_, _>>()?))
    }

    /// Whether one of them vouches for the first certificate of a chain, as a client's, now. The chain is
    /// what the connection proved to hold the key of.
    pub(crate) fn vouch(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), IdentifyError> {
        let wrong = |error: &dyn std::fmt::Display| {
            IdentifyError::wrong(format!("the client's certificate is not vouched for: {error}"))
        };
        let (leaf, above) = chain.split_first().ok_or_else(|| wrong(&"there is none"))?;
        let leaf = EndEntityCert::try_from(leaf).map_err(|error| wrong(&error))?;
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &self.0,
            above,
            at,
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map(drop)
        .map_err(|error| wrong(&error))
    }
}

/// What a certificate says of itself.
pub(crate) struct Said {
    pub(crate) uris: Vec<String>,
    pub(crate) is_authority: bool,
    pub(crate) not_after: Timestamp,
    /// The root `certificate` of mappings.
    pub(crate) value: Value,
}

impl Said {
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self, IdentifyError> {
        let wrong = |_| IdentifyError::wrong("the client's certificate cannot be read");
        let certificate = Certificate::from_der(der).map_err(wrong)?;
        let body = certificate.tbs_certificate();
        let (mut dns, mut uris, mut emails) = (Vec::new(), Vec::new(), Vec::new());
        if let Some((_, names)) = body.get_extension::<SubjectAltName>().map_err(wrong)? {
            if names.0.len() > NAMES_MAX {
                let reason = format!("the client's certificate has more than {NAMES_MAX} names");
                return Err(IdentifyError::wrong(reason));
            }
            for name in &names.0 {
                match name {
                    GeneralName::DnsName(text) => dns.push(text.to_string()),
                    GeneralName::UniformResourceIdentifier(text) => uris.push(text.to_string()),
                    GeneralName::Rfc822Name(text) => emails.push(text.to_string()),
                    _ => {}
                }
            }
        }
        let constraints = body.get_extension::<BasicConstraints>().map_err(wrong)?;
        let subject = |oid: &str| -> Vec<String> {
            let all = body.subject().iter();
            let wanted = all.filter(|it| it.oid.to_string() == oid);
            wanted.filter_map(|it| text(&it.value)).collect()
        };
        let serial: String =
            body.serial_number().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let seconds = body.validity().not_after.to_unix_duration().as_secs();
        let not_after = i64::try_from(seconds).unwrap_or(i64::MAX);
        let value = json!({
            "commonName": subject("2.5.4.3").first().cloned().unwrap_or_default(),
            "organizations": subject("2.5.4.10"),
            "organizationalUnits": subject("2.5.4.11"),
            "dnsNames": dns,
            "uris": uris,
            "emails": emails,
            "serialNumber": serial,
        });
        Ok(Self {
            uris,
            is_authority: constraints.is_some_and(|(_, it)| it.ca),
            not_after: Timestamp::from_second(not_after).unwrap_or(Timestamp::MAX),
            value,
        })
    }
}

/// The text of an attribute of a name. Kinds of strings that are not UTF-8 or a part of it are not read.
fn text(value: &x509_cert::der::Any) -> Option<String> {
    String::from_utf8(value.value().to_vec()).ok()
}
