//! The request pipeline; remote repositories; shared fills; freshness; eviction.
