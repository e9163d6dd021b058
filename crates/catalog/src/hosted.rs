//! What is said and asked about hosted content: pushes, collection, marks.
//!
//! Beside `rows`, because hosted content has a rule of its own: it is the only copy, so it goes only
//! by a client's delete or by a mark that found it unreachable.

use crate::rows::ManifestRow;
use jiff::Timestamp;
use oci::{Digest, MediaType, Name, Tag};
use std::collections::HashSet;

/// A blob that was pushed; its bytes are in the store, durable.
#[derive(Clone, Debug)]
pub struct PushedBlob {
    /// The canonical name.
    pub name: Name,
    /// What it hashes to.
    pub digest: Digest,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Its media type, if the client said one.
    pub media_type: Option<MediaType>,
    /// What the repository may hold in all. `None`: no bound.
    pub quota_bytes: Option<u64>,
    /// When.
    pub at: Timestamp,
}

/// A manifest that was pushed; its bytes are in the store, durable.
#[derive(Clone, Debug)]
pub struct PushedManifest {
    /// The canonical name.
    pub name: Name,
    /// The manifest.
    pub manifest: ManifestRow,
    /// What must be content of the name with its bytes in the store. It becomes hosted with this.
    pub requires: Vec<Digest>,
    /// Tags that name it from now on.
    pub tags: Vec<Tag>,
    /// Those of the tags that must not name another digest now.
    pub immutable: Vec<Tag>,
    /// What the repository may hold in all. `None`: no bound.
    pub quota_bytes: Option<u64>,
    /// When.
    pub at: Timestamp,
}

/// What collection takes from one name. Made by [`Marked::collection`].
#[derive(Clone, Debug)]
pub struct Collection {
    /// The canonical name.
    pub name: Name,
    /// The number of the name's last change, as the mark read it.
    pub change: u64,
    /// Tags, and what each named then.
    pub tags: Vec<(Tag, Digest)>,
    /// Hosted content, and when the mark read that each was last used.
    pub contents: Vec<(Digest, Timestamp)>,
    /// When.
    pub at: Timestamp,
}

/// What hosted content a repository holds, each row counted in full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostedUse {
    /// Rows: a digest under a name.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A tag with all that retention asks about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagEntry {
    /// The tag.
    pub tag: Tag,
    /// What it names.
    pub digest: Digest,
    /// When it came to name this digest.
    pub moved_at: Timestamp,
    /// When the manifest first came to the name; `None`: it is no content of the name.
    pub pushed_at: Option<Timestamp>,
    /// Last push or pull of the manifest under this name, coarse; without content, when it moved.
    pub last_used: Timestamp,
}

/// Bytes that are in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRow {
    /// What they hash to.
    pub digest: Digest,
    /// Length in bytes.
    pub size_bytes: u64,
    /// A manifest, or a blob.
    pub is_manifest: bool,
    /// Whether hosted content needs it.
    pub is_held: bool,
}

/// What a mark of one name takes for alive beside tags and pins.
#[derive(Clone, Copy, Debug)]
pub struct MarkQuery<'a> {
    /// Manifests used after it live, whether or not something names them.
    pub untagged_since: Timestamp,
    /// Blobs used after it live, whether or not a manifest lists them.
    pub blob_since: Timestamp,
    /// Used so lately that the catalog may not know it yet: they live.
    pub recent: &'a HashSet<Digest>,
    /// Tags that retention takes away: they keep nothing alive.
    pub doomed_tags: &'a HashSet<Tag>,
    /// Most of the dead that are told.
    pub limit: u32,
}

/// What a mark found. All of it goes together, or nothing: a part could take a manifest and leave a
/// tag that names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marked {
    /// The number of the name's last change. What is collected is collected only if it is still that.
    pub change: u64,
    /// Hosted content that nothing needs, what needs others first: an index before its children, a
    /// subject before its referrers, manifests before blobs.
    pub dead: Vec<Dead>,
    /// Tags that go: those of [`MarkQuery::doomed_tags`] that are there, and evidence tags whose
    /// subject dies in this mark.
    pub dead_tags: Vec<(Tag, Digest)>,
    /// There are more dead than the limit: collect these, and mark again.
    pub cut: bool,
    /// What stays.
    pub kept: Kept,
}

/// How much of a name's hosted content a mark left alone. Where the mark was cut, as far as it looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Tags.
    pub tags: u64,
    /// Manifests.
    pub manifests: u64,
    /// Of these, manifests that no tag or pin leads to: their last use, or that of what leads to
    /// them, keeps them.
    pub untagged: u64,
    /// Blobs.
    pub blobs: u64,
    /// Of these, blobs that no live manifest lists: their last use keeps them.
    pub unlisted: u64,
}

impl Marked {
    /// What is to be handed to [`Batch::collect`](crate::Batch::collect).
    pub fn collection(&self, name: &Name, at: Timestamp) -> Collection {
        Collection {
            name: name.clone(),
            change: self.change,
            tags: self.dead_tags.clone(),
            contents: self.dead.iter().map(|dead| (dead.digest, dead.last_used)).collect(),
            at,
        }
    }

    /// Whether there is nothing to collect.
    pub fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.dead_tags.is_empty()
    }
}

/// Hosted content that nothing needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dead {
    /// The manifest or blob.
    pub digest: Digest,
    /// A manifest, or a blob.
    pub is_manifest: bool,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Last push or pull under this name, coarse.
    pub last_used: Timestamp,
    /// Why nothing needs it.
    pub why: DeadWhy,
}

/// Why content is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadWhy {
    /// A manifest that no tag, pin or live index names, and that was not used lately.
    Untagged,
    /// A manifest that refers to a subject which is not there, or is dead too, and that nothing else
    /// names.
    SubjectGone,
    /// A blob that no live manifest of the name lists, and that was not used lately.
    Unreferenced,
}

/// Which schema a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaVersion {
    /// The schema of the file.
    pub found: i64,
    /// The newest schema that this program knows; an older one is migrated when it is opened.
    pub known: i64,
}
