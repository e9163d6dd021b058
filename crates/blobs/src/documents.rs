//! Small documents beside the blobs, one for a name: what is in the store can be understood from the
//! store alone.
//!
//! They lie as `names/<name>/_index.json` where the blobs of a place lie. No segment of a name begins
//! with `_` or `.`, so that neither a document nor a temporary file is ever in the way of a name
//! below, and the file's own name has no length that a name could add to. What is in them is the
//! caller's matter. Unlike blobs, they are replaced, each as a whole.

use crate::dir::BlobDir;
use crate::error::Error;
use crate::layout::{self, Temp};
use crate::places::{Home, OpenPlace};
use crate::store::Store;
use bytes::Bytes;
use oci::Name;
use std::fs::ReadDir;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Beside the directories of the algorithms.
pub(crate) const DIRECTORY: &str = "names";
pub(crate) const FILE: &str = "_index.json";
/// Segments of the longest name: each takes two bytes with its slash.
const DEPTH_MAX: usize = Name::MAX_BYTES / 2 + 1;
/// Times that a directory is made again which was removed, being empty, in the same moment.
const MAKE_TRIES: usize = 4;

impl Store {
    /// Blocks: keeps the document of a name in the place that is written to, and returns when it will
    /// survive a crash. At any moment the old one or the new one is there, whole.
    pub fn put_document(&self, name: &Name, bytes: &[u8]) -> Result<(), Error> {
        self.put_document_in(&self.first_place(), name, bytes)
    }

