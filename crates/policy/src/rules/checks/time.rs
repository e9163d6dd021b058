//! How old an artifact is, and where it was before.

use super::content::config;
use super::{Finding, known};
use crate::rules::Question;
use crate::rules::evaluation::Outcome;
use crate::{NamePattern, Needs};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// What is made later than this from now has a wrong clock.
const FUTURE: SignedDuration = SignedDuration::from_secs(300);
/// Reproducible builds write times long before there were images; such a time says nothing.
const EARLIEST_SECOND: i64 = 631_152_000;

/// Cool-down.
#[derive(Clone, Debug, Default)]
pub struct Age {
    /// Least time since it was made, as it says of itself.
    pub since_published: Option<Duration>,
    /// Least time since this name had it first here.
    pub since_first_seen: Option<Duration>,
    /// Names that need not wait.
    pub except: Vec<NamePattern>,
}

impl Age {
    pub(in crate::rules) fn needs(&self) -> Needs {
        Needs {
            config: self.since_published.is_some(),
            first_seen: self.since_first_seen.is_some(),
            ..Needs::default()
        }
    }

    pub(in crate::rules) fn judge(&self, question: &Question<'_>) -> Finding {
        let name = question.intent.name.as_ref();
        if name.is_some_and(|name| self.except.iter().any(|pattern| pattern.matches(name))) {
            return Finding::pass();
        }
        // What is too young by either is refused, also where the other is not known.
        self.since_made(question).or_worse(self.since_seen(question))
    }

    fn since_made(&self, question: &Question<'_>) -> Finding {
        let Some(wait) = self.since_published else { return Finding::pass() };
        match published(question) {
            Ok(made) => ripens("it was made", made, wait, question.now),
            Err(finding) => finding,
        }
    }

    fn since_seen(&self, question: &Question<'_>) -> Finding {
        let Some(wait) = self.since_first_seen else { return Finding::pass() };
        match known(&question.facts.first_seen, "when it was first seen") {
            Ok(seen) => ripens("it was first seen here", *seen, wait, question.now),
            Err(finding) => finding,
        }
    }
}

/// When an image was made, as far as what it says can be.
pub(in crate::rules) fn published(question: &Question<'_>) -> Result<Timestamp, Finding> {
    let unknown = |reason: &str| {
        Finding::new(Outcome::Unknown, reason, "build it with a true time of creation")
    };
    let made = config(question)?.created;
    let made = made.ok_or_else(|| unknown("the image does not say when it was made"))?;
    if made.as_second() < EARLIEST_SECOND {
        return Err(unknown("the image gives no true time of creation"));
    }
    let latest = question.now.saturating_add(FUTURE).unwrap_or(question.now);
    if made > latest {
        // The moment at which it is no longer in the future.
        let then = made.checked_sub(FUTURE).ok();
        return Err(unknown("the image says that it was made in the future").until(then));
    }
    Ok(made)
}

fn ripens(what: &str, at: Timestamp, wait: Duration, now: Timestamp) -> Finding {
    // What cannot be reckoned with is longer than any artifact is old.
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    let ripe = at.checked_add(wait).unwrap_or(Timestamp::MAX);
    if ripe <= now {
        return Finding::pass();
    }
    let at = seconds(at);
    let hours = wait.as_hours();
    let long = if hours > 0 { format!("{hours}h") } else { format!("{}s", wait.as_secs()) };
    let reason = format!("{what} at {at}, less than {long} ago");
    Finding::refuses(reason, format!("ask again after {}", seconds(ripe))).until(Some(ripe))
}

/// To the second.
fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// That another environment was served it.
#[derive(Clone, Debug)]
pub struct Promotion {
    /// The environment.
    pub admitted_in: String,
    /// How long ago at least.
    pub lasting: Option<Duration>,
}

impl Promotion {
    pub(in crate::rules) fn judge(&self, question: &Question<'_>) -> Finding {
        let admissions = match known(&question.facts.admissions, "where it was before") {
            Ok(admissions) => admissions,
            Err(finding) => return finding,
        };
        let there = &self.admitted_in;
        let Some(admitted) = admissions.by_environment.get(there) else {
            let reason = format!("it was never in {there}");
            return Finding::refuses(reason, format!("deploy it to {there} first"));
        };
        let wait = self.lasting.and_then(|it| SignedDuration::try_from(it).ok());
        let ripe = wait.and_then(|wait| admitted.first.checked_add(wait).ok());
        match ripe.filter(|ripe| *ripe > question.now) {
            Some(ripe) => Finding::refuses(
                format!("it is in {there} since {} only", seconds(admitted.first)),
                format!("ask again after {}", seconds(ripe)),
            )
            .until(Some(ripe)),
            None => Finding::pass(),
        }
    }
}
