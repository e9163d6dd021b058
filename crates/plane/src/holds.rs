//! Bytes on their way in, and bytes on their way out: never both of one digest at a time.
//!
//! Removing a blob takes three steps (row told, file unlinked, row gone), and so does taking one in
//! (file there, row written, durable). Between them a file that is about to go looks as if it were
//! there to stay. What was cached is fetched again then; what was pushed would be lost.

use oci::Digest;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Who has which digest. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    digests: Mutex<HashMap<Digest, Turn>>,
    removed: Notify,
}

#[derive(Debug)]
enum Turn {
    /// So many bring its bytes in.
    Held(usize),
    Removing,
}

impl Holds {
    /// Keeps the bytes of a digest from being removed until it is dropped. Waits for a removal that
    /// is under way; those wait for nothing without a bound.
    pub(crate) async fn hold(&self, digest: &Digest) -> Hold {
        loop {
            // Made before the look, so that no removal ends unheard between the two.
            let removed = self.0.removed.notified();
            if let Some(hold) = self.try_hold(digest) {
                return hold;
            }
            removed.await;
        }
    }

    fn try_hold(&self, digest: &Digest) -> Option<Hold> {
        match self.0.digests.lock().entry(*digest).or_insert(Turn::Held(0)) {
            Turn::Held(count) => *count += 1,
            Turn::Removing => return None,
        }
        Some(Hold { holds: self.clone(), digest: *digest })
    }

    /// Begins the removal of a digest, which is over when it is dropped. `None`: somebody brings its
    /// bytes in, or another removes it.
    pub(crate) fn removal(&self, digest: &Digest) -> Option<Removal> {
        let mut digests = self.0.digests.lock();
        if digests.contains_key(digest) {
            return None;
        }
        digests.insert(*digest, Turn::Removing);
        Some(Removal { holds: self.clone(), digest: *digest })
    }
}

/// The bytes of a digest stay as long as this lives.
#[derive(Debug)]
#[must_use = "dropped, it holds nothing"]
pub(crate) struct Hold {
    holds: Holds,
    digest: Digest,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut digests = self.holds.0.digests.lock();
        match digests.get_mut(&self.digest) {
            Some(Turn::Held(count)) if *count > 1 => *count -= 1,
            _ => drop(digests.remove(&self.digest)),
        }
    }
}

/// A removal that is under way.
#[derive(Debug)]
#[must_use = "dropped, the removal is over"]
pub(crate) struct Removal {
    holds: Holds,
    digest: Digest,
}

impl Drop for Removal {
    fn drop(&mut self) {
        self.holds.0.digests.lock().remove(&self.digest);
        self.holds.0.removed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_or_go() {
        let (holds, digest) = (Holds::default(), Digest::sha256(b"x"));
        let (first, second) = (holds.hold(&digest).await, holds.hold(&digest).await);
        assert!(holds.removal(&digest).is_none());
        drop(first);
        assert!(holds.removal(&digest).is_none(), "one still holds it");
        drop(second);
        let removal = holds.removal(&digest).unwrap();
        assert!(holds.removal(&digest).is_none(), "one removes it already");
        assert!(holds.removal(&Digest::sha256(b"y")).is_some());
        let waiting = tokio::spawn({
            let holds = holds.clone();
            async move { holds.hold(&digest).await }
        });
        while holds.0.digests.lock().len() != 1 || holds.try_hold(&digest).is_some() {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(removal);
        drop(waiting.await.unwrap());
        assert!(holds.0.digests.lock().is_empty());
    }
}
