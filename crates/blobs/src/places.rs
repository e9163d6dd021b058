//! The places that are open: which one is written to, which are read, and changing them while
//! serving.

use crate::dir::BlobDir;
use crate::error::Error;
use crate::layout;
use crate::object::ObjectPlace;
use crate::place::Place;
use crate::reading::Reading;
use crate::store::Store;
use oci::Digest;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// A place that is ready for use. Clones are the same place.
#[derive(Clone, Debug)]
pub struct OpenPlace {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    home: Home,
}

/// What holds the blobs of a place.
#[derive(Debug)]
pub(crate) enum Home {
    Dir(BlobDir),
    Object(Arc<ObjectPlace>),
}

impl OpenPlace {
    pub(crate) fn new(place: Place, home: Home) -> Self {
        Self { inner: Arc::new(Inner { place, home }) }
    }

    pub(crate) fn home(&self) -> &Home {
        &self.inner.home
    }

    /// Whether both are one place.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner) || self.inner.place.is_same(&other.inner.place)
    }

    /// Where a blob lies in it, or would: for messages, and for files to open.
    pub(crate) fn name(&self, digest: &Digest) -> PathBuf {
        match self.home() {
            Home::Dir(dir) => dir.file(digest),
            Home::Object(object) => object.name(digest),
        }
    }

    /// Its URL, without secrets.
    pub fn url(&self) -> String {
        match self.home() {
            Home::Dir(dir) => format!("file://{}", dir.root().display()),
            Home::Object(_) => self.inner.place.to_string(),
        }
    }

    /// Blocks: writes, reads, lists and deletes something small, and so tells wrong keys, a missing
    /// bucket and a store out of reach before anything depends on it.
    pub fn probe(&self) -> Result<(), Error> {
        match self.home() {
            Home::Dir(dir) => probe_dir(dir),
            Home::Object(object) => object.probe(),
        }
    }
}

fn probe_dir(dir: &BlobDir) -> Result<(), Error> {
    let path = dir.root().join(format!(".probe-{}", std::process::id()));
    layout::unlink(&path)?;
    let failed = |action| {
        let path = path.clone();
        move |error: io::Error| Error::io(action, &path, error)
    };
    let mut file = layout::create_new(&path).map_err(failed("create"))?;
    let written = file.write_all(b"lockgate").and_then(|()| file.sync_all());
    let tried = written.map_err(failed("write")).and_then(|()| {
        let mut read = Vec::new();
        let mut file = layout::open_blob(&path).map_err(failed("read"))?;
        file.read_to_end(&mut read).map_err(failed("read"))?;
        std::fs::read_dir(dir.root()).map_err(failed("list"))?;
        Ok(())
    });
    let removed = layout::unlink(&path).map(drop);
    tried.and(removed)
}

impl Store {
    /// Blocks briefly, not on the network: makes a place ready without asking it anything. One that
    /// is among the store's already is that one. An object store needs a current tokio runtime.
    pub fn open_place(&self, place: Place) -> Result<OpenPlace, Error> {
        let now = self.open_places();
        if let Some(open) = now.iter().find(|open| open.inner.place.is_same(&place)) {
            return Ok(open.clone());
        }
        let home = match &place {
            Place::DataDir => return Ok(self.data_dir().clone()),
            Place::File { directory } => Home::Dir(BlobDir::create(directory.clone())?),
            _ => Home::Object(Arc::new(ObjectPlace::open(&place, self.object_waits())?)),
        };
        Ok(OpenPlace::new(place, home))
    }

    /// Replaces the places while serving: writes go to the first, reads try all in order. Streams
    /// that run go on. Blocks briefly, never on the network. After an error all is as before.
    pub fn set_places(&self, places: Vec<Place>) -> Result<(), Error> {
        let mut open: Vec<OpenPlace> = Vec::with_capacity(places.len());
        for place in places {
            let place = self.open_place(place)?;
            if !open.iter().any(|open| open.is(&place)) {
                open.push(place);
            }
        }
        if open.is_empty() {
            let (place, source) = ("no place at all".to_owned(), "at least one is needed".into());
            return Err(Error::BadPlace { place, source });
        }
        self.replace_places(open.into());
        Ok(())
    }

    /// The URLs of the places in order, without secrets.
    pub fn places(&self) -> Vec<String> {
        self.open_places().iter().map(OpenPlace::url).collect()
    }

    /// Blocks: removes a blob from every place but one, which must have it, with the same length.
    /// Who reads it there goes on. Whether something was removed.
    pub fn remove_elsewhere(&self, digest: &Digest, keep: &OpenPlace) -> Result<bool, Error> {
        let Some(kept) = Reading::open(keep, digest)? else {
            return Err(Error::Absent { path: keep.name(digest) });
        };
        let mut removed = false;
        for place in self.open_places().iter().filter(|place| !place.is(keep)) {
            let Some(other) = Reading::open(place, digest)? else { continue };
            if other.size_bytes() == kept.size_bytes() {
                removed |= self.remove_from(place, digest)?.is_some();
            }
        }
        Ok(removed)
    }

    /// Whether a place is the one that is written to.
    pub fn is_first(&self, place: &OpenPlace) -> bool {
        self.first_place().is(place)
    }
}
