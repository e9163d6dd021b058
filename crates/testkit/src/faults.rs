//! What goes wrong, and when: [`Fault`]s tied to requests by a [`Match`].

use crate::wire::{Answer, Request};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

type Condition = Arc<dyn Fn(&Request) -> bool + Send + Sync>;

/// Which requests a fault applies to: all conditions must hold. By default it applies each time;
/// [`first`](Self::first), [`nth`](Self::nth) and [`after`](Self::after) count the requests for
/// which the conditions hold.
#[derive(Clone)]
pub struct Match {
    conditions: Vec<Condition>,
    turns: Turns,
}

#[derive(Clone, Copy)]
enum Turns {
    Every,
    First(u64),
    Nth(u64),
    After(u64),
}

impl Match {
    /// Every request.
    pub fn any() -> Self {
        Self { conditions: Vec::new(), turns: Turns::Every }
    }

    /// Requests whose path contains `part`.
    pub fn path_contains(part: &str) -> Self {
        let part = part.to_owned();
        Self::any().when(move |request| request.path.contains(&part))
    }

    /// Requests for exactly this path.
    pub fn path(path: &str) -> Self {
        let path = path.to_owned();
        Self::any().when(move |request| request.path == path)
    }

    /// Requests for blobs.
    pub fn blobs() -> Self {
        Self::path_contains("/blobs/")
    }

    /// Requests for manifests.
    pub fn manifests() -> Self {
        Self::path_contains("/manifests/")
    }

    /// Requests to the token endpoint.
    pub fn token() -> Self {
        Self::path("/token")
    }

    /// `/v2/` itself.
    pub fn ping() -> Self {
        Self::path("/v2/")
    }

    /// Only requests with this method.
    pub fn method(self, method: &str) -> Self {
        let method = method.to_owned();
        self.when(move |request| request.method == method)
    }

    /// Only requests with a `Range` header.
    pub fn with_range(self) -> Self {
        self.with_header("range")
    }

    /// Only requests without a `Range` header.
    pub fn without_range(self) -> Self {
        self.when(|request| request.header("range").is_none())
    }

    /// Only requests with the header `name` (lower case).
    pub fn with_header(self, name: &'static str) -> Self {
        self.when(move |request| request.header(name).is_some())
    }

    /// Only requests for which `condition` holds.
    pub fn when(mut self, condition: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.conditions.push(Arc::new(condition));
        self
    }

    /// Only the first `count` of them.
    pub fn first(self, count: u64) -> Self {
        Self { turns: Turns::First(count), ..self }
    }

    /// Only the `n`-th of them, counted from 1.
    pub fn nth(self, n: u64) -> Self {
        Self { turns: Turns::Nth(n), ..self }
    }

    /// All of them but the first `count`.
    pub fn after(self, count: u64) -> Self {
        Self { turns: Turns::After(count), ..self }
    }
}

/// One way of going wrong. Several that apply to one request act together where that makes sense
/// (slow *and* truncated). Offsets count bytes of the answer's body, from 0, whatever range it is.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers this and looks no further: see [`Fault::status`].
    Answer(Canned),
    /// Takes the request and never answers; the connection stays open.
    BlackHole,
    /// Sends bytes that are not HTTP and closes.
    Garbage,
    /// Sends a status line and then header lines for ever, 100 a second.
    EndlessHeader,
    /// Adds a header of this many bytes.
    HugeHeader(usize),
    /// Closes the connection instead of answering.
    Drop,
    /// Resets the connection (TCP RST) instead of answering.
    ResetAtOnce,
    /// Closes the connection in an orderly way after this many body bytes.
    Truncate(u64),
    /// Resets the connection (TCP RST) after this many body bytes.
    Reset(u64),
    /// Sends this many body bytes and then nothing for ever; the connection stays open.
    Stall(u64),
    /// Sends the body at this many bytes per second.
    Slow(u64),
    /// Inverts the byte at this offset of the body.
    FlipByte(u64),
    /// Sends other bytes of the same length.
    OtherContent,
    /// Adds this to `Content-Length` while the body stays as it is; the connection closes after it.
    LengthOff(i64),
    /// Sends the body chunked, without `Content-Length`.
    Chunked,
    /// Sends the body without `Content-Length`; its end is the end of the connection.
    CloseDelimited,
    /// Answers a `Range` with 200 and the whole.
    IgnoreRange,
    /// Serves the window that lies this many bytes further on, and says so in `Content-Range`.
    OtherRange(i64),
    /// Moves the window named in `Content-Range` by this many bytes; the body is what was asked for.
    ContentRangeOff(i64),
    /// Adds this to the total in `Content-Range`.
    TotalOff(i64),
    /// Sets a header of the answer.
    SetHeader(String, String),
    /// Leaves a header of the answer out.
    RemoveHeader(String),
    /// Redirects (307) to this URL.
    Redirect(String),
    /// Redirects (307) to the same path and query under this base, such as `http://host:port`.
    RedirectBase(String),
    /// Redirects (307) to the same path with a counter in the query that grows each time.
    RedirectLoop,
    /// Replaces the body by this many blanks.
    HugeBody(u64),
    /// Replaces the body by a token answer whose token has this many bytes.
    HugeToken(usize),
    /// Waits before answering.
    Delay(Duration),
    /// Waits before answering until the gate opens.
    Hold(Gate),
    /// Waits after this many body bytes until the gate opens.
    HoldAt(u64, Gate),
}

impl Fault {
    /// Answers `status` with an OCI error body; headers, body and reason can be added.
    pub fn status(status: u16) -> Canned {
        Canned::new(status)
    }

