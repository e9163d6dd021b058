//! Bounded maps for the path of every request.
//!
//! They are asked several times per request, and the standard hash of strings would be what most of
//! a warm decision costs. This one is quick and seeded anew by each process; what a flood of made-up keys
//! that collide could slow down is bounded besides.

use foldhash::fast::RandomState;
use moka::sync::{Cache, CacheBuilder};
use std::hash::{BuildHasher, Hash};
use std::sync::LazyLock;

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
