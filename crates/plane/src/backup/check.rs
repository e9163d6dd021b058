//! Whether a directory is a backup, whole, that this version can go back to. All of it blocks.

use super::write::sum;
use super::{BackupError, BackupSummary, CATALOG_FILE, FORMAT_VERSION, SUMMARY_FILE};
use catalog::Catalog;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

/// The longest `backup.json`.
const SUMMARY_MAX_BYTES: u64 = 64 << 20;

/// Reads what a backup says of itself, and holds every file of it against its sum and the catalog
/// against what this version can open. Nothing is written.
///
/// # Errors
/// When it is no backup, a file is missing or damaged, or a newer version made it.
pub fn check_backup(dir: &Path) -> Result<BackupSummary, BackupError> {
    let path = dir.join(SUMMARY_FILE);
    let mut text = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(SUMMARY_MAX_BYTES).read_to_end(&mut text))
        .map_err(BackupError::io("read", &path))?;
    let version: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|error| BackupError::path(&path, format!("it is damaged: {error}")))?;
    let found = version["formatVersion"].as_u64().unwrap_or_default();
    if found != u64::from(FORMAT_VERSION) {
        let by = version["lockgateVersion"].as_str().unwrap_or("another version");
        let problem = format!(
            "it has format {found}, made by Lockgate {by}; this one reads format {FORMAT_VERSION}"
        );
        return Err(BackupError::path(&path, problem));
    }
    let summary: BackupSummary = serde_json::from_value(version)
        .map_err(|error| BackupError::path(&path, format!("it is damaged: {error}")))?;
    if !summary.files.contains_key(CATALOG_FILE) {
        return Err(BackupError::path(&path, "it names no catalog"));
    }
    for (name, known) in &summary.files {
        let below = Path::new(name);
        let is_below = below.components().all(|part| matches!(part, Component::Normal(_)));
        let path = dir.join(below);
        if !is_below {
            return Err(BackupError::path(&path, "it is not below the directory of the backup"));
        }
        if sum(&path)? != *known {
            return Err(BackupError::path(&path, "it is not what the backup wrote: damaged"));
        }
    }
    Catalog::check_file(&dir.join(CATALOG_FILE))?;
    Ok(summary)
}
