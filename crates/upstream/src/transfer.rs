//! The bytes of one blob as they arrive, over as many connections as it takes.

use crate::budget::jittered;
use crate::client::last;
use crate::endpoint::Endpoint;
use crate::failure::{Failure, redacted};
use crate::limits::Slot;
use crate::origin;
use crate::resume::{self, Held, Opened, Target};
use crate::settings::Class;
use crate::upstream::Shared;
use bytes::{Buf, Bytes};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Attempts in a row that bring next to nothing before a transfer is given up.
const FRUITLESS_MAX: u32 = 4;

/// Breaks of one transfer in all.
const BREAKS_MAX: u32 = 64;

/// A connection that brought less before it broke brought nothing.
const PROGRESS_BYTES_MIN: u64 = 64 << 10;

/// Wait before the first attempt to go on; four times as long each further time, jittered.
const RESUME_WAIT: Duration = Duration::from_millis(50);

/// Longest such wait.
const RESUME_WAIT_MAX: Duration = Duration::from_secs(5);

/// What tells whether a blob is still the one that was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// Length of the whole blob.
    pub total_bytes: Option<u64>,
    /// `ETag`, as the upstream gave it.
    pub etag: Option<String>,
}

/// Where a transfer begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// Bytes already held.
    pub offset_bytes: u64,
    /// What the upstream said when they were fetched.
    pub validators: Option<Validators>,
}

/// A blob on its way. It goes on by itself after a break, a stall or a short body; what it gives is
/// gapless and free of repetition. Its digest is for the receiver to check.
pub struct Transfer {
    shared: Arc<Shared>,
    target: Target,
    validators: Validators,
    /// The origin that gave the `ETag` in them.
    etag_by: Option<String>,
    /// Where the next piece begins.
    offset: u64,
    source: Source,
    /// Who is sending, or sent last.
    endpoint: Arc<Endpoint>,
    shown: String,
    /// Where the current connection began.
    connected_at: u64,
    fruitless: u32,
    breaks: u32,
}

enum Source {
    Body(Body),
    /// Kept here so that whoever stops waiting for a piece does not stop the attempt.
    Reconnecting(Pin<Box<dyn Future<Output = Result<Opened, Failure>> + Send>>),
    Done,
    Failed(Failure),
}

struct Body {
    response: reqwest::Response,
    slot: Slot,
    skip_bytes: u64,
    /// How long someone has waited for the next byte.
    waited: Duration,
}

/// What came of waiting for bytes.
enum Piece {
    Bytes(Bytes),
    End,
    Broken(String),
}

/// Opens a blob; nothing is sent for one that is already whole.
pub(crate) async fn start(
    shared: Arc<Shared>,
    target: Target,
    from: Resume,
) -> Result<Transfer, Failure> {
    let offset = from.offset_bytes;
    let known = from.validators.unwrap_or_default();
    if offset > 0 && known.total_bytes == Some(offset) {
        let Some(endpoint) = shared.endpoints.first().cloned() else {
            return Err(Failure::indeterminate("no endpoint to ask"));
        };
        return Ok(Transfer::new(shared, target, known, offset, Source::Done, endpoint));
    }
    let held = Held { offset_bytes: offset, validators: known.clone(), etag_by: None };
    let opened = resume::open(&shared, &target, &held, 0, None).await?;
    let endpoint = opened.endpoint.clone();
    let mut transfer = Transfer::new(shared, target, known, offset, Source::Done, endpoint);
    transfer.adopt(opened);
    Ok(transfer)
}

impl Transfer {
    fn new(
        shared: Arc<Shared>,
        target: Target,
        validators: Validators,
        offset: u64,
        source: Source,
        endpoint: Arc<Endpoint>,
    ) -> Self {
        let shown = origin::shown(&endpoint.url);
        Self {
            shared,
            target,
            validators,
            etag_by: None,
            offset,
            source,
            endpoint,
            shown,
            connected_at: offset,
            fruitless: 0,
            breaks: 0,
        }
    }

    /// Length of the whole blob in bytes, where the upstream told.
    pub fn total_bytes(&self) -> Option<u64> {
        self.validators.total_bytes
    }

    /// What to come back with after a break.
    pub fn validators(&self) -> &Validators {
        &self.validators
    }

    /// Where the next piece begins in the blob.
    pub fn offset_bytes(&self) -> u64 {
        self.offset
    }

    /// Which endpoint is sending, or sent last: `scheme://host[:port]`.
    pub fn endpoint(&self) -> &str {
        &self.shown
    }

