//! Stage 7, record: the trail of a request, from its arrival to the last byte of its answer.
//!
//! It is a drop guard, so that a line is written and counted also when the client hangs up, when
//! the answer breaks off, and when a bug ends the task.

use crate::answer::CacheState;
use crate::refusal::Refusal;
use oci::Name;
use policy::{Caller, DecisionId, EnvironmentName};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use telemetry::{
    AccessEntry, AccessLog, CacheStatus, MethodClass, Metrics, Outcome, RequestId, RequestSample,
    Route,
};

/// Where trails are written.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: Option<AccessLog>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailEnd {
    /// All of it was handed to the connection.
    Complete,
    /// Its source failed in the middle; the connection was broken.
    Broken,
}

/// What is noted of one request.
#[derive(Debug)]
pub struct Trail {
    recorder: Arc<Recorder>,
    request_id: RequestId,
    client_request_id: String,
    client: Option<IpAddr>,
    method: String,
    path: String,
    user_agent: String,
    at: SystemTime,
    since: Instant,
    route: Route,
    name: Option<Name>,
    reference: Option<String>,
    upstream: Option<Arc<str>>,
    decision: Option<DecisionId>,
    principal: Option<Arc<str>>,
    environment: Option<EnvironmentName>,
    outcome: Option<Outcome>,
    cache: CacheStatus,
    reason: String,
    status: u16,
    sent_bytes: u64,
    end: Option<TrailEnd>,
}

impl Trail {
    /// A request has arrived. `path` is what the log shows when no repository is named.
    pub(crate) fn begin(
        recorder: Arc<Recorder>,
        request_id: RequestId,
        method: &str,
        path: &str,
        client: Option<IpAddr>,
    ) -> Self {
        Self {
            recorder,
            request_id,
            client_request_id: String::new(),
            client,
            method: cut(method, 16).to_owned(),
            path: cut(path, 512).to_owned(),
            user_agent: String::new(),
            at: SystemTime::now(),
            since: Instant::now(),
            route: Route::Other,
            name: None,
            reference: None,
            upstream: None,
            decision: None,
            principal: None,
            environment: None,
            outcome: None,
            cache: CacheStatus::None,
            reason: String::new(),
            status: 0,
            sent_bytes: 0,
            end: None,
        }
    }

    /// Our id of the request, for `X-Request-Id`.
    pub fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// What the client calls itself and the request; cut to a bounded length.
    pub fn client_said(&mut self, user_agent: &str, request_id: &str) {
        self.user_agent = cut(user_agent, 256).to_owned();
        self.client_request_id = cut(request_id, 128).to_owned();
    }

    /// What part of the surface it is for. The pipeline sets it for the distribution API.
    pub fn set_route(&mut self, route: Route) {
        self.route = route;
    }

