//! Why an upstream did not give what it was asked for: the three outcomes besides "found", with one
//! line for people that never holds a credential or a query string.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The outcomes besides "found".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The upstream says, with authority, that it does not have it.
    Absent,
    /// The upstream refuses to us, after everything we could show.
    Denied,
    /// Nothing is known: an outage, a limit, an answer that cannot be trusted.
    Indeterminate,
    /// A resumed blob is not the one that was begun: another length or `ETag`.
    Changed,
}

/// Trouble of our own, before any registry is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Whoever asks may hear it.
    Told(String),
    /// It names a path of this machine: for the log and for operators.
    Inner(String),
}

impl Trouble {
    /// All of it.
    pub(crate) fn detail(&self) -> &str {
        let (Self::Told(text) | Self::Inner(text)) = self;
        text
    }
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self::Told(text)
    }
}

/// An upstream's failure to give what was asked. Cheap to clone, so that all who wait can have it.
#[derive(Clone)]
pub struct Failure(Arc<Told>);

#[derive(Clone)]
struct Told {
    kind: FailureKind,
    reason: String,
    /// For operators, where it says more than `reason`.
    detail: Option<String>,
    retry_after: Option<Duration>,
    is_rate_limit: bool,
    is_transient: bool,
    is_blameless: bool,
}

impl Failure {
    /// Reasons are one line of at most this many bytes; they end up in status lines and logs.
    const REASON_BYTES_MAX: usize = 400;

    fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        let reason = one_line(&reason.into(), Self::REASON_BYTES_MAX);
        Self(Arc::new(Told {
            kind,
            reason,
            detail: None,
            retry_after: None,
            is_rate_limit: false,
            is_transient: false,
            is_blameless: false,
        }))
    }

    pub(crate) fn absent(reason: impl Into<String>) -> Self {
        Self::new(FailureKind::Absent, reason)
    }

    pub(crate) fn denied(reason: impl Into<String>) -> Self {
        Self::new(FailureKind::Denied, reason)
    }

    pub(crate) fn indeterminate(reason: impl Into<String>) -> Self {
        Self::new(FailureKind::Indeterminate, reason)
    }

    pub(crate) fn changed(reason: impl Into<String>) -> Self {
        Self::new(FailureKind::Changed, reason)
    }

    /// Indeterminate, and quick to try again: worth a second attempt on the same endpoint.
    pub(crate) fn transient(reason: impl Into<String>) -> Self {
        Self::indeterminate(reason).edit(|told| told.is_transient = true)
    }

    /// Marks it as saying nothing of the endpoint's health: it is about our side, or about one thing
    /// that is wrong while the endpoint is well. The circuit breaker does not count it.
    pub(crate) fn blameless(self) -> Self {
        self.edit(|told| told.is_blameless = true)
    }

    /// Indeterminate because of a limit, the upstream's or ours.
    pub(crate) fn limited(reason: impl Into<String>, retry_after: Duration) -> Self {
        Self::indeterminate(reason).edit(|told| {
            told.retry_after = Some(retry_after);
            told.is_rate_limit = true;
        })
    }

    pub(crate) fn with_retry_after(self, retry_after: Duration) -> Self {
        self.edit(|told| told.retry_after = Some(retry_after))
    }

    /// The same failure, told with more words.
    pub(crate) fn told_as(self, reason: impl Into<String>) -> Self {
        let reason = one_line(&reason.into(), Self::REASON_BYTES_MAX);
        self.edit(|told| told.reason = reason)
    }

    /// What operators hear instead of the reason.
    pub(crate) fn with_detail(self, detail: impl Into<String>) -> Self {
        let detail = one_line(&detail.into(), Self::REASON_BYTES_MAX);
        self.edit(|told| told.detail = Some(detail))
    }

    fn edit(mut self, change: impl FnOnce(&mut Told)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Which outcome it is.
    pub fn kind(&self) -> FailureKind {
        self.0.kind
    }

    /// One line for people: names the upstream, the endpoint's host and what happened.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The same for operators: it may name files of this machine.
    pub(crate) fn detail(&self) -> &str {
        self.0.detail.as_deref().unwrap_or(&self.0.reason)
    }

    /// When asking again makes sense, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether a rate limit stands in the way.
    pub fn is_rate_limit(&self) -> bool {
        self.0.is_rate_limit
    }

    pub(crate) fn is_indeterminate(&self) -> bool {
        self.0.kind == FailureKind::Indeterminate
    }

    pub(crate) fn is_transient(&self) -> bool {
        self.0.is_transient
    }

    pub(crate) fn is_blameless(&self) -> bool {
        self.0.is_blameless
    }

    pub(crate) fn label(&self) -> telemetry::UpstreamOutcome {
        match self.0.kind {
            FailureKind::Absent => telemetry::UpstreamOutcome::Absent,
            FailureKind::Denied => telemetry::UpstreamOutcome::Denied,
            FailureKind::Indeterminate | FailureKind::Changed => {
                telemetry::UpstreamOutcome::Indeterminate
            }
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("kind", &self.0.kind)
            .field("reason", &self.0.reason)
            .field("retry_after", &self.0.retry_after)
            .field("is_rate_limit", &self.0.is_rate_limit)
            .finish()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.reason)
    }
}

impl std::error::Error for Failure {}

/// A line that others wrote, bounded, without anything that could be a secret: runs of more than 20
/// characters that tokens and keys are made of are left out.
pub(crate) fn redacted(text: &str, bytes_max: usize) -> String {
    let is_secret = |word: &str| {
        word.len() > 20
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=_-.~%".contains(&b))
            && word.bytes().any(|b| b.is_ascii_digit())
    };
    let line = one_line(text, bytes_max * 2);
    let between = |c: char| c.is_whitespace() || "\"',;:&?=(){}[]<>".contains(c);
    let words = line.split_inclusive(between).map(|piece| {
        let word = piece.trim_end_matches(between);
        if is_secret(word) { format!("…{}", &piece[word.len()..]) } else { piece.to_owned() }
    });
    one_line(words.collect::<String>().trim(), bytes_max)
}

/// `text` without control characters, cut to `bytes_max` bytes at a character.
pub(crate) fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line = String::new();
    for character in text.chars() {
        let shown = if character.is_control() { ' ' } else { character };
        if line.len() + shown.len_utf8() > bytes_max {
            break;
        }
        line.push(shown);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_bounded_line() {
        let failure = Failure::denied(format!("a\r\nb {}", "é".repeat(1000)));
        assert!(failure.reason().starts_with("a  b é"));
        assert!(failure.reason().len() <= Failure::REASON_BYTES_MAX);
    }

    #[test]
    fn what_others_wrote_is_kept_but_for_secrets() {
        assert_eq!(redacted("You have reached your limit\n", 100), "You have reached your limit");
        let told =
            redacted("token=eyJhbGciOiJSUzI1NiIsImtpZCI6Ik for me; AKIAIOSFODNN7EXAMPLE0", 100);
        assert_eq!(told, "token=… for me; …");
        assert!(redacted(&"x ".repeat(500), 50).len() <= 50);
    }

    #[test]
    fn changing_a_copy_leaves_the_other_alone() {
        let first = Failure::transient("x");
        let second = first.clone().with_retry_after(Duration::from_secs(1));
        assert_eq!(first.retry_after(), None);
        assert_eq!(second.retry_after(), Some(Duration::from_secs(1)));
        assert!(second.is_transient() && !second.is_rate_limit());
    }
}
