//! The loopback address that the browser comes back to, and the page it then shows.
//!
//! Anybody on this machine can connect: what comes is bounded, and counts only if it knows the login's state.

use crate::exit::Failure;
use crate::output::xml;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// The path that is registered with issuers.
const PATH: &str = "/callback";
/// What one connection may send and how long it may take for it: browsers open some to have them ready.
const HEAD_MAX_BYTES: usize = 16 << 10;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// So many connections at once.
const CONNECTIONS_MAX: usize = 32;
/// How long the last page may take to its browser.
const PAGE_TIMEOUT: Duration = Duration::from_secs(3);
/// What is read of a query.
const FIELDS_MAX: usize = 32;

/// A place to come back to.
pub(super) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

/// Somebody came back. Their browser waits for a word.
pub(super) struct Callback {
    fields: Vec<(String, String)>,
    page: Option<oneshot::Sender<Page>>,
    connections: Connections,
}

/// Each tells at its end whether it was the one that brought something.
type Connections = JoinSet<bool>;

/// What the browser shows at the end.
pub(super) enum Page {
    /// It went well.
    Done,
    /// It did not.
    Failed(String),
}

/// What a browser brought, and where its page is to be sent.
type Brought = (Vec<(String, String)>, oneshot::Sender<Page>);

impl Listener {
    /// Listens on this machine alone: on a port, or on any that is free.
    pub(super) async fn bind(port: Option<u16>) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::cannot_tell("no port on 127.0.0.1 for the browser to come back to")
                .because(&error)
                .hint("`lockgate login --device` needs none")
        };
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0))).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where the issuer is to send the browser. Issuers take any port (RFC 8252 §7.3), or should.
    pub(super) fn redirect_uri(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Waits until somebody comes back.
    pub(super) async fn answer(self) -> Result<Callback, Failure> {
        let (sender, mut brought) = mpsc::channel::<Brought>(1);
        let mut connections = Connections::new();
        loop {
            tokio::select! {
                Some((fields, page)) = brought.recv() => {
                    return Ok(Callback { fields, page: Some(page), connections });
                }
                _ = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                    let (stream, _) = accepted.map_err(|error| {
                        Failure::cannot_tell("nobody can come back").because(&error)
                    })?;
                    connections.spawn(serve(stream, sender.clone()));
                }
            }
        }
    }
}

impl Callback {
    /// A parameter that is there once and says something.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields.iter().filter(|(key, _)| key == name);
        let first = all.next().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
        first.filter(|_| all.next().is_none())
    }

    /// Gives the browser its page. Waits until it has it, but not for long.
    pub(super) async fn show(mut self, page: Page) {
        if let Some(sender) = self.page.take() {
            // The browser may be gone: then there is nobody to tell.
            let _ = sender.send(page);
        }
        let sent = async {
            while let Some(ended) = self.connections.join_next().await {
                if ended.unwrap_or(false) {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(PAGE_TIMEOUT, sent).await;
    }
}

async fn serve(stream: TcpStream, sender: mpsc::Sender<Brought>) -> bool {
    let has_brought = AtomicBool::new(false);
    let service = service_fn(|request| answer(request, &sender, &has_brought));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    server.max_buf_size(HEAD_MAX_BYTES).keep_alive(false);
    // What a browser breaks off is its own affair.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
    has_brought.load(Ordering::Relaxed)
}

async fn answer(
    request: Request<Incoming>,
    sender: &mpsc::Sender<Brought>,
    has_brought: &AtomicBool,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET || request.uri().path() != PATH {
        return Ok(page(StatusCode::NOT_FOUND, "Not here", "Nothing is here."));
    }
    let query = request.uri().query().unwrap_or_default();
    let fields = url::form_urlencoded::parse(query.as_bytes()).take(FIELDS_MAX);
    let fields = fields.map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
    let (page_sender, shown) = oneshot::channel();
    // A second one, after somebody came back already.
    let is_late = sender.try_send((fields, page_sender)).is_err();
    has_brought.store(!is_late, Ordering::Relaxed);
    let shown = if is_late { None } else { shown.await.ok() };
    Ok(match shown {
        Some(Page::Done) => page(
            StatusCode::OK,
            "Logged in",
            "You can close this page and go back to the terminal.",
        ),
        Some(Page::Failed(why)) => page(StatusCode::BAD_REQUEST, "Not logged in", &why),
        None => {
            page(StatusCode::GONE, "Too late", "This login has ended. Start again in the terminal.")
        }
    })
}

fn page(status: StatusCode, title: &str, text: &str) -> Response<Full<Bytes>> {
    let (title, text) = (xml(title), xml(text));
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Lockgate: {title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}}\
         @media(prefers-color-scheme:dark){{body{{background:#111;color:#eee}}}}</style>\
         <h1>{title}</h1><p>{text}</p></html>"
    );
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        // The address holds a code: no script runs here, and nobody is told of it.
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, hyper::header::HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_stands_twice_or_is_empty_says_nothing() {
        let fields = [("a", "1"), ("b", "1"), ("b", "2"), ("c", "")];
        let fields = fields.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let callback = Callback { fields, page: None, connections: JoinSet::new() };
        assert_eq!(callback.field("a"), Some("1"));
        for nothing in ["b", "c", "d"] {
            assert_eq!(callback.field(nothing), None);
        }
    }
}
