//! What is to be written, together or not at all.
//!
//! A batch only remembers; `write::apply` knows the SQL. A verb that expects something of the
//! catalog (named at the verb) makes the whole batch fail as [`WriteError::Conflict`] when it does
//! not hold, so that what was read before and what is written now fit together.
//!
//! [`WriteError::Conflict`]: crate::WriteError::Conflict

use crate::hosted::{Collection, PushedBlob, PushedManifest};
use crate::rows::{Content, JobRow, ListingKey, ManifestRow};
use bytes::Bytes;
use jiff::Timestamp;
use oci::{Digest, Name, Reference, Tag};
use policy::EnvironmentName;

/// Writes that belong together, in order.
#[derive(Debug, Default)]
pub struct Batch {
    verbs: Vec<Verb>,
    bytes: usize,
}

/// One write.
#[derive(Debug)]
pub(crate) enum Verb {
    PutManifest(Box<ManifestRow>),
    PutContent {
        name: Name,
        digest: Digest,
        content: Box<Content>,
    },
    PutBlob {
        digest: Digest,
        size_bytes: u64,
        is_manifest: bool,
        at: Timestamp,
    },
    MoveTag {
        name: Name,
        tag: Tag,
        digest: Box<Digest>,
        checked_at: Timestamp,
    },
    TouchTag {
        name: Name,
        tag: Tag,
        checked_at: Timestamp,
    },
    TagGone {
        name: Name,
        tag: Tag,
        since: Timestamp,
    },
    RemoveTag {
        name: Name,
        tag: Tag,
    },
    PutListing {
        name: Name,
        key: Box<ListingKey>,
        body: Bytes,
        at: Timestamp,
    },
    RemoveListings {
        name: Name,
    },
    Used {
        pairs: Vec<(Name, Digest)>,
        at: Timestamp,
    },
    Condemn {
        digest: Digest,
        at: Timestamp,
        unused_since: Option<Timestamp>,
    },
    Uncondemn {
        digest: Digest,
    },
    BeginRemoval {
        digest: Digest,
    },
    BlobGone {
        digest: Digest,
    },
    BlobLost {
        digest: Digest,
    },
    DropContent {
        name: Name,
        digest: Digest,
    },
    DropName {
        name: Name,
    },
    Pin {
        name: Name,
        reference: Box<Reference>,
        at: Timestamp,
    },
    Unpin {
        name: Name,
        reference: Box<Reference>,
    },
    PutRevision {
        digest: Digest,
        text: String,
        source: String,
        documents: u64,
        at: Timestamp,
    },
    PutJob(Box<JobRow>),
    Prune {
        before: Timestamp,
        limit: u32,
    },
    PushBlob(Box<PushedBlob>),
    PushManifest(Box<PushedManifest>),
    DeleteTag {
        name: Name,
        tag: Tag,
    },
    DeleteManifest {
        name: Name,
        digest: Box<Digest>,
        tags: Vec<Tag>,
        at: Timestamp,
    },
    DeleteBlob {
        name: Name,
        digest: Digest,
        at: Timestamp,
    },
    ExpectUnlisted {
        name: Name,
        digest: Digest,
    },
    Collect(Box<Collection>),
    CollectJudged(Box<Collection>),
    Adopt {
        name: Name,
        digest: Digest,
        at: Timestamp,
    },
    Disown {
        name: Name,
        digest: Digest,
    },
    SetComplete,
    Admit {
        environment: EnvironmentName,
        name: Name,
        digest: Box<Digest>,
        at: Timestamp,
    },
    Soften {
        environment: EnvironmentName,
        name: Name,
        digest: Box<Digest>,
        policy: String,
        at: Timestamp,
    },
    Lease {
        principal: String,
        setting: EnvironmentName,
        name: Name,
        digest: Box<Digest>,
        used: Timestamp,
    },
    DropLeases {
        name: Name,
    },
    ForgetUnused {
        leases_before: Timestamp,
        admissions_before: Timestamp,
        limit: u32,
    },
}

