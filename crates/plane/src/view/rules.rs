//! What a hosted repository takes and how long it keeps it, from its document.

use super::repository::{Hosted, Wrong, wrong};
use oci::{Name, Tag};
use policy::{NamePattern, TagPattern};
use resources::Document;
use resources::v1alpha1 as wire;
use std::time::Duration;

/// The largest manifest taken, unless the document says otherwise (distribution-spec: registries
/// should take at least 4 MiB).
const MANIFEST_MAX_BYTES: u64 = 4 << 20;
/// How long a manifest that nothing names is kept.
const UNTAGGED_KEEP: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a manifest that nothing names any more is kept after its last use; `None`: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Untagged(pub(crate) Option<Duration>);

/// Tags that match and fulfil every condition given are removed by collection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Retention {
    /// Names below the repository; empty: all.
    pub(crate) names: Vec<NamePattern>,
    /// Tags; empty: all.
    pub(crate) tags: Vec<TagPattern>,
    /// Of those that match under one name, so many of the newest stay whatever their age.
    pub(crate) keep_last: Option<u32>,
    /// Pushed or moved longer ago than this.
    pub(crate) older_than: Option<Duration>,
    /// Neither pushed nor pulled for this long.
    pub(crate) not_pulled_for: Option<Duration>,
}

impl Retention {
    /// Whether the rule speaks of tags of a name below the repository at all.
    pub(crate) fn covers_name(&self, below: &Name) -> bool {
        self.names.is_empty() || self.names.iter().any(|pattern| pattern.matches(below))
    }

    /// Whether it speaks of a tag.
    pub(crate) fn covers_tag(&self, tag: &Tag) -> bool {
        self.tags.is_empty() || self.tags.iter().any(|pattern| pattern.matches(tag))
    }
}

impl Hosted {
    /// The pattern that keeps a tag from moving, if there is one.
    pub(crate) fn immutable(&self, tag: &Tag) -> Option<&TagPattern> {
        self.immutable_tags.iter().find(|pattern| pattern.matches(tag))
    }
}

pub(super) fn hosted(document: &Document, spec: &wire::Hosted) -> Result<Hosted, Wrong> {
    let mut retention = Vec::new();
    for (index, rule) in spec.retention.iter().enumerate() {
        let path = format!("spec.hosted.retention[{index}]");
        retention.push(retention_rule(document, &path, rule)?);
    }
    let untagged = spec.untagged.as_ref().map_or(Some(UNTAGGED_KEEP), |it| it.keep_for.get());
    Ok(Hosted {
        immutable_tags: tags(document, "spec.hosted.immutableTags", &spec.immutable_tags)?,
        quota_bytes: spec.quota.as_ref().map(resources::WireSize::bytes),
        retention,
        untagged: Untagged(untagged),
        allows_sparse: spec.sparse_indexes.unwrap_or(false),
        manifest_max_bytes: spec
            .max_manifest_size
            .as_ref()
            .map_or(MANIFEST_MAX_BYTES, resources::WireSize::bytes),
        redirect: redirect(spec.redirect.as_ref()),
    })
}

fn retention_rule(
    document: &Document,
    path: &str,
    rule: &wire::Retention,
) -> Result<Retention, Wrong> {
    Ok(Retention {
        names: names(document, &format!("{path}.names"), &rule.names)?,
        tags: tags(document, &format!("{path}.tags"), &rule.tags)?,
        keep_last: rule.keep_last,
        older_than: rule.older_than.as_ref().map(resources::WireDuration::get),
        not_pulled_for: rule.not_pulled_for.as_ref().map(resources::WireDuration::get),
    })
}

pub(super) fn redirect(spec: Option<&wire::Redirect>) -> Option<Duration> {
    spec.map(|redirect| redirect.presign.get())
}

pub(super) fn names(
    document: &Document,
    path: &str,
    patterns: &[resources::Glob],
) -> Result<Vec<NamePattern>, Wrong> {
    let parse = |text: &resources::Glob| {
        NamePattern::parse(text.as_str()).map_err(|error| wrong(document, path, error))
    };
    patterns.iter().map(parse).collect()
}

fn tags(
    document: &Document,
    path: &str,
    patterns: &[resources::TagGlob],
) -> Result<Vec<TagPattern>, Wrong> {
    let parse = |text: &resources::TagGlob| {
        TagPattern::parse(text.as_str()).map_err(|error| wrong(document, path, error))
    };
    patterns.iter().map(parse).collect()
}
