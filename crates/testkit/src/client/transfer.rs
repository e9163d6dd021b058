//! The body of an answer while it arrives.

use super::{Connection, Request, Response};
use crate::bandwidth::Bandwidth;
use crate::wire::header;
use bytes::{Buf, BytesMut};
use std::io;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As announced: the whole length, the last chunk, or the close of a body without either.
    Clean,
    /// The connection closed before that.
    Truncated,
    /// The connection was reset.
    Reset,
    /// The chunk framing made no sense.
    Malformed,
    /// The client's patience ended first.
    TimedOut,
    /// The client's limit was reached first.
    TooLong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// This many bytes are left.
    Length(u64),
    /// This many bytes of the chunk are left.
    Chunk(u64),
    /// The next line tells the size of a chunk; `first` when none came before.
    ChunkSize {
        first: bool,
    },
    /// The last chunk was read; its trailer was not.
    Trailer,
    UntilClose,
    Done,
}

/// An answer whose head has arrived, and whose body is read piece by piece.
pub struct Transfer {
    /// The status code.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: String,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    connection: Connection,
    framing: Framing,
    line: Bandwidth,
    started: Instant,
    head_after: Duration,
    deadline: Instant,
    body_max: usize,
}

impl Transfer {
    pub(super) fn new(
        connection: Connection,
        request: &Request,
        status: u16,
        reason: String,
        headers: Vec<(String, String)>,
        started: Instant,
    ) -> Self {
        let framing = framing(&request.method, status, &headers);
        Self {
            status,
            reason,
            headers,
            connection,
            framing,
            line: Bandwidth::new(request.bytes_per_second.unwrap_or(0)),
            started,
            head_after: started.elapsed(),
            deadline: started + request.timeout,
            body_max: request.body_max,
        }
    }

    /// The first value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// Reads some of the body into `buffer`: how much, or how the body ended.
    ///
    /// # Errors
    /// The end of the body, in whichever way it came.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, End> {
        let deadline = self.deadline.into();
        match tokio::time::timeout_at(deadline, self.read_unhurried(buffer)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(End::TimedOut),
        }
    }

    async fn read_unhurried(&mut self, buffer: &mut [u8]) -> Result<usize, End> {
        self.read_framing().await?;
        let left = match self.framing {
            Framing::Length(left) | Framing::Chunk(left) => left,
            Framing::UntilClose => u64::MAX,
            _ => return Err(End::Clean),
        };
        let most = (buffer.len() as u64).min(left).min(self.line.piece_bytes()) as usize;
        self.line.take(most as u64).await;
        let read = self.read_raw(&mut buffer[..most]).await?;
        match &mut self.framing {
            Framing::Length(left) | Framing::Chunk(left) => *left -= read as u64,
            Framing::UntilClose if read == 0 => return Err(End::Clean),
            _ => return Ok(read),
        }
        if read == 0 { Err(End::Truncated) } else { Ok(read) }
    }

    async fn read_raw(&mut self, buffer: &mut [u8]) -> Result<usize, End> {
        let unread = &mut self.connection.unread;
        if !unread.is_empty() {
            let length = buffer.len().min(unread.len());
            unread.copy_to_slice(&mut buffer[..length]);
            return Ok(length);
        }
        self.connection.stream.read(buffer).await.map_err(|error| broken(&error))
    }

    /// Reads what lies between pieces of the body.
    async fn read_framing(&mut self) -> Result<(), End> {
        loop {
            match self.framing {
                Framing::Length(0) => self.framing = Framing::Done,
                Framing::Chunk(0) => self.framing = Framing::ChunkSize { first: false },
                Framing::ChunkSize { first } => {
                    if !first && !self.read_line().await?.is_empty() {
                        return Err(End::Malformed);
                    }
                    let line = self.read_line().await?;
                    let digits = line.split(';').next().unwrap_or_default().trim();
                    self.framing = match u64::from_str_radix(digits, 16) {
                        Ok(0) => Framing::Trailer,
                        Ok(size) => Framing::Chunk(size),
                        Err(_) => return Err(End::Malformed),
                    };
                }
                Framing::Trailer => {
                    while !self.read_line().await?.is_empty() {}
                    self.framing = Framing::Done;
                }
                _ => return Ok(()),
            }
        }
    }

    async fn read_line(&mut self) -> Result<String, End> {
        loop {
            let unread: &mut BytesMut = &mut self.connection.unread;
            if let Some(at) = unread.windows(2).position(|two| two == b"\r\n") {
                let line = unread.split_to(at + 2);
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if unread.len() > 4096 {
                return Err(End::Malformed);
            }
            match self.connection.stream.read_buf(unread).await {
                Ok(0) => return Err(End::Truncated),
                Ok(_) => {}
                Err(error) => return Err(broken(&error)),
            }
        }
    }

    /// Reads the rest. The connection comes back if it can carry another request.
    pub async fn finish(mut self) -> (Response, Option<Connection>) {
        let mut body = BytesMut::new();
        let mut buffer = vec![0; 64 << 10];
        let mut first_byte_after = None;
        let end = loop {
            if body.len() > self.body_max {
                body.truncate(self.body_max);
                break End::TooLong;
            }
            match self.read(&mut buffer).await {
                Ok(read) => {
                    first_byte_after.get_or_insert_with(|| self.started.elapsed());
                    body.extend_from_slice(&buffer[..read]);
                }
                Err(end) => break end,
            }
        };
        let reusable = self.framing == Framing::Done
            && !self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let response = Response {
            status: self.status,
            reason: self.reason,
            headers: self.headers,
            body: body.freeze(),
            end,
            head_after: self.head_after,
            first_byte_after,
            took: self.started.elapsed(),
        };
        (response, reusable.then_some(self.connection))
    }
}

/// How the body of an answer is framed (RFC 9112 §6.3).
fn framing(method: &str, status: u16, headers: &[(String, String)]) -> Framing {
    let chunked = header(headers, "transfer-encoding")
        .is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked"));
    let length = header(headers, "content-length").and_then(|value| value.parse().ok());
    match (method, status, chunked, length) {
        ("HEAD", ..) | (_, 204 | 304, ..) => Framing::Done,
        (_, _, true, _) => Framing::ChunkSize { first: true },
        (_, _, false, Some(length)) => Framing::Length(length),
        _ => Framing::UntilClose,
    }
}

fn broken(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => End::Reset,
        _ => End::Truncated,
    }
}
