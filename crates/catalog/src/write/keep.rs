//! The states of a blob (contracts §9): present, condemned, going, gone. And what is forgotten.

use super::{Failure, hosted, names};
use crate::columns::{all, execute, exists, micros, size};
use jiff::Timestamp;
use oci::Digest;
use rusqlite::{Connection, params};
use std::collections::HashSet;

/// More manifests above a blob than this are not searched for a pin; such a blob is kept.
const MAX_ABOVE: usize = 4096;

const PUT_BLOB: &str = "INSERT INTO blob \
    (digest, size_bytes, is_manifest, last_used, condemned_at, is_going, is_held) \
    VALUES ($1, $2, $3, $4, NULL, 0, CASE WHEN $5 = 1 OR EXISTS (SELECT 1 FROM content \
    WHERE content.digest = $1 AND content.is_hosted = 1) THEN 1 ELSE 0 END) \
    ON CONFLICT (digest) DO UPDATE SET size_bytes = excluded.size_bytes, \
    is_manifest = CASE WHEN excluded.is_manifest = 1 THEN 1 ELSE blob.is_manifest END, \
    last_used = CASE WHEN excluded.last_used > blob.last_used THEN excluded.last_used \
        ELSE blob.last_used END, \
    condemned_at = NULL, is_going = 0";
const KEEP_CONTENT: &str = "UPDATE content SET is_kept = 1, size_bytes = $2 \
    WHERE digest = $1 AND (is_kept = 0 OR COALESCE(size_bytes, -1) <> $2)";

/// `is_held`: a hosted row follows in the same transaction.
pub(super) fn put_blob(
    c: &Connection,
    digest: &Digest,
    size_bytes: u64,
    is_manifest: bool,
    is_held: bool,
    at: Timestamp,
) -> Result<(), Failure> {
    let (text, length) = (digest.to_string(), size(size_bytes));
    let (is_manifest, is_held) = (i64::from(is_manifest), i64::from(is_held));
    execute(c, PUT_BLOB, params![text, length, is_manifest, micros(at), is_held])?;
    hosted::resize(c, &text, length)?;
    execute(c, KEEP_CONTENT, params![text, length])?;
    Ok(())
}

const REVIVE: &str = "UPDATE blob SET condemned_at = NULL \
    WHERE digest = $1 AND condemned_at IS NOT NULL AND is_going = 0";
const CONTENT_KEPT: &str = "UPDATE content SET is_kept = 1 WHERE digest = $1 AND is_kept = 0";
const CONTENT_NOT_KEPT: &str = "UPDATE content SET is_kept = 0 WHERE digest = $1 AND is_kept = 1";

/// Takes a condemnation back, if there is one and it is not too late.
pub(super) fn revive(c: &Connection, digest: &str) -> Result<(), Failure> {
    if execute(c, REVIVE, params![digest])? > 0 {
        execute(c, CONTENT_KEPT, params![digest])?;
    }
    Ok(())
}

const TOUCH_BLOB: &str = "UPDATE blob SET last_used = $2 WHERE digest = $1 AND last_used < $2";

pub(super) fn touch_blob(c: &Connection, digest: &str, at: Timestamp) -> Result<(), Failure> {
    execute(c, TOUCH_BLOB, params![digest, micros(at)])?;
    Ok(())
}

const CONDEMN: &str = "UPDATE blob SET condemned_at = $2 \
    WHERE digest = $1 AND condemned_at IS NULL AND is_held = 0 AND last_used <= $3";

pub(super) fn condemn(
    c: &Connection,
    digest: &Digest,
    at: Timestamp,
    unused_since: Option<Timestamp>,
) -> Result<(), Failure> {
    // A pin may have come between the choice of the victim and now; this is where both meet.
    let text = digest.to_string();
    if is_pinned(c, &text)? {
        return Err(Failure::Conflict);
    }
    let last_used = unused_since.map_or(i64::MAX, micros);
    expect_row(execute(c, CONDEMN, params![text, micros(at), last_used])?)?;
    execute(c, CONTENT_NOT_KEPT, params![text])?;
    Ok(())
}

pub(super) fn uncondemn(c: &Connection, digest: &Digest) -> Result<(), Failure> {
    let text = digest.to_string();
    revive(c, &text)?;
    let sql = "SELECT 1 FROM blob WHERE digest = $1 AND condemned_at IS NULL";
    if exists(c, sql, params![text])? { Ok(()) } else { Err(Failure::Conflict) }
}

