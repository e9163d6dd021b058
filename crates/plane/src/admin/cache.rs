//! The cache as operators see it: listed, counted, pinned, purged.

use super::{
    AdminError, CacheEntry, CachePage, CacheStats, PinView, PurgeTarget, Purged, RepositoryUsage,
    read,
};
use crate::jobs::parse_reference;
use crate::keep::PurgedBlobs;
use crate::memory::Thing;
use crate::plane::Plane;
use crate::shelf::Shelf;
use catalog::{Batch, CacheCursor, CacheFilter, CachedRow, RepositoryUse};
use oci::{Digest, Name, Reference, Tag};
use policy::NamePattern;
use std::collections::{BTreeMap, HashSet};

/// Entries of a page.
const PAGE_MAX: u32 = 1000;
/// Names and contents that one purge goes through.
const PURGE_MAX: usize = 1_000_000;

impl Plane {
    /// What the cache holds, a page at a time. `repository`: only of this one; `pattern`: only
    /// names that match; `after`: the `continue` of the page before.
    ///
    /// # Errors
    /// When a parameter cannot be read, or the catalog does not answer.
    pub async fn cache_page(
        &self,
        repository: Option<&str>,
        pattern: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<CachePage, AdminError> {
        let names = pattern.map(parse_pattern).transpose()?;
        let filter = CacheFilter { repository: repository.map(str::to_owned), names, digest: None };
        let after = after.map(parse_cursor).transpose()?;
        let limit = limit.clamp(1, PAGE_MAX);
        let rows = self
            .core
            .shelf
            .blocking(move |shelf| shelf.catalog.cached(&filter, after.as_ref(), limit))
            .await;
        let rows = read(rows)?;
        let is_full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let last = rows.last().filter(|_| is_full);
        let continue_after = last.map(|row| format!("{}@{}", row.name, row.digest));
        let view = self.core.view();
        let items = rows.into_iter().map(|row| {
            let by_resource = view
                .repository_of(&row.name)
                .is_some_and(|r| row.tags.iter().any(|tag| r.pins(&row.name, tag.as_str())));
            entry(row, by_resource)
        });
        Ok(CachePage { items: items.collect(), continue_after })
    }

    /// How much the cache holds.
    ///
    /// # Errors
    /// When the catalog or the store does not answer.
    pub async fn cache_stats(&self) -> Result<CacheStats, AdminError> {
        let usage = read(self.core.shelf.blocking(|shelf| shelf.catalog.usage()).await)?;
        let parts = self.core.shelf.blocking(|shelf| shelf.store.parts()).await;
        let parts = match parts {
            Some(Ok(parts)) => parts,
            Some(Err(error)) => return Err(AdminError::Unavailable(error.to_string())),
            None => Vec::new(),
        };
        let (_, disk, _) = self.keep.known();
        Ok(CacheStats {
            blobs: usage.blobs,
            bytes: usage.bytes,
            parts: parts.len() as u64,
            parts_bytes: parts.iter().map(|part| part.len_bytes).sum(),
            max_bytes: self.keep.settings().max_bytes,
            disk,
            repositories: self.usage_by_repository(usage.repositories).await?,
        })
    }

    /// What each repository holds that holds something or is hosted, in order of name.
    async fn usage_by_repository(
        &self,
        used: Vec<RepositoryUse>,
    ) -> Result<Vec<RepositoryUsage>, AdminError> {
        let view = self.core.view();
        let of = |name: &str| RepositoryUsage {
            repository: name.to_owned(),
            blobs: 0,
            bytes: 0,
            share_bytes: None,
            hosted_blobs: 0,
            hosted_bytes: 0,
            quota_bytes: None,
        };
        let mut all: BTreeMap<String, RepositoryUsage> = BTreeMap::new();
        for used in used {
            let usage = all.entry(used.repository.clone()).or_insert_with(|| of(&used.repository));
            (usage.blobs, usage.bytes) = (used.blobs, used.bytes);
        }
        for repository in &view.repositories {
            let name = repository.name().as_str();
            if let Some(hosted) = repository.hosted() {
                all.entry(name.to_owned()).or_insert_with(|| of(name)).quota_bytes =
                    hosted.quota_bytes;
            } else if let Some(usage) = all.get_mut(name) {
                usage.share_bytes = repository.remote().and_then(|it| it.cache_share_bytes);
            }
        }
        let names: Vec<String> = all.keys().cloned().collect();
        let read_all = move |shelf: &Shelf| {
            names.iter().map(|name| shelf.catalog.hosted_use(name)).collect::<Result<Vec<_>, _>>()
        };
        let hosted = read(self.core.shelf.blocking(read_all).await)?;
        for (usage, hosted) in all.values_mut().zip(hosted) {
            (usage.hosted_blobs, usage.hosted_bytes) = (hosted.rows, hosted.bytes);
        }
        Ok(all.into_values().collect())
    }

    /// Forgets, so that the next request asks the upstream again. What is pinned stays in the store,
    /// and what is hosted stays altogether.
    ///
    /// # Errors
    /// When the target cannot be read, or the catalog does not answer.
    pub async fn purge(&self, target: PurgeTarget) -> Result<Purged, AdminError> {
        if !self.core.shelf.may_remove() {
            return Err(AdminError::Unavailable(crate::names::NOT_SURE.to_owned()));
        }
        let mut purged = Purged::default();
        let mut digests: BTreeMap<Digest, ()> = BTreeMap::new();
        match target {
            PurgeTarget::Tag(name, tag) => {
                let name = self.canonical(&name)?;
                self.expect_cached(&name, &tag).await?;
                let thing = Thing::Manifest(Reference::Tag(tag.clone()));
                self.core.shelf.memory.forget_absence(&name, &thing);
                let mut batch = Batch::new();
                batch.remove_tag(&name, &tag);
                self.write(batch).await?;
                // Not before: a request would read the row again.
                self.core.shelf.memory.forget_tag(&name, &tag);
                purged.tags = 1;
            }
            PurgeTarget::Digest(digest) => {
                let filter = CacheFilter { digest: Some(digest), ..CacheFilter::default() };
                let (rows, hosted) = self.without_hosted(self.rows(filter).await?).await?;
                purged.hosted = hosted.len() as u64;
                for row in rows {
                    self.drop_content(&row).await?;
                    purged.contents += 1;
                }
                digests.insert(digest, ());
            }
            PurgeTarget::Pattern(pattern) => {
                let pattern = parse_pattern(&pattern)?;
                let filter = CacheFilter { names: Some(pattern.clone()), ..CacheFilter::default() };
                let (rows, hosted) = self.without_hosted(self.rows(filter).await?).await?;
                purged.hosted = hosted.len() as u64;
                let with_hosted: HashSet<Name> = hosted.into_iter().map(|row| row.name).collect();
                let mut batch = Batch::new();
                let mut last: Option<&Name> = None;
                for row in &rows {
                    purged.contents += 1;
                    digests.insert(row.digest, ());
                    if with_hosted.contains(&row.name) {
                        batch.drop_content(&row.name, &row.digest);
                        continue;
                    }
                    purged.tags += row.tags.len() as u64;
                    if last != Some(&row.name) {
                        batch.drop_name(&row.name);
                    }
                    last = Some(&row.name);
                }
                self.write(batch).await?;
                self.core.shelf.memory.forget_names(|name| pattern.matches(name));
            }
        }
        let removed = self.remove(digests.into_keys().collect()).await;
        self.keep.recount();
        if removed.failed > 0 {
            let text = format!("{} blobs could not be removed; see the log", removed.failed);
            return Err(AdminError::Unavailable(text));
        }
        let PurgedBlobs { blobs, bytes, pinned, in_use, shared, .. } = removed;
        Ok(Purged { blobs, bytes, pinned, in_use, shared, ..purged })
    }

    /// A tag of something that was pushed here is not purged: nobody could bring it back.
    async fn expect_cached(&self, name: &Name, tag: &Tag) -> Result<(), AdminError> {
        let (asked, of) = (name.clone(), tag.clone());
        let is_hosted = move |shelf: &Shelf| {
            let Some(row) = shelf.catalog.tag(&asked, &of)? else { return Ok(false) };
            let content = shelf.catalog.content(&asked, &row.digest)?;
            Ok(content.is_some_and(|content| content.is_hosted))
        };
        if read(self.core.shelf.blocking(is_hosted).await)? {
            return Err(AdminError::Invalid(format!(
                "{name}:{tag} is hosted, no cache: delete it as its clients do, such as by \
                 `crane delete`, or by a retention rule"
            )));
        }
        Ok(())
    }

    /// The rows that can be fetched again, and those that are hosted.
    async fn without_hosted(
        &self,
        rows: Vec<CachedRow>,
    ) -> Result<(Vec<CachedRow>, Vec<CachedRow>), AdminError> {
        let split = move |shelf: &Shelf| {
            let (mut cached, mut hosted) = (Vec::new(), Vec::new());
            for row in rows {
                let content = shelf.catalog.content(&row.name, &row.digest)?;
                let is_hosted = content.is_some_and(|content| content.is_hosted);
                if is_hosted { hosted.push(row) } else { cached.push(row) }
            }
            Ok((cached, hosted))
        };
        read(self.core.shelf.blocking(split).await)
    }

    /// Removes blobs that no name holds any more.
    async fn remove(&self, digests: Vec<Digest>) -> PurgedBlobs {
        if digests.is_empty() {
            return PurgedBlobs::default();
        }
        let keep = self.keep.clone();
        let removed = tokio::task::spawn_blocking(move || keep.purge(&digests)).await;
        removed.unwrap_or_default()
    }

    async fn rows(&self, filter: CacheFilter) -> Result<Vec<CachedRow>, AdminError> {
        let mut all: Vec<CachedRow> = Vec::new();
        loop {
            let (filter, after) = (filter.clone(), all.last().map(CachedRow::cursor));
            let rows = self
                .core
                .shelf
                .blocking(move |shelf| shelf.catalog.cached(&filter, after.as_ref(), PAGE_MAX))
                .await;
            let rows = read(rows)?;
            let is_last = rows.len() < usize::try_from(PAGE_MAX).unwrap_or(usize::MAX);
            all.extend(rows);
            if is_last || all.len() >= PURGE_MAX {
                return Ok(all);
            }
        }
    }

    async fn drop_content(&self, row: &CachedRow) -> Result<(), AdminError> {
        let mut batch = Batch::new();
        batch.drop_content(&row.name, &row.digest);
        for tag in &row.tags {
            batch.remove_tag(&row.name, tag);
        }
        self.write(batch).await?;
        row.tags.iter().for_each(|tag| self.core.shelf.memory.forget_tag(&row.name, tag));
        self.core.shelf.memory.forget_content(&row.name, &row.digest);
        Ok(())
    }

    async fn write(&self, batch: Batch) -> Result<(), AdminError> {
        if batch.is_empty() {
            return Ok(());
        }
        let written = self.core.shelf.catalog.submit(batch).await;
        written.map_err(|error| AdminError::Unavailable(error.to_string()))
    }

    /// Keeps eviction away from a reference, written as clients write it.
    ///
    /// # Errors
    /// When the reference cannot be read, or the catalog does not answer.
    pub async fn pin(&self, reference: &str) -> Result<PinView, AdminError> {
        let (name, reference) = self.pinnable(reference)?;
        let now = self.core.shelf.clock.now();
        let mut batch = Batch::new();
        batch.pin(&name, &reference, now);
        self.write(batch).await?;
        Ok(PinView {
            name: name.to_string(),
            reference: Some(reference.to_string()),
            since: Some(now),
            repository: None,
        })
    }

    /// Takes a pin back.
    ///
    /// # Errors
    /// When the reference cannot be read, or is not pinned.
    pub async fn unpin(&self, reference: &str) -> Result<(), AdminError> {
        let (name, reference) = self.pinnable(reference)?;
        let pins = read(self.core.shelf.blocking(|shelf| shelf.catalog.pins()).await)?;
        if !pins.iter().any(|pin| pin.name == name && pin.reference == reference) {
            let text = format!("{} {reference} is not pinned by command", name);
            return Err(AdminError::NotFound(text));
        }
        let mut batch = Batch::new();
        batch.unpin(&name, &reference);
        self.write(batch).await
    }

    /// All pins: set by command, and written in resources.
    ///
    /// # Errors
    /// When the catalog does not answer.
    pub async fn pins(&self) -> Result<Vec<PinView>, AdminError> {
        let rows = read(self.core.shelf.blocking(|shelf| shelf.catalog.pins()).await)?;
        let mut pins: Vec<PinView> = rows
            .into_iter()
            .map(|row| PinView {
                name: row.name.to_string(),
                reference: Some(row.reference.to_string()),
                since: Some(row.at),
                repository: None,
            })
            .collect();
        for repository in &self.core.view().repositories {
            pins.extend(repository.pins.iter().map(|pin| PinView {
                name: format!("{}/{}", repository.name(), pin.as_str()),
                reference: None,
                since: None,
                repository: Some(repository.name().to_string()),
            }));
        }
        Ok(pins)
    }

    /// The canonical name of what is to be pinned: of a virtual repository, of its first member that
    /// is asked for it.
    fn pinnable(&self, text: &str) -> Result<(Name, Reference), AdminError> {
        let (found, reference) = parse_reference(&self.core.view(), text)?;
        let first = found.first().map(|candidate| candidate.name().clone());
        let unknown = || AdminError::NotFound(format!("no repository takes {text:?}"));
        Ok((first.ok_or_else(unknown)?, reference))
    }

    /// The canonical name of what a client calls `name`.
    fn canonical(&self, name: &Name) -> Result<Name, AdminError> {
        let found = self.core.view().routes.locate(name.as_str(), None, None);
        let found = found.map_err(|refusal| AdminError::NotFound(refusal.to_string()))?;
        let first = found.first().map(|candidate| candidate.name().clone());
        first.ok_or_else(|| AdminError::NotFound(format!("no repository takes the name {name}")))
    }
}

fn parse_pattern(text: &str) -> Result<NamePattern, AdminError> {
    NamePattern::parse(text).map_err(|error| AdminError::Invalid(error.to_string()))
}

fn parse_cursor(text: &str) -> Result<CacheCursor, AdminError> {
    let wrong = || AdminError::Invalid("the parameter continue is not one that was given".into());
    let (name, digest) = text.rsplit_once('@').ok_or_else(wrong)?;
    let name = Name::parse(name).map_err(|_| wrong())?;
    let digest = Digest::parse(digest).map_err(|_| wrong())?;
    Ok(CacheCursor { name, digest })
}

fn entry(row: CachedRow, by_resource: bool) -> CacheEntry {
    CacheEntry {
        name: row.name,
        tags: row.tags.iter().map(ToString::to_string).collect(),
        digest: row.digest,
        kind: if row.is_manifest { "manifest" } else { "blob" }.to_owned(),
        size_bytes: row.size_bytes,
        present: row.present,
        last_used: Some(row.last_used),
        pinned: row.pinned || by_resource,
        private_to: row.private_to,
    }
}
