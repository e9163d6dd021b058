//! One HTTP connection from its first request to its end, within its bounds.

use super::activity::{Activity, Command, Tracked, Watch};
use super::connection::Connection;
use super::own_words::OwnWords;
use super::stream::Stream;
use super::{Limits, accept::Handler};
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use telemetry::CutReason;

/// More headers than any client sends, fewer than cost anything.
const HEADERS_MAX: usize = 128;

/// How much of a body is gathered before it is written. Two chunks of a blob.
const WRITE_BUFFER_BYTES: usize = 512 << 10;

/// What a client may send on an HTTP/2 connection before we take it.
const HTTP2_WINDOW_BYTES: u32 = 1 << 20;

/// Pings find out about dead HTTP/2 peers, whose streams may wait for us and not for the network.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// Serves `stream` until its end. Returns the reason, if the end was our doing.
pub(super) async fn drive<H: Handler>(
    stream: Stream,
    connection: Arc<Connection>,
    activity: Arc<Activity>,
    limits: Limits,
    handler: H,
) -> Option<CutReason> {
    let http2 = connection.listener.http2;
    let noted = activity.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let in_flight = noted.begin(request.version());
        let answer = handler.handle(request, connection.clone());
        let noted = noted.clone();
        async move {
            let (parts, body) = answer.await.into_parts();
            if parts.headers.get(header::CONNECTION).is_some_and(|value| value == "close") {
                noted.linger();
            }
            let body = Tracked::new(body, in_flight);
            Ok::<_, Infallible>(Response::from_parts(parts, body))
        }
    });
    let io = TokioIo::new(OwnWords::new(stream, activity.clone(), limits.max_header_bytes));
    if http2 {
        // Tells the two apart by the first bytes, whatever ALPN agreed on.
        let builder = auto_builder(&limits);
        let served = pin!(builder.serve_connection(io, service));
        run(served, &activity, limits).await
    } else {
        let served = pin!(http1_builder(&limits).serve_connection(io, service));
        run(served, &activity, limits).await
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Ours tells an idle connection from one that drips a head.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_header_size(limits.max_header_bytes)
        .max_buf_size(WRITE_BUFFER_BYTES.max(limits.max_header_bytes + 1))
        .half_close(false);
    builder
}

fn auto_builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        // The automatic builder has no bound for heads alone.
        .max_buf_size(limits.max_header_bytes.max(8 << 10))
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(HTTP2_WINDOW_BYTES)
        .initial_connection_window_size(4 * HTTP2_WINDOW_BYTES)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_INTERVAL);
    builder
}

/// Polls the connection, and ends it when it is told to or overruns a bound.
async fn run<C: GracefulConnection>(
    mut served: Pin<&mut C>,
    activity: &Activity,
    limits: Limits,
) -> Option<CutReason> {
    let mut watch = Watch::new(limits);
    let mut tick = pin!(tokio::time::sleep_until(watch.next_tick()));
    let mut finishing = false;
    poll_fn(|cx| {
        loop {
            // Errors here are the client's: it left, or sent what is no HTTP and was told so.
            if served.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            match activity.command(cx) {
                Command::Finish if !finishing => {
                    finishing = true;
                    served.as_mut().graceful_shutdown();
                    continue;
                }
                Command::Abort => return Poll::Ready(Some(CutReason::Drain)),
                _ => {}
            }
            if tick.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match watch.check(activity) {
                // An HTTP/2 client is told first, so that no request of its crosses our close; one
                // that stays is cut at the next tick.
                Some(CutReason::Idle) if activity.is_http2() && !finishing => {
                    finishing = true;
                    served.as_mut().graceful_shutdown();
                }
                Some(reason) => return Poll::Ready(Some(reason)),
                None => {}
            }
            tick.as_mut().reset(watch.next_tick());
        }
    })
    .await
}
