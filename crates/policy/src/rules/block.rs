//! Blocks: what nobody may have, whatever else is said of it.
//!
//! A block outranks waivers, dates, what runs already and the posture of the plane: it is for the day on which
//! something turns out to be poisoned.

use super::check::Finding;
use super::{Outcome, Question};
use crate::{Action, Fact, Intent, NamePattern, Needs, TagPattern, TextPattern};
use jiff::Timestamp;
use oci::{Digest, Name, Tag};
use std::sync::Arc;

/// The name of its one rule, in refusals and records.
const RULE: &str = "block";

/// One `Block`. What is given must fit, each by any of its entries.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its name.
    pub name: Arc<str>,
    /// Manifests and blobs by digest; empty: any.
    pub digests: Vec<Digest>,
    /// Canonical names; empty: any.
    pub repositories: Vec<NamePattern>,
    /// Tags that it is asked by, or that are known to name it; empty: any.
    pub tags: Vec<TagPattern>,
    /// Upstreams that it comes from; empty: any, and what is hosted.
    pub upstreams: Vec<TextPattern>,
    /// Only what its name had for the first time at this moment or later.
    pub first_seen_since: Option<Timestamp>,
    /// Why.
    pub reason: Arc<str>,
    /// Who is to be asked.
    pub owner: Option<Arc<str>>,
}

impl Block {
    /// The name of the rule that refuses.
    pub(crate) fn rule() -> Arc<str> {
        RULE.into()
    }

    /// Whether it could be about this, whatever the artifact turns out to be.
    pub(super) fn may_concern(&self, intent: &Intent) -> bool {
        let is_pull_or_push = matches!(intent.action, Action::Pull | Action::Push);
        is_pull_or_push && self.fits_name(intent.name.as_ref())
    }

    /// Which facts it needs.
    pub(super) fn needs(&self) -> Needs {
        Needs {
            tags: !self.tags.is_empty(),
            parents: !self.digests.is_empty(),
            first_seen: self.first_seen_since.is_some(),
            ..Needs::default()
        }
    }

    /// What it finds in an artifact; `None`: it is about another.
    pub(super) fn judge(&self, question: &Question<'_>) -> Option<Finding> {
        if !self.may_concern(question.intent) || !self.fits_upstream(question) {
            return None;
        }
        if !self.fits_digest(question) {
            return failed(&question.facts.parents);
        }
        match (self.first_seen_since, &question.facts.first_seen) {
            (Some(since), Fact::Known(at)) if *at < since => return None,
            (Some(_), Fact::Failed { .. }) => return failed(&question.facts.first_seen),
            // What nobody has seen is seen now.
            _ => {}
        }
        if self.fits_asked_tag(question) {
            return Some(self.finding());
        }
        match &question.facts.any_tags {
            Fact::Known(tags) if tags.iter().any(|tag| self.fits_tag(tag)) => Some(self.finding()),
            tags => failed(tags),
        }
    }

    /// What the question alone, before anything is asked of anybody, is enough for.
    pub(super) fn judge_intent(&self, question: &Question<'_>) -> Option<Finding> {
        let is_enough = self.may_concern(question.intent)
            && self.first_seen_since.is_none()
            && self.fits_digest(question)
            && self.fits_asked_tag(question)
            && self.fits_upstream(question);
        is_enough.then(|| self.finding())
    }

    /// Whether bytes under a name are blocked by what is known without asking: by digest, or with the
    /// whole name. `digests`: the blob, and the manifest that speaks for it.
    pub(super) fn cuts(&self, name: Option<&Name>, digests: &[Digest]) -> bool {
        let is_simple =
            self.tags.is_empty() && self.upstreams.is_empty() && self.first_seen_since.is_none();
        let fits = self.digests.is_empty() || self.digests.iter().any(|it| digests.contains(it));
        is_simple && fits && self.fits_name(name)
    }

    /// Whether more than [`Self::cuts`] knows is needed to say what it is about.
    pub(super) fn needs_facts(&self) -> bool {
        !self.tags.is_empty() || !self.upstreams.is_empty() || self.first_seen_since.is_some()
    }

    /// The refusal.
    pub(crate) fn finding(&self) -> Finding {
        let remedy = match &self.owner {
            Some(owner) => format!("use another; {owner} knows more"),
            None => "use another".to_owned(),
        };
        Finding::refuses(format!("it is blocked: {}", self.reason), remedy)
    }

    /// By its own digest, or as a part of nothing but indexes that are blocked: who has the index already
    /// asks for its images alone.
    fn fits_digest(&self, question: &Question<'_>) -> bool {
        let is_one = |digest: &Digest| self.digests.contains(digest);
        let is_part = || match &question.facts.parents {
            Fact::Known(parents) => !parents.is_empty() && parents.iter().all(is_one),
            Fact::Unknown(_) | Fact::Failed { .. } => false,
        };
        self.digests.is_empty() || question.digest().as_ref().is_some_and(is_one) || is_part()
    }

    fn fits_name(&self, name: Option<&Name>) -> bool {
        NamePattern::any_fits(&self.repositories, name)
    }

    /// By the tag that it is asked by, or whatever that is.
    fn fits_asked_tag(&self, question: &Question<'_>) -> bool {
        let asked = question.intent.object.tag();
        self.tags.is_empty() || asked.is_some_and(|tag| self.fits_tag(tag))
    }

    fn fits_tag(&self, tag: &Tag) -> bool {
        self.tags.iter().any(|pattern| pattern.matches(tag))
    }

    fn fits_upstream(&self, question: &Question<'_>) -> bool {
        let upstream = question.facts.upstream.as_deref();
        self.upstreams.is_empty()
            || upstream.is_some_and(|it| self.upstreams.iter().any(|pattern| pattern.matches(it)))
    }
}

/// What a fact that could not be found out makes of a block that needs it. One that is known, and does not
/// fit, or that nobody gathers, makes nothing of it.
fn failed<T>(fact: &Fact<T>) -> Option<Finding> {
    let Fact::Failed { why, retry_after } = fact else { return None };
    let reason = format!("whether it is blocked is not known: {why}");
    let outcome = Outcome::Failed { retry_after: *retry_after };
    Some(Finding::new(outcome, reason, "ask again"))
}
