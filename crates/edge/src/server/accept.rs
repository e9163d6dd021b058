//! Accepting connections, and ending them all when the server stops.

use super::activity::{Activity, Command};
use super::bind::{Listener, Socket};
use super::certificates::{Certificates, TlsListener};
use super::connection::{Connection, ListenerInfo, TlsInfo, UnixPeer};
use super::drive::drive;
use super::stream::{Noted, Stream};
use super::{Bound, Limits, proxy_protocol};
use crate::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use telemetry::{CutReason, Metrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often certificate files are looked at.
const CERTIFICATES_INTERVAL: Duration = Duration::from_secs(3);

/// After a failed accept (no descriptors left, say) the loop rests, instead of spinning.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A failing accept is said this often.
const ACCEPT_SAY_INTERVAL: Duration = Duration::from_secs(10);

/// Connections past the limit that are told so at a time; more are just closed.
const REFUSALS_MAX: usize = 64;

/// How long a client may take to hear that it is one too many.
const REFUSAL_TIME: Duration = Duration::from_millis(500);

/// How long connections that were told to abort may take to be gone.
const ABORT_TIME: Duration = Duration::from_secs(2);

/// Who answers requests: any `Fn(Request<Incoming>, Arc<Connection>) -> Future` that can be cloned.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The answer to come.
    type Answer: Future<Output = Response<Body>> + Send + 'static;

    /// Answers a request.
    fn handle(&self, request: Request<Incoming>, connection: Arc<Connection>) -> Self::Answer;
}

impl<F, A> Handler for F
where
    F: Fn(Request<Incoming>, Arc<Connection>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    type Answer = A;

    fn handle(&self, request: Request<Incoming>, connection: Arc<Connection>) -> A {
        self(request, connection)
    }
}

/// How the end of the server went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that ended by themselves once the server was stopping.
    pub finished: usize,
    /// Connections that were still busy when the drain time was over, and were cut.
    pub cut: usize,
}

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Connections {
    last_id: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Activity>>>,
}

impl Connections {
    fn enter(self: &Arc<Self>, activity: Arc<Activity>) -> Entry {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        self.open.lock().insert(id, activity);
        Entry { id, connections: self.clone() }
    }

    /// Tells all, and says how many they are.
    fn tell(&self, command: Command) -> usize {
        let open = self.open.lock();
        open.values().for_each(|activity| activity.tell(command));
        open.len()
    }
}

/// An open connection's place in [`Connections`].
struct Entry {
    id: u64,
    connections: Arc<Connections>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.open.lock().remove(&self.id);
    }
}

/// What every listener shares.
struct Server<H> {
    handler: H,
    limits: Limits,
    metrics: Arc<Metrics>,
    connections: Arc<Connections>,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// Serves every listener with `handler` until `shutdown` resolves. Then it accepts nothing more,
/// lets requests in flight finish for the drain time, and cuts what is left.
pub async fn serve<H: Handler>(
    bound: Bound,
    handler: H,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let Bound { listeners, limits, metrics, certificates, connections } = bound;
    let server = Arc::new(Server {
        handler,
        limits,
        metrics,
        connections,
        places: Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS))),
        refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        tasks: TaskTracker::new(),
    });
    let stop = CancellationToken::new();
    let accepting = TaskTracker::new();
    for listener in listeners {
        let (server, stop) = (server.clone(), stop.clone());
        accepting.spawn(async move { stop.run_until_cancelled(server.accept(listener)).await });
    }
    if !certificates.is_empty() {
        let stop = stop.clone();
        accepting.spawn(async move { stop.run_until_cancelled(watch(certificates)).await });
    }
    shutdown.await;
    stop.cancel();
    accepting.close();
    accepting.wait().await;
    server.drain().await
}

async fn watch(certificates: Certificates) {
    loop {
        tokio::time::sleep(CERTIFICATES_INTERVAL).await;
        let certificates = certificates.clone();
        // A panic in there must not end the watch.
        let _ = tokio::task::spawn_blocking(move || certificates.reload_changed()).await;
    }
}

impl<H: Handler> Server<H> {
    async fn drain(&self) -> Drained {
        let open = self.connections.tell(Command::Finish);
        self.tasks.close();
        if timeout(self.limits.drain, self.tasks.wait()).await.is_ok() {
            return Drained { finished: open, cut: 0 };
        }
        let cut = self.connections.tell(Command::Abort);
        let _ = timeout(ABORT_TIME, self.tasks.wait()).await;
        Drained { finished: open.saturating_sub(cut), cut }
    }

