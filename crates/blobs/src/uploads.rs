//! The upload sessions of a store: begun, taken up again, listed, removed.
//!
//! A session is two files, `<id>.json` and `<id>.data`, made in this order and removed in the other.
//! What a kill leaves in between is no session; [`Store::uploads`] clears it away. Start-up looks at
//! nothing.

use crate::error::Error;
use crate::layout::{self, Layout, UploadFile};
use crate::store::Store;
use crate::upload::{Progress, Upload};
use crate::upload_id::UploadId;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::{DirEntry, File};
use std::io::{self, Read, Write};
use std::time::SystemTime;

/// What a caller may keep beside a session.
const ABOUT_MAX_BYTES: usize = 4 << 10;
/// A file longer than this was not written by us: JSON writes a byte as six at most.
const ABOUT_FILE_MAX_BYTES: u64 = 6 * ABOUT_MAX_BYTES as u64 + 64;
/// Parked sessions whose hash stays in memory, some hundred bytes each. Of others the bytes are read
/// again at the end.
const KEPT_HASHES_MAX: usize = 4096;

/// An upload session that lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedUpload {
    /// Its name.
    pub id: UploadId,
    /// Bytes that have come in.
    pub len_bytes: u64,
    /// When the last of them came, or it was begun.
    pub modified: SystemTime,
    /// The text it was begun with.
    pub about: String,
    /// An [`Upload`] of it is open, so that it is not parked in truth.
    pub is_open: bool,
}

/// What this process knows of its sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Those that are open, or being removed.
    claims: Mutex<HashSet<UploadId>>,
    hashes: Mutex<Hashes>,
}

#[derive(Debug, Default)]
struct Hashes {
    by_id: HashMap<UploadId, (u64, Progress)>,
    /// Counts what was parked; orders entries by age.
    parked: u64,
}

impl Sessions {
    /// Keeps the hash of a session that is being parked.
    pub(crate) fn keep_hash(&self, id: UploadId, hash: Progress) {
        let mut hashes = self.hashes.lock();
        if hashes.by_id.len() >= KEPT_HASHES_MAX {
            // Looks at all of them, but only when so many are parked.
            let oldest = hashes.by_id.iter().min_by_key(|(_, (age, _))| *age).map(|(id, _)| *id);
            oldest.and_then(|id| hashes.by_id.remove(&id));
        }
        hashes.parked += 1;
        let age = hashes.parked;
        hashes.by_id.insert(id, (age, hash));
    }

    /// The hash of a session that was parked, if it was kept.
    pub(crate) fn take_hash(&self, id: &UploadId) -> Option<Progress> {
        self.hashes.lock().by_id.remove(id).map(|(_, hash)| hash)
    }
}

/// The right to touch a session; given back when dropped.
#[derive(Debug)]
pub(crate) struct SessionClaim {
    store: Store,
    id: UploadId,
}

impl SessionClaim {
    pub(crate) fn id(&self) -> UploadId {
        self.id
    }
}

impl Drop for SessionClaim {
    fn drop(&mut self) {
        self.store.sessions().claims.lock().remove(&self.id);
    }
}

/// The text of `<id>.json`. JSON, so that a file which a kill cut short is seen to be.
#[derive(Serialize, Deserialize)]
struct AboutFile<'a> {
    about: Cow<'a, str>,
}

impl Store {
    /// Blocks: begins an upload session. `about`, at most 4 KiB and not synced, is kept beside it
    /// for [`Upload::about`].
    pub fn begin_upload(&self, about: &str) -> Result<Upload, Error> {
        if about.len() > ABOUT_MAX_BYTES {
            let (about_bytes, max_bytes) = (about.len(), ABOUT_MAX_BYTES);
            return Err(Error::AboutTooLong { about_bytes, max_bytes });
        }
        let claim = self.claim_session(UploadId::random()?)?;
        let begun = self.create_session(&claim.id, about);
        if begun.is_err() {
            let _ = self.unlink_session(&claim);
        }
        Ok(Upload::new(self, claim, about.to_owned(), (begun?, 0)))
    }

    fn create_session(&self, id: &UploadId, about: &str) -> Result<File, Error> {
        let path = self.layout().upload_about(id);
        let mut file = self
            .with_descriptors(|| layout::create_new(&path))
            .map_err(|error| Error::io("create", &path, error))?;
        let text = serde_json::to_vec(&AboutFile { about: about.into() })
            .map_err(|error| Error::io("write", &path, error))?;
        file.write_all(&text).map_err(|error| Error::io("write", &path, error))?;
        drop(file);
        let path = self.layout().upload_data(id);
        self.with_descriptors(|| layout::create_new(&path))
            .map_err(|error| Error::io("create", &path, error))
    }

    /// Blocks: takes up a session that lies here, parked or left by an earlier process. `None`:
    /// there is no such session. [`Error::Busy`] while another [`Upload`] of it is open.
    pub fn upload(&self, id: &UploadId) -> Result<Option<Upload>, Error> {
        let claim = self.claim_session(*id)?;
        let path = self.layout().upload_data(id);
        let opened = match self.with_descriptors(|| layout::open_staged(&path, false)) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let about = self.read_about(id)?;
        Ok(about.map(|about| Upload::new(self, claim, about, opened)))
    }

