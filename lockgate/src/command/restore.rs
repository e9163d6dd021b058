//! `lockgate restore`: goes back to a backup, and says what of it is not in the store any more.

use super::backup::failed;
use super::offline::{Offline, bar, blocking, with_suffix};
use crate::command::block_on;
use crate::exit::{Exit, Failure};
use crate::flags::SettingsFlags;
use crate::output::{clean, out, say, warn};
use catalog::{Batch, Catalog};
use oci::{Digest, Name};
use plane::{BackupSummary, check_backup, newer_documents};
use serde::Serialize;
use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Rows read and written at a time.
const PAGE: u32 = 1000;
/// How long one write may take.
const WRITE_TIME: Duration = Duration::from_secs(60);
/// Lines that are printed of what is missing; `--json` has all of it.
const LINES_MAX: usize = 50;
/// Directories in directories of keys.
const DEPTH_MAX: usize = 8;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  lockgate restore --from /var/backups/lockgate-2026-01-31\n  \
        lockgate restore --from /mnt/backup/2026-01-31 --data-dir /var/lib/lockgate --force\n\n\
        Put the store back first (the blobs directory, or the bucket), stop the plane, restore, start\n\
        the plane. What is replaced is put aside, never deleted. Cached blobs that are not in the\n\
        store are fetched again when asked for; hosted ones are listed: push them again, or find them\n\
        in another copy of the store.\n\
        Exit status: 0 all is there, 1 hosted content is missing or nothing was restored.")]
pub(crate) struct Args {
    /// Directory that `lockgate backup` made
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Replaces a catalog that holds something; it is put aside
    #[arg(long)]
    force: bool,
    /// Prints the report as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsFlags,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    backup: BackupSummary,
    /// What had the place of what was restored, and is beside it now.
    put_aside: Vec<PathBuf>,
    /// Cached blobs that are not in the store: fetched again when they are asked for.
    refill: u64,
    /// Hosted content that is not in the store.
    missing: Vec<Missing>,
    /// Names to which was pushed after the backup.
    newer_names: Vec<Name>,
}

#[derive(Debug, Serialize)]
struct Missing {
    name: Name,
    digest: Digest,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        block_on(async move {
            let (from, force) = (self.from, self.force);
            let settings = self.settings;
            let report = blocking(move || restore(&settings, &from, force)).await?;
            if self.json {
                let text = serde_json::to_string(&report).unwrap_or_default();
                out(&format!("{text}\n"));
            }
            tell(&report);
            Ok(if report.missing.is_empty() { Exit::Yes } else { Exit::No })
        })
    }
}

fn restore(flags: &SettingsFlags, from: &Path, force: bool) -> Result<Report, Failure> {
    let backup = check_backup(from).map_err(|error| failed(&error))?;
    let offline = Offline::take(flags, "stop the plane first: `restore` replaces its catalog")?;
    let path = offline.catalog_path();
    expect_replaceable(&path, force)?;
    // Copied before anything is put aside: a full disk changes nothing then.
    let new = with_suffix(&path, ".restoring");
    copy(&from.join("catalog.sqlite"), &new)?;
    let mut put_aside = Vec::new();
    put_aside.extend(offline.put_aside(&path, "restore")?);
    offline.rename(&new, &path)?;
    for name in ["revision.yaml", "rollback.json", "places.json"] {
        let (kept, target) = (from.join(name), offline.data_dir.join(name));
        put_aside.extend(offline.put_aside(&target, "restore")?);
        if backup.files.contains_key(name) {
            let new = with_suffix(&target, ".restoring");
            copy(&kept, &new)?;
            offline.rename(&new, &target)?;
        }
    }
    let keys = offline.data_dir.join("keys");
    if backup.files.keys().any(|name| name.starts_with("keys/")) {
        put_aside.extend(offline.put_aside(&keys, "restore")?);
        copy_directory(&from.join("keys"), &keys, 0)?;
    }
    let store = offline.store()?;
    let (catalog, _) = Catalog::open(&path).map_err(|error| unreadable(&error))?;
    let refill = mark_missing(&catalog, &store)?;
    let missing = hosted_without_bytes(&catalog)?;
    let newer_names = newer_documents(&store, &catalog)
        .map_err(|error| Failure::cannot_tell("the store cannot be read").because(&error))?;
    if !catalog.close(WRITE_TIME) {
        return Err(Failure::cannot_tell("the catalog could not be written to its end"));
    }
    Ok(Report { backup, put_aside, refill, missing, newer_names })
}

