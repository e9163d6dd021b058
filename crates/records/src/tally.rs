//! Counting decisions: by environment, by policy, by rule. A segment's counts are kept beside it, so
//! that a report over a year reads lines only at its edges.

use crate::chain::Hash;
use crate::line::{DecisionBody, GapBody, Head, Kind, OutcomesBody, RepeatBody, TextBody};
use crate::{RuleSaid, Verdict, line};
use jiff::Timestamp;
use oci::Digest;
use policy::DecisionId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

/// Rows that counts may have. Environments, policies and rules are the operator's; should there be
/// more, the rest is counted in one row named [`OTHERS`].
const GROUPS_MAX: usize = 65_536;
/// The name of the environment, policy or rule of what has no row of its own.
pub const OTHERS: &str = "(others)";

/// What a row counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Group {
    /// The policy; empty in the row of all decisions of the environment.
    pub policy: String,
    /// The rule in it; empty in the row of the whole policy.
    pub rule: String,
    /// The environment.
    pub environment: String,
}

/// How many decisions. The first five after `decisions` add up to it; the rest counts some of them
/// once more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tally {
    /// In all. Of a policy or a rule: those it looked at, or refused.
    pub decisions: u64,
    /// Permitted, with nothing said.
    pub allowed: u64,
    /// Permitted with a warning.
    pub warned: u64,
    /// Refused.
    pub refused: u64,
    /// Could not be told, and therefore not served.
    pub cannot_tell: u64,
    /// Would have been refused, or not told, and were served because the plane only observes.
    pub observed: u64,
    /// A fact was unknown, or could not be found out.
    pub unknown: u64,
    /// A waiver made a difference.
    pub waived: u64,
    /// Made under break-glass.
    pub overridden: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self, times: u64) {
        self.decisions += other.decisions * times;
        self.allowed += other.allowed * times;
        self.warned += other.warned * times;
        self.refused += other.refused * times;
        self.cannot_tell += other.cannot_tell * times;
        self.observed += other.observed * times;
        self.unknown += other.unknown * times;
        self.waived += other.waived * times;
        self.overridden += other.overridden * times;
    }
}

/// Counts of some time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// By group.
    #[serde(with = "rows")]
    pub groups: BTreeMap<Group, Tally>,
    /// Times that something was lost.
    pub gaps: u64,
    /// Entries that were lost for certain.
    pub lost: u64,
    /// Gaps of which nobody knows how much they lost: kills.
    pub gaps_of_unknown_size: u64,
}

impl Counts {
    /// All decisions of all environments.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        let all = self.groups.iter().filter(|(group, _)| group.policy.is_empty());
        all.for_each(|(_, tally)| total.add(tally, 1));
        total
    }

    /// Leaves only the rows of one policy.
    pub(crate) fn keep_policy(&mut self, policy: &str) {
        self.groups.retain(|group, _| group.policy == policy);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (group, tally) in &other.groups {
            self.add_to(group.clone(), tally, 1);
        }
        self.gaps += other.gaps;
        self.lost += other.lost;
        self.gaps_of_unknown_size += other.gaps_of_unknown_size;
    }

    fn add_to(&mut self, group: Group, tally: &Tally, times: u64) {
        let group = match self.groups.len() < GROUPS_MAX || self.groups.contains_key(&group) {
            true => group,
            false => {
                let policy = if group.policy.is_empty() { "" } else { OTHERS };
                let rule = if group.rule.is_empty() { "" } else { OTHERS };
                Group { policy: policy.into(), rule: rule.into(), environment: OTHERS.into() }
            }
        };
        self.groups.entry(group).or_default().add(tally, times);
    }
}

/// What all decisions have in common that are counted in the same rows.
#[derive(PartialEq, Eq, Hash)]
struct Alike<'a> {
    environment: &'a str,
    verdict: Verdict,
    enforced: bool,
    policy: &'a str,
    rule: &'a str,
    is_waived: bool,
    is_overridden: bool,
    outcomes: Option<Hash>,
}

/// The same, kept.
struct Kept {
    environment: String,
    policy: String,
    rule: String,
    verdict: Verdict,
    enforced: bool,
    is_waived: bool,
    is_overridden: bool,
    outcomes: Option<Hash>,
    times: u64,
}

