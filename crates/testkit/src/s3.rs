//! A bucket of an S3 server on a loopback port, which checks signatures and goes wrong on request.
//!
//! It speaks as much of the S3 API as keeping blobs takes: objects whole and in ranges, uploads in
//! parts, lists in pages, presigned URLs. What it answers was held against SeaweedFS. Threads and
//! blocking sockets, so that tests of blocking code need no runtime for it.

mod answer;
mod signature;

use crate::wire::Request;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const HEAD_MAX_BYTES: usize = 64 << 10;
const BODY_MAX_BYTES: usize = 64 << 20;
/// Keys of a list's page, so that a few dozen objects are several pages.
const PAGE_KEYS: usize = 16;

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub enum S3Fault {
    /// It is answered by this status and a short text, and not carried out.
    Status(u16),
    /// It is not carried out, and nothing is answered until the client leaves.
    Silence,
    /// It is carried out; of the body of the answer only so many bytes come, then the connection ends.
    Cut(usize),
    /// It is carried out; of the body of the answer only so many bytes come, and then nothing more.
    Stall(usize),
    /// It is carried out, and the connection ends without an answer.
    LoseAnswer,
    /// It is carried out, and a bit of the body of the answer is another.
    Flip,
}

/// An S3 server with one bucket. Ends with the last clone of it.
#[derive(Clone, Debug)]
pub struct FakeS3 {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    is_gone: bool,
    objects: BTreeMap<String, Bytes>,
    uploads: BTreeMap<String, Upload>,
    uploads_begun: u64,
    faults: Vec<Rule>,
    seen: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Upload {
    key: String,
    parts: BTreeMap<u32, Bytes>,
}

#[derive(Debug)]
struct Rule {
    method: String,
    part_of_target: String,
    times: usize,
    fault: S3Fault,
}

/// An answer, before it is sent.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl FakeS3 {
    /// The bucket's name.
    pub const BUCKET: &'static str = "blobs-of-tests";
    /// The one access key it knows.
    pub const ACCESS_KEY_ID: &'static str = "AKIDEXAMPLE";
    /// What goes with it.
    pub const SECRET_ACCESS_KEY: &'static str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    /// Its region.
    pub const REGION: &'static str = "us-east-1";

    /// A server with an empty bucket.
    ///
    /// # Panics
    ///
    /// When no loopback port can be listened on.
    #[expect(clippy::unwrap_used, reason = "for tests alone, which fail by panicking")]
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let weak = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (Ok(socket), Some(shared)) = (socket, weak.upgrade()) else { return };
                std::thread::spawn(move || serve(socket, &shared));
            }
        });
        Self { addr, shared }
    }

    /// Its base URL; the bucket is the first part of paths.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The keys of all objects, with their lengths, in order.
    pub fn objects(&self) -> Vec<(String, usize)> {
        let state = self.shared.state.lock();
        state.objects.iter().map(|(key, bytes)| (key.clone(), bytes.len())).collect()
    }

    /// Puts an object past everything.
    pub fn set(&self, key: &str, bytes: impl Into<Bytes>) {
        self.shared.state.lock().objects.insert(key.to_owned(), bytes.into());
    }

    /// Deletes an object past everything.
    pub fn remove(&self, key: &str) {
        self.shared.state.lock().objects.remove(key);
    }

    /// Uploads in parts that are neither complete nor given up: their parts.
    pub fn uploads(&self) -> Vec<Vec<u32>> {
        let state = self.shared.state.lock();
        state.uploads.values().map(|upload| upload.parts.keys().copied().collect()).collect()
    }

    /// Forgets all uploads in parts, as stores do after some days.
    pub fn forget_uploads(&self) {
        self.shared.state.lock().uploads.clear();
    }

    /// From now on there is no such bucket.
    pub fn remove_bucket(&self) {
        self.shared.state.lock().is_gone = true;
    }

    /// The next `times` requests of a method whose target (path and query) contains a text go wrong.
    pub fn fail(&self, method: &str, part_of_target: &str, times: usize, fault: S3Fault) {
        let (method, part_of_target) = (method.to_owned(), part_of_target.to_owned());
        self.shared.state.lock().faults.push(Rule { method, part_of_target, times, fault });
    }

    /// All is well again.
    pub fn heal(&self) {
        self.shared.state.lock().faults.clear();
    }

    /// How many requests of a method came whose target contains a text.
    pub fn count(&self, method: &str, part_of_target: &str) -> usize {
        let state = self.shared.state.lock();
        let is_meant = |line: &&String| {
            let (held, target) = line.split_once(' ').unwrap_or_default();
            held == method && target.contains(part_of_target)
        };
        state.seen.iter().filter(is_meant).count()
    }
}