impl Batch {
    /// A batch with nothing in it. Submitted so, it is a barrier: its ticket resolves when all that
    /// was submitted before is written.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.verbs.is_empty()
    }

    /// Notes a manifest and what it lists. Doing it again changes nothing: a digest means the same
    /// bytes for ever. Put its content row in the same batch: without one it is pruned.
    pub fn put_manifest(&mut self, manifest: &ManifestRow) {
        self.push(Verb::PutManifest(Box::new(manifest.clone())), bytes_of(manifest));
    }

    /// Notes that bytes came through a name. Takes back the condemnation of its blob, unless that is
    /// being removed already: then the row is made, and says that the bytes are not present.
    /// A row that was once made without a credential stays public.
    pub fn put_content(&mut self, name: &Name, digest: &Digest, content: Content) {
        let bytes = content.private_to.as_ref().map_or(0, String::len) + size_of::<Content>();
        let verb =
            Verb::PutContent { name: name.clone(), digest: *digest, content: Box::new(content) };
        self.push(verb, bytes);
    }

    /// Notes that the bytes are in the store, durable. Takes back any condemnation.
    pub fn put_blob(&mut self, digest: &Digest, size_bytes: u64, is_manifest: bool, at: Timestamp) {
        self.push(Verb::PutBlob { digest: *digest, size_bytes, is_manifest, at }, 0);
    }

    /// Notes what a tag names. It counts as moved when it named something else before.
    pub fn move_tag(&mut self, name: &Name, tag: &Tag, digest: &Digest, checked_at: Timestamp) {
        let (name, tag, digest) = (name.clone(), tag.clone(), Box::new(*digest));
        self.push(Verb::MoveTag { name, tag, digest, checked_at }, 0);
    }

    /// Notes that the upstream confirmed what the tag names. Nothing happens to a tag not known.
    pub fn touch_tag(&mut self, name: &Name, tag: &Tag, checked_at: Timestamp) {
        self.push(Verb::TouchTag { name: name.clone(), tag: tag.clone(), checked_at }, 0);
    }

    /// Notes that the upstream says, with authority, that there is no such tag. The first time
    /// counts; what the tag named is kept. Nothing happens to a tag not known.
    pub fn tag_gone(&mut self, name: &Name, tag: &Tag, since: Timestamp) {
        self.push(Verb::TagGone { name: name.clone(), tag: tag.clone(), since }, 0);
    }

    /// Forgets a tag. What clients delete is deleted by [`Self::delete_tag`].
    pub fn remove_tag(&mut self, name: &Name, tag: &Tag) {
        self.push(Verb::RemoveTag { name: name.clone(), tag: tag.clone() }, 0);
    }

    /// Keeps an answer of an upstream.
    pub fn put_listing(&mut self, name: &Name, key: ListingKey, body: Bytes, at: Timestamp) {
        let bytes = body.len();
        self.push(Verb::PutListing { name: name.clone(), key: Box::new(key), body, at }, bytes);
    }

    /// Forgets every kept answer about a name.
    pub fn remove_listings(&mut self, name: &Name) {
        self.push(Verb::RemoveListings { name: name.clone() }, 0);
    }

    /// Notes that these were used, for the content rows and for the blobs. Never moves a time back.
    pub fn used(&mut self, pairs: &[(Name, Digest)], at: Timestamp) {
        let bytes =
            size_of_val(pairs) + pairs.iter().map(|(name, _)| name.as_str().len()).sum::<usize>();
        self.push(Verb::Used { pairs: pairs.to_vec(), at }, bytes);
    }

    /// Puts a blob on its way out. Expects that it is present, not condemned, and that neither hosted
    /// content nor a pin needs it.
    pub fn condemn(&mut self, digest: &Digest, at: Timestamp) {
        self.push(Verb::Condemn { digest: *digest, at, unused_since: None }, 0);
    }

    /// As [`Self::condemn`], and expects that the blob was not used after `last_used`, the time read
    /// with the victim.
    pub fn condemn_unused(&mut self, digest: &Digest, last_used: Timestamp, at: Timestamp) {
        self.push(Verb::Condemn { digest: *digest, at, unused_since: Some(last_used) }, 0);
    }

    /// Keeps a blob after all. Expects that it is there and not being removed.
    pub fn uncondemn(&mut self, digest: &Digest) {
        self.push(Verb::Uncondemn { digest: *digest }, 0);
    }

    /// Said before the file of a condemned blob is unlinked: from here on nothing but new bytes
    /// ([`Self::put_blob`]) brings it back. Expects that it is condemned.
    pub fn begin_removal(&mut self, digest: &Digest) {
        self.push(Verb::BeginRemoval { digest: *digest }, 0);
    }

    /// Notes that the file of a condemned blob is unlinked. Expects that it is still condemned.
    pub fn blob_gone(&mut self, digest: &Digest) {
        self.push(Verb::BlobGone { digest: *digest }, 0);
    }

    /// Notes that the bytes turned out not to be in the store, whatever was believed.
    pub fn blob_lost(&mut self, digest: &Digest) {
        self.push(Verb::BlobLost { digest: *digest }, 0);
    }

    /// Forgets that a name holds a digest. Expects that it is not hosted.
    pub fn drop_content(&mut self, name: &Name, digest: &Digest) {
        self.push(Verb::DropContent { name: name.clone(), digest: *digest }, 0);
    }

    /// Forgets all that a name holds: contents, tags, kept answers. Pins stay. Expects that nothing of
    /// it is hosted.
    pub fn drop_name(&mut self, name: &Name) {
        self.push(Verb::DropName { name: name.clone() }, 0);
    }

    /// Keeps a reference, and what it reaches, from eviction.
    pub fn pin(&mut self, name: &Name, reference: &Reference, at: Timestamp) {
        let (name, reference) = (name.clone(), Box::new(reference.clone()));
        self.push(Verb::Pin { name, reference, at }, 0);
    }

    /// Takes a pin back.
    pub fn unpin(&mut self, name: &Name, reference: &Reference) {
        let (name, reference) = (name.clone(), Box::new(reference.clone()));
        self.push(Verb::Unpin { name, reference }, 0);
    }

    /// Keeps a set of resources that came into force. `source` says where it came from, in words.
    pub fn put_revision(
        &mut self,
        digest: &Digest,
        text: &str,
        source: &str,
        documents: u64,
        at: Timestamp,
    ) {
        let (text, source) = (text.to_owned(), source.to_owned());
        let bytes = text.len() + source.len();
        self.push(Verb::PutRevision { digest: *digest, text, source, documents, at }, bytes);
    }

    /// Keeps the state of a job.
    pub fn put_job(&mut self, job: &JobRow) {
        let bytes = job.spec_json.len() + job.progress_json.len() + size_of::<JobRow>();
        self.push(Verb::PutJob(Box::new(job.clone())), bytes);
    }

    /// Forgets, at most `limit` of each: contents that are not in the store and were not used since
    /// `before`, manifests that no name holds any more, answers kept before `before`, jobs that
    /// ended before it. Without it these would grow for ever. Hosted content is never forgotten.
    pub fn prune(&mut self, before: Timestamp, limit: u32) {
        self.push(Verb::Prune { before, limit }, 0);
    }

    /// Notes a blob that was pushed: bytes, and hosted content. Expects that the repository holds no
    /// more than its quota then, or no more than before.
    pub fn push_blob(&mut self, blob: &PushedBlob) {
        self.push(Verb::PushBlob(Box::new(blob.clone())), size_of::<PushedBlob>());
    }

    /// Notes a manifest that was pushed: the manifest, its bytes, hosted content, and its tags. What
    /// it requires becomes hosted too, if it was not. Expects that all of that is content of the name
    /// whose bytes are in the store, that no immutable tag moves, and that the quota is kept.
    pub fn push_manifest(&mut self, pushed: &PushedManifest) {
        let tags = (pushed.tags.len() + pushed.immutable.len()) * 128;
        let requires = size_of_val(pushed.requires.as_slice());
        let bytes = bytes_of(&pushed.manifest) + requires + tags;
        self.push(Verb::PushManifest(Box::new(pushed.clone())), bytes);
    }

    /// Forgets a tag for good. Expects that it is there.
    pub fn delete_tag(&mut self, name: &Name, tag: &Tag) {
        self.push(Verb::DeleteTag { name: name.clone(), tag: tag.clone() }, 0);
    }

    /// Forgets a manifest under a name, with the tags that name it: `tags`, those that were looked at
    /// before. Condemns its bytes if nobody else needs them. Expects that it is content of the name,
    /// and that no other tag of the name names it.
    pub fn delete_manifest(&mut self, name: &Name, digest: &Digest, tags: &[Tag], at: Timestamp) {
        let (name, digest, bytes) = (name.clone(), Box::new(*digest), tags.len() * 128);
        self.push(Verb::DeleteManifest { name, digest, tags: tags.to_vec(), at }, bytes);
    }

    /// Forgets a blob under a name. Condemns its bytes if nobody else needs them. Expects that it is
    /// content of the name, and no manifest.
    pub fn delete_blob(&mut self, name: &Name, digest: &Digest, at: Timestamp) {
        self.push(Verb::DeleteBlob { name: name.clone(), digest: *digest, at }, 0);
    }

    /// Expects that no manifest of the name lists a digest, as at the time of the look that allows to
    /// delete it.
    pub fn expect_unlisted(&mut self, name: &Name, digest: &Digest) {
        self.push(Verb::ExpectUnlisted { name: name.clone(), digest: *digest }, 0);
    }

    /// Takes what a mark found. Condemns the bytes that nobody else needs. A tag that names something
    /// else by now stays, and so does a blob that was used since. Expects that the name has not
    /// changed since the mark, that no manifest was used since, and that no tag names what goes.
    pub fn collect(&mut self, collection: &Collection) {
        let tags = collection.tags.len() * (size_of::<Digest>() + 128);
        let contents = size_of_val(collection.contents.as_slice());
        self.push(Verb::Collect(Box::new(collection.clone())), tags + contents);
    }

    /// As [`Self::collect`], of a name that changes all the time: expects nothing, and takes what is
    /// still dead when each is judged by itself. What stays can be read afterwards.
    pub fn collect_judged(&mut self, collection: &Collection) {
        let tags = collection.tags.len() * (size_of::<Digest>() + 128);
        let contents = size_of_val(collection.contents.as_slice());
        self.push(Verb::CollectJudged(Box::new(collection.clone())), tags + contents);
    }

    /// Makes content of a name hosted, and counts as a use of it. Expects that it is there, with its
    /// bytes in the store.
    pub fn adopt(&mut self, name: &Name, digest: &Digest, at: Timestamp) {
        self.push(Verb::Adopt { name: name.clone(), digest: *digest, at }, 0);
    }

    /// The reverse of [`Self::adopt`]: from now on the content is as any other that can be fetched
    /// again. Nothing happens to content that is not hosted.
    pub fn disown(&mut self, name: &Name, digest: &Digest) {
        self.push(Verb::Disown { name: name.clone(), digest: *digest }, 0);
    }

    /// Notes that all hosted names of the store are known from here on.
    pub fn set_complete(&mut self) {
        self.push(Verb::SetComplete, 0);
    }

    pub(crate) fn push(&mut self, verb: Verb, more_bytes: usize) {
        // Names and tags are counted at their longest: a bound may be wrong only on the safe side.
        self.bytes += size_of::<Verb>() + Name::MAX_BYTES + 128 + more_bytes;
        self.verbs.push(verb);
    }

    pub(crate) fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    /// About how much memory it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + size_of::<Self>()
    }
}

/// About how much memory the lists of a manifest take.
fn bytes_of(manifest: &ManifestRow) -> usize {
    let notes: usize = manifest.annotations.iter().map(|(k, v)| k.len() + v.len() + 48).sum();
    manifest.edges.len() * size_of::<crate::Edge>() + notes
}
