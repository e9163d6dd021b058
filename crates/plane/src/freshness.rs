//! How long an answer of an upstream counts, as a pure function of its age.

use oci::{Name, Tag};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The freshness of a remote repository. `None` means forever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// How long a tag is served without asking.
    pub(crate) tag_ttl: Option<Duration>,
    /// How much longer it is served while we ask.
    pub(crate) stale_while_revalidate: Option<Duration>,
    /// How much longer it is served when the upstream does not answer.
    pub(crate) stale_if_error: Option<Duration>,
    /// How long an authoritative "absent" is remembered.
    pub(crate) absent_ttl: Duration,
    /// How long a tag that the upstream deleted is still served; zero: not at all.
    pub(crate) keep_deleted: Option<Duration>,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            tag_ttl: Some(Duration::from_secs(5 * 60)),
            stale_while_revalidate: Some(Duration::from_secs(3600)),
            stale_if_error: None,
            absent_ttl: Duration::from_secs(30),
            keep_deleted: Some(Duration::from_secs(30 * 24 * 3600)),
        }
    }
}

/// What to do about something of a certain age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Serve it.
    Fresh,
    /// Serve it, and ask meanwhile.
    ServeAndAsk,
    /// Ask first.
    Ask,
}

impl Freshness {
    /// Judges a tag's age. Each tag has its own lifetime, up to a tenth shorter than the setting,
    /// so that what was pulled together is not asked for together.
    pub(crate) fn judge(&self, name: &Name, tag: &Tag, age: Duration) -> Verdict {
        let Some(ttl) = self.tag_ttl else { return Verdict::Fresh };
        let ttl = ttl.mul_f64(1.0 - 0.1 * spread(name, tag));
        if age < ttl {
            return Verdict::Fresh;
        }
        match self.stale_while_revalidate {
            None => Verdict::ServeAndAsk,
            Some(more) if age < ttl.saturating_add(more) => Verdict::ServeAndAsk,
            Some(_) => Verdict::Ask,
        }
    }

    /// Whether something of this age may be served when the upstream does not answer.
    pub(crate) fn serves_on_error(&self, age: Duration) -> bool {
        match (self.tag_ttl, self.stale_if_error) {
            (Some(ttl), Some(more)) => age < ttl.saturating_add(more),
            _ => true,
        }
    }

    /// Whether a tag may be served that the upstream deleted so long ago.
    pub(crate) fn serves_deleted(&self, gone_for: Duration) -> bool {
        self.keep_deleted.is_none_or(|keep| gone_for < keep)
    }
}

/// A number in 0..1 that is the same for the same tag in this process.
fn spread(name: &Name, tag: &Tag) -> f64 {
    let mut hasher = DefaultHasher::new();
    (name, tag).hash(&mut hasher);
    (hasher.finish() % 1024) as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn ages_are_judged_in_order() {
        let name = Name::parse("docker.io/library/alpine").unwrap();
        let tag = Tag::parse("3").unwrap();
        let freshness = Freshness {
            tag_ttl: secs(100),
            stale_while_revalidate: secs(1000),
            stale_if_error: secs(5000),
            ..Freshness::default()
        };
        let judge = |age| freshness.judge(&name, &tag, Duration::from_secs(age));
        assert_eq!(judge(0), Verdict::Fresh);
        assert_eq!(judge(89), Verdict::Fresh);
        assert_eq!(judge(100), Verdict::ServeAndAsk);
        assert_eq!(judge(1089), Verdict::ServeAndAsk);
        assert_eq!(judge(1100), Verdict::Ask);
        assert!(freshness.serves_on_error(Duration::from_secs(5099)));
        assert!(!freshness.serves_on_error(Duration::from_secs(5100)));
        let forever = Freshness { tag_ttl: None, ..freshness.clone() };
        assert_eq!(forever.judge(&name, &tag, Duration::MAX), Verdict::Fresh);
        let always = Freshness { tag_ttl: secs(0), stale_while_revalidate: secs(0), ..freshness };
        assert_eq!(always.judge(&name, &tag, Duration::ZERO), Verdict::Ask);
    }

    #[test]
    fn by_default_an_outage_serves_what_there_is_and_a_deletion_thirty_days() {
        let freshness = Freshness::default();
        assert!(freshness.serves_on_error(Duration::MAX));
        assert!(freshness.serves_deleted(Duration::from_secs(29 * 24 * 3600)));
        assert!(!freshness.serves_deleted(Duration::from_secs(31 * 24 * 3600)));
        let refuse = Freshness { keep_deleted: secs(0), ..freshness };
        assert!(!refuse.serves_deleted(Duration::ZERO));
    }
}
