//! A small HTTP/1.1 client that hides nothing: reason phrase, headers as sent, and whether the body
//! came to its proper end. It can read as slowly as a test likes.

use crate::wire::{header, parse_header};
use bytes::{Bytes, BytesMut};
use rustls::ClientConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, ToSocketAddrs, lookup_host};
use tokio_rustls::TlsConnector;

mod transfer;

pub use transfer::{End, Transfer};

const HEAD_MAX: usize = 1 << 20;

/// How much of a body goes into one chunk.
const CHUNK_BYTES: usize = 16 << 10;

/// A request to send.
#[derive(Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    is_chunked: bool,
    bytes_per_second: Option<u64>,
    receive_buffer: Option<u32>,
    timeout: Duration,
    body_max: usize,
    tls: Option<(Arc<ClientConfig>, String)>,
}

impl Request {
    /// Any method; `path` may have a query.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            is_chunked: false,
            bytes_per_second: None,
            receive_buffer: None,
            timeout: Duration::from_secs(30),
            body_max: 256 << 20,
            tls: None,
        }
    }

    /// GET.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// HEAD.
    pub fn head(path: &str) -> Self {
        Self::new("HEAD", path)
    }

    /// Adds a header. `host` defaults to the address connected to.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends a body, with its length.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the body in chunks, without its length (`Transfer-Encoding: chunked`); an empty one too.
    pub fn chunked(mut self) -> Self {
        self.is_chunked = true;
        self
    }

    /// Reads no faster than this. The kernel's buffer is made small, so that the server notices.
    pub fn slowly(mut self, bytes_per_second: u64) -> Self {
        self.bytes_per_second = Some(bytes_per_second);
        self.receive_buffer.get_or_insert(16 << 10);
        self
    }

    /// Asks the kernel for a receive buffer of this size.
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Gives up after this long; 30 seconds by default. A body cut short by it ends in
    /// [`End::TimedOut`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Stops reading after this many body bytes, with [`End::TooLong`]; 256 MiB by default.
    pub fn body_max(mut self, bytes: usize) -> Self {
        self.body_max = bytes;
        self
    }

    /// Speaks TLS, expecting a certificate for `name`.
    pub fn tls(mut self, config: Arc<ClientConfig>, name: &str) -> Self {
        self.tls = Some((config, name.into()));
        self
    }

    /// Connects, sends the request and reads the whole answer.
    ///
    /// # Errors
    /// When there is no connection, or no answer that has at least a head.
    pub async fn send(&self, addr: impl ToSocketAddrs) -> io::Result<Response> {
        Ok(self.open(addr).await?.finish().await.0)
    }

    /// Connects, sends the request and reads the answer's head.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn open(&self, addr: impl ToSocketAddrs) -> io::Result<Transfer> {
        let started = Instant::now();
        let work = async { Connection::to(addr, self).await?.exchange(self, started).await };
        within(self.timeout, work).await
    }

    fn text(&self, host: &str) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let given =
            |name: &str| self.headers.iter().any(|(held, _)| held.eq_ignore_ascii_case(name));
        if !given("host") {
            text.push_str(&format!("host: {host}\r\n"));
        }
        if self.is_chunked {
            text.push_str("transfer-encoding: chunked\r\n");
        } else if !self.body.is_empty() && !given("content-length") {
            text.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        if self.is_chunked {
            for chunk in self.body.chunks(CHUNK_BYTES) {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// An answer, as it arrived.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: String,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What arrived of the body, without chunk framing.
    pub body: Bytes,
    /// How the body ended.
    pub end: End,
    /// From the start of connecting to the answer's head.
    pub head_after: Duration,
    /// From the start of connecting to the first byte of the body, if there was one.
    pub first_byte_after: Option<Duration>,
    /// From the start of connecting to the end.
    pub took: Duration,
}

impl Response {
    /// The first value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Whether the body came to the end that its framing announced.
    pub fn clean_end(&self) -> bool {
        self.end == End::Clean
    }

    /// The body as text, with anything that is not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` if it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// GETs `path` from `addr` over a new plain connection.
///
/// # Errors
/// As [`Request::send`].
pub async fn get(
    addr: impl ToSocketAddrs,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    with_headers(Request::get(path), headers).send(addr).await
}

/// As [`get`], but owns its arguments, so that it can be spawned.
///
/// # Errors
/// As [`Request::send`].
pub async fn get_owned(
    addr: SocketAddr,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
) -> io::Result<Response> {
    get(addr, &path, &headers).await
}

/// HEADs `path` at `addr` over a new plain connection.
///
/// # Errors
/// As [`Request::send`].
pub async fn head(
    addr: impl ToSocketAddrs,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    with_headers(Request::head(path), headers).send(addr).await
}

fn with_headers(request: Request, headers: &[(&str, &str)]) -> Request {
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that can carry one request after another.
pub struct Connection {
    stream: Box<dyn Stream>,
    host: String,
    unread: BytesMut,
}

impl Connection {
    /// Connects without TLS.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn plain(addr: impl ToSocketAddrs) -> io::Result<Self> {
        Self::to(addr, &Request::get("/")).await
    }

    async fn to(addr: impl ToSocketAddrs, request: &Request) -> io::Result<Self> {
        let addr = lookup_host(addr).await?.next();
        let addr = addr.ok_or_else(|| io::Error::other("the name has no address"))?;
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(bytes) = request.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(addr).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &request.tls {
            None => Box::new(stream),
            Some((config, name)) => {
                let name = rustls_pki_types::ServerName::try_from(name.clone());
                let name = name.map_err(io::Error::other)?;
                Box::new(TlsConnector::from(config.clone()).connect(name, stream).await?)
            }
        };
        Ok(Self { stream, host: addr.to_string(), unread: BytesMut::new() })
    }

    /// Sends `request` and reads the whole answer; the connection too, if it can carry another.
    ///
    /// # Errors
    /// When there is no answer that has at least a head.
    pub async fn send(self, request: &Request) -> io::Result<(Response, Option<Self>)> {
        let exchange = self.exchange(request, Instant::now());
        Ok(within(request.timeout, exchange).await?.finish().await)
    }

    async fn exchange(mut self, request: &Request, started: Instant) -> io::Result<Transfer> {
        self.stream.write_all(&request.text(&self.host)).await?;
        self.stream.flush().await?;
        loop {
            let head = self.read_head().await?;
            let (status, reason, headers) = parse_head(&head).ok_or_else(|| not_http(&head))?;
            // Interim answers (RFC 9110 §15.2) come before the one that counts.
            if !(100..200).contains(&status) {
                return Ok(Transfer::new(self, request, status, reason, headers, started));
            }
        }
    }

    async fn read_head(&mut self) -> io::Result<String> {
        let mut searched = 0;
        loop {
            let from = usize::saturating_sub(searched, 3);
            if let Some(at) = self.unread[from..].windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.unread.split_to(from + at + 4);
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            searched = self.unread.len();
            if searched > HEAD_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the head is too long"));
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                let text = String::from_utf8_lossy(&self.unread).into_owned();
                return Err(match text.is_empty() {
                    true => io::ErrorKind::UnexpectedEof.into(),
                    false => not_http(&text),
                });
            }
        }
    }
}

fn not_http(text: &str) -> io::Error {
    let start: String = text.chars().take(40).collect();
    io::Error::new(io::ErrorKind::InvalidData, format!("not an HTTP answer: {start:?}"))
}

/// Status, reason phrase and headers.
type Head = (u16, String, Vec<(String, String)>);

fn parse_head(head: &str) -> Option<Head> {
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let status_line = lines.next()?.strip_prefix("HTTP/1.")?;
    let mut parts = status_line.splitn(3, ' ').skip(1);
    let status = parts.next()?.parse().ok()?;
    let reason = parts.next().unwrap_or_default().to_owned();
    Some((status, reason, lines.filter_map(parse_header).collect()))
}

async fn within<T>(timeout: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}
