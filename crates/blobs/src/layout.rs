//! Where things lie below the data directory, and the few file system steps that need care.

use crate::error::Error;
use crate::upload_id::UploadId;
use oci::{Algorithm, Digest};
use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Every algorithm that has a directory.
pub(crate) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];
/// How names of temporary files begin; no digest does.
const TEMP_PREFIX: &str = ".tmp-";
const PART_SUFFIX: &str = ".part";
const VALIDATORS_SUFFIX: &str = ".json";
const SENDING_SUFFIX: &str = ".sending";
const COPYING_SUFFIX: &str = ".copying";
const UPLOAD_DATA_SUFFIX: &str = ".data";
const UPLOAD_ABOUT_SUFFIX: &str = ".json";
/// Directories and files are for this user only: blobs of private repositories lie here.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The paths of one data directory.
#[derive(Debug)]
pub(crate) struct Layout {
    blobs: PathBuf,
    fills: PathBuf,
    uploads: PathBuf,
    /// Tells our temporary files from those that an earlier process left.
    instance: String,
    temps: AtomicU64,
}

/// What a file in `fills` is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FillFile {
    Part(Digest),
    Validators(Digest),
    Sending(Digest),
    Copying(Digest),
    /// A temporary file of an earlier process.
    Stale,
    /// Ours, or nothing we know.
    Other,
}

/// What a file in `uploads` is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UploadFile {
    Data(UploadId),
    About(UploadId),
    /// Nothing we know.
    Other,
}

impl Layout {
    /// Makes the directories that are not there.
    pub(crate) fn create(data_dir: &Path) -> Result<Self, Error> {
        let random = std::hash::RandomState::new().build_hasher().finish();
        let layout = Self {
            blobs: data_dir.join("blobs"),
            fills: data_dir.join("fills"),
            uploads: data_dir.join("uploads"),
            instance: format!("{TEMP_PREFIX}{:x}-{random:016x}-", std::process::id()),
            temps: AtomicU64::new(0),
        };
        let made = DirBuilder::new().recursive(true).mode(DIR_MODE).create(data_dir);
        made.map_err(|error| Error::io("make the directory", data_dir, error))?;
        make_dir_durably(&layout.fills)?;
        make_dir_durably(&layout.uploads)?;
        Ok(layout)
    }

    pub(crate) fn fills(&self) -> &Path {
        &self.fills
    }

    pub(crate) fn uploads(&self) -> &Path {
        &self.uploads
    }

    /// The bytes of an upload session.
    pub(crate) fn upload_data(&self, id: &UploadId) -> PathBuf {
        self.uploads.join(format!("{id}{UPLOAD_DATA_SUFFIX}"))
    }

    /// What the caller wanted kept beside an upload session.
    pub(crate) fn upload_about(&self, id: &UploadId) -> PathBuf {
        self.uploads.join(format!("{id}{UPLOAD_ABOUT_SUFFIX}"))
    }

    /// Where blobs lie unless another place is set.
    pub(crate) fn blobs(&self) -> &Path {
        &self.blobs
    }

    pub(crate) fn part(&self, digest: &Digest) -> PathBuf {
        self.fills.join(format!("{}-{}{PART_SUFFIX}", digest.algorithm(), digest.hex()))
    }

    pub(crate) fn validators(&self, digest: &Digest) -> PathBuf {
        self.fills.join(format!("{}-{}{VALIDATORS_SUFFIX}", digest.algorithm(), digest.hex()))
    }

    /// What is known of an upload in parts of this blob, from a staged file to an object store.
    pub(crate) fn sending(&self, digest: &Digest) -> PathBuf {
        self.fills.join(format!("{}-{}{SENDING_SUFFIX}", digest.algorithm(), digest.hex()))
    }

    /// The same where it is copied from another place, so that a copy held down in its rate holds up
    /// no push.
    pub(crate) fn copying(&self, digest: &Digest) -> PathBuf {
        self.fills.join(format!("{}-{}{COPYING_SUFFIX}", digest.algorithm(), digest.hex()))
    }

    /// A name in `dir` that is not in use.
    pub(crate) fn temp(&self, dir: &Path) -> PathBuf {
        let number = self.temps.fetch_add(1, Ordering::Relaxed);
        dir.join(format!("{}{number:x}", self.instance))
    }

    /// Whether a file name is that of a temporary file which no one will finish.
    pub(crate) fn is_stale_temp(&self, name: &str) -> bool {
        name.starts_with(TEMP_PREFIX) && !name.starts_with(&self.instance)
    }