    /// 429 with `Retry-After` in seconds.
    pub fn too_many_requests(retry_after_seconds: u32) -> Canned {
        Canned::new(429).header("retry-after", &retry_after_seconds.to_string())
    }

    /// A captive portal: 200 and a page of HTML.
    pub fn html() -> Canned {
        Canned::new(200).header("content-type", "text/html").body("<html>Please log in</html>")
    }

    /// Leaves `Docker-Content-Digest` out.
    pub fn without_digest() -> Self {
        Self::RemoveHeader("docker-content-digest".into())
    }

    /// Claims another digest in `Docker-Content-Digest`.
    pub fn lying_digest() -> Self {
        let other = crate::digest::sha256(b"something else");
        Self::SetHeader("docker-content-digest".into(), other)
    }

    /// Claims another `ETag`.
    pub fn etag(value: &str) -> Self {
        Self::SetHeader("etag".into(), value.into())
    }

    /// Sets a header of the answer.
    pub fn header(name: &str, value: &str) -> Self {
        Self::SetHeader(name.into(), value.into())
    }
}

/// A whole answer, given in advance.
#[derive(Clone, Debug)]
pub struct Canned {
    pub(crate) answer: Answer,
}

impl Canned {
    fn new(status: u16) -> Self {
        let code = match status {
            401 => "UNAUTHORIZED",
            403 => "DENIED",
            404 => "NAME_UNKNOWN",
            405 => "UNSUPPORTED",
            429 => "TOOMANYREQUESTS",
            _ => "UNKNOWN",
        };
        Self { answer: Answer::error(status, code, "the testkit was told to answer this") }
    }

    /// Sets a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.answer.set(name, value);
        self
    }

    /// Replaces the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.answer.replace(body.into());
        self
    }

    /// Sets the reason phrase of the status line.
    pub fn reason(mut self, reason: &str) -> Self {
        self.answer.reason = Some(reason.into());
        self
    }
}

impl From<Canned> for Fault {
    fn from(canned: Canned) -> Self {
        Self::Answer(canned)
    }
}

/// A gate that starts closed and holds answers back until a test opens it.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Lets everyone through from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn opened(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

struct RuleState {
    matching: Match,
    fault: Fault,
    considered: AtomicU64,
    hits: AtomicU64,
}

/// A fault in force. Dropping it changes nothing; see [`FakeRegistry::forget`](crate::FakeRegistry::forget).
#[derive(Clone)]
pub struct Rule(Arc<RuleState>);

impl Rule {
    /// How often the fault was applied.
    pub fn hits(&self) -> u64 {
        self.0.hits.load(Ordering::Relaxed)
    }
}

/// The faults in force, in the order they were added.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Vec<Rule>>);

impl Faults {
    pub(crate) fn add(&self, matching: Match, fault: Fault) -> Rule {
        let (considered, hits) = Default::default();
        let rule = Rule(Arc::new(RuleState { matching, fault, considered, hits }));
        self.0.lock().push(rule.clone());
        rule
    }

    pub(crate) fn remove(&self, rule: &Rule) {
        self.0.lock().retain(|held| !Arc::ptr_eq(&held.0, &rule.0));
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }

    /// How often each was applied, in the order they were added.
    pub(crate) fn hits(&self) -> Vec<u64> {
        self.0.lock().iter().map(Rule::hits).collect()
    }

    /// The faults for this request; counts it.
    pub(crate) fn take(&self, request: &Request) -> Vec<Fault> {
        let rules = self.0.lock();
        rules.iter().filter(|rule| rule.applies(request)).map(|rule| rule.0.fault.clone()).collect()
    }
}

impl Rule {
    fn applies(&self, request: &Request) -> bool {
        let state = &*self.0;
        if !state.matching.conditions.iter().all(|condition| condition(request)) {
            return false;
        }
        let turn = state.considered.fetch_add(1, Ordering::Relaxed) + 1;
        let applies = match state.matching.turns {
            Turns::Every => true,
            Turns::First(count) => turn <= count,
            Turns::Nth(n) => turn == n,
            Turns::After(count) => turn > count,
        };
        state.hits.fetch_add(u64::from(applies), Ordering::Relaxed);
        applies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str) -> Request {
        Request { method: method.into(), path: path.into(), ..Request::default() }
    }

    #[test]
    fn turns_count_only_the_requests_that_match() {
        for (matching, expected) in [
            (Match::blobs().first(2), [true, true, false, false]),
            (Match::blobs().nth(2), [false, true, false, false]),
            (Match::blobs().after(1), [false, true, true, true]),
            (Match::blobs(), [true, true, true, true]),
        ] {
            let faults = Faults::default();
            let rule = faults.add(matching, Fault::Drop);
            let applied = expected.map(|_| {
                assert!(faults.take(&request("GET", "/v2/a/manifests/1")).is_empty());
                !faults.take(&request("GET", "/v2/a/blobs/x")).is_empty()
            });
            assert_eq!(applied, expected);
            assert_eq!(rule.hits(), expected.iter().filter(|hit| **hit).count() as u64);
        }
    }

    #[test]
    fn a_removed_rule_applies_no_more() {
        let faults = Faults::default();
        let rule = faults.add(Match::any().method("HEAD"), Fault::Drop);
        assert_eq!(faults.take(&request("HEAD", "/")).len(), 1);
        assert_eq!(faults.take(&request("GET", "/")).len(), 0);
        faults.remove(&rule);
        assert_eq!(faults.take(&request("HEAD", "/")).len(), 0);
    }
}
