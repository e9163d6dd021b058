//! Leases: who was permitted a manifest may have the blobs it reaches, until 24 hours after the last use
//! (contracts §4).
//!
//! They are kept in memory and written behind, so that a restart or another replica finds them. An
//! ordinary change of rules does not end one: a pull that began goes on.

use crate::answer::ManifestContent;
use crate::cached::{Cached, cached};
use crate::candidates::{Asking, intent};
use crate::plane::Core;
use crate::shelf::Shelf;
use catalog::Batch;
use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use oci::{Digest, Manifest, Name};
use policy::{Action, BlobGrounds, Caller, EnvironmentName, Object, Setting};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// From the last use.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(24 * 3600);
/// A lease in use is written again this often.
const WRITTEN_EVERY_SECONDS: i64 = 3600;
/// Leases in memory; about 400 bytes each.
const LEASES_MAX: u64 = 50_000;
/// Blobs known to be reached by one; about 300 bytes each.
const BLOBS_MAX: u64 = 200_000;

/// Whose, in which setting, under which name, on what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    principal: Arc<str>,
    /// Environment and purpose: what was permitted for one is not permitted for another.
    setting: Setting,
    /// Of a blob that the caller pushed. Kept apart: whoever pushes the bytes of a refused manifest as a
    /// blob was not permitted that manifest, nor what it lists.
    is_pushed: bool,
    name: Name,
    digest: Digest,
}

impl Key {
    fn of(asking: Asking<'_>, name: &Name, digest: &Digest) -> Self {
        let caller = asking.caller;
        Self {
            principal: holder(asking, name, digest),
            setting: caller.setting.clone(),
            is_pushed: false,
            name: name.clone(),
            digest: *digest,
        }
    }

    /// Of a blob that the caller pushed, and no manifest holds yet.
    fn pushed(caller: &Caller, name: &Name, blob: &Digest) -> Self {
        Self {
            principal: caller.principal.shared_key(),
            setting: caller.setting.clone(),
            is_pushed: true,
            name: name.clone(),
            digest: *blob,
        }
    }

    /// The setting as the catalog has it.
    fn setting_column(&self) -> EnvironmentName {
        let key = self.setting.key();
        if self.is_pushed { EnvironmentName::new(&format!("{key}/pushed")) } else { key }
    }
}

/// Who holds a lease: the principal, in its cluster; and where a rule looks at who asks, all that it can
/// see of them, for what one was permitted is then not permitted to another of the same name.
fn holder(asking: Asking<'_>, name: &Name, digest: &Digest) -> Arc<str> {
    let principal = &asking.caller.principal;
    let intent = intent(Action::Pull, name, &Object::Blob(*digest));
    if asking.governance.policies.looks_at_principal(asking.caller, &intent) {
        return format!("{}#{}", principal.key(), principal.fingerprint().hex()).into();
    }
    match principal.cluster() {
        Some(cluster) => format!("{}@{cluster}", principal.key()).into(),
        None => principal.shared_key(),
    }
}

