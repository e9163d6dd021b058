//! What hosted repositories hold: for pushes, retention, housekeeping and people.

use crate::columns::*;
use crate::hosted::{BlobRow, HostedUse, TagEntry};
use crate::read::content::{COLUMNS, content_row};
use crate::rows::ContentRow;
use oci::{Digest, Name, Tag};
use rusqlite::{Connection, Result, params};
use std::collections::HashSet;

pub(crate) const HOSTED_USE: &str = "SELECT entries, bytes FROM hosted_use WHERE repository = $1";

/// A condemned blob counts: whoever pushes what needs it takes the condemnation back.
pub(crate) const IS_HERE: &str = "SELECT 1 FROM content c JOIN blob b ON b.digest = c.digest \
    WHERE c.name = $1 AND c.digest = $2 AND b.is_going = 0";

pub(crate) const TAG_ENTRIES: &str = "SELECT t.tag, t.digest, t.moved_at, c.since, \
    COALESCE(c.last_used, t.moved_at) FROM tag t \
    LEFT JOIN content c ON c.name = t.name AND c.digest = t.digest \
    WHERE t.name = $1 AND t.tag > $2 ORDER BY t.tag LIMIT $3";

pub(crate) const TAGS_NAMING: &str = "SELECT tag FROM tag WHERE digest = $2 AND name = $1 AND gone_since IS NULL \
     ORDER BY tag LIMIT $3";

pub(crate) const HOSTED_HOLDERS: &str =
    "SELECT name FROM content WHERE digest = $1 AND is_hosted = 1 ORDER BY name LIMIT $2";

pub(crate) const LOST: &str = "SELECT name, digest FROM content \
    WHERE is_hosted = 1 AND is_kept = 0 AND (name, digest) > ($1, $2) \
    ORDER BY name, digest LIMIT $3";

pub(crate) const BLOB_ROWS: &str = "SELECT digest, size_bytes, is_manifest, is_held FROM blob \
    WHERE digest > $1 ORDER BY digest LIMIT $2";

/// CROSS JOIN keeps the order, as in `manifests::LISTED_BY`.
pub(crate) const IS_NEEDED: &str = "SELECT 1 FROM tag WHERE digest = $2 AND name = $1 UNION ALL \
    SELECT 1 FROM edge e CROSS JOIN content c \
    WHERE e.child = $2 AND c.name = $1 AND c.digest = e.parent UNION ALL \
    SELECT 1 FROM manifest WHERE digest = $2 AND subject IS NOT NULL LIMIT 1";

pub(crate) const OLD_MANIFESTS: &str = "SELECT name, digest, size_bytes FROM content \
    WHERE is_kept = 1 AND repository = $1 AND is_manifest = 1 AND is_hosted = 1 \
    ORDER BY last_used LIMIT $2";

const LISTED_SIZES: &str =
    "SELECT child, size_bytes FROM edge WHERE parent = $1 AND role <> 'child'";

const IS_COMPLETE: &str = "SELECT 1 FROM counter WHERE what = 'complete' AND value > 0";

pub(crate) fn is_complete(connection: &Connection) -> Result<bool> {
    exists(connection, IS_COMPLETE, [])
}

pub(crate) fn hosted_use(connection: &Connection, repository: &str) -> Result<HostedUse> {
    let found = first(connection, HOSTED_USE, params![repository], |row| {
        Ok(HostedUse { rows: number(row, 0)?, bytes: number(row, 1)? })
    })?;
    Ok(found.unwrap_or_default())
}

