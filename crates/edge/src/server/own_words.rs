//! Errors that hyper answers by itself, in our words; and an end of the connection that lets the
//! client hear a refusal while it is still sending.
//!
//! A head that cannot be parsed, or is too large, never becomes a request: hyper writes an empty
//! answer and closes. Clients are owed the reason there too, in the status line and in JSON. What
//! hyper writes while nobody has asked anything since the last flush can be nothing but such an
//! answer, so that is where it is exchanged.

use super::activity::Activity;
use super::stream::Stream;
use bytes::{Buf, Bytes};
use oci::{ErrorCode, error::ErrorBody};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much of what a refused client goes on sending is read, so that its system does not throw our
/// answer away for a reset (RFC 9112 §9.6). How long is bounded by the connection's own bounds.
const LINGER_BYTES: usize = 16 << 20;

/// A connection on which hyper's own errors are told in our words.
#[derive(Debug)]
pub(super) struct OwnWords {
    stream: Stream,
    activity: Arc<Activity>,
    max_header_bytes: usize,
    /// All was flushed when so many requests had begun, and none was in flight.
    at_rest: Option<u32>,
    /// What is left of our answer, which goes out instead of hyper's.
    ours: Option<Bytes>,
    /// Bytes still to be read and dropped after our answer.
    linger_bytes: usize,
    is_shut: bool,
}

impl OwnWords {
    pub(super) fn new(stream: Stream, activity: Arc<Activity>, max_header_bytes: usize) -> Self {
        let at_rest = Some(activity.begun());
        Self {
            stream,
            activity,
            max_header_bytes,
            at_rest,
            ours: None,
            linger_bytes: 0,
            is_shut: false,
        }
    }

    /// Our answer instead of `bytes`, if those are an error of hyper's own.
    fn instead_of(&self, bytes: &[u8]) -> Option<Bytes> {
        if self.at_rest != Some(self.activity.begun()) || self.activity.is_busy() {
            return None;
        }
        let rest = bytes.strip_prefix(b"HTTP/1.1 4")?;
        let (status, message) = match rest.get(..3)? {
            b"00 " => (400, "the request is no well-formed HTTP/1.1".to_owned()),
            b"14 " => (414, "the target of the request is too long".to_owned()),
            b"31 " => {
                let most = self.max_header_bytes;
                (
                    431,
                    format!(
                        "the head of the request is larger than {most} bytes or has too many lines"
                    ),
                )
            }
            _ => return None,
        };
        let body = ErrorBody::new(ErrorCode::Unsupported, &message, "");
        let body = serde_json::to_string(&body).ok()?;
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} {message}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        Some(Bytes::from(head + &body))
    }

    /// Writes our answer where there is one: then `taken` bytes of hyper's count as written.
    fn poll_ours(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        taken: usize,
    ) -> Poll<Option<io::Result<usize>>> {
        if self.ours.is_none() {
            self.ours = self.instead_of(first);
        }
        self.at_rest = None;
        let Some(ours) = &mut self.ours else { return Poll::Ready(None) };
        while ours.has_remaining() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, ours)) {
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::WriteZero.into()))),
                Ok(written) => ours.advance(written),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        self.ours = None;
        self.linger_bytes = LINGER_BYTES;
        Poll::Ready(Some(Ok(taken)))
    }

    /// Reads and drops what still comes, until the client's end, or until the server's.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut dropped = [0; 16 << 10];
        while self.linger_bytes > 0 && !self.activity.is_told() {
            let mut buf = ReadBuf::new(&mut dropped);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
            self.linger_bytes = self.linger_bytes.saturating_sub(buf.filled().len());
        }
        self.linger_bytes = 0;
        Poll::Ready(())
    }
}

impl AsyncRead for OwnWords {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for OwnWords {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match ready!(this.poll_ours(cx, bytes, bytes.len())) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(&mut this.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = slices.iter().find(|slice| !slice.is_empty());
        let first = first.map_or(&[][..], |slice| slice);
        let all = slices.iter().map(|slice| slice.len()).sum();
        match ready!(this.poll_ours(cx, first, all)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(&mut this.stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        // hyper flushes us once its own buffer is empty.
        if !this.activity.is_busy() {
            this.at_rest = Some(this.activity.begun());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_shut {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.is_shut = true;
            if this.activity.lingers() {
                this.linger_bytes = LINGER_BYTES;
            }
        }
        this.poll_linger(cx).map(Ok)
    }
}
