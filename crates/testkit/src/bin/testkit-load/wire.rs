//! As much of an HTTP/1.1 client as the load needs: one connection, kept open; bodies are sent from
//! pages that are shared, and received ones are dropped, so that the load costs little of the machine.

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const READ_BYTES: usize = 256 << 10;
const HEAD_MAX: usize = 64 << 10;
/// Bodies up to this are kept for who asked: manifests and lists.
const KEPT_MAX: usize = 32 << 20;
pub(crate) const PAGE_BYTES: usize = 4096;

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    /// Bytes `from..to` of a layer that begins with this page and is zero after it.
    Layer {
        page: &'a [u8; PAGE_BYTES],
        from: usize,
        to: usize,
    },
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) body_bytes: u64,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The path of `Location`, for the next request.
    pub(crate) fn location(&self) -> Result<String, String> {
        let text = self.header("location").ok_or("no Location")?;
        let path = text.split_once("://").and_then(|(_, rest)| Some(&rest[rest.find('/')?..]));
        Ok(path.unwrap_or(text).to_owned())
    }

    /// The status, if it is the one that is wanted.
    pub(crate) fn expect(self, status: u16, line: &str) -> Result<Self, String> {
        match self.status == status {
            true => Ok(self),
            false => {
                Err(format!("{line}: {} {}", self.status, String::from_utf8_lossy(&self.body)))
            }
        }
    }
}

/// One connection; made anew after a failure.
pub(crate) struct Wire {
    addr: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(addr: &str) -> Self {
        Self { addr: addr.into(), stream: None, buffer: vec![0; READ_BYTES] }
    }

    /// One request and its answer, of which the body is kept if `keeps`.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: Body<'_>,
        keeps: bool,
    ) -> Result<Answer, String> {
        let outcome = self.exchange(method, path, headers, body, keeps).await;
        if outcome.is_err() {
            self.stream = None;
        }
        outcome.map_err(|error| format!("{method} {path}: {error}"))
    }

    async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: Body<'_>,
        keeps: bool,
    ) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.addr).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        let length = match body {
            Body::None => 0,
            Body::Bytes(bytes) => bytes.len(),
            Body::Layer { from, to, .. } => to - from,
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {length}\r\n{headers}\r\n",
            self.addr
        );
        stream.write_all(head.as_bytes()).await?;
        send(&mut stream, body).await?;
        let (head, early) = read_head(&mut stream).await?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut answer = Answer { status, head, body: Vec::new(), body_bytes: 0 };
        let has_body = method != "HEAD" && status != 204 && status != 304;
        let is_chunked =
            answer.header("transfer-encoding").is_some_and(|value| value.contains("chunked"));
        let length: u64 =
            answer.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        match (has_body, is_chunked) {
            (false, _) => {}
            (true, true) => chunked(&mut stream, early, &mut answer).await?,
            (true, false) => {
                answer.body_bytes = length;
                self.sized(&mut stream, early, length, keeps || status >= 300, &mut answer.body)
                    .await?;
            }
        }
        let closes =
            answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.stream = (!closes).then_some(stream);
        Ok(answer)
    }

    async fn sized(
        &mut self,
        stream: &mut TcpStream,
        early: Vec<u8>,
        length: u64,
        keeps: bool,
        kept: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut left = length.saturating_sub(early.len() as u64);
        if keeps {
            kept.extend_from_slice(&early);
        }
        while left > 0 {
            let most = self.buffer.len().min(left as usize);
            let read = stream.read(&mut self.buffer[..most]).await?;
            if read == 0 {
                return Err(io::Error::other(format!("{left} bytes of the body are missing")));
            }
            if keeps && kept.len() < KEPT_MAX {
                kept.extend_from_slice(&self.buffer[..read]);
            }
            left -= read as u64;
        }
        Ok(())
    }
}

async fn send(stream: &mut TcpStream, body: Body<'_>) -> io::Result<()> {
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    match body {
        Body::None => Ok(()),
        Body::Bytes(bytes) => stream.write_all(bytes).await,
        Body::Layer { page, from, to } => {
            let mut at = from;
            if at < PAGE_BYTES {
                let end = PAGE_BYTES.min(to);
                stream.write_all(&page[at..end]).await?;
                at = end;
            }
            while at < to {
                let count = ZEROS.len().min(to - at);
                stream.write_all(&ZEROS[..count]).await?;
                at += count;
            }
            Ok(())
        }
    }
}

/// The head of the final answer, and what came with it of the body.
async fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut received = Vec::with_capacity(4096);
    loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = received.split_off(at + 4);
            let head = String::from_utf8_lossy(&received).into_owned();
            if head.starts_with("HTTP/1.1 1") {
                received = body;
                continue;
            }
            return Ok((head, body));
        }
        if received.len() > HEAD_MAX {
            return Err(io::Error::other("the head of the answer is too long"));
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err(io::Error::other("the connection closed before an answer"));
        }
    }
}

/// A body in chunks, kept: only lists and refusals come so.
async fn chunked(stream: &mut TcpStream, early: Vec<u8>, answer: &mut Answer) -> io::Result<()> {
    let mut raw = early;
    let mut at = 0;
    loop {
        let Some(line_end) =
            raw[at..].windows(2).position(|two| two == b"\r\n").map(|end| at + end)
        else {
            more(stream, &mut raw).await?;
            continue;
        };
        let text = String::from_utf8_lossy(&raw[at..line_end]).into_owned();
        let size = usize::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16)
            .map_err(|_| io::Error::other(format!("no chunk begins with {text:?}")))?;
        let (start, end) = (line_end + 2, line_end + 2 + size);
        while raw.len() < end + 2 {
            more(stream, &mut raw).await?;
        }
        if size == 0 {
            answer.body_bytes = answer.body.len() as u64;
            return Ok(());
        }
        answer.body.extend_from_slice(&raw[start..end]);
        at = end + 2;
    }
}

async fn more(stream: &mut TcpStream, raw: &mut Vec<u8>) -> io::Result<()> {
    if raw.len() > KEPT_MAX {
        return Err(io::Error::other("the body is too long"));
    }
    match stream.read_buf(raw).await? {
        0 => Err(io::Error::other("the connection closed in a chunk")),
        _ => Ok(()),
    }
}