/// A catalog that holds something is replaced only at somebody's word.
fn expect_replaceable(path: &Path, force: bool) -> Result<(), Failure> {
    if force || !path.exists() {
        return Ok(());
    }
    let holds = |catalog: &Catalog| -> Result<bool, catalog::Error> {
        Ok(!catalog.names(None, 1)?.is_empty()
            || !catalog.is_without_blobs()?
            || !catalog.pins()?.is_empty())
    };
    let hint = "--force replaces it and puts it aside";
    let checked = Catalog::check_file(path).and_then(|_| {
        let (catalog, _) = Catalog::open(path)?;
        let holds = holds(&catalog);
        catalog.close(WRITE_TIME);
        holds
    });
    match checked {
        Ok(false) => Ok(()),
        Ok(true) => {
            let text = format!("the catalog {} holds something", path.display());
            Err(Failure::no(text).hint(hint))
        }
        Err(error) => {
            let text = format!("what {} holds cannot be told", path.display());
            Err(Failure::no(text).because(&error).hint(hint))
        }
    }
}

/// Tells the catalog which blobs are not in the store; how many of those are cached.
fn mark_missing(catalog: &Catalog, store: &blobs::Store) -> Result<u64, Failure> {
    let bar = bar("{spinner} looking through the store: {pos} blobs");
    let mut there: HashMap<Digest, u64> = HashMap::new();
    for found in store.walk() {
        let (digest, size_bytes) = found
            .map_err(|error| Failure::cannot_tell("the store cannot be read").because(&error))?;
        // In several places: the one of the right length counts.
        there
            .entry(digest)
            .and_modify(|known| *known = (*known).max(size_bytes))
            .or_insert(size_bytes);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (mut refill, mut after) = (0, None);
    loop {
        let rows = catalog.blob_rows(after.as_ref(), PAGE).map_err(|error| unreadable(&error))?;
        let Some(last) = rows.last() else { return Ok(refill) };
        after = Some(last.digest);
        let mut batch = Batch::new();
        for row in rows.iter().filter(|row| there.get(&row.digest) != Some(&row.size_bytes)) {
            batch.blob_lost(&row.digest);
            refill += u64::from(!row.is_held);
        }
        if !batch.is_empty() {
            match catalog.submit(batch).wait_for(WRITE_TIME) {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    let text = "the catalog cannot be written";
                    return Err(Failure::cannot_tell(text).because(&error));
                }
                None => return Err(Failure::cannot_tell("the catalog takes no writes")),
            }
        }
    }
}

fn hosted_without_bytes(catalog: &Catalog) -> Result<Vec<Missing>, Failure> {
    let (mut missing, mut after) = (Vec::new(), None);
    loop {
        let rows = catalog.lost(after.as_ref(), PAGE).map_err(|error| unreadable(&error))?;
        let Some(last) = rows.last() else { return Ok(missing) };
        after = Some(last.clone());
        missing.extend(rows.into_iter().map(|(name, digest)| Missing { name, digest }));
    }
}

fn unreadable(error: &catalog::Error) -> Failure {
    Failure::cannot_tell("the catalog cannot be read").because(error)
}

/// A copy for its owner alone, durable when this returns.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let copied = || {
        if let Err(error) = fs::remove_file(to)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut source = File::open(from)?;
        let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        io::copy(&mut source, &mut target)?;
        target.sync_all()
    };
    copied().map_err(|error| {
        let text = format!("cannot copy {} to {}", from.display(), to.display());
        Failure::cannot_tell(text).because(&error)
    })
}

fn copy_directory(from: &Path, to: &Path, depth: usize) -> Result<(), Failure> {
    let cannot = |error: io::Error| {
        Failure::cannot_tell(format!("cannot copy {}", from.display())).because(&error)
    };
    if depth > DEPTH_MAX {
        return Err(Failure::cannot_tell(format!("{} lies too deep", from.display())));
    }
    DirBuilder::new().mode(0o700).create(to).map_err(cannot)?;
    for entry in fs::read_dir(from).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(cannot)?.is_dir() {
            copy_directory(&entry.path(), &target, depth + 1)?;
        } else {
            copy(&entry.path(), &target)?;
        }
    }
    Ok(())
}

fn tell(report: &Report) {
    for path in &report.put_aside {
        say(&format!("put aside: {}", path.display()));
    }
    say(&format!("restored the backup of {}", report.backup.created));
    if report.refill > 0 {
        say(&format!(
            "{} cached blobs are not in the store: they are fetched again when asked for",
            report.refill
        ));
    }
    if !report.newer_names.is_empty() {
        let count = report.newer_names.len();
        let one = report.newer_names.first().map(ToString::to_string).unwrap_or_default();
        warn(&format!(
            "the store knows of changes to {count} names, such as {one}, that came after this backup: \
             a plane that starts now forgets them\n`lockgate catalog rebuild` before its start takes \
             the store's side instead"
        ));
    }
    for missing in report.missing.iter().take(LINES_MAX) {
        say(&format!("missing: {}@{}", clean(missing.name.as_str()), missing.digest));
    }
    if !report.missing.is_empty() {
        warn(&format!(
            "hosted content that is not in the store: {}; put it back (`blobs/` of a copy of the \
             store), or push it again",
            report.missing.len()
        ));
    }
}
