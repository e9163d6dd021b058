//! The registry as tests hold it: starting, stopping, watching it, and telling it to misbehave.

use crate::auth::Auth;
use crate::bandwidth::Bandwidth;
use crate::connection::Connection;
use crate::control::{self, Mode};
use crate::faults::{Fault, Faults, Match, Rule};
use crate::limits::RateLimit;
use crate::log::{Log, Seen};
use crate::store::Store;
use crate::tls::{Issued, TestCa};
use crate::wire::Request;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// How the registry lists what refers to a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Referrers {
    /// By the referrers API of distribution-spec 1.1.
    #[default]
    Api,
    /// By the fallback tag `sha256-<hex>`; the API answers 404.
    FallbackTag,
    /// Not at all; the API answers 404 and there is no tag.
    Off,
}

/// What the server's tasks share with its handles.
pub(crate) struct Shared {
    pub(crate) url: String,
    pub(crate) store: Mutex<Store>,
    pub(crate) faults: Faults,
    pub(crate) log: Log,
    pub(crate) auth: Mutex<Auth>,
    pub(crate) rate_limit: Mutex<Option<RateLimit>>,
    pub(crate) referrers: Mutex<Referrers>,
    pub(crate) page_size: Mutex<usize>,
    pub(crate) bandwidth: Bandwidth,
    pub(crate) latency: Mutex<Duration>,
    pub(crate) paused: watch::Sender<bool>,
    pub(crate) accepted: AtomicU64,
    pub(crate) open: AtomicUsize,
    tls: Mutex<Option<TlsAcceptor>>,
    /// The authority whose certificates clients must have.
    clients: Option<TestCa>,
    control: bool,
}

impl Shared {
    /// Whether `request` is for the control endpoints, which no fault touches.
    pub(crate) fn is_control(&self, request: &Request) -> bool {
        self.control && matches!(request.path.as_str(), "/_control" | "/_stats")
    }
}

/// A registry on a loopback port that does what it is told. Clones are handles of the same one; it
/// stops when the last is dropped.
#[derive(Clone)]
pub struct FakeRegistry {
    pub(crate) shared: Arc<Shared>,
    server: Arc<Server>,
}

struct Server {
    addr: SocketAddr,
    state: Mutex<State>,
}

enum State {
    Running(JoinHandle<()>),
    /// Holds the port without listening, so that nobody else gets it.
    Stopped(TcpSocket),
    Changing,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let State::Running(task) = &*self.state.lock() {
            task.abort();
        }
    }
}

/// Settings of a [`FakeRegistry`] before it starts.
pub struct Builder {
    listen: SocketAddr,
    identity: Option<Issued>,
    clients: Option<TestCa>,
    auth: Auth,
    bandwidth: u64,
    latency: Duration,
    control: bool,
    log_limit: usize,
    access_log: Option<std::fs::File>,
}

impl Builder {
    /// Listens here instead of a free port of 127.0.0.1.
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// Speaks TLS with a certificate of `ca` for 127.0.0.1 and localhost.
    pub fn tls(self, ca: &TestCa) -> Self {
        let identity = ca.server(&["127.0.0.1", "localhost"]);
        self.identity(identity)
    }

    /// Speaks TLS with this certificate.
    pub fn identity(mut self, identity: Issued) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Lets in only clients with a certificate of `ca`. Needs TLS.
    pub fn require_client_cert(mut self, ca: &TestCa) -> Self {
        self.clients = Some(ca.clone());
        self
    }

