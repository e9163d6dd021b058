//! Waivers: for some artifacts, somewhere and until a day, some rules do not refuse.

use super::{ArtifactPolicy, CompiledRule, Question};
use crate::{NamePattern, Object, TextPattern};
use jiff::Timestamp;
use oci::Digest;
use std::sync::Arc;

/// One `Waiver`. What is given must fit, each by any of its entries.
#[derive(Clone, Debug)]
pub struct Waiver {
    /// Its name.
    pub name: Arc<str>,
    /// Artifacts by digest; empty: any.
    pub digests: Vec<Digest>,
    /// Canonical names; empty: any.
    pub repositories: Vec<NamePattern>,
    /// Rules as `policy/rule`. Empty: none, and the waiver is about vulnerabilities alone.
    pub rules: Vec<TextPattern>,
    /// Vulnerabilities that rules about vulnerabilities overlook.
    pub vulnerabilities: Vec<Arc<str>>,
    /// Environments; empty: any.
    pub environments: Vec<TextPattern>,
    /// The first moment at which it holds no more.
    pub expires: Timestamp,
    /// Why.
    pub reason: Arc<str>,
    /// Who asked for it.
    pub requested_by: Arc<str>,
    /// Who let it.
    pub approved_by: Arc<str>,
}

/// Whether a waiver is about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Covers {
    No,
    /// If the digest, which is not known yet, is one of its.
    Perhaps,
    Yes,
}

impl Waiver {
    /// Whether it speaks of a refusal of this rule. Of several environments that have a say, it must
    /// fit each that the policy speaks of: a wish for a stricter one gets no laxer answer.
    pub(super) fn covers(
        &self,
        policy: &ArtifactPolicy,
        rule: &CompiledRule,
        question: &Question<'_>,
    ) -> Covers {
        if question.now >= self.expires || self.rules.is_empty() {
            return Covers::No;
        }
        let named = format!("{}/{}", policy.name, rule.name);
        let fits =
            |patterns: &[TextPattern], text: &str| patterns.iter().any(|it| it.matches(text));
        let is_there = self.environments.is_empty()
            || policy
                .matches
                .environments_of(&question.caller.setting)
                .all(|it| fits(&self.environments, it.as_str()));
        let is_named = NamePattern::any_fits(&self.repositories, question.intent.name.as_ref());
        if !fits(&self.rules, &named) || !is_there || !is_named {
            return Covers::No;
        }
        match question.digest() {
            _ if self.digests.is_empty() => Covers::Yes,
            // A blob is waived with a manifest that speaks for it, which is judged next.
            _ if matches!(question.intent.object, Object::Blob(_)) => Covers::Perhaps,
            Some(digest) if self.digests.contains(&digest) => Covers::Yes,
            Some(_) => Covers::No,
            None => Covers::Perhaps,
        }
    }
}
