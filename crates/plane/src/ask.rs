//! A request as the pipeline takes it: what the wire said, before any of it is believed.

use blobs::ReadHow;
use rustls_pki_types::CertificateDer;
use std::net::IpAddr;

/// The method, as far as the distribution API tells methods apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: the same answer as GET, without a body and without starting a download.
    Head,
    /// POST: begins an upload.
    Post,
    /// PUT: ends an upload, or pushes a manifest.
    Put,
    /// PATCH: a piece of an upload.
    Patch,
    /// DELETE.
    Delete,
    /// Any other.
    Other,
}

impl Method {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Other => "other",
        }
    }
}

/// Who is at the other end, as far as the connection tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address; `None` on a Unix socket, or when a trusted proxy forwards none that
    /// can be read.
    pub address: Option<IpAddr>,
    /// The listener is bound to a loopback address and the client's address is one too.
    pub is_loopback: bool,
    /// The connection came by the data directory's own socket (mode 0600).
    pub is_operator: bool,
}

/// What the client shows to say who it is. Nothing of it is ever printed.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'r> {
    /// The header `Authorization`, whole.
    pub authorization: Option<&'r str>,
    /// The certificate chain of the TLS connection, the client's own first. Possession of its key is
    /// proven; whether anybody trusts it is not judged yet.
    pub certificates: &'r [CertificateDer<'static>],
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("has_authorization", &self.authorization.is_some())
            .field("certificates", &self.certificates.len())
            .finish()
    }
}

/// What a client says of the setting it asks in. It can only make a request stricter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes<'r> {
    /// The header `Lockgate-Environment`.
    pub environment: Option<&'r str>,
    /// The header `Lockgate-Purpose`.
    pub purpose: Option<&'r str>,
}

/// A request for the distribution API.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'r> {
    /// What to do.
    pub method: Method,
    /// The path, still percent-encoded.
    pub path: &'r str,
    /// The query, without `?`, still percent-encoded.
    pub query: Option<&'r str>,
    /// The host the client named (`Host`, or the authority of the target), port included.
    pub host: Option<&'r str>,
    /// Who asks, as far as the connection tells.
    pub peer: Peer,
    /// Who asks, as far as they can show it.
    pub credentials: Credentials<'r>,
    /// What they say of the setting.
    pub wishes: Wishes<'r>,
    /// How blobs are best read for this connection.
    pub read: ReadHow,
}
