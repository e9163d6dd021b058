//! Retention: which tags the rules of a repository take away. Pure.
//!
//! A tag goes when it matches a rule and every condition of that rule holds for it.

use super::report::{GcKept, GoneTag};
use crate::clock;
use crate::view::Retention;
use catalog::TagEntry;
use jiff::Timestamp;
use oci::{Digest, Name};
use std::collections::HashSet;
use std::time::Duration;

/// What is judged, and what stays whatever a rule says.
pub(super) struct Tags<'t> {
    /// The name below its repository.
    pub(super) below: &'t Name,
    /// All tags of the name but those that belong to something else ([`oci::EvidenceTag`]).
    pub(super) entries: &'t [TagEntry],
    pub(super) now: Timestamp,
    /// Used lately, as memory knows and the catalog does not yet.
    pub(super) recent: &'t HashSet<Digest>,
}

/// The tags that go, each by the first rule that takes it, and why others of a rule stay.
pub(super) fn doomed(
    rules: &[Retention],
    tags: &Tags<'_>,
    is_pinned: impl Fn(&TagEntry) -> bool,
) -> (Vec<GoneTag>, GcKept) {
    let mut taken: HashSet<&str> = HashSet::new();
    let (mut gone, mut spared) = (Vec::new(), Spared::default());
    for (index, rule) in rules.iter().enumerate() {
        if !rule.covers_name(tags.below) {
            continue;
        }
        let mut covered: Vec<&TagEntry> =
            tags.entries.iter().filter(|entry| rule.covers_tag(&entry.tag)).collect();
        // Newest first; of one age the later name, so that two runs choose alike.
        covered.sort_by(|a, b| (b.moved_at, b.tag.as_str()).cmp(&(a.moved_at, a.tag.as_str())));
        let newest = rule.keep_last.map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
        for (place, entry) in covered.into_iter().enumerate() {
            let tag = entry.tag.as_str();
            if place < newest {
                spared.newest.insert(tag);
            } else if rule.older_than.is_some_and(|age| !is_past(entry.moved_at, age, tags.now)) {
                spared.young.insert(tag);
            } else if rule.not_pulled_for.is_some_and(|age| {
                tags.recent.contains(&entry.digest) || !is_past(entry.last_used, age, tags.now)
            }) {
                spared.used.insert(tag);
            } else if is_pinned(entry) {
                spared.pinned.insert(tag);
            } else if taken.insert(tag) {
                let why = format!("retention[{index}]: {}", words(rule));
                gone.push(GoneTag { tag: entry.tag.clone(), digest: entry.digest, why });
            }
        }
    }
    (gone, spared.counts(&taken))
}

/// Tags that a rule covers and did not take, by what held it back.
#[derive(Default)]
struct Spared<'t> {
    newest: HashSet<&'t str>,
    young: HashSet<&'t str>,
    used: HashSet<&'t str>,
    pinned: HashSet<&'t str>,
}

impl Spared<'_> {
    fn counts(&self, taken: &HashSet<&str>) -> GcKept {
        let count = |of: &HashSet<&str>| of.difference(taken).count() as u64;
        GcKept {
            newest_tags: count(&self.newest),
            young_tags: count(&self.young),
            used_tags: count(&self.used),
            pinned_tags: count(&self.pinned),
            ..GcKept::default()
        }
    }
}

/// Whether something was longer ago than `age`.
fn is_past(then: Timestamp, age: Duration, now: Timestamp) -> bool {
    then < clock::before(now, age)
}

