//! Numbered migrations, in one transaction; a copy of the file is made before the first of them.

use crate::Error;
use crate::file::{make_private, sync_directory, with_suffix};
use crate::hosted::SchemaVersion;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// What makes version 1, 2, … of the schema. Only ever added to.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_hosted.sql"),
    include_str!("../migrations/0003_governance.sql"),
];

/// Marks a SQLite file as a catalog of ours: "LkGt". See SQLite's `PRAGMA application_id`.
const APPLICATION_ID: i64 = 0x4c6b_4774;

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}

fn latest(migrations: &[&str]) -> i64 {
    i64::try_from(migrations.len()).unwrap_or(i64::MAX)
}

/// Looks at a file before anything is written to it: is it a database, ours, and not too new?
pub(crate) fn check(
    connection: &Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), Error> {
    let tables: i64 =
        connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(());
    }
    if pragma(connection, "application_id")? != APPLICATION_ID {
        return Err(Error::NotOurs { path: path.to_owned() });
    }
    let (found, known) = (pragma(connection, "user_version")?, latest(migrations));
    if found > known {
        return Err(Error::Newer {
            path: path.to_owned(),
            found,
            known,
            way_back: way_back(path, found, known),
        });
    }
    Ok(())
}

/// The schema of a file that must be one of ours.
pub(crate) fn version(
    connection: &Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<SchemaVersion, Error> {
    check(connection, path, migrations)?;
    let found = pragma(connection, "user_version")?;
    if found == 0 {
        return Err(Error::NotOurs { path: path.to_owned() });
    }
    Ok(SchemaVersion { found, known: latest(migrations) })
}

/// Whether nothing is to be migrated.
pub(crate) fn is_latest(connection: &Connection, migrations: &[&str]) -> rusqlite::Result<bool> {
    Ok(pragma(connection, "user_version")? == latest(migrations))
}

/// What to do about a file that is too new.
fn way_back(path: &Path, found: i64, known: i64) -> String {
    let copies = (known + 1..=found).map(|version| snapshot_path(path, version));
    let rebuild = "run `lockgate catalog rebuild`: it makes the catalog again from the store, without \
                   pins by command and the history of resources";
    match copies.into_iter().find(|copy| copy.exists()) {
        Some(copy) => format!(
            "start the newer Lockgate, or go back to the copy made before the migration, without what \
             came since: `mv {old} {old}.newer`, remove {old}-wal if it is there, `mv {copy} {old}`; or \
             {rebuild}",
            old = path.display(),
            copy = copy.display()
        ),
        None => format!("start the newer Lockgate, or {rebuild}"),
    }
}

fn snapshot_path(path: &Path, version: i64) -> std::path::PathBuf {
    with_suffix(path, &format!(".before-{version}"))
}

/// Brings the schema to the newest version, in one transaction: a kill leaves the old schema or the
/// newest, never one between that the copy would then be made of. `path`: where a copy of an older one
/// is put first, as `<file>.before-<version>`.
pub(crate) fn run(
    connection: &mut Connection,
    path: Option<&Path>,
    migrations: &[&str],
) -> Result<(), Error> {
    let (found, known) = (pragma(connection, "user_version")?, latest(migrations));
    if found > 0
        && found < known
        && let Some(path) = path
    {
        snapshot(connection, path, known)?;
        tracing::warn!(path = %path.display(), from = found, to = known, "migrating the catalog");
    }
    let all = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked again inside the transaction: another process may have been faster.
    let now = pragma(&all, "user_version")?;
    for (version, sql) in (1..).zip(migrations) {
        if now < version {
            all.execute_batch(sql)?;
            all.execute_batch(&format!(
                "PRAGMA user_version = {version}; PRAGMA application_id = {APPLICATION_ID};"
            ))?;
        }
    }
    Ok(all.commit()?)
}

/// Copies the database as it is, whole and compact, under a name that tells which schema came next.
fn snapshot(connection: &Connection, path: &Path, version: i64) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let target = snapshot_path(path, version);
    let part = with_suffix(&target, ".part");
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let Some(part_text) = part.to_str() else {
        let error = std::io::Error::other("the path is not UTF-8");
        return Err(failed(error));
    };
    // SQLite takes an empty file for its target, with the mode that it has.
    make_private(&part).map_err(failed)?;
    connection.execute("VACUUM INTO ?1", [part_text])?;
    std::fs::File::open(&part).and_then(|file| file.sync_all()).map_err(failed)?;
    std::fs::rename(&part, &target).map_err(failed)?;
    sync_directory(path).map_err(failed)
}

#[cfg(test)]
mod tests;