    pub(crate) fn fill_file(&self, name: &str) -> FillFile {
        if self.is_stale_temp(name) {
            return FillFile::Stale;
        }
        let digest = |stem: &str| Digest::parse(&stem.replacen('-', ":", 1)).ok();
        if let Some(digest) = name.strip_suffix(PART_SUFFIX).and_then(digest) {
            return FillFile::Part(digest);
        }
        if let Some(digest) = name.strip_suffix(SENDING_SUFFIX).and_then(digest) {
            return FillFile::Sending(digest);
        }
        if let Some(digest) = name.strip_suffix(COPYING_SUFFIX).and_then(digest) {
            return FillFile::Copying(digest);
        }
        match name.strip_suffix(VALIDATORS_SUFFIX).and_then(digest) {
            Some(digest) => FillFile::Validators(digest),
            None => FillFile::Other,
        }
    }

    pub(crate) fn upload_file(name: &str) -> UploadFile {
        let id = |stem: &str| UploadId::parse(stem).ok();
        if let Some(id) = name.strip_suffix(UPLOAD_DATA_SUFFIX).and_then(id) {
            return UploadFile::Data(id);
        }
        match name.strip_suffix(UPLOAD_ABOUT_SUFFIX).and_then(id) {
            Some(id) => UploadFile::About(id),
            None => UploadFile::Other,
        }
    }
}

/// Makes one directory unless it is there, so that it survives a crash.
pub(crate) fn make_dir_durably(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Ok(()) => match path.parent() {
            Some(parent) => sync_dir(parent),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::io("make the directory", path, error)),
    }
}

/// Makes what was renamed into or out of a directory survive a crash.
pub(crate) fn sync_dir(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| Error::io("sync the directory", path, error))
}

/// Opens a file that must not be there yet, for writing and reading.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Opens a staged file, a part or an upload, for reading and writing, and tells its length;
/// `create`: makes it if need be.
///
/// One that has another name too was committed, and a loss of power brought its old name back:
/// writing to it would be writing to a blob. It is unlinked, and so was never there.
pub(crate) fn open_staged(path: &Path, create: bool) -> io::Result<(File, u64)> {
    let open = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(FILE_MODE)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
    };
    let mut file = open()?;
    let mut metadata = file.metadata()?;
    if metadata.is_file() && metadata.nlink() > 1 {
        std::fs::remove_file(path)?;
        file = open()?;
        metadata = file.metadata()?;
    }
    if !metadata.is_file() || metadata.nlink() > 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok((file, metadata.len()))
}

/// Opens a committed blob for reading.
pub(crate) fn open_blob(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Whether something has this name. When that cannot be told: yes.
pub(crate) fn is_there(path: &Path) -> bool {
    !std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Unlinks a file. `false`: it was not there.
pub(crate) fn unlink(path: &Path) -> Result<bool, Error> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("remove", path, error)),
    }
}

/// A temporary file that is removed unless it was renamed.
#[derive(Debug)]
pub(crate) struct Temp {
    path: PathBuf,
    renamed: bool,
}

impl Temp {
    /// Creates it beside where it will go, so that the rename stays on one file system.
    pub(crate) fn create(layout: &Layout, dir: &Path) -> Result<(Self, File), Error> {
        let path = layout.temp(dir);
        let file = create_new(&path).map_err(|error| Error::io("create", &path, error))?;
        Ok((Self { path, renamed: false }, file))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, taking the place of what had that name.
    pub(crate) fn rename(mut self, to: &Path) -> Result<(), Error> {
        std::fs::rename(&self.path, to).map_err(|error| Error::io("create", to, error))?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_digests() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        for algorithm in ALGORITHMS {
            let digest = Digest::of(algorithm, b"x");
            let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            assert_eq!(layout.fill_file(&name(layout.part(&digest))), FillFile::Part(digest));
            let validators = name(layout.validators(&digest));
            assert_eq!(layout.fill_file(&validators), FillFile::Validators(digest));
            let sending = name(layout.sending(&digest));
            assert_eq!(layout.fill_file(&sending), FillFile::Sending(digest));
            let copying = name(layout.copying(&digest));
            assert_eq!(layout.fill_file(&copying), FillFile::Copying(digest));
        }
        let ours = layout.temp(layout.fills());
        assert_eq!(layout.fill_file(ours.file_name().unwrap().to_str().unwrap()), FillFile::Other);
        assert_eq!(layout.fill_file(".tmp-1-0-0"), FillFile::Stale);
        assert_eq!(layout.fill_file("sha256-00.part"), FillFile::Other);
        let id = UploadId::random().unwrap();
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let (data, about) = (name(layout.upload_data(&id)), name(layout.upload_about(&id)));
        assert_eq!(Layout::upload_file(&data), UploadFile::Data(id));
        assert_eq!(Layout::upload_file(&about), UploadFile::About(id));
        assert_eq!(Layout::upload_file("00.data"), UploadFile::Other);
    }
}
