//! The file of logins on the disk: its place, its modes, its lock.

use crate::exit::Failure;
use crate::output;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file of logins is no larger than this.
const FILE_MAX_BYTES: u64 = 16 << 20;
/// How often, and how many times, a lock that another process has is tried again: ten seconds.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const LOCK_TRIES: u32 = 500;

/// The directory that the file is in.
pub(super) struct Directory(PathBuf);

impl Directory {
    /// The user's (XDG base directory specification).
    pub(super) fn of_user() -> Result<Self, Failure> {
        let absolute = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        let config = absolute("XDG_CONFIG_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".config")))
            .ok_or_else(|| {
                Failure::no("there is no place for logins").hint("set HOME or XDG_CONFIG_HOME")
            })?;
        Ok(Self(config.join("lockgate")))
    }

    /// Where the file is.
    pub(super) fn path(&self) -> PathBuf {
        self.0.join("logins.json")
    }

    /// The text of the file, if there is one.
    pub(super) fn read(&self) -> Result<Option<String>, Failure> {
        let path = self.path();
        match read_private(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot("read", &path, &error)),
        }
    }

    /// Replaces the file.
    pub(super) fn write(&self, text: &str) -> Result<(), Failure> {
        let path = self.path();
        replace(&path, text.as_bytes(), 0o600).map_err(|error| cannot("written", &path, &error))
    }

    /// Waits until nobody else changes the file. It is free again when the value is dropped, and when
    /// the process dies.
    pub(super) fn lock(&self) -> Result<File, Failure> {
        let path = self.0.join("logins.lock");
        let failed = |error: io::Error| cannot("locked", &path, &error);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(failed)?;
        for _ in 0..LOCK_TRIES {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(LOCK_PAUSE),
                Err(error) => return Err(failed(error.into())),
            }
        }
        Err(Failure::cannot_tell(format!("another process holds {}", path.display()))
            .hint("a lockgate login that hangs? end it, and try again"))
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::no(format!("{} cannot be {what}", path.display())).because(error)
}

fn read_private(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        output::warn(&format!("others can read the logins: chmod 600 {path}"));
    }
    let mut text = String::new();
    file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text)?;
    match text.len() as u64 > FILE_MAX_BYTES {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large")),
        false => Ok(text),
    }
}

/// Replaces a file as a whole: whoever reads sees the old or the new one. A link is followed, so that it
/// stays one. `mode`: of the new file.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut part = path.clone().into_os_string();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    // What a process with our number left when it died.
    let _ = std::fs::remove_file(&part);
    let written = written(&part, bytes, mode).and_then(|()| std::fs::rename(&part, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn written(part: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(part)?;
    file.write_all(bytes)?;
    file.sync_all()
}