    /// What came of it, unless the pipeline said so already.
    pub fn set_outcome(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// Why it was refused or failed, in one line.
    pub fn set_reason(&mut self, reason: &str) {
        self.reason = cut(reason, 512).to_owned();
    }

    /// Who asks, in which setting.
    pub(crate) fn set_caller(&mut self, caller: &Caller) {
        self.principal = Some(caller.principal.shared_key());
        self.environment = Some(caller.setting.environment().clone());
    }

    pub(crate) fn set_decision(&mut self, id: DecisionId) {
        self.decision = Some(id);
    }

    pub(crate) fn set_target(&mut self, name: &Name, reference: Option<String>) {
        self.name = Some(name.clone());
        self.reference = reference;
    }

    pub(crate) fn set_upstream(&mut self, upstream: &Arc<str>) {
        self.upstream = Some(upstream.clone());
    }

    pub(crate) fn set_cache(&mut self, cache: CacheState, outcome: Outcome) {
        self.cache = cache.status;
        self.outcome = Some(outcome);
    }

    /// The name and reference, once they are known.
    pub(crate) fn target(&self) -> Option<String> {
        let name = self.name.as_ref()?;
        Some(match &self.reference {
            Some(reference) => format!("{name} {reference}"),
            None => name.to_string(),
        })
    }

    /// The log names the upstream only where it was asked.
    pub(crate) fn upstream_was_not_asked(&mut self) {
        self.upstream = None;
    }

    pub(crate) fn set_refusal(&mut self, refusal: &Refusal) {
        self.outcome = Some(match refusal {
            Refusal::Denied(_)
            | Refusal::UpstreamDenied(_)
            | Refusal::Unauthorized { .. }
            | Refusal::LoginNeeded(_) => Outcome::Denied,
            Refusal::Absent { .. } | Refusal::NoRepository(_) => Outcome::Absent,
            Refusal::Indeterminate { .. } | Refusal::CannotTell(_) => Outcome::Indeterminate,
            Refusal::Internal(_) => Outcome::Failed,
            Refusal::UploadUnknown => Outcome::Absent,
            Refusal::Incoming(_) => Outcome::Cancelled,
            Refusal::Route(_)
            | Refusal::Query(_)
            | Refusal::Method { .. }
            | Refusal::Invalid { .. }
            | Refusal::TooLarge { .. }
            | Refusal::UploadBusy
            | Refusal::UploadRange { .. }
            | Refusal::Conflict(_)
            | Refusal::Unsupported(_) => Outcome::Invalid,
        });
        match refusal {
            Refusal::Denied(denial) | Refusal::LoginNeeded(denial) => {
                self.decision = Some(denial.id());
            }
            Refusal::CannotTell(cannot) => self.decision = Some(cannot.id()),
            _ => {}
        }
        self.set_reason(&refusal.to_string());
    }

    /// The status of the answer, once its head is made.
    pub fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// Body bytes that were handed to the connection.
    pub fn sent(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
    }

    /// The answer ended. Without this call the client left before its end.
    pub fn finish(&mut self, end: TrailEnd) {
        self.end = Some(end);
    }

    /// How long it has been at work.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    fn final_outcome(&self) -> Outcome {
        match self.end {
            None => Outcome::Cancelled,
            Some(TrailEnd::Broken) => Outcome::Failed,
            Some(TrailEnd::Complete) => self.outcome.unwrap_or(match self.status {
                200..=399 => Outcome::Ok,
                400..=499 => Outcome::Invalid,
                _ => Outcome::Failed,
            }),
        }
    }
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

impl Drop for Trail {
    fn drop(&mut self) {
        let outcome = self.final_outcome();
        let duration = self.since.elapsed();
        self.recorder.metrics.request(&RequestSample {
            method: MethodClass::of(&self.method),
            route: self.route,
            // 499: the client left before there was a status (nginx's convention).
            status: if self.status == 0 { 499 } else { self.status },
            outcome,
            cache: self.cache,
            bytes: self.sent_bytes,
            duration,
        });
        let Some(log) = &self.recorder.access_log else { return };
        let decision = self.decision.map(|id| id.to_string()).unwrap_or_default();
        let name = self.name.as_ref().map(Name::as_str).unwrap_or_default();
        log.write(&AccessEntry {
            time: self.at,
            request_id: self.request_id.as_str(),
            client_request_id: &self.client_request_id,
            client: self.client,
            method: &self.method,
            path: if self.name.is_some() { "" } else { &self.path },
            repository: name,
            reference: self.reference.as_deref().unwrap_or_default(),
            status: if self.status == 0 { 499 } else { self.status },
            bytes: self.sent_bytes,
            outcome: outcome.as_str(),
            upstream: self.upstream.as_deref().unwrap_or_default(),
            duration,
            decision_id: &decision,
            principal: self.principal.as_deref().unwrap_or_default(),
            environment: self.environment.as_ref().map(EnvironmentName::as_str).unwrap_or_default(),
            reason: &self.reason,
            user_agent: &self.user_agent,
        });
    }
}