/// A rule in words, as it is written.
fn words(rule: &Retention) -> String {
    let mut words: Vec<String> = Vec::new();
    if !rule.tags.is_empty() {
        let patterns: Vec<&str> = rule.tags.iter().map(policy::TagPattern::as_str).collect();
        words.push(format!("tags {}", patterns.join(" ")));
    }
    let ages = [("olderThan", rule.older_than), ("notPulledFor", rule.not_pulled_for)];
    words.extend(rule.keep_last.map(|count| format!("keepLast {count}")));
    for (condition, age) in ages {
        words.extend(age.map(|age| format!("{condition} {}", resources::format_duration(age))));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Tag;
    use policy::TagPattern;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn rule(tags: &str) -> Retention {
        Retention {
            names: Vec::new(),
            tags: vec![TagPattern::parse(tags).unwrap()],
            keep_last: None,
            older_than: None,
            not_pulled_for: None,
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(100 * 24 * 3600).unwrap()
    }

    /// A tag moved and used so many days ago.
    fn entry(tag: &str, moved: u32, used: u32) -> TagEntry {
        TagEntry {
            tag: Tag::parse(tag).unwrap(),
            digest: Digest::sha256(tag.as_bytes()),
            moved_at: clock::before(now(), DAY * moved),
            pushed_at: Some(clock::before(now(), DAY * moved)),
            last_used: clock::before(now(), DAY * used),
        }
    }

    fn gone(rules: &[Retention], entries: &[TagEntry]) -> Vec<String> {
        let (below, recent) = (Name::parse("app").unwrap(), HashSet::new());
        let tags = Tags { below: &below, entries, now: now(), recent: &recent };
        let (gone, _) = doomed(rules, &tags, |_| false);
        gone.iter().map(|gone| gone.tag.to_string()).collect()
    }

    #[test]
    fn every_condition_must_hold() {
        let entries = [entry("pr-1", 50, 50), entry("pr-2", 40, 1), entry("pr-3", 3, 3)];
        let all = Retention {
            keep_last: Some(1),
            older_than: Some(DAY * 10),
            not_pulled_for: Some(DAY * 5),
            ..rule("pr-*")
        };
        assert_eq!(gone(std::slice::from_ref(&all), &entries), ["pr-1"]);
        let no_last = Retention { keep_last: Some(3), ..all.clone() };
        assert!(gone(&[no_last], &entries).is_empty());
        let any_pull = Retention { not_pulled_for: None, ..all };
        assert_eq!(gone(&[any_pull], &entries), ["pr-2", "pr-1"]);
    }

    #[test]
    fn the_newest_are_counted_among_what_the_rule_covers() {
        let entries = [entry("v1", 1, 1), entry("pr-1", 3, 3), entry("pr-2", 2, 2)];
        let last = Retention { keep_last: Some(1), ..rule("pr-*") };
        assert_eq!(gone(&[last], &entries), ["pr-1"]);
    }

    #[test]
    fn names_that_a_rule_does_not_cover_are_left_alone() {
        let elsewhere = Retention {
            names: vec![policy::NamePattern::parse("other/**").unwrap()],
            keep_last: Some(0),
            ..rule("*")
        };
        assert!(gone(&[elsewhere], &[entry("a", 1, 1)]).is_empty());
    }

    #[test]
    fn the_first_rule_that_takes_a_tag_is_told_and_pins_stay() {
        let entries = [entry("pr-1", 50, 50), entry("pr-2", 60, 60)];
        let old = Retention { older_than: Some(DAY), ..rule("pr-*") };
        let rules = [Retention { older_than: Some(DAY * 55), ..rule("*") }, old];
        let (below, recent) = (Name::parse("app").unwrap(), HashSet::new());
        let tags = Tags { below: &below, entries: &entries, now: now(), recent: &recent };
        let (gone, kept) = doomed(&rules, &tags, |_| false);
        assert_eq!(gone[0].why, "retention[0]: tags *, olderThan 55d");
        assert_eq!(gone[1].why, "retention[1]: tags pr-*, olderThan 1d");
        assert_eq!(kept, GcKept::default(), "what another rule takes does not stay");
        let (gone, kept) = doomed(&rules, &tags, |entry| entry.tag.as_str() == "pr-2");
        assert_eq!((gone.len(), kept.pinned_tags, kept.young_tags), (1, 1, 0));
    }

    #[test]
    fn what_memory_knows_of_its_use_counts() {
        let entries = [entry("a", 50, 50)];
        let rules = [Retention { not_pulled_for: Some(DAY), ..rule("*") }];
        let (below, recent) = (Name::parse("app").unwrap(), HashSet::from([entries[0].digest]));
        let tags = Tags { below: &below, entries: &entries, now: now(), recent: &recent };
        let (gone, kept) = doomed(&rules, &tags, |_| false);
        assert_eq!((gone.len(), kept.used_tags), (0, 1));
    }
}