pub(crate) struct Leases {
    /// The second in which each was written last.
    held: Cached<Key, Arc<AtomicI64>>,
    /// The manifest that speaks for a blob.
    blobs: Cached<Key, Digest>,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self {
            held: cached(Cache::builder().max_capacity(LEASES_MAX)),
            blobs: cached(Cache::builder().max_capacity(BLOBS_MAX)),
        }
    }

    /// The caller was permitted a manifest of a name. What it lists, if the lease was not in memory.
    pub(crate) fn grant(
        &self,
        core: &Core,
        asking: Asking<'_>,
        name: &Name,
        content: &ManifestContent,
    ) -> Option<Manifest> {
        if !self.renew(core, Key::of(asking, name, &content.digest), asking.now) {
            return None;
        }
        let parsed = Manifest::parse(&content.bytes, Some(&content.media_type)).ok()?;
        for blob in parsed.blobs().take(EACH_MAX) {
            self.blobs.insert(Key::of(asking, name, &blob.digest), content.digest);
        }
        Some(parsed)
    }

    /// The caller pushed a blob, which no manifest holds yet.
    pub(crate) fn grant_own(&self, core: &Core, caller: &Caller, name: &Name, blob: &Digest) {
        self.renew(core, Key::pushed(caller, name, blob), core.shelf.clock.now());
    }

    /// Notes a use; whether the lease was not in memory.
    fn renew(&self, core: &Core, key: Key, now: Timestamp) -> bool {
        let (written, is_new) = match self.held.get(&key) {
            Some(written) => (written, false),
            None => (self.held.get_with(key.clone(), || Arc::new(AtomicI64::new(0))), true),
        };
        let (last, at) = (written.load(Ordering::Relaxed), now.as_second());
        let is_due = at.saturating_sub(last) >= WRITTEN_EVERY_SECONDS;
        if is_due
            && written.compare_exchange(last, at, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let mut batch = Batch::new();
            batch.note_lease(&key.principal, &key.setting_column(), &key.name, &key.digest, now);
            core.shelf.submit(batch);
        }
        is_new
    }

    /// What speaks for a blob, as far as memory knows.
    pub(crate) fn held(
        &self,
        core: &Core,
        asking: Asking<'_>,
        name: &Name,
        blob: &Digest,
    ) -> Option<BlobGrounds> {
        let Asking { caller, now, .. } = asking;
        let key = Key::of(asking, name, blob);
        if let Some(manifest) = self.blobs.get(&key) {
            let lease = Key { digest: manifest, ..key };
            if self.lives(&lease, now) {
                self.renew(core, lease, now);
                return Some(BlobGrounds::Lease { manifest });
            }
        }
        self.lives(&Key::pushed(caller, name, blob), now).then_some(BlobGrounds::OwnPush)
    }

    /// Whether memory has a lease that was used lately. What is noted of its use is an hour old at most.
    fn lives(&self, key: &Key, now: Timestamp) -> bool {
        const SECONDS: i64 = LEASE_TTL.as_secs().cast_signed() + WRITTEN_EVERY_SECONDS;
        let since = |last: i64| now.as_second().saturating_sub(last);
        self.held.get(key).is_some_and(|last| since(last.load(Ordering::Relaxed)) < SECONDS)
    }

    /// What speaks for a blob, as the catalog knows: a lease on one of the manifests that reach it, or
    /// its own push.
    pub(crate) async fn recall(
        &self,
        core: &Arc<Core>,
        asking: Asking<'_>,
        name: &Name,
        blob: &Digest,
        manifests: &[Digest],
    ) -> Option<BlobGrounds> {
        let Asking { caller, now, .. } = asking;
        let key = Key::of(asking, name, blob);
        for manifest in manifests {
            let lease = Key { digest: *manifest, ..key.clone() };
            if self.lives(&lease, now) {
                self.blobs.insert(key, *manifest);
                self.renew(core, lease, now);
                return Some(BlobGrounds::Lease { manifest: *manifest });
            }
        }
        let own = Key::pushed(caller, name, blob);
        let oldest = now.checked_sub(SignedDuration::try_from(LEASE_TTL).ok()?).ok()?;
        let Some(held) = written(core, &key, manifests, oldest).await else {
            written(core, &own, &[*blob], oldest).await?;
            self.renew(core, own, now);
            return Some(BlobGrounds::OwnPush);
        };
        self.blobs.insert(key.clone(), held);
        self.renew(core, Key { digest: held, ..key }, now);
        Some(BlobGrounds::Lease { manifest: held })
    }

    /// The caller was permitted a manifest that reaches the blob, just now.
    pub(crate) fn decided(
        &self,
        core: &Core,
        asking: Asking<'_>,
        name: &Name,
        blob: &Digest,
        manifest: &ManifestContent,
    ) {
        self.grant(core, asking, name, manifest);
        self.blobs.insert(Key::of(asking, name, blob), manifest.digest);
    }
}

/// The first of these digests that the catalog knows a lease on, used since `oldest`. The rest as in `key`.
async fn written(
    core: &Arc<Core>,
    key: &Key,
    digests: &[Digest],
    oldest: Timestamp,
) -> Option<Digest> {
    let (key, asked) = (key.clone(), digests.to_vec());
    let read = move |shelf: &Shelf| {
        shelf.catalog.leases(&key.principal, &key.setting_column(), &key.name, &asked)
    };
    let rows = core.shelf.blocking(read).await?.ok()?;
    rows.into_iter().find(|(_, used)| *used > oldest).map(|(digest, _)| digest)
}

/// Blobs of one manifest that are put into memory at once; the rest are found when they are asked for.
const EACH_MAX: usize = 1000;
