//! Opening listeners: all of them, before anything is served.

use super::accept::Connections;
use super::certificates::{Certificates, TlsListener};
use super::connection::ListenerInfo;
use super::port_owner::port_owner;
use super::{Address, Error, Limits, ListenerSettings};
use rustix::net::sockopt;
use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use telemetry::Metrics;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket, UnixStream};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// When the first probe goes to a peer that was silent for so long.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Listeners that are open and not served yet.
#[derive(Debug)]
pub struct Bound {
    pub(super) listeners: Vec<Listener>,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) certificates: Certificates,
    pub(super) connections: Arc<Connections>,
}

/// One open listener.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: Socket,
    pub(super) info: Arc<ListenerInfo>,
    pub(super) tls: Option<Arc<TlsListener>>,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket; removed when we stop, unless somebody put another in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|held| held.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Opens every listener in `settings`, or none. To be called inside a tokio runtime.
///
/// # Errors
/// The first listener that cannot be opened, with its address, the cause and what to do.
pub async fn bind(
    settings: &[ListenerSettings],
    limits: Limits,
    metrics: Arc<Metrics>,
) -> Result<Bound, Error> {
    let mut listeners = Vec::with_capacity(settings.len());
    let mut reloading = Vec::new();
    for listener in settings {
        let listener = open(listener, &limits).await?;
        reloading.extend(listener.tls.clone());
        listeners.push(listener);
    }
    let certificates = Certificates::new(reloading, metrics.clone());
    let connections = Arc::new(Connections::default());
    Ok(Bound { listeners, limits, metrics, certificates, connections })
}

impl Bound {
    /// The listeners, with the addresses they really have.
    pub fn listeners(&self) -> Vec<Arc<ListenerInfo>> {
        self.listeners.iter().map(|listener| listener.info.clone()).collect()
    }

    /// The certificates of the listeners with TLS; stays useful while they are served.
    pub fn certificates(&self) -> Certificates {
        self.certificates.clone()
    }
}

async fn open(settings: &ListenerSettings, limits: &Limits) -> Result<Listener, Error> {
    if settings.proxy_protocol && settings.trusted_proxies.is_empty() {
        return Err(Error::NoTrustedProxies { address: settings.address.to_string() });
    }
    let tls = match &settings.tls {
        Some(files) => Some(Arc::new(TlsListener::load(files, settings.http2)?)),
        None => None,
    };
    let (socket, address) = match &settings.address {
        Address::Tcp(address) => {
            let listener = open_tcp(*address, limits)
                .map_err(|source| listen_error(&settings.address, source))?;
            let address = listener.local_addr().unwrap_or(*address);
            (Socket::Tcp(listener), Address::Tcp(address))
        }
        Address::Unix(path) => {
            let (listener, file) =
                open_unix(path).await.map_err(|source| listen_error(&settings.address, source))?;
            (Socket::Unix(listener, file), Address::Unix(path.clone()))
        }
    };
    let info = Arc::new(ListenerInfo {
        address,
        tls: tls.is_some(),
        http2: settings.http2,
        trusted_proxies: settings.trusted_proxies.clone(),
        forwarded: settings.forwarded,
        proxy_protocol: settings.proxy_protocol,
        public_urls: settings.public_urls.clone(),
    });
    Ok(Listener { socket, info, tls })
}

fn open_tcp(address: SocketAddr, limits: &Limits) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit these, which saves system calls for each.
    socket.set_nodelay(true)?;
    socket.set_keepalive(true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE)?;
    set_user_timeout(&socket, limits.body_stall_timeout)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Lets the kernel give up on a peer that acknowledges nothing for so long (RFC 5482), also after
/// we closed: unsent data of a vanished client would be kept for many minutes.
#[cfg(target_os = "linux")]
fn set_user_timeout(socket: &TcpSocket, timeout: Duration) -> io::Result<()> {
    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1000);
    Ok(sockopt::set_tcp_user_timeout(socket, millis)?)
}

#[cfg(not(target_os = "linux"))]
fn set_user_timeout(_: &TcpSocket, _: Duration) -> io::Result<()> {
    Ok(())
}

async fn open_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path).await?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    // Before anybody can connect: there is no listener yet.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let listener = socket.listen(BACKLOG)?;
    let inode = std::fs::symlink_metadata(path)?.ino();
    Ok((listener, SocketFile { path: path.to_owned(), inode }))
}

/// Removes a socket that nobody serves any more; refuses anything else that is in the way.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let held = match std::fs::symlink_metadata(path) {
        Ok(held) => held,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !held.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "a file that is no socket is there"));
    }
    let attempt = tokio::time::timeout(Duration::from_secs(1), UnixStream::connect(path)).await;
    match attempt {
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) | Err(_) => Err(ErrorKind::AddrInUse.into()),
    }
}

fn listen_error(address: &Address, source: io::Error) -> Error {
    let hint = match (source.kind(), address) {
        (ErrorKind::AddrInUse, Address::Tcp(tcp)) => {
            let owner = port_owner(tcp.port()).unwrap_or_else(|| "another process".to_owned());
            format!("{owner} listens there; stop it or choose another address")
        }
        (ErrorKind::AddrInUse, Address::Unix(_)) => {
            "another process serves this socket; stop it or choose another path".to_owned()
        }
        (ErrorKind::AddrNotAvailable, _) => {
            "no interface of this machine has the address".to_owned()
        }
        (ErrorKind::PermissionDenied, Address::Tcp(tcp)) if tcp.port() < 1024 => {
            "ports below 1024 need a privilege; choose a higher one or grant \
             CAP_NET_BIND_SERVICE"
                .to_owned()
        }
        (ErrorKind::PermissionDenied, _) => "no permission".to_owned(),
        (ErrorKind::NotFound, Address::Unix(_)) => {
            "its directory does not exist; create it".to_owned()
        }
        (ErrorKind::AlreadyExists, _) => {
            "a file that is no socket is there; remove it or choose another path".to_owned()
        }
        _ => source.to_string(),
    };
    Error::Listen { address: address.to_string(), hint, source }
}
