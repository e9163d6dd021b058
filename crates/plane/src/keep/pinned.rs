//! What eviction never touches: pins by command, pins written in resources, and what is in use.

use super::Keep;
use catalog::Pinned;
use oci::{Digest, Name, Tag};
use std::collections::HashSet;

/// Digests followed from pins.
const PINNED_MAX: u32 = 1_000_000;
/// Names and tags looked through for pins written in resources.
const NAMES_PAGE: u32 = 1000;
const TAGS_MAX: u32 = 10_000;
/// Parents asked for.
const PARENTS_MAX: u32 = 64;

/// The digests that are kept whatever their age.
pub(super) struct Protected {
    pinned: Pinned,
    recent: HashSet<Digest>,
}

impl Protected {
    /// Whether a pin reaches it.
    pub(super) fn is_pinned(&self, digest: &Digest) -> bool {
        self.pinned.digests.contains(digest)
    }
}

impl Keep {
    /// `None`: it cannot be told now, so nothing may go.
    pub(super) fn protected(&self) -> Option<Protected> {
        let tags = self.tags_pinned_by_resources()?;
        let pinned = self.core.shelf.catalog.pinned_digests(&tags, PINNED_MAX).ok()?;
        if pinned.cut {
            tracing::error!("pins reach more than {PINNED_MAX} digests; nothing is evicted");
            return None;
        }
        let recent = self.state.lock().recent.keys().copied().collect();
        Some(Protected { pinned, recent })
    }

    /// Whether a digest may go now.
    pub(super) fn may_go(&self, digest: &Digest, protected: &Protected) -> bool {
        if protected.is_pinned(digest) || protected.recent.contains(digest) {
            return false;
        }
        if self.core.fills.is_running(digest) || self.core.shelf.store.is_read(digest) {
            return false;
        }
        // What a manifest lists that was served just now is about to be asked for.
        match self.core.shelf.catalog.parents_of(digest, PARENTS_MAX) {
            Ok(parents) => !parents.iter().any(|parent| protected.recent.contains(parent)),
            Err(_) => false,
        }
    }

    /// Whether a manifest that lists it was served lately, as far as can be told.
    pub(super) fn is_listed_lately(&self, digest: &Digest) -> bool {
        let Ok(parents) = self.core.shelf.catalog.parents_of(digest, PARENTS_MAX) else {
            return true;
        };
        let state = self.state.lock();
        parents.iter().any(|parent| state.recent.contains_key(parent))
    }

    fn tags_pinned_by_resources(&self) -> Option<Vec<(Name, Tag)>> {
        let view = self.core.view();
        let mut pinned = Vec::new();
        if view.repositories.iter().all(|repository| repository.pins.is_empty()) {
            return Some(pinned);
        }
        let catalog = &self.core.shelf.catalog;
        let mut after: Option<Name> = None;
        loop {
            let names = catalog.names(after.as_ref(), NAMES_PAGE).ok()?;
            let Some(last) = names.last().cloned() else { return Some(pinned) };
            for name in &names {
                let Some(repository) = view.repository_of(name) else { continue };
                if repository.pins.is_empty() {
                    continue;
                }
                let tags = catalog.tags(name, None, TAGS_MAX).ok()?;
                let fits = |tag: &Tag| repository.pins(name, tag.as_str());
                pinned.extend(tags.into_iter().filter(fits).map(|tag| (name.clone(), tag)));
            }
            after = Some(last);
        }
    }
}
