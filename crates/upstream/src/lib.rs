//! Remote registries: token dance, limits, retries, health, resumable reads.
