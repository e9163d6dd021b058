//! Looking at everything there is: for housekeeping of parts, and for the commands that rebuild or
//! check a store. No request and no start-up comes here.

use crate::error::Error;
use crate::layout::{self, ALGORITHMS, FillFile};
use crate::places::Home;
use crate::store::Store;
use crate::take_in::Sending;
use oci::{Algorithm, Digest};
use std::fs::{DirEntry, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long an upload to an object store that nobody goes on with is kept for going on. A staged
/// file is not kept longer.
const GIVEN_UP_AFTER: Duration = Duration::from_hours(48);

/// A part on disk that nobody has open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedPart {
    /// What it is to become.
    pub digest: Digest,
    /// Its length so far.
    pub len_bytes: u64,
    /// When it last grew.
    pub modified: SystemTime,
}

impl Store {
    /// Blocks: the parts that nobody has open. Removes on the way what a killed process left beside
    /// them.
    pub fn parts(&self) -> Result<Vec<ParkedPart>, Error> {
        let fills = self.layout().fills();
        let mut parts = Vec::new();
        for entry in std::fs::read_dir(fills).map_err(|error| Error::io("list", fills, error))? {
            let entry = entry.map_err(|error| Error::io("list", fills, error))?;
            let name = entry.file_name();
            match name.to_str().map_or(FillFile::Other, |name| self.layout().fill_file(name)) {
                FillFile::Part(digest) => parts.extend(self.parked(digest, &entry)?),
                FillFile::Validators(digest) => self.remove_orphan(&digest)?,
                FillFile::Sending(digest) => self.give_up(self.sends(), &digest, &entry)?,
                FillFile::Copying(digest) => self.give_up(self.copies(), &digest, &entry)?,
                FillFile::Stale => {
                    layout::unlink(&entry.path())?;
                }
                FillFile::Other => {}
            }
        }
        Ok(parts)
    }

    fn parked(&self, digest: Digest, entry: &DirEntry) -> Result<Option<ParkedPart>, Error> {
        // Claimed for the look, so that what is listed was not open at that moment.
        let Ok(_claim) = self.claim(&digest) else { return Ok(None) };
        let looked =
            entry.metadata().and_then(|metadata| Ok((metadata.len(), metadata.modified()?)));
        match looked {
            Ok((len_bytes, modified)) => Ok(Some(ParkedPart { digest, len_bytes, modified })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("look at", &entry.path(), error)),
        }
    }

    /// Removes validators whose part is gone.
    fn remove_orphan(&self, digest: &Digest) -> Result<(), Error> {
        let Ok(_claim) = self.claim(digest) else { return Ok(()) };
        let part = self.layout().part(digest);
        if !part.try_exists().map_err(|error| Error::io("look at", &part, error))? {
            layout::unlink(&self.layout().validators(digest))?;
        }
        Ok(())
    }

    /// Gives up an upload to an object store that nobody came back to. One that cannot be given up
    /// now is looked at again the next time.
    fn give_up(&self, turns: &Sending, digest: &Digest, entry: &DirEntry) -> Result<(), Error> {
        let Some(_turn) = turns.try_for(digest) else { return Ok(()) };
        let path = entry.path();
        let modified = match entry.metadata().and_then(|metadata| metadata.modified()) {
            Ok(modified) => modified,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("look at", &path, error)),
        };
        if modified.elapsed().is_ok_and(|age| age < GIVEN_UP_AFTER) {
            return Ok(());
        }
        for place in self.open_places().iter() {
            if let Home::Object(object) = place.home()
                && object.give_up(digest, &path)?
            {
                return Ok(());
            }
        }
        layout::unlink(&path).map(drop)
    }

    /// Blocks at each step: every committed blob with its size, place by place, in no order. What
    /// comes or goes meanwhile may be seen or not; what lies in several places is seen in each. An
    /// error is about one directory, file or object store; it goes on after it.
    pub fn walk(&self) -> impl Iterator<Item = Result<(Digest, u64), Error>> + use<> {
        let places = self.open_places();
        (0..places.len()).flat_map(move |at| match places[at].home() {
            Home::Dir(dir) => {
                let walk = Walk {
                    algorithms: ALGORITHMS
                        .map(|algorithm| (algorithm, dir.algorithm_dir(algorithm)))
                        .to_vec(),
                    shards: None,
                    blobs: None,
                };
                Box::new(walk) as Box<dyn Iterator<Item = _> + Send>
            }
            Home::Object(object) => {
                let object = object.clone();
                Box::new(ALGORITHMS.into_iter().flat_map(move |algorithm| object.list(algorithm)))
            }
        })
    }
}

/// Three levels: algorithm, shard, blob. At most two directories are open.
struct Walk {
    algorithms: Vec<(Algorithm, PathBuf)>,
    shards: Option<Level>,
    blobs: Option<Level>,
}

struct Level {
    algorithm: Algorithm,
    dir: PathBuf,
    entries: ReadDir,
}

impl Level {
    fn open(algorithm: Algorithm, dir: PathBuf) -> Result<Self, Error> {
        match std::fs::read_dir(&dir) {
            Ok(entries) => Ok(Self { algorithm, dir, entries }),
            Err(error) => Err(Error::io("list", &dir, error)),
        }
    }

    fn next(&mut self) -> Option<Result<DirEntry, Error>> {
        let entry = self.entries.next()?;
        Some(entry.map_err(|error| Error::io("list", &self.dir, error)))
    }
}

impl Iterator for Walk {
    type Item = Result<(Digest, u64), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(level) = &mut self.blobs {
                match level.next() {
                    Some(Ok(entry)) => match blob_of(level.algorithm, &entry).transpose() {
                        Some(found) => return Some(found),
                        None => continue,
                    },
                    Some(Err(error)) => return Some(Err(error)),
                    None => self.blobs = None,
                }
            }
            if let Some(level) = &mut self.shards {
                let algorithm = level.algorithm;
                match level.next() {
                    Some(Ok(entry)) if is_shard(&entry.path()) => {
                        match Level::open(algorithm, entry.path()) {
                            Ok(level) => self.blobs = Some(level),
                            Err(error) => return Some(Err(error)),
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Some(Err(error)),
                    None => self.shards = None,
                }
                continue;
            }
            let (algorithm, dir) = self.algorithms.pop()?;
            match Level::open(algorithm, dir) {
                Ok(level) => self.shards = Some(level),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn is_shard(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == 2 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The blob that an entry of a shard is; `None` for temporary files and whatever lies wrong.
fn blob_of(algorithm: Algorithm, entry: &DirEntry) -> Result<Option<(Digest, u64)>, Error> {
    let (name, path) = (entry.file_name(), entry.path());
    let digest = name.to_str().and_then(|hex| Digest::from_hex(algorithm, hex).ok());
    let shard = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let Some(digest) = digest.filter(|digest| shard.is_some_and(|s| digest.hex().starts_with(s)))
    else {
        return Ok(None);
    };
    match entry.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(Some((digest, metadata.len()))),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("look at", &path, error)),
    }
}
