//! Tags: of the request, and of the artifact.

use super::{Finding, known, some};
use crate::cel::VersionRange;
use crate::rules::Question;
use crate::{ArtifactKind, TagPattern};
use oci::Tag;

/// What tags have to be.
#[derive(Clone, Debug, Default)]
pub struct Tags {
    /// Requests by such a tag are refused.
    pub deny: Vec<TagPattern>,
    /// Requests by any tag are refused.
    pub require_digest: bool,
    /// Some tag known to name the artifact has to fit; empty: any.
    pub allow: Vec<TagPattern>,
    /// Some tag known to name the artifact has to be a version in this range.
    pub semver: Option<VersionRange>,
}

impl Tags {
    /// Whether it needs the tags that name the artifact.
    pub(in crate::rules) fn judges_artifacts(&self) -> bool {
        !self.allow.is_empty() || self.semver.is_some()
    }

    pub(in crate::rules) fn judge(&self, question: &Question<'_>) -> Finding {
        let asked = question.intent.object.tag();
        if is_evidence(question, asked) {
            return Finding::not_applicable();
        }
        if let Some(refused) = asked.and_then(|tag| self.refused(tag)) {
            return refused;
        }
        if self.judges_artifacts() { self.of_artifact(question, asked) } else { Finding::pass() }
    }

    pub(in crate::rules) fn judge_intent(&self, question: &Question<'_>) -> Option<Finding> {
        let tag = question.intent.object.tag()?;
        // What stands under such a tag decides whether the rule speaks of it.
        if tag.evidence_of().is_some() {
            return None;
        }
        self.refused(tag)
    }

    /// What is said of a request by a tag.
    fn refused(&self, tag: &Tag) -> Option<Finding> {
        if let Some(pattern) = self.deny.iter().find(|pattern| pattern.matches(tag)) {
            let reason = match pattern.as_str() == tag.as_str() {
                true => format!("tag {tag} is not allowed"),
                false => format!("tag {tag} fits {}, which is not allowed", pattern.as_str()),
            };
            return Some(Finding::refuses(reason, "ask by digest, or by another tag"));
        }
        self.require_digest
            .then(|| Finding::refuses(format!("it is asked for by tag {tag}"), "ask by digest"))
    }

    fn of_artifact(&self, question: &Question<'_>, asked: Option<&Tag>) -> Finding {
        let fits = |tag: &Tag| {
            (self.allow.is_empty() || self.allow.iter().any(|pattern| pattern.matches(tag)))
                && self.semver.as_ref().is_none_or(|range| range.contains(tag.as_str()))
        };
        // The tag that it is asked by names it, whatever else is known.
        if asked.is_some_and(fits) {
            return Finding::pass();
        }
        let tags = match known(&question.facts.tags, "which tags name it") {
            Ok(tags) => tags,
            Err(finding) => return finding,
        };
        if tags.iter().any(fits) {
            return Finding::pass();
        }
        let wanted = match (&self.allow[..], &self.semver) {
            ([], Some(range)) => format!("a version in {}", range.as_str()),
            (patterns, None) => some(patterns.iter().map(TagPattern::as_str)),
            (patterns, Some(range)) => {
                format!("{} in {}", some(patterns.iter().map(TagPattern::as_str)), range.as_str())
            }
        };
        let reason = match tags.len() {
            0 => "no tag is known to name it".to_owned(),
            _ => format!("its tags are {}", some(tags.iter().map(Tag::as_str))),
        };
        Finding::refuses(reason, format!("use a tag such as {wanted}"))
    }
}

/// Evidence stands under tags made of its subject's digest, or under none. Only what is evidence by its
/// bytes, or a list of it, is let pass: an image under such a tag is an image.
fn is_evidence(question: &Question<'_>, asked: Option<&Tag>) -> bool {
    let Some(manifest) = &question.facts.manifest else { return false };
    match (manifest.kind, asked) {
        (ArtifactKind::Evidence, None) => true,
        (ArtifactKind::Evidence, Some(tag)) => tag.evidence_of().is_some(),
        (ArtifactKind::Index, Some(tag)) => manifest.lists_referrers && tag.evidence_of().is_some(),
        _ => false,
    }
}
