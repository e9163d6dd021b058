//! One client of the herd.

use crate::check::{Check, Expected, Finding, QuickHash};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};
use testkit::{Bandwidth, Sha256, Synthetic};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

const HEAD_MAX: usize = 64 << 10;
const LEAVE_AFTER_BYTES: u64 = 1 << 20;

/// What the whole herd does.
pub(crate) struct Plan {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<String>,
    pub(crate) digest: Option<String>,
    pub(crate) expected: Expected,
    /// The size of the blob when each client asks for its own part.
    pub(crate) range_size: Option<u64>,
    pub(crate) verify_count: usize,
    pub(crate) slow_rate: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Steady,
    Slow,
    Leaving,
}

pub(crate) struct Member {
    index: usize,
    clients: usize,
    role: Role,
    plan: Rc<Plan>,
    started: Instant,
    /// Body bytes received so far.
    pub(crate) progress: Rc<Cell<u64>>,
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) status: u16,
    pub(crate) head_after: Duration,
    pub(crate) first_byte_after: Duration,
    pub(crate) done_after: Duration,
    pub(crate) bytes: u64,
    pub(crate) finding: Finding,
}

impl Member {
    pub(crate) fn new(
        index: usize,
        clients: usize,
        role: Role,
        plan: Rc<Plan>,
        started: Instant,
    ) -> Self {
        Self { index, clients, role, plan, started, progress: Rc::default() }
    }

    pub(crate) async fn pull(self, buffer: &RefCell<Vec<u8>>) -> Result<Pulled, String> {
        let mut stream = TcpStream::connect(&self.plan.host).await.map_err(text("connecting"))?;
        stream.set_nodelay(true).map_err(text("connecting"))?;
        stream.write_all(self.request().as_bytes()).await.map_err(text("asking"))?;
        let (head, early) = read_head(&mut stream).await?;
        let head_after = self.started.elapsed();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let wanted = if self.window().is_some() { 206 } else { 200 };
        if status != wanted {
            return Err(head.lines().next().unwrap_or_default().to_owned());
        }
        let length = content_length(&head).ok_or("the answer has no Content-Length")?;
        let mut check = self.check();
        let mut first_byte_after = None;
        if !early.is_empty() {
            first_byte_after = Some(self.started.elapsed());
            self.took(&mut check, &early);
        }
        let line = Bandwidth::new(if self.role == Role::Slow { self.plan.slow_rate } else { 0 });
        while self.progress.get() < length {
            if self.role == Role::Leaving && self.progress.get() >= LEAVE_AFTER_BYTES {
                break;
            }
            let most = line.piece_bytes().min(length - self.progress.get());
            line.take(most).await;
            let read = self.read(&stream, buffer, most as usize, &mut check).await?;
            first_byte_after.get_or_insert_with(|| self.started.elapsed());
            if read == 0 {
                let got = self.progress.get();
                return Err(format!("the body ended after {got} of {length} bytes"));
            }
        }
        Ok(Pulled {
            status,
            head_after,
            first_byte_after: first_byte_after.unwrap_or(head_after),
            done_after: self.started.elapsed(),
            bytes: self.progress.get(),
            finding: check.finish(),
        })
    }

    /// Reads once, into the buffer that all clients share: nothing else runs between reading and
    /// checking.
    async fn read(
        &self,
        stream: &TcpStream,
        buffer: &RefCell<Vec<u8>>,
        most: usize,
        check: &mut Check,
    ) -> Result<usize, String> {
        let flags = match check {
            // Linux drops the bytes of a TCP stream without copying them, given this flag (tcp(7)).
            Check::Count => rustix::net::RecvFlags::TRUNC,
            _ => rustix::net::RecvFlags::empty(),
        };
        let read = stream.async_io(Interest::READABLE, || {
            let mut buffer = buffer.borrow_mut();
            let most = most.min(buffer.len());
            let (_, read) = rustix::net::recv(stream, &mut buffer[..most], flags)?;
            match flags.is_empty() {
                true => self.took(check, &buffer[..read]),
                false => self.progress.set(self.progress.get() + read as u64),
            }
            Ok(read)
        });
        read.await.map_err(text("reading"))
    }

    fn took(&self, check: &mut Check, bytes: &[u8]) {
        check.update(bytes);
        self.progress.set(self.progress.get() + bytes.len() as u64);
    }

    fn request(&self) -> String {
        let mut request =
            format!("GET {} HTTP/1.1\r\nhost: {}\r\n", self.plan.path, self.plan.host);
        if let Some((first, last)) = self.window() {
            request.push_str(&format!("range: bytes={first}-{last}\r\n"));
        }
        for header in &self.plan.headers {
            request.push_str(&format!("{header}\r\n"));
        }
        request + "\r\n"
    }

    /// The first and last byte this client asks for, if not all.
    fn window(&self) -> Option<(u64, u64)> {
        let size = self.plan.range_size?;
        let edge = |index: usize| size * index as u64 / self.clients as u64;
        Some((edge(self.index), edge(self.index + 1).max(edge(self.index) + 1) - 1))
    }

    fn check(&self) -> Check {
        match self.plan.expected {
            Expected::Synthetic { seed, size } => {
                let offset = self.window().map_or(0, |(first, _)| first);
                Check::Compare { blob: Synthetic::new(size, seed), offset, wrong_at: None }
            }
            // Parts of a blob are neither alike nor do they have its digest.
            _ if self.plan.range_size.is_some() => Check::Count,
            _ if self.role == Role::Steady && self.index < self.plan.verify_count => {
                Check::Verify { sha256: Sha256::new(), quick: QuickHash::new() }
            }
            Expected::Alike => Check::Quick(QuickHash::new()),
            Expected::Length => Check::Count,
        }
    }
}

/// The head of the answer, and what came with it of the body.
async fn read_head(stream: &mut TcpStream) -> Result<(String, Vec<u8>), String> {
    let mut received = Vec::new();
    loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = received.split_off(at + 4);
            return Ok((String::from_utf8_lossy(&received).into_owned(), body));
        }
        if received.len() > HEAD_MAX {
            return Err("the head of the answer is too long".into());
        }
        if stream.read_buf(&mut received).await.map_err(text("waiting for an answer"))? == 0 {
            return Err("the connection closed before an answer".into());
        }
    }
}

fn content_length(head: &str) -> Option<u64> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}

fn text(doing: &'static str) -> impl Fn(io::Error) -> String {
    move |error| format!("{doing}: {error}")
}
