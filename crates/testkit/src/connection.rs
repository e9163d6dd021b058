//! One connection: reads requests, answers them, and does on purpose what no server should.

use crate::bandwidth::Bandwidth;
use crate::log::Record;
use crate::plan::{Cut, Framing, Instead, Plan, Shape};
use crate::registry::Shared;
use crate::synthetic::Piece;
use crate::wire::{Answer, Request};
use bytes::{Buf, Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const REQUEST_HEAD_MAX: usize = 64 << 10;
const REQUEST_BODY_MAX: usize = 1 << 20;

/// A plain or encrypted TCP connection.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// The connection is over: the client left, or a fault ended it.
struct Gone;

pub(crate) struct Connection<S> {
    socket: S,
    id: u64,
    shared: Arc<Shared>,
    /// Bytes read and not yet used.
    unread: BytesMut,
    /// Bytes to be written ahead of the next piece of a body.
    pending: BytesMut,
    /// Whether closing resets the connection.
    resets: bool,
    /// Whether the request being answered is for the control endpoints, which no pause holds.
    control: bool,
}

impl<S: Socket> Connection<S> {
    pub(crate) fn new(socket: S, id: u64, shared: Arc<Shared>) -> Self {
        let (unread, pending) = Default::default();
        Self { socket, id, shared, unread, pending, resets: false, control: false }
    }

    /// Serves requests until either side ends the connection.
    pub(crate) async fn serve(mut self) {
        while let Ok(request) = self.read_request().await {
            let record = self.shared.log.begin(&request, self.id);
            let outcome = self.exchange(&request, &record).await;
            self.shared.log.end(&record, matches!(outcome, Ok(completed) if completed));
            if outcome.is_err() || request.wants_close() {
                break;
            }
        }
        if !self.resets {
            let _ = self.socket.shutdown().await;
        }
    }

    async fn read_request(&mut self) -> Result<Request, Gone> {
        let head_length = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break at;
            }
            if self.unread.len() > REQUEST_HEAD_MAX {
                return Err(Gone);
            }
            self.read_more().await?;
        };
        let head = self.unread.split_to(head_length);
        self.unread.advance(4);
        let text = std::str::from_utf8(&head).map_err(|_| Gone)?;
        let mut request = Request::parse(text).ok_or(Gone)?;
        let length = request.header("content-length").map_or(Ok(0), str::parse::<usize>);
        let length = length.ok().filter(|length| *length <= REQUEST_BODY_MAX).ok_or(Gone)?;
        while self.unread.len() < length {
            self.read_more().await?;
        }
        request.body = self.unread.split_to(length).freeze();
        Ok(request)
    }

    async fn read_more(&mut self) -> Result<(), Gone> {
        match self.socket.read_buf(&mut self.unread).await {
            Ok(0) | Err(_) => Err(Gone),
            Ok(_) => Ok(()),
        }
    }

    /// Answers one request. `Ok(true)` when the answer was given in full and the connection lives.
    async fn exchange(&mut self, request: &Request, record: &Record) -> Result<bool, Gone> {
        self.control = self.shared.is_control(request);
        let plan = match self.control {
            true => Plan::default(),
            false => Plan::new(self.shared.faults.take(request)),
        };
        if !self.control {
            self.wait_out_pause().await?;
            let delay = *self.shared.latency.lock() + plan.delay;
            if !delay.is_zero() {
                self.wait(tokio::time::sleep(delay)).await?;
            }
        }
        for gate in &plan.holds {
            self.wait(gate.opened()).await?;
        }
        if let Some(instead) = plan.instead {
            return self.misbehave(instead).await;
        }
        let mut edited = request.clone();
        plan.edit_request(&mut edited);
        let mut answer = match &plan.canned {
            Some(canned) => canned.clone(),
            None => crate::routes::answer(&self.shared, &edited),
        };
        plan.edit_answer(request, &mut answer);
        record.answered(answer.status);
        self.send(request, &answer, &plan.shape, record).await?;
        Ok(true)
    }

    async fn misbehave(&mut self, instead: Instead) -> Result<bool, Gone> {
        match instead {
            Instead::Silence => self.wait(std::future::pending()).await?,
            Instead::Close => {}
            Instead::Reset => self.reset().await,
            Instead::Garbage => {
                self.pending.extend_from_slice(b"\x16\x03\x01 this is not HTTP\0\xff\xfe\r\n\r\n");
                self.flush().await?;
            }
            Instead::EndlessHeader => self.drip_header().await?,
        }
        Err(Gone)
    }

    async fn drip_header(&mut self) -> Result<(), Gone> {
        self.pending.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        for line in 0_u64.. {
            self.pending.extend_from_slice(format!("x-drip-{line}: still more\r\n").as_bytes());
            self.flush().await?;
            self.wait(tokio::time::sleep(Duration::from_millis(10))).await?;
        }
        Ok(())
    }

    async fn send(
        &mut self,
        request: &Request,
        answer: &Answer,
        shape: &Shape,
        record: &Record,
    ) -> Result<(), Gone> {
        let mut head = answer.head();
        // RFC 9110 §8.6: no length on a 304 here; HEAD tells the length that GET would.
        if answer.status != 304 {
            match shape.framing {
                Framing::Length => {
                    let length = answer.length.saturating_add_signed(shape.length_off);
                    head.push_str(&format!("content-length: {length}\r\n"));
                }
                Framing::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
                Framing::Close => head.push_str("connection: close\r\n"),
            }
        }
        self.pending.extend_from_slice(head.as_bytes());
        self.pending.extend_from_slice(b"\r\n");
        if request.method != "HEAD" && answer.status != 304 {
            self.send_body(answer, shape, record).await?;
        }
        self.flush().await?;
        match shape.closes() {
            true => Err(Gone),
            false => Ok(()),
        }
    }

    async fn send_body(
        &mut self,
        answer: &Answer,
        shape: &Shape,
        record: &Record,
    ) -> Result<(), Gone> {
        let own_line = Bandwidth::new(shape.bytes_per_second);
        let shared = self.shared.clone();
        let mut sent = 0;
        loop {
            for (_, gate) in shape.gates.iter().filter(|(at, _)| *at == sent) {
                self.flush().await?;
                self.wait(gate.opened()).await?;
            }
            if let Some((_, cut)) = shape.cut.filter(|(at, _)| *at == sent) {
                self.flush().await?;
                return self.cut(cut).await;
            }
            if sent == answer.length {
                break;
            }
            let most = own_line.piece_bytes().min(shared.bandwidth.piece_bytes());
            let most = most.min(shape.room(sent)).min(answer.length - sent);
            let piece = flipped(answer.content.piece(answer.start + sent, most), sent, shape.flip);
            let length = piece.len() as u64;
            if shape.framing == Framing::Chunked {
                self.pending.extend_from_slice(format!("{length:x}\r\n").as_bytes());
            }
            self.wait_out_pause().await?;
            if most < 1 << 20 && sent == 0 && answer.length > most {
                self.flush().await?;
            }
            shared.bandwidth.take(length).await;
            own_line.take(length).await;
            self.write(piece, Some(record)).await?;
            sent += length;
            if shape.framing == Framing::Chunked {
                self.pending.extend_from_slice(b"\r\n");
            }
        }
        if shape.framing == Framing::Chunked {
            self.pending.extend_from_slice(b"0\r\n\r\n");
        }
        Ok(())
    }

    async fn cut(&mut self, cut: Cut) -> Result<(), Gone> {
        match cut {
            Cut::Close => {}
            Cut::Reset => self.reset().await,
            Cut::Stall => self.wait(std::future::pending()).await?,
        }
        Err(Gone)
    }

    /// Makes the coming close a reset. What was sent gets a moment to arrive, since a reset discards
    /// what is still queued.
    async fn reset(&mut self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.resets = self.socket.tcp().set_zero_linger().is_ok();
    }

    async fn wait_out_pause(&mut self) -> Result<(), Gone> {
        if self.control || !*self.shared.paused.borrow() {
            return Ok(());
        }
        let mut paused = self.shared.paused.subscribe();
        self.wait(async move {
            let _ = paused.wait_for(|paused| !paused).await;
        })
        .await
    }

    /// Waits for `event`, or ends when the client leaves. What it sends meanwhile is kept.
    async fn wait(&mut self, event: impl Future<Output = ()>) -> Result<(), Gone> {
        let mut event = std::pin::pin!(event);
        while self.unread.len() <= REQUEST_HEAD_MAX {
            tokio::select! {
                () = &mut event => return Ok(()),
                read = self.read_more() => read?,
            }
        }
        event.await;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        if !self.pending.is_empty() {
            self.write(Piece::default(), None).await?;
        }
        Ok(())
    }

    /// Writes what is pending and then `piece`, counting only the latter.
    async fn write(&mut self, piece: Piece, record: Option<&Record>) -> Result<(), Gone> {
        let pending: Bytes = self.pending.split().freeze();
        let mut uncounted = pending.len();
        let mut parts = pending.chain(piece.head).chain(piece.tail);
        while parts.has_remaining() {
            let written = match self.socket.write_buf(&mut parts).await {
                Ok(0) | Err(_) => return Err(Gone),
                Ok(written) => written,
            };
            let counted = written.saturating_sub(uncounted);
            uncounted = uncounted.saturating_sub(written);
            if let Some(record) = record {
                record.sent(counted as u64);
            }
        }
        self.socket.flush().await.map_err(|_| Gone)
    }
}

/// `piece`, which starts at offset `start`, with the byte at offset `flip` inverted if it is in it.
fn flipped(piece: Piece, start: u64, flip: Option<u64>) -> Piece {
    let at = flip.and_then(|flip| flip.checked_sub(start)).unwrap_or(u64::MAX);
    if at >= piece.len() as u64 {
        return piece;
    }
    let mut bytes = [piece.head.as_ref(), piece.tail.as_ref()].concat();
    bytes[at as usize] ^= 0xff;
    Bytes::from(bytes).into()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
