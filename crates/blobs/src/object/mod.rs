//! An object store as a place for blobs: the same keys as the files have, below a prefix.
//!
//! What is asked of it is bounded: each small request in time, each transfer by how long it may
//! stand still, parts under way in number. A store that cannot be asked is an error and never
//! "not there"; that includes a bucket that is gone, which answers as an absent object does.
//!
//! The functions said to block wait on the runtime that was current when the place was opened, and
//! so must not be called from an async worker.

mod ahead;
mod build;
mod documents;
mod read;
mod send;
mod sent;
mod trouble;

pub(crate) use ahead::ReadAhead;
pub(crate) use send::{PartSource, Sent};
pub use trouble::Trouble;

use crate::error::Error;
use crate::layout::ALGORITHMS;
use crate::map::MapBudget;
use crate::place::Place;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::multipart::MultipartStore;
use object_store::path::Path as Key;
use object_store::signer::{Method, Signer};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use oci::{Algorithm, Digest};
use parking_lot::Mutex;
use secrecy::SecretString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Requests for bytes and parts under way at once per place; protects sockets and memory.
const TRANSFERS_MAX: usize = 64;
/// Parts of uploads in memory at once per place, counted in the shortest ones (16 MiB).
const PARTS_HELD_MAX: usize = 12;
/// Bytes read ahead of all streams of a place together.
const AHEAD_MAX_BYTES: u64 = 256 << 20;
/// How long an answer that only a bucket which is there can give proves that it is.
const PROOF_TIME: Duration = Duration::from_mins(1);

/// How long an object store may take. Public for tests alone.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct ObjectWaits {
    /// Making a connection.
    pub connect: Duration,
    /// A request without bytes worth mentioning, retries included.
    pub small: Duration,
    /// Between two pieces of a body.
    pub stall: Duration,
    /// A range of some MiB or a part, retries included.
    pub transfer: Duration,
    /// Before the second try; doubled for each further one.
    pub backoff: Duration,
    /// How long a store that could not be reached is left alone.
    pub rest: Duration,
}

impl Default for ObjectWaits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            small: Duration::from_secs(10),
            stall: Duration::from_secs(10),
            transfer: Duration::from_mins(5),
            backoff: Duration::from_millis(100),
            rest: Duration::from_secs(1),
        }
    }
}

/// What is told of an object without its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) size_bytes: u64,
    pub(crate) modified: SystemTime,
}

/// The objects below one prefix of one bucket.
pub(crate) struct ObjectPlace {
    /// For messages, without secrets.
    url: String,
    prefix: String,
    store: Arc<dyn ObjectStore>,
    multipart: Arc<dyn MultipartStore>,
    signer: Arc<dyn Signer>,
    runtime: Handle,
    waits: ObjectWaits,
    transfers: Arc<Semaphore>,
    parts: Arc<Semaphore>,
    ahead: Arc<MapBudget>,
    /// When the bucket last showed that it is there.
    proven: Mutex<Option<Instant>>,
    /// When it last could not be reached, until it was again.
    failed: Mutex<Option<(Instant, Trouble)>>,
}

impl ObjectPlace {
    /// Makes the client; asks nothing. Needs a current tokio runtime.
    pub(crate) fn open(place: &Place, waits: ObjectWaits) -> Result<Self, Error> {
        let bad = |source: Box<dyn std::error::Error + Send + Sync>| Error::BadPlace {
            place: place.to_string(),
            source,
        };
        let runtime = Handle::try_current().map_err(|error| bad(error.into()))?;
        let prefix = match place.prefix() {
            "" => "blobs".to_owned(),
            prefix => format!("{prefix}/blobs"),
        };
        Key::parse(&prefix).map_err(|error| bad(error.into()))?;
        let client = build::client(place, waits).map_err(bad)?;
        Ok(Self {
            url: place.to_string(),
            prefix,
            store: client.store,
            multipart: client.multipart,
            signer: client.signer,
            runtime,
            waits,
            transfers: Arc::new(Semaphore::new(TRANSFERS_MAX)),
            parts: Arc::new(Semaphore::new(PARTS_HELD_MAX)),
            ahead: MapBudget::new(AHEAD_MAX_BYTES),
            proven: Mutex::new(None),
            failed: Mutex::new(None),
        })
    }

