//! What lies where in the directory of an instance, and how a file there is made so that a crash
//! leaves the old one or the new one.
//!
//! - `lock`: held by the process that writes.
//! - `<first seq>-<time>.jsonl`: a segment. The newest is being written.
//! - `….jsonl.zst`: the same, compressed; `….summary.json`: what is in it.
//! - `….torn`: what was cut off a segment after a crash, as it was.
//! - `repeats.jsonl`: counts of repeats whose line is not written yet.
//! - `anchor.json`: up to where segments were removed because of their age.
//!
//! While a plain segment is there, it is the truth, and a compressed one beside it is about to be.

use crate::{Error, Instance};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The directory of all records, below the data directory (contracts §10).
pub(crate) const RECORDS: &str = "records";
pub(crate) const LOCK: &str = "lock";
pub(crate) const JOURNAL: &str = "repeats.jsonl";
pub(crate) const ANCHOR: &str = "anchor.json";
const PLAIN: &str = ".jsonl";
const PACKED: &str = ".jsonl.zst";
const SUMMARY: &str = ".summary.json";
const TORN: &str = ".torn";
const TEMP: &str = ".tmp-";

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A segment, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    dir: PathBuf,
    stem: String,
    /// The number of its first line.
    pub(crate) first_seq: u64,
    /// When it was begun, in Unix milliseconds.
    pub(crate) begun_unix_ms: i64,
    /// Whether it is there uncompressed.
    pub(crate) is_plain: bool,
}

impl Segment {
    /// The name of one that begins now.
    pub(crate) fn new(dir: &Path, first_seq: u64, at: Timestamp) -> Self {
        let at = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
        let stem = format!("{first_seq:016}-{}", at.strftime("%Y%m%dT%H%M%S%3fZ"));
        let begun_unix_ms = at.as_millisecond();
        Self { dir: dir.to_owned(), stem, first_seq, begun_unix_ms, is_plain: true }
    }

    fn parse(dir: &Path, stem: &str, is_plain: bool) -> Option<Self> {
        let (seq, time) = stem.split_once('-')?;
        let is_number = seq.len() >= 16 && seq.bytes().all(|c| c.is_ascii_digit());
        let (seconds, millis) = time.strip_suffix('Z')?.split_at_checked(15)?;
        let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S", seconds).ok()?;
        let at = jiff::tz::TimeZone::UTC.to_timestamp(at).ok()?.as_millisecond();
        let millis: i64 = millis.parse().ok().filter(|it| (0..1000).contains(it))?;
        is_number.then_some(Self {
            dir: dir.to_owned(),
            stem: stem.to_owned(),
            first_seq: seq.parse().ok()?,
            begun_unix_ms: at + millis,
            is_plain,
        })
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.dir.join(format!("{}{ending}", self.stem))
    }

    pub(crate) fn plain(&self) -> PathBuf {
        self.path(PLAIN)
    }

    pub(crate) fn packed(&self) -> PathBuf {
        self.path(PACKED)
    }

    pub(crate) fn summary(&self) -> PathBuf {
        self.path(SUMMARY)
    }

    pub(crate) fn torn(&self) -> PathBuf {
        self.path(TORN)
    }

    /// What people are told.
    pub(crate) fn name(&self) -> &str {
        &self.stem
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Removes all of it.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        for path in [self.plain(), self.packed(), self.summary(), self.torn()] {
            remove(&path)?;
        }
        Ok(())
    }
}

/// The directory of an instance below a data directory.
pub(crate) fn instance_dir(data: &Path, instance: &Instance) -> PathBuf {
    data.join(RECORDS).join(instance.as_str())
}

/// The segments in a directory, in the order of their first lines. None where there is no directory.
pub(crate) fn segments(dir: &Path) -> Result<Vec<Segment>, Error> {
    let mut found: BTreeMap<(u64, String), Segment> = BTreeMap::new();
    for name in names(dir)? {
        let (stem, is_plain) = match (name.strip_suffix(PLAIN), name.strip_suffix(PACKED)) {
            (Some(stem), _) => (stem, true),
            (_, Some(stem)) => (stem, false),
            _ => continue,
        };
        let Some(segment) = Segment::parse(dir, stem, is_plain) else { continue };
        let slot = found.entry((segment.first_seq, stem.to_owned())).or_insert(segment);
        slot.is_plain |= is_plain;
    }
    Ok(found.into_values().collect())
}

/// The names in a directory.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", dir, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("list", dir, error))?;
        names.extend(entry.file_name().into_string().ok());
    }
    Ok(names)
}

/// Clears away what a crash left half made.
pub(crate) fn clear_temps(dir: &Path) -> Result<(), Error> {
    let names = names(dir)?;
    let mut temps = names.iter().filter(|name| name.starts_with(TEMP));
    temps.try_for_each(|name| remove(&dir.join(name)))
}

/// Makes a directory and its parents.
pub(crate) fn make_dir(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_dir),
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

/// Opens a file to be written, makes it if it is not there.
pub(crate) fn open_write(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|error| Error::io("open", path, error))
}

/// A file that is not there under its name before it is whole and on the disk.
pub(crate) struct NewFile {
    file: File,
    temp: PathBuf,
    path: PathBuf,
    is_placed: bool,
}

impl NewFile {
    /// Begins one that will replace what is there.
    pub(crate) fn begin(path: &Path) -> Result<Self, Error> {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let temp = path.with_file_name(format!("{TEMP}{name}"));
        remove(&temp)?;
        let file = open_write(&temp)?;
        Ok(Self { file, temp, path: path.to_owned(), is_placed: false })
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Puts it in its place, for good.
    pub(crate) fn place(mut self) -> Result<(), Error> {
        self.file.sync_all().map_err(|error| Error::io("sync", &self.temp, error))?;
        let placed = std::fs::rename(&self.temp, &self.path);
        placed.map_err(|error| Error::io("put in its place", &self.path, error))?;
        self.is_placed = true;
        self.path.parent().map_or(Ok(()), sync_dir)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_placed {
            // If it stays, the next start clears it away.
            let _ = std::fs::remove_file(&self.temp);
        }
    }
}

/// Replaces a file by a text, whole.
pub(crate) fn replace(path: &Path, text: &[u8]) -> Result<(), Error> {
    let mut new = NewFile::begin(path)?;
    new.file().write_all(text).map_err(|error| Error::io("write", path, error))?;
    new.place()
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments_tell_number_and_time() {
        let at: Timestamp = "2026-11-25T10:00:00.0251Z".parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let segment = Segment::new(dir.path(), 17, at);
        assert_eq!(segment.name(), "0000000000000017-20261125T100000025Z");
        std::fs::write(segment.plain(), "").unwrap();
        std::fs::write(segment.packed(), "").unwrap();
        std::fs::write(dir.path().join("0000000000000018-x.jsonl"), "").unwrap();
        assert_eq!(segments(dir.path()).unwrap(), std::slice::from_ref(&segment));
        std::fs::remove_file(segment.plain()).unwrap();
        assert_eq!(segments(dir.path()).unwrap(), [Segment { is_plain: false, ..segment }]);
        assert_eq!(segments(&dir.path().join("none")).unwrap(), []);
    }

    #[test]
    fn what_was_not_placed_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        drop(NewFile::begin(&path).unwrap());
        assert!(names(dir.path()).unwrap().is_empty());
        replace(&path, b"x").unwrap();
        replace(&path, b"y").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"y");
    }
}