impl State {
    /// The fault that a request meets, if one waits for it.
    fn take_fault(&mut self, method: &str, target: &str) -> Option<S3Fault> {
        let rule = self.faults.iter_mut().find(|rule| {
            rule.times > 0 && rule.method == method && target.contains(&rule.part_of_target)
        })?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn xml(status: u16, body: String) -> Self {
        let headers = vec![("content-type", "application/xml".to_owned())];
        Self { status, headers, body: body.into() }
    }

    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::xml(status, format!("<Error><Code>{code}</Code><Message>as asked</Message></Error>"))
    }
}

fn serve(mut socket: TcpStream, shared: &Shared) {
    let mut unread = Vec::new();
    // The client is gone or broke off: nothing is left to say.
    while let Ok(Some(request)) = read_request(&mut socket, &mut unread) {
        if exchange(&mut socket, &request, shared).is_err() {
            return;
        }
    }
}

fn exchange(socket: &mut TcpStream, request: &Request, shared: &Shared) -> io::Result<()> {
    let target = format!("{}?{}", request.path, request.query);
    let fault = {
        let mut state = shared.state.lock();
        state.seen.push(format!("{} {target}", request.method));
        state.take_fault(&request.method, &target)
    };
    if matches!(fault, Some(S3Fault::Silence)) {
        return wait_for_the_end(socket);
    }
    let mut answer = match fault {
        Some(S3Fault::Status(status @ (429 | 500..))) => Answer::error(status, "SlowDown"),
        Some(S3Fault::Status(status)) => Answer::error(status, "InvalidRequest"),
        _ => match signature::refusal(request) {
            Some(refusal) => refusal,
            None => answer::to(request, &mut shared.state.lock()),
        },
    };
    let is_head = request.method == "HEAD";
    let length = answer.body.len();
    let mut head = format!("HTTP/1.1 {} Status\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {length}\r\n\r\n"));
    if matches!(fault, Some(S3Fault::LoseAnswer)) {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    socket.write_all(head.as_bytes())?;
    match fault {
        Some(S3Fault::Cut(bytes)) => {
            socket.write_all(&answer.body[..bytes.min(length)])?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Some(S3Fault::Stall(bytes)) => {
            socket.write_all(&answer.body[..bytes.min(length)])?;
            wait_for_the_end(socket)
        }
        Some(S3Fault::Flip) if length > 0 => {
            let mut body = answer.body.to_vec();
            body[length / 2] ^= 1;
            answer.body = body.into();
            socket.write_all(&answer.body)
        }
        _ if is_head => Ok(()),
        _ => socket.write_all(&answer.body),
    }
}

/// Until the client gives up.
fn wait_for_the_end(socket: &mut TcpStream) -> io::Result<()> {
    socket.set_read_timeout(Some(Duration::from_mins(1)))?;
    let _ = socket.read(&mut [0]);
    Err(io::ErrorKind::ConnectionAborted.into())
}

fn read_request(socket: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let head_bytes = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if unread.len() > HEAD_MAX_BYTES || !read_more(socket, unread)? {
            return Ok(None);
        }
    };
    let head = std::str::from_utf8(&unread[..head_bytes]).map_err(|_| invalid())?;
    let mut request = Request::parse(head).ok_or_else(invalid)?;
    let length = request.header("content-length").map_or(Ok(0), str::parse::<usize>);
    let length = length.ok().filter(|length| *length <= BODY_MAX_BYTES).ok_or_else(invalid)?;
    unread.drain(..head_bytes + 4);
    while unread.len() < length {
        if !read_more(socket, unread)? {
            return Ok(None);
        }
    }
    request.body = unread.drain(..length).collect::<Vec<u8>>().into();
    Ok(Some(request))
}

fn read_more(socket: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = vec![0; 256 << 10];
    let count = socket.read(&mut buffer)?;
    unread.extend_from_slice(&buffer[..count]);
    Ok(count > 0)
}