    /// Tells clients apart; see [`Auth`].
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// Sends at most this much, over all connections together; 0 for no limit.
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = bytes_per_second;
        self
    }

    /// Waits this long before each answer.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Answers `/_control` and `/_stats`; see [`crate::control`].
    pub fn control(mut self) -> Self {
        self.control = true;
        self
    }

    /// Keeps this many requests for [`FakeRegistry::requests`]; 100 000 by default.
    pub fn log_limit(mut self, requests: usize) -> Self {
        self.log_limit = requests;
        self
    }

    /// Writes a line of JSON for each finished request to `file`.
    pub fn access_log(mut self, file: std::fs::File) -> Self {
        self.access_log = Some(file);
        self
    }

    /// Starts the registry. Panics when it cannot listen.
    pub async fn start(self) -> FakeRegistry {
        let listener = bind(self.listen).and_then(|socket| socket.listen(1024));
        let listener = listener.expect("the address can be listened on");
        let addr = listener.local_addr().expect("a listener has an address");
        let scheme = if self.identity.is_some() { "https" } else { "http" };
        let clients = self.clients;
        let tls = self.identity.map(|identity| acceptor(&identity, clients.as_ref()));
        let shared = Arc::new(Shared {
            url: format!("{scheme}://{addr}"),
            store: Mutex::default(),
            faults: Faults::default(),
            log: Log::new(self.log_limit, self.access_log),
            auth: Mutex::new(self.auth),
            rate_limit: Mutex::default(),
            referrers: Mutex::default(),
            page_size: Mutex::new(usize::MAX),
            bandwidth: Bandwidth::new(self.bandwidth),
            latency: Mutex::new(self.latency),
            paused: watch::Sender::new(false),
            accepted: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            tls: Mutex::new(tls),
            clients,
            control: self.control,
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        let server = Server { addr, state: Mutex::new(State::Running(task)) };
        FakeRegistry { shared, server: Arc::new(server) }
    }
}

impl FakeRegistry {
    /// A plain HTTP registry on a free port of 127.0.0.1, with nothing in it.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Settings to change before the start.
    pub fn builder() -> Builder {
        Builder {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            identity: None,
            clients: None,
            auth: Auth::none(),
            bandwidth: 0,
            latency: Duration::ZERO,
            control: false,
            log_limit: 100_000,
            access_log: None,
        }
    }

    /// `http://127.0.0.1:port` or `https://…`, without a slash at the end.
    pub fn url(&self) -> String {
        self.shared.url.clone()
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        self.server.addr.to_string()
    }

    /// The address it listens on; the same after [`restart`](Self::restart).
    pub fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// Applies `fault` to the requests that `matching` selects, from now on.
    pub fn behave(&self, matching: Match, fault: impl Into<Fault>) -> Rule {
        self.shared.faults.add(matching, fault.into())
    }

    /// Ends one fault.
    pub fn forget(&self, rule: &Rule) {
        self.shared.faults.remove(rule);
    }

    /// Ends all faults. What was published and seen stays.
    pub fn clear(&self) {
        self.shared.faults.clear();
    }

    /// Puts the whole server into a mode; ends the faults set before.
    pub fn mode(&self, mode: Mode) {
        control::enter(&self.shared, mode);
    }

    /// Tells clients apart another way from the next request on.
    pub fn set_auth(&self, auth: Auth) {
        *self.shared.auth.lock() = auth;
    }

    /// Sets the pull budget, or lifts it.
    pub fn set_rate_limit(&self, limit: Option<RateLimit>) {
        *self.shared.rate_limit.lock() = limit;
    }

    /// Chooses how referrers are listed.
    pub fn set_referrers(&self, referrers: Referrers) {
        *self.shared.referrers.lock() = referrers;
    }

    /// Lists at most this many tags or names at a time, however many are asked for.
    pub fn set_page_size(&self, size: usize) {
        *self.shared.page_size.lock() = size;
    }

    /// Changes the bandwidth shared by all connections; 0 for no limit.
    pub fn set_bandwidth(&self, bytes_per_second: u64) {
        self.shared.bandwidth.set(bytes_per_second);
    }

    /// Changes the wait before each answer.
    pub fn set_latency(&self, latency: Duration) {
        *self.shared.latency.lock() = latency;
    }

    /// Shows another certificate to new connections. Panics without TLS.
    pub fn set_identity(&self, identity: &Issued) {
        let mut tls = self.shared.tls.lock();
        assert!(tls.is_some(), "the registry was started without TLS");
        *tls = Some(acceptor(identity, self.shared.clients.as_ref()));
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.log.requests()
    }

    /// How many requests so far satisfy `condition`.
    pub fn count(&self, condition: impl Fn(&Seen) -> bool) -> usize {
        self.requests().iter().filter(|seen| condition(seen)).count()
    }

    /// Body bytes sent for requests whose path ends with `digest` (or any other ending).
    pub fn bytes_sent_for(&self, digest: &str) -> u64 {
        let requests = self.requests();
        requests.iter().filter(|seen| seen.path.ends_with(digest)).map(|seen| seen.bytes_sent).sum()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.shared.log.clear();
    }

    /// Waits until `condition` holds; panics after ten seconds.
    pub async fn eventually(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition(self) {
            assert!(Instant::now() < deadline, "not within ten seconds: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Connections accepted so far.
    pub fn connections_accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Stops as a suspended process does: connections are still accepted, nothing is answered and
    /// transfers under way make no progress, until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.shared.paused.send_replace(true);
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.shared.paused.send_replace(false);
    }

    /// Closes every connection and refuses new ones. The port stays reserved.
    pub async fn stop(&self) {
        let state = std::mem::replace(&mut *self.server.state.lock(), State::Changing);
        let State::Running(task) = state else {
            *self.server.state.lock() = state;
            return;
        };
        // Before it is given up: nobody else's connection can take it in between.
        let socket = bind(self.server.addr).expect("the port is ours");
        task.abort();
        let _ = task.await;
        self.eventually("connections close", |registry| registry.open_connections() == 0).await;
        *self.server.state.lock() = State::Stopped(socket);
    }

    /// Listens again on the same port after [`stop`](Self::stop), with all that was published.
    pub async fn restart(&self) {
        self.stop().await;
        let mut state = self.server.state.lock();
        if let State::Stopped(socket) = std::mem::replace(&mut *state, State::Changing) {
            let listener = socket.listen(1024).expect("the port is reserved");
            *state = State::Running(tokio::spawn(accept(listener, self.shared.clone())));
        }
    }
}

fn bind(addr: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    // A second socket of ours may hold the port.
    socket.set_reuseport(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

fn acceptor(identity: &Issued, clients: Option<&TestCa>) -> TlsAcceptor {
    TlsAcceptor::from(TestCa::server_config(identity, clients))
}

/// Accepts until aborted; then the connections, which it owns, are aborted too.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: others have to end first.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let id = shared.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        let open = Open::new(&shared);
        let shared = shared.clone();
        connections.spawn(async move {
            let _open = open;
            serve(stream, id, shared).await;
        });
    }
}

async fn serve(stream: TcpStream, id: u64, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let tls = shared.tls.lock().clone();
    match tls {
        None => Connection::new(stream, id, shared).serve().await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                Connection::new(stream, id, shared).serve().await;
            }
        }
    }
}

/// Counts a connection as open as long as it lives.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        Self(shared.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
