//! What goes on in a connection, noted so cheaply that every request can afford it, and judged a
//! few times within each bound.
//!
//! Nothing here reads a clock or takes a lock on the way of a request. Readers and writers count;
//! the connection's own task looks at the counters every tick and knows by what did not change how
//! long it has been so. A bound is therefore overrun by at most one tick.

use super::Limits;
use crate::body::{Body, BoxError};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use std::task::{Context, Poll};
use telemetry::CutReason;
use tokio::time::Instant;

/// What a connection is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Command {
    /// Go on.
    Run = 0,
    /// End when the requests in flight are answered.
    Finish = 1,
    /// End now.
    Abort = 2,
}

/// The counters of one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    http2: AtomicBool,
    /// Requests begun, counted round.
    requests: AtomicU32,
    in_flight: AtomicU32,
    /// Bytes arrived while no request was in flight: the head of the next.
    head: AtomicBool,
    /// The last write found the socket full.
    blocked: AtomicBool,
    /// Writes that got somewhere, counted round.
    writes: AtomicU32,
    streams: Mutex<Vec<Watched>>,
    command: AtomicU8,
    waker: AtomicWaker,
    /// The last answer ends the connection, while the client may still be sending.
    lingers: AtomicBool,
}

/// The answer of an HTTP/2 stream, seen from the connection's task.
#[derive(Debug)]
struct Watched {
    stream: Arc<Stream>,
    polls: u32,
    since: Instant,
}

/// The answer of an HTTP/2 stream. Flow control can hold one up while the socket is fine.
#[derive(Debug, Default)]
struct Stream {
    polls: AtomicU32,
    /// It gave bytes and was not asked for more since: the client takes its time.
    handed: AtomicBool,
    done: AtomicBool,
}

impl Activity {
    /// A new connection owes us the head of a request.
    pub(super) fn new(http2: bool) -> Self {
        Self { http2: http2.into(), head: true.into(), ..Self::default() }
    }

    pub(super) fn agreed_on_http2(&self) {
        self.http2.store(true, Relaxed);
    }

    /// Bytes arrived.
    pub(super) fn read(&self) {
        if self.in_flight.load(Relaxed) == 0 {
            self.head.store(true, Relaxed);
        }
    }

    /// The socket took bytes.
    pub(super) fn wrote(&self) {
        self.writes.fetch_add(1, Relaxed);
        if self.blocked.load(Relaxed) {
            self.blocked.store(false, Relaxed);
        }
    }

    /// The socket took none.
    pub(super) fn write_blocked(&self) {
        self.blocked.store(true, Relaxed);
    }

    /// A request's head is here.
    pub(super) fn begin(self: &Arc<Self>, version: http::Version) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        self.head.store(false, Relaxed);
        let stream = (version == http::Version::HTTP_2).then(|| {
            self.agreed_on_http2();
            let stream = Arc::new(Stream::default());
            let watched = Watched { stream: stream.clone(), polls: 0, since: Instant::now() };
            self.streams.lock().push(watched);
            stream
        });
        InFlight { activity: self.clone(), stream }
    }

    pub(super) fn tell(&self, command: Command) {
        self.command.fetch_max(command as u8, SeqCst);
        self.waker.wake();
    }

    /// What was told; the task of `cx` is woken when that changes.
    pub(super) fn command(&self, cx: &Context<'_>) -> Command {
        self.waker.register(cx.waker());
        match self.command.load(SeqCst) {
            0 => Command::Run,
            1 => Command::Finish,
            _ => Command::Abort,
        }
    }

    /// Whether anything was told: to finish, or to abort.
    pub(super) fn is_told(&self) -> bool {
        self.command.load(SeqCst) != Command::Run as u8
    }

    /// The answer that follows ends the connection by our will: what the client still sends is read
    /// before the socket is closed, so that no reset overtakes the answer.
    pub(super) fn linger(&self) {
        self.lingers.store(true, Relaxed);
    }

    pub(super) fn lingers(&self) -> bool {
        self.lingers.load(Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    /// Requests begun so far, counted round.
    pub(super) fn begun(&self) -> u32 {
        self.requests.load(Relaxed)
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// Whether some stream's client has not taken a byte for as long as `limits` allow.
    fn has_stalled_stream(&self, now: Instant, limits: &Limits) -> bool {
        let mut streams = self.streams.lock();
        streams.retain(|watched| !watched.stream.done.load(Relaxed));
        streams.iter_mut().any(|watched| {
            let polls = watched.stream.polls.load(Relaxed);
            if polls != watched.polls || !watched.stream.handed.load(Relaxed) {
                (watched.polls, watched.since) = (polls, now);
            }
            now - watched.since >= limits.body_stall_timeout
        })
    }
}

/// A request in flight: from its head until its answer's body was handed over, or given up.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    stream: Option<Arc<Stream>>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.in_flight.fetch_sub(1, Relaxed);
        if let Some(stream) = &self.stream {
            stream.done.store(true, Relaxed);
        }
    }
}

/// The body of an answer, with the note that its request is in flight.
#[derive(Debug)]
pub(super) struct Tracked {
    body: Body,
    request: InFlight,
}

impl Tracked {
    pub(super) fn new(body: Body, request: InFlight) -> Self {
        Self { body, request }
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(stream) = &self.request.stream {
            stream.polls.fetch_add(1, Relaxed);
            stream.handed.store(matches!(polled, Poll::Ready(Some(Ok(_)))), Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a connection is doing, as far as a bound depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Head,
    Busy,
}

/// Judges a connection at every tick.
#[derive(Debug)]
pub(super) struct Watch {
    limits: Limits,
    phase: (Phase, u32),
    phase_since: Instant,
    writes: Option<u32>,
    writes_since: Instant,
}

impl Watch {
    pub(super) fn new(limits: Limits) -> Self {
        let now = Instant::now();
        Self { limits, phase: (Phase::Head, 0), phase_since: now, writes: None, writes_since: now }
    }

    pub(super) fn next_tick(&self) -> Instant {
        Instant::now() + self.limits.tick()
    }

    /// The bound that the connection has overrun, if it has.
    pub(super) fn check(&mut self, activity: &Activity) -> Option<CutReason> {
        let now = Instant::now();
        if self.write_stalled(activity, now) || activity.has_stalled_stream(now, &self.limits) {
            return Some(CutReason::Stall);
        }
        let phase = if activity.is_busy() {
            Phase::Busy
        } else if (activity.head.load(Relaxed) || activity.lingers()) && !activity.is_http2() {
            // A client that was told of the end has as long to leave as another has for its head.
            Phase::Head
        } else {
            Phase::Idle
        };
        let seen = (phase, activity.requests.load(Relaxed));
        if seen != self.phase {
            (self.phase, self.phase_since) = (seen, now);
        }
        let elapsed = now - self.phase_since;
        match phase {
            Phase::Head if elapsed >= self.limits.header_timeout => Some(CutReason::Header),
            Phase::Idle if elapsed >= self.limits.idle_timeout => Some(CutReason::Idle),
            _ => None,
        }
    }

    fn write_stalled(&mut self, activity: &Activity, now: Instant) -> bool {
        let writes = activity.blocked.load(Relaxed).then(|| activity.writes.load(Relaxed));
        if writes != self.writes {
            (self.writes, self.writes_since) = (writes, now);
        }
        writes.is_some() && now - self.writes_since >= self.limits.body_stall_timeout
    }
}
