//! Eviction: the least recently used goes first, and only what nobody needs.
//!
//! Here things are only condemned; [`super::sweep`] removes them after the grace.

use super::Keep;
use super::bounds::Goal;
use super::pinned::Protected;
use catalog::Batch;

/// Victims read at a time.
const PAGE: u32 = 500;
/// Most victims looked at in one go; the next look goes on.
const LOOKED_AT_MAX: usize = 100_000;

impl Keep {
    /// Condemns until the goal is met, or nothing is left that may go.
    pub(super) fn evict(&self, goal: Goal) {
        let Some(protected) = self.protected() else { return };
        let (mut bytes, mut files, mut looked_at) = (0u64, 0u64, 0usize);
        let mut after = None;
        while (bytes < goal.bytes || files < goal.files) && looked_at < LOOKED_AT_MAX {
            let Ok(victims) = self.core.shelf.catalog.victims(after.as_ref(), PAGE) else { return };
            let Some(last) = victims.last() else { break };
            after = Some(last.cursor());
            for victim in &victims {
                if bytes >= goal.bytes && files >= goal.files {
                    break;
                }
                looked_at += 1;
                if !self.may_go(&victim.digest, &protected) {
                    continue;
                }
                let mut batch = Batch::new();
                let now = self.core.shelf.clock.now();
                batch.condemn_unused(&victim.digest, victim.last_used, now);
                // It is about to be removed: this has to be in the catalog first.
                if self.written(batch) {
                    self.condemned(victim.size_bytes);
                    bytes += victim.size_bytes;
                    files += 1;
                }
            }
        }
        if files > 0 {
            tracing::info!(files, bytes, "condemned the least recently used");
        }
        let is_short = bytes < goal.bytes;
        let is_said = std::mem::replace(&mut self.state.lock().is_shortage_said, is_short);
        if is_short && !is_said {
            let missing_bytes = goal.bytes - bytes;
            tracing::warn!(
                missing_bytes,
                "eviction found too little that may go: the rest is hosted, pinned or in use"
            );
        }
    }

    /// Holds each repository to its share of the cache.
    pub(super) fn keep_shares(&self) {
        let view = self.core.view();
        let over: Vec<(String, u64)> = {
            let state = self.state.lock();
            let used = |name: &str| {
                state
                    .usage
                    .repositories
                    .iter()
                    .find(|u| u.repository == name)
                    .map_or(0, |u| u.bytes)
            };
            view.repositories
                .iter()
                .filter_map(|repository| {
                    let name = repository.name().as_str();
                    let over = used(name).checked_sub(repository.remote()?.cache_share_bytes?)?;
                    (over > 0).then(|| (name.to_owned(), over))
                })
                .collect()
        };
        if over.is_empty() {
            return;
        }
        let Some(protected) = self.protected() else { return };
        for (repository, bytes) in over {
            self.shrink_repository(&repository, bytes, &protected);
        }
        self.state.lock().counted = None;
    }

    fn shrink_repository(&self, repository: &str, goal_bytes: u64, protected: &Protected) {
        let shelf = &self.core.shelf;
        let (mut bytes, mut looked_at, mut after) = (0u64, 0usize, None);
        while bytes < goal_bytes && looked_at < LOOKED_AT_MAX {
            let read = shelf.catalog.victims_of(repository, after.as_ref(), PAGE);
            let Ok(victims) = read else { return };
            let Some(last) = victims.last() else { break };
            after = Some(last.cursor());
            for victim in victims {
                looked_at += 1;
                if bytes >= goal_bytes {
                    break;
                }
                if !self.may_go(&victim.digest, protected) {
                    continue;
                }
                let mut batch = Batch::new();
                batch.drop_content(&victim.name, &victim.digest);
                if victim.others == 0 {
                    batch.condemn(&victim.digest, shelf.clock.now());
                }
                if self.written(batch) {
                    shelf.memory.forget_content(&victim.name, &victim.digest);
                    bytes += victim.size_bytes;
                }
            }
        }
        tracing::info!(repository, bytes, "held a repository to its share of the cache");
    }

    /// Keeps the count right between countings.
    fn condemned(&self, size_bytes: u64) {
        self.state.lock().usage.condemned_bytes += size_bytes;
    }
}
