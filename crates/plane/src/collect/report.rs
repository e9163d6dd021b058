//! What collection did or would do: full counts, and a bounded list of lines that say why.

use jiff::Timestamp;
use oci::{Digest, Name, Tag};
use serde::{Deserialize, Serialize};

/// Lines of a report; all is counted.
const LINES_MAX: usize = 500;
/// Names that are listed with counts of their own.
const NAMES_MAX: usize = 500;
/// Problems that are listed.
const PROBLEMS_MAX: usize = 50;

/// What a run of collection did, or with `dryRun` would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GcReport {
    /// Whether nothing was removed.
    pub dry_run: bool,
    /// Names to go through.
    pub names_total: u64,
    /// Names gone through.
    pub names_done: u64,
    /// What goes.
    pub gone: GcCounts,
    /// Bytes that no name holds any more: each blob once.
    pub freed_bytes: u64,
    /// What stays.
    pub kept: GcKept,
    /// Names left alone because they changed again and again meanwhile; the next run looks again.
    pub skipped_names: u64,
    /// Names with something that goes, at most 500.
    pub names: Vec<GcName>,
    /// What goes, one by one, at most 500.
    pub lines: Vec<GcLine>,
    /// More goes than is listed.
    pub cut: bool,
    /// Names that could not be looked through, and why; at most 50 are listed.
    pub problems: Vec<String>,
}

/// Tags, manifests and blobs, each counted once for each name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GcCounts {
    /// Tags.
    pub tags: u64,
    /// Manifests.
    pub manifests: u64,
    /// Blobs.
    pub blobs: u64,
}

/// What stays, and why as far as a rule had a say in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GcKept {
    /// Tags.
    pub tags: u64,
    /// Of these, tags a retention rule would take if they were not pinned.
    pub pinned_tags: u64,
    /// Of these, tags of a rule that are among its newest.
    pub newest_tags: u64,
    /// Of these, tags of a rule that are too young.
    pub young_tags: u64,
    /// Of these, tags of a rule that were used lately.
    pub used_tags: u64,
    /// Manifests.
    pub manifests: u64,
    /// Of these, manifests that no tag leads to and that are kept because of their last use.
    pub untagged_manifests: u64,
    /// Blobs.
    pub blobs: u64,
    /// Of these, blobs that no manifest lists and that are kept because of their last use.
    pub unlisted_blobs: u64,
}

/// One name of which something goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GcName {
    /// The canonical name.
    pub name: Name,
    /// What goes.
    pub gone: GcCounts,
    /// Bytes of what goes; other names may hold some of it.
    pub gone_bytes: u64,
    /// What stays.
    pub kept: GcKept,
}

/// One thing that goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GcLine {
    /// The canonical name.
    pub name: Name,
    /// `tag`, `manifest` or `blob`.
    pub kind: String,
    /// The tag, if it is one.
    pub tag: Option<String>,
    /// The manifest or blob; of a tag, what it names.
    pub digest: Digest,
    /// Its length in bytes; of a tag 0.
    pub size_bytes: u64,
    /// Why it goes.
    pub why: String,
}

/// A tag that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GoneTag {
    pub(super) tag: Tag,
    pub(super) digest: Digest,
    pub(super) why: String,
}

/// A manifest or a blob that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GoneContent {
    pub(super) digest: Digest,
    pub(super) is_manifest: bool,
    pub(super) size_bytes: u64,
    pub(super) last_used: Timestamp,
    pub(super) why: &'static str,
}

/// What goes of one name, and what stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OfName {
    pub(super) tags: Vec<GoneTag>,
    pub(super) contents: Vec<GoneContent>,
    pub(super) kept: GcKept,
    /// More goes than is in here.
    pub(super) is_cut: bool,
}

impl OfName {
    pub(super) fn add(&mut self, more: Self) {
        self.tags.extend(more.tags);
        self.contents.extend(more.contents);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tags and contents that go.
    pub(super) fn len(&self) -> usize {
        self.tags.len() + self.contents.len()
    }

    fn counts(&self) -> GcCounts {
        let manifests = self.contents.iter().filter(|content| content.is_manifest).count() as u64;
        let blobs = self.contents.len() as u64 - manifests;
        GcCounts { tags: self.tags.len() as u64, manifests, blobs }
    }
}

impl GcCounts {
    fn add(&mut self, more: Self) {
        self.tags += more.tags;
        self.manifests += more.manifests;
        self.blobs += more.blobs;
    }
}

impl GcKept {
    fn add(&mut self, more: Self) {
        self.tags += more.tags;
        self.pinned_tags += more.pinned_tags;
        self.newest_tags += more.newest_tags;
        self.young_tags += more.young_tags;
        self.used_tags += more.used_tags;
        self.manifests += more.manifests;
        self.untagged_manifests += more.untagged_manifests;
        self.blobs += more.blobs;
        self.unlisted_blobs += more.unlisted_blobs;
    }
}

impl GcReport {
    /// The report without its lists: what is told while the run goes on.
    pub(crate) fn counts(&self) -> Self {
        let (names, lines, problems) = Default::default();
        Self { names, lines, problems, ..self.clone() }
    }

    pub(super) fn add(&mut self, name: &Name, of: &OfName) {
        let gone = of.counts();
        self.gone.add(gone);
        self.kept.add(of.kept);
        self.cut |= of.is_cut;
        if of.is_empty() {
            return;
        }
        if self.names.len() < NAMES_MAX {
            let gone_bytes = of.contents.iter().map(|content| content.size_bytes).sum();
            let (name, kept) = (name.clone(), of.kept);
            self.names.push(GcName { name, gone, gone_bytes, kept });
        } else {
            self.cut = true;
        }
        let tags = of.tags.iter().map(|gone| GcLine {
            name: name.clone(),
            kind: "tag".to_owned(),
            tag: Some(gone.tag.to_string()),
            digest: gone.digest,
            size_bytes: 0,
            why: gone.why.clone(),
        });
        let contents = of.contents.iter().map(|gone| GcLine {
            name: name.clone(),
            kind: if gone.is_manifest { "manifest" } else { "blob" }.to_owned(),
            tag: None,
            digest: gone.digest,
            size_bytes: gone.size_bytes,
            why: format!("{}, last used {:.0}", gone.why, gone.last_used),
        });
        let room = LINES_MAX - self.lines.len();
        self.cut |= of.tags.len() + of.contents.len() > room;
        self.lines.extend(tags.chain(contents).take(room));
    }

    pub(super) fn fail(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_counts_are_not() {
        let mut report = GcReport::default();
        let name = Name::parse("team/app").unwrap();
        let tag = GoneTag {
            tag: Tag::parse("1").unwrap(),
            digest: Digest::sha256(b""),
            why: String::new(),
        };
        let blob = GoneContent {
            digest: Digest::sha256(b""),
            is_manifest: false,
            size_bytes: 3,
            last_used: Timestamp::UNIX_EPOCH,
            why: "",
        };
        let of = OfName { tags: vec![tag; 7], contents: vec![blob; 2], ..OfName::default() };
        for _ in 0..600 {
            report.add(&name, &of);
        }
        assert_eq!((report.gone.tags, report.gone.blobs), (4200, 1200));
        assert_eq!((report.names.len(), report.lines.len()), (NAMES_MAX, LINES_MAX));
        assert!(report.cut);
        assert_eq!(report.names[0].gone_bytes, 6);
        assert!(report.counts().lines.is_empty());
    }
}