    /// Blocks: the document of a name from the first place that has one, if it is no longer than
    /// `max_bytes`; otherwise [`Error::TooLarge`]. A place that cannot be asked is an error.
    pub fn document(&self, name: &Name, max_bytes: usize) -> Result<Option<Bytes>, Error> {
        for place in self.open_places().iter() {
            if let Some(bytes) = document_in(place, name, max_bytes)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Blocks: as [`Store::document`], of the place that is written to alone.
    pub fn first_document(&self, name: &Name, max_bytes: usize) -> Result<Option<Bytes>, Error> {
        document_in(&self.first_place(), name, max_bytes)
    }

    /// Blocks: removes the document of a name from all places. Not synced: after a loss of power it
    /// may be there again.
    pub fn remove_document(&self, name: &Name) -> Result<(), Error> {
        let mut failed = None;
        for place in self.open_places().iter() {
            let removed = match place.home() {
                Home::Dir(dir) => remove_from(dir, name),
                Home::Object(object) => object.remove_document(name),
            };
            failed = failed.or(removed.err());
        }
        failed.map_or(Ok(()), Err)
    }

    /// Blocks: copies the document of a name into another place, as it is now. `false`: there is none.
    pub fn copy_document_to(
        &self,
        name: &Name,
        max_bytes: usize,
        to: &OpenPlace,
    ) -> Result<bool, Error> {
        let Some(bytes) = self.document(name, max_bytes)? else { return Ok(false) };
        if document_in(to, name, max_bytes)?.is_none_or(|there| there != bytes) {
            self.put_document_in(to, name, &bytes)?;
        }
        Ok(true)
    }

    /// Blocks at each step: every name that has a document, place by place, in no order; one that has
    /// it in several places is seen in each. After an error it goes on, if it can, without what the
    /// error is about.
    pub fn documents(&self) -> impl Iterator<Item = Result<Name, Error>> + use<> {
        let (store, places) = (self.clone(), self.open_places());
        (0..places.len()).flat_map(move |at| match places[at].home() {
            Home::Dir(dir) => Box::new(Walk::begin(store.clone(), dir.root().join(DIRECTORY)))
                as Box<dyn Iterator<Item = _> + Send>,
            Home::Object(object) => Box::new(object.documents()),
        })
    }

    fn put_document_in(&self, place: &OpenPlace, name: &Name, bytes: &[u8]) -> Result<(), Error> {
        let dir = match place.home() {
            Home::Dir(dir) => dir,
            Home::Object(object) => {
                return object.put_document(name, Bytes::copy_from_slice(bytes));
            }
        };
        let home = home(dir, name);
        let (temp, mut file) = self.document_temp(dir, name, &home)?;
        self.write_all(&mut file, bytes).map_err(|error| Error::io("write", temp.path(), error))?;
        file.sync_all().map_err(|error| Error::io("sync", temp.path(), error))?;
        drop(file);
        temp.rename(&home.join(FILE))?;
        layout::sync_dir(&home)
    }

    /// A file beside where the document will be, in directories that survive a crash.
    fn document_temp(
        &self,
        dir: &BlobDir,
        name: &Name,
        home: &Path,
    ) -> Result<(Temp, std::fs::File), Error> {
        let mut tries = 0;
        loop {
            let mut path = dir.root().join(DIRECTORY);
            let mut made = layout::make_dir_durably(&path);
            for segment in name.segments() {
                path.push(segment);
                made = made.and_then(|()| layout::make_dir_durably(&path));
            }
            match made.and_then(|()| Temp::create(self.layout(), home)) {
                Err(error) if is_gone(&error) && tries < MAKE_TRIES => tries += 1,
                made => return made,
            }
        }
    }
}

/// The directory of a name's document.
fn home(dir: &BlobDir, name: &Name) -> PathBuf {
    dir.root().join(DIRECTORY).join(name.as_str())
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

fn document_in(place: &OpenPlace, name: &Name, max_bytes: usize) -> Result<Option<Bytes>, Error> {
    let path = match place.home() {
        Home::Dir(dir) => home(dir, name).join(FILE),
        Home::Object(object) => return object.document(name, max_bytes),
    };
    let file = match layout::open_blob(&path) {
        Ok(file) => file,
        // What is no directory holds no document either.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(Error::io("open", &path, error)),
    };
    let mut bytes = Vec::new();
    let limit = (max_bytes as u64).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| Error::io("read", &path, error))?;
    if bytes.len() > max_bytes {
        return Err(Error::TooLarge { path, size_bytes: bytes.len() as u64, max_bytes });
    }
    Ok(Some(bytes.into()))
}

fn remove_from(dir: &BlobDir, name: &Name) -> Result<(), Error> {
    let home = home(dir, name);
    if !layout::unlink(&home.join(FILE))? {
        return Ok(());
    }
    let top = dir.root().join(DIRECTORY);
    // One that holds anything stays, and so do all above it.
    for empty in home.ancestors().take_while(|path| *path != top) {
        if std::fs::remove_dir(empty).is_err() {
            break;
        }
    }
    Ok(())
}

/// A walk through the directories of names; at most [`DEPTH_MAX`] of them are open.
struct Walk {
    store: Store,
    root: PathBuf,
    levels: Vec<(PathBuf, ReadDir)>,
    failed: Option<Error>,
}

impl Walk {
    fn begin(store: Store, root: PathBuf) -> Self {
        let mut walk = Self { store, root: root.clone(), levels: Vec::new(), failed: None };
        walk.descend(root);
        walk
    }

    fn descend(&mut self, path: PathBuf) {
        if self.levels.len() > DEPTH_MAX {
            return;
        }
        match std::fs::read_dir(&path) {
            Ok(entries) => self.levels.push((path, entries)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.failed = Some(Error::io("list", &path, error)),
        }
    }

    /// What an entry of a directory is: a document whose name is told, a directory to go into, or
    /// what a killed process left.
    fn look(&mut self, home: &Path, entry: &std::fs::DirEntry) -> Option<Name> {
        let file_name = entry.file_name();
        let text = file_name.to_str()?;
        let kind = entry.file_type().ok()?;
        if kind.is_dir() {
            self.descend(entry.path());
        } else if text == FILE && kind.is_file() {
            let below = home.strip_prefix(&self.root).ok()?;
            return Name::parse(below.to_str()?).ok();
        } else if self.store.layout().is_stale_temp(text) {
            // Best effort: it is looked for again on the next way round.
            let _ = layout::unlink(&entry.path());
        }
        None
    }
}

impl Iterator for Walk {
    type Item = Result<Name, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.failed.take() {
                return Some(Err(error));
            }
            let (home, entries) = self.levels.last_mut()?;
            let home = home.clone();
            match entries.next() {
                Some(Ok(entry)) => {
                    if let Some(name) = self.look(&home, &entry) {
                        return Some(Ok(name));
                    }
                }
                Some(Err(error)) => return Some(Err(Error::io("list", &home, error))),
                None => drop(self.levels.pop()),
            }
        }
    }
}
