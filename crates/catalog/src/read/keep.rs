//! What eviction and collection ask: how much there is, what could go, what is on its way out.

use crate::columns::*;
use crate::rows::{RepositoryUse, Usage, Victim, VictimContent, VictimCursor};
use jiff::Timestamp;
use oci::Digest;
use rusqlite::{Connection, Result, params};

const USAGE: &str = "SELECT COUNT(*), CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT), \
    CAST(COALESCE(SUM(CASE WHEN condemned_at IS NULL THEN 0 ELSE size_bytes END), 0) AS BIGINT), \
    CAST(COALESCE(SUM(CASE WHEN is_held = 1 THEN size_bytes ELSE 0 END), 0) AS BIGINT) \
    FROM blob";

const USAGE_BY_REPOSITORY: &str = "SELECT repository, COUNT(*), \
    CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM content WHERE is_kept = 1 \
    GROUP BY repository ORDER BY repository";

pub(crate) const VICTIMS: &str = "SELECT digest, size_bytes, last_used, is_manifest FROM blob \
    WHERE condemned_at IS NULL AND is_held = 0 AND (last_used, is_manifest, digest) > ($1, $2, $3) \
    ORDER BY last_used, is_manifest, digest LIMIT $4";

pub(crate) const VICTIMS_OF: &str = "SELECT name, digest, size_bytes, last_used, is_manifest, \
    (SELECT COUNT(*) FROM content o WHERE o.digest = c.digest AND o.name <> c.name) \
    FROM content c WHERE is_kept = 1 AND repository = $1 \
    AND is_hosted = 0 AND (last_used, is_manifest, name, digest) > ($2, $3, $4, $5) \
    ORDER BY last_used, is_manifest, name, digest LIMIT $6";

pub(crate) const CONDEMNED: &str = "SELECT digest FROM blob WHERE condemned_at IS NOT NULL \
    AND condemned_at <= $1 ORDER BY condemned_at, digest LIMIT $2";

const BLOB_SIZE: &str = "SELECT size_bytes FROM blob WHERE digest = $1";

pub(crate) fn blob_size(connection: &Connection, digest: &Digest) -> Result<Option<u64>> {
    first(connection, BLOB_SIZE, params![digest.to_string()], |row| number(row, 0))
}

pub(crate) fn is_without_blobs(connection: &Connection) -> Result<bool> {
    Ok(!exists(connection, "SELECT 1 FROM blob LIMIT 1", [])?)
}

pub(crate) fn usage(connection: &Connection) -> Result<Usage> {
    let mut usage = first(connection, USAGE, [], |row| {
        Ok(Usage {
            blobs: number(row, 0)?,
            bytes: number(row, 1)?,
            condemned_bytes: number(row, 2)?,
            held_bytes: number(row, 3)?,
            repositories: Vec::new(),
        })
    })?
    .unwrap_or_default();
    usage.repositories = all(connection, USAGE_BY_REPOSITORY, [], |row| {
        Ok(RepositoryUse {
            repository: row.get(0)?,
            blobs: number(row, 1)?,
            bytes: number(row, 2)?,
        })
    })?;
    Ok(usage)
}

/// Where a page begins: before everything, or after the cursor.
fn start(after: Option<&VictimCursor>) -> (i64, i64, &str, String) {
    match after {
        None => (i64::MIN, 0, "", String::new()),
        Some(cursor) => (
            micros(cursor.last_used),
            i64::from(cursor.is_manifest),
            &cursor.name,
            cursor.digest.to_string(),
        ),
    }
}

pub(crate) fn victims(
    connection: &Connection,
    after: Option<&VictimCursor>,
    limit: u32,
) -> Result<Vec<Victim>> {
    let (used, is_manifest, _, after) = start(after);
    all(connection, VICTIMS, params![used, is_manifest, after, limit], |row| {
        Ok(Victim {
            digest: digest(row, 0)?,
            size_bytes: number(row, 1)?,
            last_used: time(row, 2)?,
            is_manifest: flag(row, 3)?,
        })
    })
}

pub(crate) fn victims_of(
    connection: &Connection,
    repository: &str,
    after: Option<&VictimCursor>,
    limit: u32,
) -> Result<Vec<VictimContent>> {
    let (used, is_manifest, after_name, after) = start(after);
    let params = params![repository, used, is_manifest, after_name, after, limit];
    all(connection, VICTIMS_OF, params, |row| {
        Ok(VictimContent {
            name: name(row, 0)?,
            digest: digest(row, 1)?,
            size_bytes: optional_number(row, 2)?.unwrap_or(0),
            last_used: time(row, 3)?,
            is_manifest: flag(row, 4)?,
            others: number(row, 5)?,
        })
    })
}

pub(crate) fn condemned(
    connection: &Connection,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<Digest>> {
    all(connection, CONDEMNED, params![micros(before), limit], |row| digest(row, 0))
}