impl Kept {
    fn alike(&self) -> Alike<'_> {
        Alike {
            environment: &self.environment,
            verdict: self.verdict,
            enforced: self.enforced,
            policy: &self.policy,
            rule: &self.rule,
            is_waived: self.is_waived,
            is_overridden: self.is_overridden,
            outcomes: self.outcomes,
        }
    }
}

/// The time, by the ids of decisions, that lines are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Span<T> {
    pub(crate) first: T,
    pub(crate) last: T,
}

impl<T: Copy + Ord> Span<T> {
    fn widen(span: &mut Option<Self>, first: T, last: T) {
        *span = Some(match *span {
            Some(span) => Self { first: span.first.min(first), last: span.last.max(last) },
            None => Self { first, last },
        });
    }
}

/// Counts the lines of one segment.
#[derive(Default)]
pub(crate) struct Counting {
    outcomes: HashMap<Hash, Box<str>>,
    alike: HashMap<u64, Vec<Kept>>,
    hasher: RandomState,
    counts: Counts,
    /// When the decisions and gaps were, by which they are counted or not.
    pub(crate) times: Option<Span<Timestamp>>,
    /// What ids of decisions say when they were made.
    pub(crate) ids: Option<Span<u64>>,
    pub(crate) revisions: BTreeSet<Digest>,
    /// When revisions came into force and marks were set.
    pub(crate) events: Option<Span<Timestamp>>,
}

/// From when until when, the end not included.
pub(crate) type Between = (Timestamp, Timestamp);

/// All times.
pub(crate) const ALWAYS: Between = (Timestamp::MIN, Timestamp::MAX);

