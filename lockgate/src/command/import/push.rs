//! Pushes a plan. What is there already is left alone, so that an import that was interrupted goes
//! on when it is run again.

use super::plan::{ForName, Plan};
use crate::archive::Archive;
use crate::client::{Pushed, Registry};
use crate::exit::Failure;
use crate::output::clean;
use futures_util::StreamExt;
use indicatif::ProgressBar;
use oci::{Digest, Hasher, Name, Reference};
use reqwest::Body;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

/// How much of a blob is read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// What was done.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) blobs_pushed: u64,
    pub(super) blobs_mounted: u64,
    pub(super) blobs_skipped: u64,
    pub(super) manifests_pushed: u64,
    pub(super) manifests_skipped: u64,
    pub(super) tags_pushed: u64,
    pub(super) tags_skipped: u64,
    /// Bytes of blobs and manifests that were sent.
    pub(super) bytes_sent: u64,
    /// Roots that were found on the other side under the digest they have in the archive.
    pub(super) verified: u64,
    /// Names that were not pushed whole, and why.
    pub(super) refused: BTreeMap<Name, String>,
}

/// Who pushes.
pub(super) struct Push<'p> {
    pub(super) registry: &'p Registry,
    pub(super) archive: &'p Archive,
    pub(super) plan: &'p Plan,
    pub(super) bar: &'p ProgressBar,
    pub(super) report: Report,
    /// Where a blob is now, for the names that come after.
    places: BTreeMap<Digest, Name>,
}

impl<'p> Push<'p> {
    pub(super) fn new(
        registry: &'p Registry,
        archive: &'p Archive,
        plan: &'p Plan,
        bar: &'p ProgressBar,
    ) -> Self {
        let (report, places) = (Report::default(), BTreeMap::new());
        Self { registry, archive, plan, bar, report, places }
    }

    /// Pushes all names. A refusal ends its name, and the others go on; what cannot be told and an
    /// archive that is not what it says end all. Nothing can be pulled before all its blobs are
    /// there and checked.
    pub(super) async fn all(&mut self) -> Result<(), Failure> {
        for (name, of_name) in &self.plan.names {
            let pushed = self.blobs(name, of_name).await;
            self.note(name, pushed)?;
        }
        for (name, of_name) in &self.plan.names {
            if self.report.refused.contains_key(name) {
                continue;
            }
            let pushed = self.manifests(name, of_name).await;
            self.note(name, pushed)?;
        }
        Ok(())
    }

    fn note(&mut self, name: &Name, pushed: Result<(), Stopped>) -> Result<(), Failure> {
        match pushed {
            Ok(()) => Ok(()),
            Err(Stopped::Refused(failure)) if !failure.is_cannot_tell() => {
                let why = clean(&failure.one_line());
                self.bar.suspend(|| crate::output::say(&format!("{name}: {why}")));
                self.report.refused.insert(name.clone(), why);
                Ok(())
            }
            Err(Stopped::Refused(failure) | Stopped::Tampered(failure)) => Err(failure),
        }
    }

    async fn blobs(&mut self, name: &Name, of_name: &ForName) -> Result<(), Stopped> {
        for digest in &of_name.blobs {
            let Some(place) = self.archive.place(digest) else { continue };
            if self.registry.has_blob(name, digest).await? {
                self.report.blobs_skipped += 1;
                self.bar.inc(place.size_bytes);
            } else {
                match self.blob(name, digest).await? {
                    Pushed::Mounted => {
                        self.report.blobs_mounted += 1;
                        self.bar.inc(place.size_bytes);
                    }
                    Pushed::Sent => {
                        self.report.blobs_pushed += 1;
                        self.report.bytes_sent += place.size_bytes;
                    }
                }
            }
            self.places.entry(*digest).or_insert_with(|| name.clone());
        }
        Ok(())
    }