pub(crate) fn untagged_bytes(
    connection: &Connection,
    repository: &str,
    look_at: u32,
) -> Result<u64> {
    let read = connection.unchecked_transaction()?;
    let old = all(&read, OLD_MANIFESTS, params![repository, look_at], |row| {
        Ok((name(row, 0)?, digest(row, 1)?, optional_number(row, 2)?.unwrap_or(0)))
    })?;
    let (mut counted, mut bytes) = (HashSet::new(), 0u64);
    for (name, manifest, size_bytes) in old {
        let text = manifest.to_string();
        if exists(&read, IS_NEEDED, params![name.as_str(), text])? {
            continue;
        }
        bytes = bytes.saturating_add(size_bytes);
        let listed =
            all(&read, LISTED_SIZES, params![text], |row| Ok((digest(row, 0)?, number(row, 1)?)))?;
        for (blob, size_bytes) in listed {
            if counted.insert((name.clone(), blob)) {
                bytes = bytes.saturating_add(size_bytes);
            }
        }
    }
    Ok(bytes)
}

pub(crate) fn missing(
    connection: &Connection,
    name: &Name,
    digests: &[Digest],
) -> Result<Vec<Digest>> {
    let read = connection.unchecked_transaction()?;
    let mut missing = Vec::new();
    for digest in digests {
        if !exists(&read, IS_HERE, params![name.as_str(), digest.to_string()])? {
            missing.push(*digest);
        }
    }
    Ok(missing)
}

pub(crate) fn tag_entries(
    connection: &Connection,
    name: &Name,
    after: Option<&Tag>,
    limit: u32,
) -> Result<Vec<TagEntry>> {
    let after = after.map_or("", Tag::as_str);
    all(connection, TAG_ENTRIES, params![name.as_str(), after, limit], |row| {
        Ok(TagEntry {
            tag: tag(row, 0)?,
            digest: digest(row, 1)?,
            moved_at: time(row, 2)?,
            pushed_at: optional_time(row, 3)?,
            last_used: time(row, 4)?,
        })
    })
}

pub(crate) fn tags_naming(
    connection: &Connection,
    name: &Name,
    digest: &Digest,
    limit: u32,
) -> Result<Vec<Tag>> {
    let params = params![name.as_str(), digest.to_string(), limit];
    all(connection, TAGS_NAMING, params, |row| tag(row, 0))
}

/// No digest is empty, so the empty text comes before all of them.
fn text_of(after: Option<&Digest>) -> String {
    after.map_or_else(String::new, Digest::to_string)
}

pub(crate) fn contents(
    connection: &Connection,
    name: &Name,
    after: Option<&Digest>,
    limit: u32,
) -> Result<Vec<(Digest, ContentRow)>> {
    let sql = format!(
        "SELECT {COLUMNS}, c.digest FROM content c LEFT JOIN blob b ON b.digest = c.digest \
        WHERE c.name = $1 AND c.digest > $2 ORDER BY c.digest LIMIT $3"
    );
    all(connection, &sql, params![name.as_str(), text_of(after), limit], |row| {
        Ok((digest(row, 9)?, content_row(row)?))
    })
}

pub(crate) fn hosted_holders(
    connection: &Connection,
    digest: &Digest,
    limit: u32,
) -> Result<Vec<Name>> {
    all(connection, HOSTED_HOLDERS, params![digest.to_string(), limit], |row| name(row, 0))
}

pub(crate) fn lost(
    connection: &Connection,
    after: Option<&(Name, Digest)>,
    limit: u32,
) -> Result<Vec<(Name, Digest)>> {
    let (after_name, after) =
        after.map_or(("", String::new()), |(name, digest)| (name.as_str(), digest.to_string()));
    all(connection, LOST, params![after_name, after, limit], |row| {
        Ok((name(row, 0)?, digest(row, 1)?))
    })
}

pub(crate) fn blob_rows(
    connection: &Connection,
    after: Option<&Digest>,
    limit: u32,
) -> Result<Vec<BlobRow>> {
    all(connection, BLOB_ROWS, params![text_of(after), limit], |row| {
        Ok(BlobRow {
            digest: digest(row, 0)?,
            size_bytes: number(row, 1)?,
            is_manifest: flag(row, 2)?,
            is_held: flag(row, 3)?,
        })
    })
}
