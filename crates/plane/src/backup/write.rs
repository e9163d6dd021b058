//! Making a backup. All of it blocks.

use super::{
    BLOBS_FILE, BackedUpFile, BackupError, BackupSummary, CATALOG_FILE, FORMAT_VERSION, KEYS_DIR,
    PARTIAL_FILE, PLAIN_FILES, RESOURCES_DIR, SUMMARY_FILE,
};
use catalog::Catalog;
use jiff::Timestamp;
use oci::{Algorithm, Hasher};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Rows read at a time.
const PAGE: u32 = 1000;
/// Sets of resources that are written one by one; all of them are in the catalog.
const REVISIONS_MAX: u32 = 10_000;
/// Directories in directories that are copied, and files in them.
const DEPTH_MAX: usize = 8;
const FILES_MAX: usize = 10_000;
/// SQLite's usual page, by which progress is told.
const PAGE_BYTES: u64 = 4096;
/// To close the copy of the catalog.
const CLOSE_TIME: Duration = Duration::from_secs(30);

/// Makes a backup of a data directory at `to`, which must not be there, while its catalog is used.
/// `tell` hears how many bytes of the catalog are copied, and of how many; it may end the work.
///
/// # Errors
/// When the directory cannot be made, or the catalog cannot be copied. Nothing is at `to` then.
pub fn write_backup(
    catalog: &Catalog,
    data_dir: &Path,
    to: &Path,
    now: Timestamp,
    mut tell: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<BackupSummary, BackupError> {
    let partial = prepare(data_dir, to)?;
    let made = make(catalog, data_dir, (&partial, to), now, &mut tell);
    if made.is_err() {
        // Best effort: the error matters more, and the next attempt removes it too.
        let _ = fs::remove_dir_all(&partial);
    }
    made
}

fn make(
    catalog: &Catalog,
    data_dir: &Path,
    (partial, to): (&Path, &Path),
    now: Timestamp,
    tell: &mut impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<BackupSummary, BackupError> {
    let copied = partial.join(CATALOG_FILE);
    let result = catalog.backup(&copied, |left, pages| {
        tell(pages.saturating_sub(left) * PAGE_BYTES, pages * PAGE_BYTES)
    });
    result.map_err(|error| match error {
        catalog::Error::Stopped => BackupError::Stopped,
        error => error.into(),
    })?;
    let mut summary = list_blobs(partial, &copied, now)?;
    for name in PLAIN_FILES {
        copy_if_there(&data_dir.join(name), &partial.join(name))?;
    }
    copy_directory(&data_dir.join(KEYS_DIR), &partial.join(KEYS_DIR), 0)?;
    if tell(0, 0).is_break() {
        return Err(BackupError::Stopped);
    }
    finish(partial, to, &mut summary)?;
    Ok(summary)
}

/// The directory to write to first.
fn prepare(data_dir: &Path, to: &Path) -> Result<PathBuf, BackupError> {
    if !to.is_absolute() {
        return Err(BackupError::path(to, "write the whole path of the directory, from / on"));
    }
    if to.starts_with(data_dir) {
        let problem = "a backup in the data directory would be lost with it; name another place";
        return Err(BackupError::path(to, problem));
    }
    if fs::symlink_metadata(to).is_ok() {
        return Err(BackupError::path(to, "it is there already; a backup never replaces anything"));
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    match fs::symlink_metadata(&partial) {
        Ok(_) if partial.join(PARTIAL_FILE).is_file() => {
            // Of a backup that was cut short.
            fs::remove_dir_all(&partial).map_err(BackupError::io("remove", &partial))?;
        }
        Ok(_) => {
            return Err(BackupError::path(&partial, "it is in the way, and no backup of ours"));
        }
        Err(_) => {}
    }
    make_dir(&partial)?;
    write_new(&partial.join(PARTIAL_FILE), |_| Ok(()))?;
    Ok(partial)
}

/// Writes the list of blobs, and the sets of resources, from the copy of the catalog: they are of the
/// same moment then.
fn list_blobs(partial: &Path, copied: &Path, now: Timestamp) -> Result<BackupSummary, BackupError> {
    let schema = Catalog::check_file(copied)?.found;
    let (copy, _) = Catalog::open(copied)?;
    let mut summary = BackupSummary {
        format_version: FORMAT_VERSION,
        lockgate_version: env!("CARGO_PKG_VERSION").to_owned(),
        schema,
        created: now,
        blobs: 0,
        bytes: 0,
        held_blobs: 0,
        held_bytes: 0,
        files: BTreeMap::new(),
    };
    let path = partial.join(BLOBS_FILE);
    let mut failed = None;
    write_new(&path, |out| {
        failed = write_blobs(&copy, out, &mut summary)?;
        Ok(())
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let resources = partial.join(RESOURCES_DIR);
    make_dir(&resources)?;
    for revision in copy.revisions(REVISIONS_MAX)? {
        if let Some(text) = copy.revision_text(&revision.digest)? {
            let path = resources.join(format!("{}.yaml", revision.digest.hex()));
            write_new(&path, |out| out.write_all(text.as_bytes()))?;
        }
    }
    copy.close(CLOSE_TIME);
    // Empty by now; a copy is one file.
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(partial.join(format!("{CATALOG_FILE}{suffix}")));
    }
    Ok(summary)
}

/// Trouble with the catalog, if there was any.
fn write_blobs(
    copy: &Catalog,
    out: &mut dyn Write,
    summary: &mut BackupSummary,
) -> io::Result<Option<catalog::Error>> {
    let mut after = None;
    loop {
        let rows = match copy.blob_rows(after.as_ref(), PAGE) {
            Ok(rows) => rows,
            Err(error) => return Ok(Some(error)),
        };
        let Some(last) = rows.last() else { return Ok(None) };
        after = Some(last.digest);
        for row in &rows {
            let what = if row.is_held { "held" } else { "cached" };
            writeln!(out, "{}\t{}\t{what}", row.digest, row.size_bytes)?;
            summary.blobs += 1;
            summary.bytes += row.size_bytes;
            if row.is_held {
                summary.held_blobs += 1;
                summary.held_bytes += row.size_bytes;
            }
        }
    }
}

/// Sums, says what it is, and moves it to its place.
fn finish(partial: &Path, to: &Path, summary: &mut BackupSummary) -> Result<(), BackupError> {
    fs::remove_file(partial.join(PARTIAL_FILE)).map_err(BackupError::io("finish", partial))?;
    add_sums(partial, partial, 0, &mut summary.files)?;
    let text = serde_json::to_vec_pretty(&summary).unwrap_or_default();
    write_new(&partial.join(SUMMARY_FILE), |out| out.write_all(&text))?;
    sync_dir(partial)?;
    // Asked again: what came there meanwhile is not ours to replace.
    if fs::symlink_metadata(to).is_ok() {
        return Err(BackupError::path(to, "it is there already; a backup never replaces anything"));
    }
    fs::rename(partial, to).map_err(BackupError::io("make", to))?;
    to.parent().map_or(Ok(()), sync_dir)
}

fn add_sums(
    root: &Path,
    dir: &Path,
    depth: usize,
    files: &mut BTreeMap<String, BackedUpFile>,
) -> Result<(), BackupError> {
    for entry in fs::read_dir(dir).map_err(BackupError::io("list", dir))? {
        let path = entry.map_err(BackupError::io("list", dir))?.path();
        if path.is_dir() {
            // Only as deep as we made it.
            if depth <= DEPTH_MAX {
                add_sums(root, &path, depth + 1, files)?;
            }
            continue;
        }
        let below = path.strip_prefix(root).unwrap_or(&path);
        let Some(name) = below.to_str() else {
            return Err(BackupError::path(&path, "its name is no text"));
        };
        files.insert(name.to_owned(), sum(&path)?);
    }
    sync_dir(dir)
}

/// What a file hashes to, and how long it is.
pub(super) fn sum(path: &Path) -> Result<BackedUpFile, BackupError> {
    let mut file = File::open(path).map_err(BackupError::io("open", path))?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let (mut buffer, mut size_bytes) = (vec![0; 1 << 20], 0);
    loop {
        let count = file.read(&mut buffer).map_err(BackupError::io("read", path))?;
        if count == 0 {
            return Ok(BackedUpFile { digest: hasher.finish(), size_bytes });
        }
        hasher.update(&buffer[..count]);
        size_bytes += count as u64;
    }
}

fn copy_if_there(from: &Path, to: &Path) -> Result<(), BackupError> {
    match File::open(from) {
        Ok(mut file) => write_new(to, |out| io::copy(&mut file, out).map(drop)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupError::io("open", from)(error)),
    }
}

/// Copies the regular files of a directory, if there is one.
fn copy_directory(from: &Path, to: &Path, depth: usize) -> Result<(), BackupError> {
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound && depth == 0 => return Ok(()),
        Err(error) => return Err(BackupError::io("list", from)(error)),
    };
    if depth > DEPTH_MAX {
        return Err(BackupError::path(from, "directories lie too deep in each other"));
    }
    make_dir(to)?;
    for (number, entry) in entries.enumerate() {
        let entry = entry.map_err(BackupError::io("list", from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if number >= FILES_MAX {
            return Err(BackupError::path(from, "it holds too many files"));
        }
        let kind = entry.file_type().map_err(BackupError::io("look at", &path))?;
        if kind.is_dir() {
            copy_directory(&path, &target, depth + 1)?;
        } else if kind.is_file() {
            copy_if_there(&path, &target)?;
        }
    }
    Ok(())
}

fn make_dir(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new().mode(0o700).create(path).map_err(BackupError::io("make", path))
}

/// A new file for its owner alone, durable when this returns.
fn write_new(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), BackupError> {
    let written = || {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    };
    written().map_err(BackupError::io("write", path))
}

fn sync_dir(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(BackupError::io("sync", path))
}