    async fn blob(&self, name: &Name, digest: &Digest) -> Result<Pushed, Stopped> {
        let wrong = Arc::new(Mutex::new(None));
        let place = self.archive.place(digest);
        let (offset, size_bytes) = place.map_or((0, 0), |place| (place.offset, place.size_bytes));
        let from = self.places.get(digest).filter(|from| *from != name);
        let body = async || {
            let path = self.archive.path();
            let checked = Checked::new(*digest, size_bytes, wrong.clone());
            body(path, offset, checked, self.bar.clone()).await
        };
        let pushed = self.registry.push_blob(name, digest, from, (size_bytes, body)).await;
        // What the plane made of it, or that the connection broke, matters less.
        if let Some(found) = wrong.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(Stopped::Tampered(self.archive.tampered(digest, &found)));
        }
        Ok(pushed?)
    }

    async fn manifests(&mut self, name: &Name, of_name: &ForName) -> Result<(), Stopped> {
        let mut there = BTreeSet::new();
        for digest in &of_name.manifests {
            let reference = Reference::Digest(*digest);
            if self.registry.known_manifest(name, &reference).await?.is_some() {
                self.report.manifests_skipped += 1;
            } else {
                self.manifest(name, digest, None).await?;
                self.report.manifests_pushed += 1;
            }
            there.insert(*digest);
        }
        for (tag, digest) in of_name.tags.iter().filter(|(_, digest)| there.contains(digest)) {
            let reference = Reference::Tag(tag.clone());
            if self.registry.known_manifest(name, &reference).await? == Some(*digest) {
                self.report.tags_skipped += 1;
            } else {
                self.manifest(name, digest, Some(tag)).await?;
                self.report.tags_pushed += 1;
            }
        }
        self.verify(name, of_name).await
    }

    async fn manifest(
        &mut self,
        name: &Name,
        digest: &Digest,
        tag: Option<&oci::Tag>,
    ) -> Result<(), Stopped> {
        let Some(held) = self.plan.manifests.get(digest) else { return Ok(()) };
        let content = (&held.media_type, held.bytes.clone());
        self.registry.push_manifest(name, digest, tag, content).await?;
        self.report.bytes_sent += held.bytes.len() as u64;
        Ok(())
    }

    /// Asks the other side for everything that the archive's index names.
    async fn verify(&mut self, name: &Name, of_name: &ForName) -> Result<(), Stopped> {
        let tagged: BTreeSet<&Digest> = of_name.tags.values().collect();
        let tags = of_name.tags.iter().map(|(tag, it)| (Reference::Tag(tag.clone()), *it));
        let others = of_name.roots.iter().filter(|root| !tagged.contains(root));
        let others = others.map(|root| (Reference::Digest(*root), *root));
        for (reference, digest) in tags.chain(others) {
            let found = match self.registry.head_manifest(name, &reference).await {
                // The answer to a HEAD has no body, so no reason.
                Err(failure) if !failure.is_cannot_tell() => {
                    let fetched = self.registry.manifest(name, &reference).await?;
                    fetched.map(|fetched| fetched.digest)
                }
                other => other?,
            };
            match found {
                Some(found) if found == digest => self.report.verified += 1,
                Some(found) => {
                    let text = format!("{reference} is {found} there, and {digest} in the archive");
                    return Err(Failure::no(text).into());
                }
                None => {
                    let text = format!("{reference} was pushed and is not there");
                    return Err(Failure::no(text).into());
                }
            }
        }
        Ok(())
    }
}

/// Why a name was not pushed.
enum Stopped {
    /// By the plane.
    Refused(Failure),
    /// The archive is not what it says: nothing more of it is pushed.
    Tampered(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// Checks bytes that pass by, and holds the last of them back if they are wrong.
struct Checked {
    hasher: Option<Hasher>,
    digest: Digest,
    left: u64,
    wrong: Arc<Mutex<Option<Digest>>>,
}

impl Checked {
    fn new(digest: Digest, size_bytes: u64, wrong: Arc<Mutex<Option<Digest>>>) -> Self {
        let hasher = Some(Hasher::new(digest.algorithm()));
        Self { hasher, digest, left: size_bytes, wrong }
    }

    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.left = self.left.saturating_sub(bytes.len() as u64);
        if self.left > 0 {
            return Ok(());
        }
        match self.hasher.take().map(Hasher::finish) {
            Some(found) if found != self.digest => {
                *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
                Err(io::Error::other("it is not what it is named"))
            }
            _ => Ok(()),
        }
    }
}

/// A part of a file as the body of a request.
async fn body(
    path: &Path,
    offset: u64,
    mut checked: Checked,
    bar: ProgressBar,
) -> Result<Body, Failure> {
    let size_bytes = checked.left;
    let opened = async {
        let mut file = tokio::fs::File::open(path).await?;
        file.seek(SeekFrom::Start(offset)).await?;
        if size_bytes == 0 {
            checked.pass(&[])?;
        }
        io::Result::Ok(file)
    };
    let file = opened.await.map_err(|error| {
        Failure::cannot_tell(format!("{} cannot be read", path.display())).because(&error)
    })?;
    let pieces = ReaderStream::with_capacity(file.take(size_bytes), PIECE_BYTES);
    let pieces = pieces.map(move |piece| {
        let piece = piece?;
        checked.pass(&piece)?;
        bar.inc(piece.len() as u64);
        io::Result::Ok(piece)
    });
    Ok(Body::wrap_stream(pieces))
}