    async fn accept(self: Arc<Self>, listener: Listener) {
        let Listener { socket, info, tls } = listener;
        match socket {
            Socket::Tcp(socket) => self.accept_tcp(socket, info, tls).await,
            // Dropping the file's guard, when we stop, removes the file.
            Socket::Unix(socket, _file) => self.accept_unix(socket, info).await,
        }
    }

    async fn accept_tcp(
        self: Arc<Self>,
        listener: TcpListener,
        info: Arc<ListenerInfo>,
        tls: Option<Arc<TlsListener>>,
    ) {
        let mut failures = Failures::default();
        loop {
            let (socket, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    failures.rest_after(&error, &info).await;
                    continue;
                }
            };
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                self.refuse(socket, &info);
                continue;
            };
            // Inherited from the listener on Linux; elsewhere perhaps not.
            let _ = socket.set_nodelay(true);
            let (server, info, tls) = (self.clone(), info.clone(), tls.clone());
            let activity = Arc::new(Activity::new(false));
            let entry = self.connections.enter(activity.clone());
            self.tasks.spawn(async move {
                server.attend_tcp(socket, peer, info, tls, activity, (entry, place)).await;
            });
        }
    }

    async fn accept_unix(self: Arc<Self>, listener: UnixListener, info: Arc<ListenerInfo>) {
        let mut failures = Failures::default();
        loop {
            let socket = match listener.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => {
                    failures.rest_after(&error, &info).await;
                    continue;
                }
            };
            let (server, info) = (self.clone(), info.clone());
            let activity = Arc::new(Activity::new(false));
            let entry = self.connections.enter(activity.clone());
            self.tasks.spawn(async move {
                server.attend_unix(socket, info, activity, entry).await;
            });
        }
    }

    /// Says 503 to a connection past the limit, and closes it.
    fn refuse(&self, mut socket: TcpStream, info: &ListenerInfo) {
        self.metrics.connection_cut(CutReason::Limit);
        if info.tls || info.proxy_protocol {
            return;
        }
        let Ok(permit) = self.refusals.clone().try_acquire_owned() else { return };
        self.tasks.spawn(timeout(REFUSAL_TIME, async move {
            let _permit: OwnedSemaphorePermit = permit;
            if socket.write_all(REFUSAL.as_bytes()).await.is_ok() {
                close_after_reading(&mut socket).await;
            }
        }));
    }

    async fn attend_tcp(
        &self,
        mut socket: TcpStream,
        peer: SocketAddr,
        listener: Arc<ListenerInfo>,
        tls: Option<Arc<TlsListener>>,
        activity: Arc<Activity>,
        (entry, _place): (Entry, OwnedSemaphorePermit),
    ) {
        let _counted = Counted::new(&self.metrics);
        let local = socket.local_addr().unwrap_or(NOWHERE);
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let beginning = async {
            let peer = real_peer(&mut socket, peer, &listener).await?;
            let (stream, tls) = handshake(socket, tls, activity.clone()).await?;
            Ok::<_, (CutReason, io::Error)>((stream, peer, tls))
        };
        let within = timeout(self.limits.header_timeout, beginning);
        let (stream, peer, tls) = match unless_told(&activity, within).await {
            None => return,
            Some(Ok(Ok(begun))) => begun,
            Some(Ok(Err((reason, error)))) => {
                tracing::debug!(%peer, %error, reason = reason.as_str(), "connection refused");
                return self.metrics.connection_cut(reason);
            }
            Some(Err(_)) => return self.metrics.connection_cut(CutReason::Handshake),
        };
        let connection = Connection {
            id: entry.id,
            peer,
            local,
            listener,
            tls,
            unix: None,
            body_stall_timeout: self.limits.body_stall_timeout,
        };
        self.drive(stream, connection, activity).await;
    }

    async fn attend_unix(
        &self,
        socket: UnixStream,
        listener: Arc<ListenerInfo>,
        activity: Arc<Activity>,
        entry: Entry,
    ) {
        let _counted = Counted::new(&self.metrics);
        let peer = match socket.peer_cred() {
            Ok(peer) => UnixPeer { uid: peer.uid(), pid: peer.pid() },
            Err(error) => {
                tracing::warn!(%error, "a Unix socket's peer is unknown; connection refused");
                return;
            }
        };
        let stream = Stream::Unix(Noted { socket, activity: activity.clone() });
        let connection = Connection {
            id: entry.id,
            peer: NOWHERE,
            local: NOWHERE,
            listener,
            tls: None,
            unix: Some(peer),
            body_stall_timeout: self.limits.body_stall_timeout,
        };
        self.drive(stream, connection, activity).await;
    }

    async fn drive(&self, stream: Stream, connection: Connection, activity: Arc<Activity>) {
        let (id, peer) = (connection.id, connection.peer);
        let handler = self.handler.clone();
        let driven = drive(stream, Arc::new(connection), activity, self.limits, handler);
        if let Some(reason) = driven.await {
            self.metrics.connection_cut(reason);
            tracing::debug!(connection = id, %peer, reason = reason.as_str(), "connection cut");
        }
    }
}

