//! Bytes by digest: verified writes, ranged reads, parts, eviction support; the file system.