    fn key(&self, digest: &Digest) -> Key {
        let hex = digest.hex();
        Key::from(format!("{}/{}/{}/{hex}", self.prefix, digest.algorithm(), &hex[..2]))
    }

    /// What a blob is called in messages.
    pub(crate) fn name(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        format!("{}/blobs/{}/{}/{hex}", self.url, digest.algorithm(), &hex[..2]).into()
    }

    /// Blocks: size and age of a blob; `None` when the store says that it is not there.
    pub(crate) fn find(&self, digest: &Digest) -> Result<Option<Found>, Error> {
        self.runtime.block_on(self.head(digest))
    }

    async fn head(&self, digest: &Digest) -> Result<Option<Found>, Error> {
        let (key, name) = (self.key(digest), self.name(digest));
        match self.soon("look at", &name, self.store.head(&key)).await {
            Ok(meta) => {
                self.prove();
                Ok(Some(found(&meta)))
            }
            // A bucket that is not there answers just so.
            Err(error) if error.is_absent() => self.make_sure().await.map(|()| None),
            // A HEAD has no body to say why; a list has.
            Err(error @ Error::Remote { trouble: Trouble::Forbidden, .. }) => {
                Err(self.ask().await.err().unwrap_or(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Blocks: writes a small blob. It is one request, which names its length and is answered when
    /// all of it is kept.
    pub(crate) fn put(&self, digest: &Digest, bytes: &Bytes) -> Result<(), Error> {
        let (key, name) = (self.key(digest), self.name(digest));
        let payload = PutPayload::from_bytes(bytes.clone());
        let put = self.within(self.waits.transfer, "write", &name, self.store.put(&key, payload));
        self.runtime.block_on(put)?;
        self.prove();
        Ok(())
    }

    /// Blocks: an object is there with the size it should have.
    pub(crate) fn confirm(&self, digest: &Digest, size_bytes: u64) -> Result<(), Error> {
        self.runtime.block_on(self.confirmed(digest, size_bytes))
    }

    async fn confirmed(&self, digest: &Digest, size_bytes: u64) -> Result<(), Error> {
        let path = self.name(digest);
        match self.head(digest).await? {
            None => Err(Error::Absent { path }),
            Some(found) if found.size_bytes != size_bytes => {
                let (found_bytes, wanted_bytes) = (found.size_bytes, size_bytes);
                Err(Error::WrongSize { path, found_bytes, wanted_bytes })
            }
            Some(_) => Ok(()),
        }
    }

    /// Blocks: deletes a blob; that it is not there is no error.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let (key, name) = (self.key(digest), self.name(digest));
        let removed = self.runtime.block_on(self.soon("remove", &name, self.store.delete(&key)));
        match removed {
            Err(error) if error.is_absent() => Ok(()),
            removed => removed,
        }
    }

    /// Blocks: copies a blob, without its bytes coming here, to its key with something behind.
    pub(crate) fn copy_aside(&self, digest: &Digest, suffix: &str) -> Result<(), Error> {
        let (key, name) = (self.key(digest), self.name(digest));
        let to = Key::from(format!("{key}{suffix}"));
        let copied = self.store.copy(&key, &to);
        self.runtime.block_on(self.within(self.waits.transfer, "put aside", &name, copied))
    }

    /// Every blob of an algorithm, as the store lists them.
    pub(crate) fn list(self: &Arc<Self>, algorithm: Algorithm) -> Listing {
        let prefix = Key::from(format!("{}/{algorithm}", self.prefix));
        let objects = Some(self.store.list(Some(&prefix)));
        Listing { place: self.clone(), algorithm, objects }
    }

    /// Blocks, but not on the network where keys are told: a URL by which anybody may fetch a blob.
    pub(crate) fn presign(
        &self,
        digest: &Digest,
        valid_for: Duration,
    ) -> Result<SecretString, Error> {
        let (key, name) = (self.key(digest), self.name(digest));
        let signed = self.signer.signed_url(Method::GET, &key, valid_for);
        let url = self.runtime.block_on(self.soon("sign a URL for", &name, signed))?;
        Ok(String::from(url).into())
    }

    /// Blocks: whether it can be written, read, listed and deleted from.
    pub(crate) fn probe(&self) -> Result<(), Error> {
        self.runtime.block_on(self.try_all())
    }

    async fn try_all(&self) -> Result<(), Error> {
        let file = format!("probe-{:016x}", rand_u64());
        let prefix = Key::from(format!("{}/.probe", self.prefix));
        let key = prefix.clone().join(file.as_str());
        let name = PathBuf::from(format!("{}/blobs/.probe/{file}", self.url));
        let text = Bytes::from_static(b"lockgate");
        self.make_sure().await?;
        let payload = PutPayload::from_bytes(text.clone());
        self.soon("write", &name, self.store.put(&key, payload)).await?;
        let read = async { self.store.get(&key).await?.bytes().await };
        let read = self.soon("read", &name, read).await?;
        let mut listed = self.store.list(Some(&prefix));
        let mut is_listed = false;
        while let Some(meta) =
            self.soon("list", &name, async { listed.next().await.transpose() }).await?
        {
            is_listed |= meta.location == key;
        }
        self.soon("remove", &name, self.store.delete(&key)).await?;
        if read != text || !is_listed {
            let (trouble, source) =
                (Trouble::Other, "what was written is not what is there".into());
            return Err(Error::Remote { action: "use", path: name, trouble, source });
        }
        Ok(())
    }

    /// The bucket showed that it is there.
    fn prove(&self) {
        *self.proven.lock() = Some(Instant::now());
    }

    /// Tells an absent object from an absent bucket, which a HEAD cannot.
    async fn make_sure(&self) -> Result<(), Error> {
        if self.proven.lock().is_some_and(|at| at.elapsed() < PROOF_TIME) {
            return Ok(());
        }
        self.ask().await
    }

    /// Asks for what an answer always has a body, and only a bucket that is there says yes.
    async fn ask(&self) -> Result<(), Error> {
        let prefix = Key::from(format!("{}/{}", self.prefix, ALGORITHMS[0]));
        let mut objects = self.store.list(Some(&prefix));
        let name = PathBuf::from(&self.url);
        let first = async { objects.next().await.transpose() };
        self.soon("list", &name, first).await?;
        self.prove();
        Ok(())
    }
}

impl fmt::Debug for ObjectPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ObjectPlace").field(&self.url).finish()
    }
}

fn found(meta: &ObjectMeta) -> Found {
    Found { size_bytes: meta.size, modified: meta.last_modified.into() }
}

/// Tells probes of several processes apart; nothing rests on it.
fn rand_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Objects as they are listed, page by page. Each step blocks.
pub(crate) struct Listing {
    place: Arc<ObjectPlace>,
    algorithm: Algorithm,
    objects: Option<BoxStream<'static, object_store::Result<ObjectMeta>>>,
}

impl Iterator for Listing {
    type Item = Result<(Digest, u64), Error>;

    /// What lies wrong is passed over; an error ends it.
    fn next(&mut self) -> Option<Self::Item> {
        let Self { place, algorithm, objects } = self;
        let objects = objects.as_mut()?;
        let name = PathBuf::from(&place.url);
        loop {
            let next = async { objects.next().await.transpose() };
            let next = place.within(place.waits.transfer, "list", &name, next);
            let meta = match place.runtime.block_on(next) {
                Ok(meta) => meta?,
                Err(error) => {
                    self.objects = None;
                    return Some(Err(error));
                }
            };
            let hex = meta.location.filename().unwrap_or_default();
            if let Ok(digest) = Digest::from_hex(*algorithm, hex)
                && place.key(&digest) == meta.location
            {
                return Some(Ok((digest, meta.size)));
            }
        }
    }
}
