//! Blocks: what nobody may have, whatever else is said of it.
//!
//! A block outranks waivers, dates, what runs already and the posture of the plane: it is for the day on which
//! something turns out to be poisoned.

use super::check::Finding;
use super::{Outcome, Question};
use crate::{Action, Fact, Intent, NamePattern, Needs, Object, TagPattern, TextPattern};
use jiff::Timestamp;
use oci::{Digest, Name, Reference, Tag};
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

/// Whether a block is about an artifact.
enum Blocked {
    No,
    Yes,
    /// It would be, and one fact could not be found out.
    CannotTell(Finding),
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
        match self.blocks(question) {
            Blocked::No => None,
            Blocked::Yes => Some(self.finding()),
            Blocked::CannotTell(finding) => Some(finding),
        }
    }

    /// What the question alone, before anything is asked of anybody, is enough for.
    pub(super) fn judge_intent(&self, question: &Question<'_>) -> Option<Finding> {
        let by_digest = self.digests.is_empty()
            || question.digest().is_some_and(|digest| self.digests.contains(&digest));
        let by_tag =
            self.tags.is_empty() || asked_tag(question).is_some_and(|it| self.fits_tag(it));
        let is_enough = self.may_concern(question.intent)
            && self.first_seen_since.is_none()
            && by_digest
            && by_tag
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

    fn blocks(&self, question: &Question<'_>) -> Blocked {
        if !self.may_concern(question.intent) || !self.fits_upstream(question) {
            return Blocked::No;
        }
        if !self.fits_digest(question) {
            return match &question.facts.parents {
                Fact::Failed { why, retry_after } => self.cannot_tell(why, *retry_after),
                _ => Blocked::No,
            };
        }
        if let Some(since) = self.first_seen_since {
            match &question.facts.first_seen {
                Fact::Known(at) if *at < since => return Blocked::No,
                // What nobody has seen is seen now.
                Fact::Known(_) | Fact::Unknown(_) => {}
                Fact::Failed { why, retry_after } => {
                    return self.cannot_tell(why, *retry_after);
                }
            }
        }
        if self.tags.is_empty() || asked_tag(question).is_some_and(|tag| self.fits_tag(tag)) {
            return Blocked::Yes;
        }
        match &question.facts.any_tags {
            Fact::Known(tags) if tags.iter().any(|tag| self.fits_tag(tag)) => Blocked::Yes,
            Fact::Known(_) | Fact::Unknown(_) => Blocked::No,
            Fact::Failed { why, retry_after } => self.cannot_tell(why, *retry_after),
        }
    }

    fn cannot_tell(&self, why: &str, retry_after: Option<std::time::Duration>) -> Blocked {
        let reason = format!("whether it is blocked is not known: {why}");
        let outcome = Outcome::Failed { retry_after };
        Blocked::CannotTell(Finding::new(outcome, reason, "ask again"))
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
        self.repositories.is_empty()
            || name.is_some_and(|name| self.repositories.iter().any(|it| it.matches(name)))
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

fn asked_tag<'q>(question: &Question<'q>) -> Option<&'q Tag> {
    match &question.intent.object {
        Object::Manifest(Reference::Tag(tag)) => Some(tag),
        _ => None,
    }
}
