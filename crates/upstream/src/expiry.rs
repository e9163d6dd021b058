//! When the files an upstream needs run out: certificates and tokens that say so themselves.

use jiff::Timestamp;
use std::path::PathBuf;

/// Something that will stop working at a known time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// What it is.
    pub what: ExpiryKind,
    /// The file it is in.
    pub path: PathBuf,
    /// When it ends; `None` when the file cannot be read or says nothing sensible.
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