    /// What was kept beside a session; `None` if that is not there or not whole.
    fn read_about(&self, id: &UploadId) -> Result<Option<String>, Error> {
        let path = self.layout().upload_about(id);
        let file = match self.with_descriptors(|| layout::open_blob(&path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let mut text = Vec::new();
        file.take(ABOUT_FILE_MAX_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(|error| Error::io("read", &path, error))?;
        if text.len() as u64 > ABOUT_FILE_MAX_BYTES {
            return Ok(None);
        }
        let about: Option<AboutFile<'_>> = serde_json::from_slice(&text).ok();
        Ok(about.map(|file| file.about.into_owned()).filter(|about| about.len() <= ABOUT_MAX_BYTES))
    }

    /// Blocks: ends a session that is not open and says whether there was one. [`Error::Busy`]
    /// while an [`Upload`] of it is open.
    pub fn remove_upload(&self, id: &UploadId) -> Result<bool, Error> {
        let claim = self.claim_session(*id)?;
        self.unlink_session(&claim)
    }

    /// Removes all there is of a session; `false`: there was none.
    pub(crate) fn unlink_session(&self, claim: &SessionClaim) -> Result<bool, Error> {
        self.sessions().take_hash(&claim.id);
        let was_there = layout::unlink(&self.layout().upload_data(&claim.id))?;
        layout::unlink(&self.layout().upload_about(&claim.id))?;
        Ok(was_there)
    }

    /// Blocks: the upload sessions, in no order. Removes on the way what is left of sessions that a
    /// kill kept from beginning or from ending; lets lie what it does not know.
    pub fn uploads(&self) -> Result<Vec<ParkedUpload>, Error> {
        let dir = self.layout().uploads();
        let mut uploads = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(|error| Error::io("list", dir, error))? {
            let entry = entry.map_err(|error| Error::io("list", dir, error))?;
            let name = entry.file_name();
            match name.to_str().map_or(UploadFile::Other, Layout::upload_file) {
                UploadFile::Data(id) => uploads.extend(self.look_at_session(id, &entry)?),
                UploadFile::About(id) => self.remove_remains(&id)?,
                UploadFile::Other => {}
            }
        }
        Ok(uploads)
    }

    /// Not claimed for the look: a client that goes on meanwhile must not hear that it is busy.
    fn look_at_session(
        &self,
        id: UploadId,
        entry: &DirEntry,
    ) -> Result<Option<ParkedUpload>, Error> {
        let is_open = self.sessions().claims.lock().contains(&id);
        let looked =
            entry.metadata().and_then(|metadata| Ok((metadata.len(), metadata.modified()?)));
        let (len_bytes, modified) = match looked {
            Ok(looked) => looked,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("look at", &entry.path(), error)),
        };
        match self.read_about(&id)? {
            Some(about) => Ok(Some(ParkedUpload { id, len_bytes, modified, about, is_open })),
            None => self.remove_remains(&id).map(|()| None),
        }
    }

    /// Removes what is left of a session of which not all is there.
    fn remove_remains(&self, id: &UploadId) -> Result<(), Error> {
        let data = self.layout().upload_data(id);
        if layout::is_there(&data) && self.read_about(id)?.is_some() {
            return Ok(());
        }
        // Who is beginning or ending it has the claim. Then looked at again: it may be whole now.
        let Ok(claim) = self.claim_session(*id) else { return Ok(()) };
        if layout::is_there(&data) && self.read_about(id)?.is_some() {
            return Ok(());
        }
        self.unlink_session(&claim).map(|_| ())
    }

    /// Makes this the only user of a session.
    fn claim_session(&self, id: UploadId) -> Result<SessionClaim, Error> {
        if !self.sessions().claims.lock().insert(id) {
            return Err(Error::Busy { path: self.layout().upload_data(&id) });
        }
        Ok(SessionClaim { store: self.clone(), id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Algorithm;

    #[test]
    fn hashes_of_the_sessions_parked_last_are_kept() {
        let sessions = Sessions::default();
        let ids: Vec<UploadId> =
            (0..KEPT_HASHES_MAX + 2).map(|_| UploadId::random().unwrap()).collect();
        let (first, others) = ids.split_first().unwrap();
        sessions.keep_hash(*first, Progress::new(Algorithm::Sha256));
        for id in others {
            // Used all the time, so never the oldest.
            let first_hash = sessions.take_hash(first).unwrap();
            sessions.keep_hash(*first, first_hash);
            sessions.keep_hash(*id, Progress::new(Algorithm::Sha512));
        }
        assert_eq!(sessions.hashes.lock().by_id.len(), KEPT_HASHES_MAX);
        assert_eq!(sessions.take_hash(first).unwrap().algorithm, Algorithm::Sha256);
        assert!(sessions.take_hash(first).is_none());
        assert!(
            sessions.take_hash(&others[0]).is_none() && sessions.take_hash(&others[1]).is_none()
        );
        assert!(sessions.take_hash(others.last().unwrap()).is_some());
    }
}