impl Counting {
    /// Counts a line, if it is of the time between.
    pub(crate) fn take(
        &mut self,
        head: &Head<'_>,
        text: &[u8],
        between: Between,
    ) -> Result<(), serde_json::Error> {
        match head.kind {
            Kind::Outcomes => {
                let TextBody { text: hash } = line::read(text)?;
                let OutcomesBody { outcomes } = line::read(text)?;
                self.outcomes.insert(hash, outcomes.get().into());
            }
            Kind::Decision => {
                let at = head.time().unwrap_or(Timestamp::MIN);
                let body: DecisionBody<'_> = line::read(text)?;
                self.note_ids(&body.id, &body.id);
                self.decision(&body, 1, at, between);
            }
            Kind::Repeat => {
                let body: DecisionBody<'_> = line::read(text)?;
                let repeat: RepeatBody = line::read(text)?;
                self.note_ids(&repeat.first_id, &repeat.last_id);
                self.decision(&body, repeat.count, repeat.first_at, between);
            }
            Kind::Gap => {
                let gap: GapBody = line::read(text)?;
                Span::widen(&mut self.times, gap.from, gap.from);
                if is_between(gap.from, between) {
                    self.counts.gaps += 1;
                    self.counts.lost += gap.lost.unwrap_or(0);
                    self.counts.gaps_of_unknown_size += u64::from(gap.lost.is_none());
                }
            }
            Kind::Revision | Kind::Mark => {
                if let Some(at) = head.time() {
                    Span::widen(&mut self.events, at, at);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note_ids(&mut self, first: &str, last: &str) {
        let ms = |id: &str| DecisionId::parse(id).map(DecisionId::made_at_unix_ms);
        let first_ms = ms(first);
        let last_ms = if first == last { first_ms } else { ms(last) };
        if let (Some(first), Some(last)) = (first_ms, last_ms) {
            Span::widen(&mut self.ids, first.min(last), first.max(last));
        }
    }

    fn decision(&mut self, body: &DecisionBody<'_>, times: u64, at: Timestamp, between: Between) {
        Span::widen(&mut self.times, at, at);
        self.revisions.insert(body.revision);
        if !is_between(at, between) {
            return;
        }
        let alike = Alike {
            environment: &body.environment,
            verdict: body.verdict,
            enforced: body.enforced,
            policy: &body.policy,
            rule: &body.rule,
            is_waived: !body.waivers.is_empty(),
            is_overridden: !body.break_glass.is_empty(),
            outcomes: body.outcomes,
        };
        let slot = self.alike.entry(self.hasher.hash_one(&alike)).or_default();
        match slot.iter_mut().find(|kept| kept.alike() == alike) {
            Some(kept) => kept.times += times,
            None => slot.push(Kept {
                environment: alike.environment.to_owned(),
                policy: alike.policy.to_owned(),
                rule: alike.rule.to_owned(),
                verdict: alike.verdict,
                enforced: alike.enforced,
                is_waived: alike.is_waived,
                is_overridden: alike.is_overridden,
                outcomes: alike.outcomes,
                times,
            }),
        }
    }

    /// What was counted.
    pub(crate) fn finish(mut self) -> Counts {
        for kept in self.alike.values().flatten() {
            let said = kept.outcomes.and_then(|hash| self.outcomes.get(&hash));
            let said = said.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
            count_alike(&mut self.counts, kept, said);
        }
        self.counts
    }
}

pub(crate) fn is_between(at: Timestamp, (from, to): Between) -> bool {
    from <= at && at < to
}

/// Counts decisions that are alike in the row of their environment and those of policies and rules.
fn count_alike(counts: &mut Counts, kept: &Kept, mut said: Vec<RuleSaid>) {
    // A refusal by access, or a block, has no rule that was evaluated.
    let names = |it: &RuleSaid| it.policy == kept.policy && it.rule == kept.rule;
    if !kept.policy.is_empty() && !said.iter().any(names) {
        let effect = match kept.verdict {
            Verdict::CannotTell => "CannotTell",
            _ => "Refuse",
        };
        let (policy, rule) = (kept.policy.clone(), kept.rule.clone());
        said.push(RuleSaid { policy, rule, effect: effect.to_owned(), ..RuleSaid::default() });
    }
    let group = |policy: &str, rule: &str| Group {
        policy: policy.to_owned(),
        rule: rule.to_owned(),
        environment: kept.environment.clone(),
    };
    let is_unknown = |it: &RuleSaid| matches!(it.outcome.as_str(), "Unknown" | "Failed" | "Error");
    let mut whole = tally(kept, kept.verdict);
    whole.unknown = u64::from(whole.cannot_tell == 1 || said.iter().any(is_unknown));
    whole.waived = u64::from(kept.is_waived);
    counts.add_to(group("", ""), &whole, kept.times);

    let mut policies: BTreeMap<&str, Vec<&RuleSaid>> = BTreeMap::new();
    for it in &said {
        policies.entry(&it.policy).or_default().push(it);
    }
    for (policy, said) in policies {
        let mut rules: BTreeMap<&str, Vec<&RuleSaid>> = BTreeMap::new();
        for it in &said {
            rules.entry(&it.rule).or_default().push(it);
        }
        // A rule may have spoken of several children of one index.
        rules.insert("", said);
        for (rule, said) in rules {
            let has = |effect| said.iter().any(|it| it.effect == effect);
            let verdict = match () {
                () if has("Refuse") => Verdict::Deny,
                () if has("CannotTell") => Verdict::CannotTell,
                () if has("Warn") => Verdict::Warn,
                () => Verdict::Allow,
            };
            let mut tally = tally(kept, verdict);
            tally.unknown = u64::from(said.iter().any(|it| is_unknown(it)));
            tally.waived = u64::from(said.iter().any(|it| it.waiver.is_some()));
            counts.add_to(group(policy, rule), &tally, kept.times);
        }
    }
}

/// What `verdict` comes to in a decision: a rule may have refused what break-glass then let pass.
fn tally(kept: &Kept, verdict: Verdict) -> Tally {
    let mut tally = Tally { decisions: 1, ..Tally::default() };
    tally.overridden = u64::from(kept.is_overridden);
    let slot = match verdict {
        Verdict::Allow => &mut tally.allowed,
        Verdict::Warn => &mut tally.warned,
        _ if !kept.enforced => &mut tally.observed,
        _ if !kept.verdict.refuses() => &mut tally.allowed,
        Verdict::Deny => &mut tally.refused,
        Verdict::CannotTell => &mut tally.cannot_tell,
    };
    *slot = 1;
    tally
}

/// A table with keys of several parts, as JSON: a list of rows.
mod rows {
    use super::{BTreeMap, Group, Tally};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Row {
        #[serde(flatten)]
        group: Group,
        #[serde(flatten)]
        tally: Tally,
    }

    pub(super) fn serialize<S: Serializer>(
        groups: &BTreeMap<Group, Tally>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            groups.iter().map(|(group, tally)| Row { group: group.clone(), tally: *tally }),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Group, Tally>, D::Error> {
        let rows = Vec::<Row>::deserialize(deserializer)?;
        Ok(rows.into_iter().map(|row| (row.group, row.tally)).collect())
    }
}
