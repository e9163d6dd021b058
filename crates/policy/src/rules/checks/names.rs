//! Where an artifact comes from: its name and its upstream.

use super::{Finding, some};
use crate::rules::Question;
use crate::{NamePattern, TextPattern};

/// What has to fit, and what must not. An empty `allow` allows everything.
#[derive(Clone, Debug, Default)]
pub struct Lists<P> {
    /// Any of these, unless there are none.
    pub allow: Vec<P>,
    /// None of these.
    pub deny: Vec<P>,
}

pub(in crate::rules) fn repositories(
    lists: &Lists<NamePattern>,
    question: &Question<'_>,
) -> Finding {
    let Some(name) = &question.intent.name else { return Finding::not_applicable() };
    if let Some(pattern) = lists.deny.iter().find(|pattern| pattern.matches(name)) {
        let reason = format!("{name} fits {}, which is not allowed", pattern.as_str());
        return Finding::refuses(reason, "use another repository");
    }
    if lists.allow.is_empty() || lists.allow.iter().any(|pattern| pattern.matches(name)) {
        return Finding::pass();
    }
    let allowed = some(lists.allow.iter().map(NamePattern::as_str));
    Finding::refuses(
        format!("{name} is in none of the allowed repositories"),
        format!("use {allowed}"),
    )
}

pub(in crate::rules) fn upstreams(lists: &Lists<TextPattern>, question: &Question<'_>) -> Finding {
    let Some(upstream) = question.facts.upstream.as_deref() else { return Finding::pass() };
    if lists.deny.iter().any(|pattern| pattern.matches(upstream)) {
        let reason = format!("it comes from upstream {upstream}, which is not allowed");
        return Finding::refuses(reason, "use another upstream");
    }
    if lists.allow.is_empty() || lists.allow.iter().any(|pattern| pattern.matches(upstream)) {
        return Finding::pass();
    }
    let allowed = some(lists.allow.iter().map(TextPattern::as_str));
    Finding::refuses(format!("it comes from upstream {upstream}"), format!("use one of {allowed}"))
}