const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

const REFUSAL: &str = "HTTP/1.1 503 too many connections; try again\r\n\
    Content-Type: application/json\r\nContent-Length: 105\r\nRetry-After: 1\r\n\
    Connection: close\r\n\r\n\
    {\"errors\":[{\"code\":\"UNAVAILABLE\",\"message\":\"too many connections; try again\",\
    \"detail\":\"maxConnections\"}]}";

/// A plain answer for a client that speaks HTTP where TLS is spoken.
const NOT_TLS: &str = "HTTP/1.1 400 this port speaks TLS; use https\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

/// Who connected, after the PROXY header if the listener has them.
async fn real_peer(
    socket: &mut TcpStream,
    peer: SocketAddr,
    listener: &ListenerInfo,
) -> Result<SocketAddr, (CutReason, io::Error)> {
    if !listener.proxy_protocol {
        return Ok(peer);
    }
    if !listener.trusted_proxies.iter().any(|network| network.contains(peer.ip())) {
        let error = io::Error::new(io::ErrorKind::PermissionDenied, "not a trusted proxy");
        return Err((CutReason::Proxy, error));
    }
    let named = proxy_protocol::read_header(socket).await;
    Ok(named.map_err(|error| (CutReason::Proxy, error))?.unwrap_or(peer))
}

async fn handshake(
    mut socket: TcpStream,
    tls: Option<Arc<TlsListener>>,
    activity: Arc<Activity>,
) -> Result<(Stream, Option<TlsInfo>), (CutReason, io::Error)> {
    let Some(tls) = tls else {
        return Ok((Stream::Tcp(Noted { socket, activity }), None));
    };
    let failed = |error| (CutReason::Handshake, error);
    let mut first = [0];
    // A TLS record of a handshake starts with 22, an HTTP method with a letter.
    if socket.peek(&mut first).await.map_err(failed)? == 1 && first[0].is_ascii_uppercase() {
        if socket.write_all(NOT_TLS.as_bytes()).await.is_ok() {
            close_after_reading(&mut socket).await;
        }
        let error = io::Error::new(io::ErrorKind::InvalidData, "plain HTTP on a TLS port");
        return Err(failed(error));
    }
    let noted = Noted { socket, activity: activity.clone() };
    let stream = TlsAcceptor::from(tls.config()).accept(noted).await.map_err(failed)?;
    let (_, agreed) = stream.get_ref();
    let info = TlsInfo {
        server_name: agreed.server_name().map(str::to_owned),
        http2: agreed.alpn_protocol() == Some(b"h2"),
        certificates: agreed.peer_certificates().unwrap_or_default().to_vec(),
    };
    if info.http2 {
        activity.agreed_on_http2();
    }
    Ok((Stream::Tls(Box::new(stream)), Some(info)))
}

/// Closes our side and reads on until the client closes, so that no reset overtakes the answer.
/// The time is the caller's to bound.
async fn close_after_reading(socket: &mut TcpStream) {
    let mut rest = [0; 1024];
    if socket.shutdown().await.is_ok() {
        while socket.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    }
}

/// The result of `work`, unless the connection is told to end before.
async fn unless_told<T>(activity: &Activity, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| {
        if activity.command(cx) != Command::Run {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Counts an open connection for as long as it lives.
struct Counted<'a>(&'a Metrics);

impl<'a> Counted<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.connection_opened();
        Self(metrics)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

/// Failed accepts of one listener.
#[derive(Default)]
struct Failures {
    said: Option<tokio::time::Instant>,
}

impl Failures {
    /// Says it now and then, and waits a little unless only one connection failed.
    async fn rest_after(&mut self, error: &io::Error, info: &ListenerInfo) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        if self.said.is_none_or(|at| at.elapsed() >= ACCEPT_SAY_INTERVAL) {
            self.said = Some(tokio::time::Instant::now());
            tracing::error!(
                listener = %info.address,
                %error,
                "cannot accept connections; if no descriptors are left, raise the limit of open \
                 files (ulimit -n, LimitNOFILE) or lower maxConnections"
            );
        }
        tokio::time::sleep(ACCEPT_REST).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_a_whole_answer() {
        let (head, body) = REFUSAL.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