const BEGIN_REMOVAL: &str =
    "UPDATE blob SET is_going = 1 WHERE digest = $1 AND condemned_at IS NOT NULL";

pub(super) fn begin_removal(c: &Connection, digest: &Digest) -> Result<(), Failure> {
    expect_row(execute(c, BEGIN_REMOVAL, params![digest.to_string()])?)
}

pub(super) fn blob_gone(c: &Connection, digest: &Digest) -> Result<(), Failure> {
    let sql = "DELETE FROM blob WHERE digest = $1 AND condemned_at IS NOT NULL";
    expect_row(execute(c, sql, params![digest.to_string()])?)
}

pub(super) fn blob_lost(c: &Connection, digest: &Digest) -> Result<(), Failure> {
    let text = digest.to_string();
    execute(c, "DELETE FROM blob WHERE digest = $1", params![text])?;
    execute(c, CONTENT_NOT_KEPT, params![text])?;
    Ok(())
}

pub(super) fn expect_row(changed: usize) -> Result<(), Failure> {
    if changed == 0 { Err(Failure::Conflict) } else { Ok(()) }
}

const PIN_ON: &str = "SELECT 1 FROM pin WHERE reference = $1 UNION ALL \
    SELECT 1 FROM tag t JOIN pin p ON p.name = t.name AND p.reference = t.tag \
    WHERE t.digest = $1 LIMIT 1";
const PARENTS: &str = "SELECT DISTINCT parent FROM edge WHERE child = $1 LIMIT $2";

/// Whether a pin reaches this digest: searched upwards, from the digest to what lists it.
pub(super) fn is_pinned(c: &Connection, digest: &str) -> Result<bool, Failure> {
    if !exists(c, "SELECT 1 FROM pin LIMIT 1", [])? {
        return Ok(false);
    }
    let mut seen = HashSet::from([digest.to_owned()]);
    let mut open: Vec<String> = seen.iter().cloned().collect();
    while let Some(here) = open.pop() {
        if exists(c, PIN_ON, params![here])? {
            return Ok(true);
        }
        let parents: Vec<String> =
            all(c, PARENTS, params![here, MAX_ABOVE as i64 + 1], |row| row.get(0))?;
        for parent in parents {
            if seen.insert(parent.clone()) {
                open.push(parent);
            }
        }
        if seen.len() > MAX_ABOVE {
            // Cannot tell: then it stays.
            return Ok(true);
        }
    }
    Ok(false)
}

const OLD_CONTENT: &str = "DELETE FROM content WHERE (name, digest) IN \
    (SELECT name, digest FROM content WHERE is_kept = 0 AND is_hosted = 0 AND last_used < $1 \
    AND NOT EXISTS (SELECT 1 FROM blob WHERE blob.digest = content.digest) \
    ORDER BY last_used LIMIT $2) RETURNING name";
const OLD_TAGS: &str = "DELETE FROM tag WHERE (name, tag) IN \
    (SELECT name, tag FROM tag WHERE checked_at < $1 AND NOT EXISTS (SELECT 1 FROM content \
    WHERE content.name = tag.name AND content.digest = tag.digest) LIMIT $2) \
    RETURNING name";
const ORPHANS: &str = "SELECT digest FROM manifest m WHERE NOT EXISTS \
    (SELECT 1 FROM content c WHERE c.digest = m.digest) LIMIT $1";
const OLD_LISTINGS: &str = "DELETE FROM listing WHERE (name, what) IN \
    (SELECT name, what FROM listing WHERE at < $1 LIMIT $2)";
const OLD_JOBS: &str = "DELETE FROM job WHERE id IN (SELECT id FROM job WHERE updated < $1 \
    AND state IN ('done', 'failed', 'cancelled') LIMIT $2)";

pub(super) fn prune(c: &Connection, before: Timestamp, limit: u32) -> Result<(), Failure> {
    let before = micros(before);
    for sql in [OLD_CONTENT, OLD_TAGS] {
        let names: HashSet<String> =
            all(c, sql, params![before, limit], |row| row.get(0))?.into_iter().collect();
        for name in names {
            names::settle(c, &name)?;
        }
    }
    for sql in [OLD_LISTINGS, OLD_JOBS] {
        execute(c, sql, params![before, limit])?;
    }
    let orphans: Vec<String> = all(c, ORPHANS, params![limit], |row| row.get(0))?;
    for digest in orphans {
        execute(c, "DELETE FROM edge WHERE parent = $1", params![digest])?;
        execute(c, "DELETE FROM manifest WHERE digest = $1", params![digest])?;
    }
    Ok(())
}
