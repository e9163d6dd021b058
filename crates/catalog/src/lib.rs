//! What exists: contents, tags, reach, revisions, pins; SQLite.
