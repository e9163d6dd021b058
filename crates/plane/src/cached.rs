//! Bounded maps for the path of every request.
//!
//! They are asked several times per request, and the standard hash of strings would be what most of
//! a warm decision costs. This one is quick and seeded anew by each process; what a flood of made-up keys
//! that collide could slow down is bounded besides.

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use moka::sync::{Cache, CacheBuilder};
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, LazyLock};

/// A bounded map that is read without a lock.
pub(crate) type Cached<K, V> = Cache<K, V, RandomState>;

/// Makes one with the bounds of a builder.
pub(crate) fn cached<K, V>(builder: CacheBuilder<K, V, Cache<K, V>>) -> Cached<K, V>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    builder.build_with_hasher(RandomState::default())
}

/// The hash of a value, the same in all of this process.
pub(crate) fn hash_of(value: &impl Hash) -> u64 {
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    STATE.hash_one(value)
}

/// What is only kept to save work: each key has one place, and the last one that was put there has it.
/// Reading is a hash, a load and a comparison.
pub(crate) struct Slots<K, V>(Box<[ArcSwapOption<(K, V)>]>);

impl<K: Eq + Hash, V: Clone> Slots<K, V> {
    /// So many places; a power of two.
    pub(crate) fn new(places: usize) -> Self {
        Self((0..places.next_power_of_two()).map(|_| ArcSwapOption::empty()).collect())
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let held = self.place(key).load();
        held.as_ref().filter(|held| held.0 == *key).map(|held| held.1.clone())
    }

    pub(crate) fn put(&self, key: K, value: V) {
        self.place(&key).store(Some(Arc::new((key, value))));
    }

    fn place(&self, key: &K) -> &ArcSwapOption<(K, V)> {
        let places = self.0.len() as u64;
        &self.0[usize::try_from(hash_of(key) & (places - 1)).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_never_answers_for_another_key() {
        let slots = Slots::new(3);
        for n in 0..100 {
            slots.put(n, n * 7);
            assert_eq!(slots.get(&n), Some(n * 7));
        }
        let held: Vec<i32> = (0..100).filter(|n| slots.get(n).is_some()).collect();
        assert!(!held.is_empty() && held.len() <= 4, "{held:?}");
        assert!(held.iter().all(|n| slots.get(n) == Some(n * 7)));
    }
}