    /// The next piece, as it arrived; `None` when the upstream has sent all. May be dropped and called
    /// again at any point: no byte is lost, no attempt begun anew, and the stall clock runs on.
    ///
    /// # Errors
    /// What stands in the way after every attempt; the same again when called again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let stall = self.shared.settings.timeouts.stall;
        loop {
            let piece = match &mut self.source {
                Source::Done => return Ok(None),
                Source::Failed(failure) => return Err(failure.clone()),
                Source::Body(body) => body.piece(stall).await,
                Source::Reconnecting(attempt) => {
                    let result = attempt.as_mut().await;
                    self.reconnected(result);
                    continue;
                }
            };
            match piece {
                Piece::Bytes(bytes) => {
                    if let Some(bytes) = self.take(bytes) {
                        return Ok(Some(bytes));
                    }
                }
                Piece::End => self.ended(),
                // Nothing is missing but the end of the message.
                Piece::Broken(_) if self.is_whole() => self.source = Source::Done,
                Piece::Broken(what) => self.broke(&what),
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.validators.total_bytes == Some(self.offset)
    }

    /// Counts arrived bytes, and leaves out those that are already held.
    fn take(&mut self, mut bytes: Bytes) -> Option<Bytes> {
        self.shared.metrics.received(bytes.len() as u64);
        if let Source::Body(body) = &mut self.source {
            let skipped = body.skip_bytes.min(bytes.len() as u64);
            body.skip_bytes -= skipped;
            // At most the length of `bytes`.
            bytes.advance(skipped as usize);
        }
        if bytes.is_empty() {
            return None;
        }
        let after = self.offset + bytes.len() as u64;
        if let Some(total) = self.validators.total_bytes
            && after > total
        {
            self.broke(&format!("more than the announced {total} bytes came"));
            return None;
        }
        self.offset = after;
        Some(bytes)
    }

    fn ended(&mut self) {
        let is_skipping = matches!(&self.source, Source::Body(body) if body.skip_bytes > 0);
        match self.validators.total_bytes {
            Some(total) if self.offset < total => {
                self.broke(&format!("the body ended before byte {total}"));
            }
            // With no length at all, an end is an end: the digest is the receiver's to check.
            _ if is_skipping => self.broke("the body ended before where it had come to"),
            _ => self.source = Source::Done,
        }
    }

    fn broke(&mut self, what: &str) {
        let text = format!(
            "{}: blob {} broke off at byte {}: {what}",
            self.endpoint.label(),
            self.target.digest,
            self.offset
        );
        let failure = Failure::transient(text);
        tracing::debug!(reason = %failure, "transfer broke off");
        self.endpoint.health.broke_off(&failure);
        let brought = self.offset - self.connected_at;
        self.fruitless = if brought >= PROGRESS_BYTES_MIN { 0 } else { self.fruitless + 1 };
        // What sent something goes on from there most cheaply; what sent nothing comes last.
        let first = self.endpoint.index + usize::from(brought == 0);
        self.go_on(failure, first);
    }

    fn reconnected(&mut self, result: Result<Opened, Failure>) {
        match result {
            Ok(opened) => self.adopt(opened),
            Err(failure) if !failure.is_indeterminate() || failure.is_rate_limit() => {
                self.source = Source::Failed(failure);
            }
            Err(failure) => {
                // A failure that took its time is not worth as many attempts as a quick one.
                self.fruitless += if failure.is_transient() { 1 } else { 2 };
                self.go_on(failure, self.endpoint.index);
            }
        }
    }

    /// Begins another attempt, unless there were enough.
    fn go_on(&mut self, failure: Failure, first: usize) {
        self.breaks += 1;
        // More than all came: going on from the end would bring nothing better.
        let is_enough =
            self.is_whole() || self.fruitless >= FRUITLESS_MAX || self.breaks >= BREAKS_MAX;
        // What brought something does not multiply the load by going on; the rest has to fit in
        // the budget.
        let may_retry = self.fruitless == 0 || self.shared.retries.withdraw();
        if is_enough || !may_retry {
            self.source = Source::Failed(failure);
            return;
        }
        let wait = RESUME_WAIT * 4u32.pow(self.fruitless.min(6));
        let wait = jittered(wait.min(RESUME_WAIT_MAX));
        let shared = self.shared.clone();
        // Someone began it, so it is no background work any more.
        let target = Target { class: Class::Waiting, ..self.target.clone() };
        let held = Held {
            offset_bytes: self.offset,
            validators: self.validators.clone(),
            etag_by: self.etag_by.clone(),
        };
        let slot = match std::mem::replace(&mut self.source, Source::Done) {
            Source::Body(body) => Some(body.slot),
            _ => None,
        };
        self.source = Source::Reconnecting(Box::pin(async move {
            tokio::time::sleep(wait).await;
            resume::open(&shared, &target, &held, first, slot).await
        }));
    }

    fn adopt(&mut self, opened: Opened) {
        let Opened { endpoint, response, slot, validators, skip_bytes, sent_by } = opened;
        self.etag_by = Some(sent_by);
        self.shown = origin::shown(&endpoint.url);
        self.endpoint = endpoint;
        self.validators = validators;
        self.connected_at = self.offset;
        self.source = Source::Body(Body { response, slot, skip_bytes, waited: Duration::ZERO });
    }
}

impl Body {
    /// The next bytes, or why there are none. Time counts only while someone waits, however often
    /// they stop and come back: a slow reader is no stall.
    async fn piece(&mut self, stall: Duration) -> Piece {
        let left = stall.saturating_sub(self.waited);
        let clock = Clock { waited: &mut self.waited, since: Instant::now() };
        let arrived = tokio::time::timeout(left, self.response.chunk()).await;
        drop(clock);
        match arrived {
            Ok(Ok(Some(bytes))) => {
                self.waited = Duration::ZERO;
                Piece::Bytes(bytes)
            }
            Ok(Ok(None)) => Piece::End,
            Ok(Err(error)) => Piece::Broken(redacted(&last(&error), 160)),
            Err(_) => Piece::Broken(format!("no byte came for {stall:?}")),
        }
    }
}

/// Adds the time it lives to what was waited.
struct Clock<'a> {
    waited: &'a mut Duration,
    since: Instant,
}

impl Drop for Clock<'_> {
    fn drop(&mut self) {
        *self.waited += self.since.elapsed();
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("target", &self.target)
            .field("validators", &self.validators)
            .field("offset", &self.offset)
            .field("endpoint", &self.shown)
            .finish_non_exhaustive()
    }
}
