//! Which rules stand between a reference and its pull, and which of them does so alone.

use super::from::host;
use plane::CheckResult;
use std::collections::BTreeMap;

/// How the plane says that it has no repository for a name.
const ELSEWHERE: &str = "no repository of this plane is named ";

/// What an answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Refused,
    Unknown,
    Elsewhere,
    Warned,
    Allowed,
}

impl Class {
    pub(super) fn of(result: &CheckResult) -> Self {
        match result.verdict.as_str() {
            "Deny" => Self::Refused,
            "Allow" => Self::Allowed,
            "Warn" => Self::Warned,
            _ if result.message.starts_with(ELSEWHERE) => Self::Elsewhere,
            _ => Self::Unknown,
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unknown => "cannot tell",
            Self::Elsewhere => "not behind this plane",
            Self::Warned => "warned",
            Self::Allowed => "allowed",
        }
    }
}

/// A rule of a policy, or what else there is in the way: its policy is empty then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rule {
    pub(super) policy: String,
    pub(super) rule: String,
}

impl Rule {
    fn new(policy: &str, rule: &str) -> Self {
        Self { policy: policy.to_owned(), rule: rule.to_owned() }
    }

    /// `policy/rule`.
    pub(super) fn title(&self) -> String {
        match (self.policy.as_str(), self.rule.as_str()) {
            ("", rule) => rule.to_owned(),
            (policy, "") => policy.to_owned(),
            (policy, rule) => format!("{policy}/{rule}"),
        }
    }
}

/// One of the reasons for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) remedy: String,
    /// It is the only one in the way.
    pub(super) is_alone: bool,
    /// Other rules were not asked: the request was refused before anything was looked at.
    pub(super) is_first_of_more: bool,
}

/// The reasons for an answer that is not a plain yes, by rule.
pub(super) fn of(result: &CheckResult) -> BTreeMap<Rule, Reason> {
    let class = Class::of(result);
    match class {
        Class::Allowed => BTreeMap::new(),
        Class::Elsewhere => one(Rule::new("", host(&result.reference)), String::new(), true),
        Class::Warned => warnings(result),
        Class::Refused | Class::Unknown => {
            let wanted = if class == Class::Refused { "Refuse" } else { "CannotTell" };
            blockers(result, wanted)
        }
    }
}

fn one(rule: Rule, remedy: String, is_first_of_more: bool) -> BTreeMap<Rule, Reason> {
    BTreeMap::from([(rule, Reason { remedy, is_alone: true, is_first_of_more })])
}

/// Rules with this effect, with their remedies.
fn with_effect<'a>(
    result: &'a CheckResult,
    effects: &'a [&str],
) -> impl Iterator<Item = (Rule, &'a str, &'a str)> {
    let outcomes = result.decision.iter().flat_map(|it| &it.outcomes);
    let wanted = outcomes.filter(|it| effects.contains(&it.effect.as_str()));
    wanted.map(|it| (Rule::new(&it.policy, &it.rule), it.remedy.as_str(), it.effect.as_str()))
}

/// What is in the way of an answer itself; its remedies only where they have this effect.
fn blockers(result: &CheckResult, wanted: &str) -> BTreeMap<Rule, Reason> {
    let own: BTreeMap<Rule, (&str, &str)> = with_effect(result, &["Refuse", "CannotTell"])
        .map(|(rule, remedy, effect)| (rule, (remedy, effect)))
        .collect();
    if !own.is_empty() {
        let is_alone = own.len() == 1;
        let of_effect = own.into_iter().filter(|(_, (_, effect))| *effect == wanted);
        let reason =
            |remedy: &str| Reason { remedy: remedy.to_owned(), is_alone, is_first_of_more: false };
        return of_effect.map(|(rule, (remedy, _))| (rule, reason(remedy))).collect();
    }
    let verdict = if wanted == "Refuse" { "Deny" } else { "CannotTell" };
    let mut all = BTreeMap::<Rule, Reason>::new();
    // An index of which no platform may be had: one that gets free is enough.
    for child in result.children.iter().filter(|it| it.verdict == verdict) {
        for (rule, reason) in blockers(child, wanted) {
            let held = all.entry(rule).or_insert_with(|| reason.clone());
            held.is_alone |= reason.is_alone;
        }
    }
    if !all.is_empty() {
        return all;
    }
    match denied_by(&result.message) {
        Some((rule, remedy)) => one(rule, remedy, true),
        None => one(Rule::new("", "could not be found out"), String::new(), true),
    }
}

/// Rules that warn, and those that refuse some platforms of an index.
fn warnings(result: &CheckResult) -> BTreeMap<Rule, Reason> {
    let mut all = BTreeMap::new();
    let mut add = |rule: Rule, remedy: &str| {
        let reason = Reason { remedy: remedy.to_owned(), is_alone: false, is_first_of_more: false };
        all.entry(rule).or_insert(reason);
    };
    // Where a plane only observes, what would be refused is a warning.
    with_effect(result, &["Warn", "Refuse", "CannotTell"])
        .for_each(|(rule, remedy, _)| add(rule, remedy));
    for child in &result.children {
        let effects: &[&str] = match child.verdict.as_str() {
            "Deny" => &["Refuse"],
            "Warn" => &["Warn"],
            _ => continue,
        };
        with_effect(child, effects).for_each(|(rule, remedy, _)| add(rule, remedy));
        if child.verdict == "Deny"
            && child.decision.is_none()
            && let Some((rule, remedy)) = denied_by(&child.message)
        {
            add(rule, &remedy);
        }
    }
    if all.is_empty() {
        return one(Rule::new("", "for another reason"), String::new(), false);
    }
    let is_alone = all.len() == 1;
    all.values_mut().for_each(|it| it.is_alone = is_alone);
    all
}

/// Rule and remedy in the line of a refusal: `denied by <policy>/<rule>: <reason>; <remedy>; lockgate
/// why <id>`. A request that access refuses, or a rule about names and tags, has no more than this.
pub(super) fn denied_by(message: &str) -> Option<(Rule, String)> {
    let (head, rest) = message.strip_prefix("denied by ")?.split_once(": ")?;
    let rule = match head.rsplit_once('/') {
        Some((policy, rule)) => Rule::new(policy, rule),
        None => Rule::new(head, ""),
    };
    let rest = rest.rsplit_once("; lockgate why ").map_or(rest, |(before, _)| before);
    let remedy = rest.rsplit_once("; ").map_or("", |(_, remedy)| remedy);
    Some((rule, remedy.to_owned()))
}

#[cfg(test)]
#[path = "reasons_tests.rs"]
mod tests;
