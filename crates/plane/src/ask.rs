//! A request as the pipeline takes it: what the wire said, before any of it is believed.

use blobs::ReadHow;
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
    /// Who asks.
    pub peer: Peer,
    /// How blobs are best read for this connection.
    pub read: ReadHow,
}
