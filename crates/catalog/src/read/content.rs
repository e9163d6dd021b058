//! What names hold, and kept answers about them.

use crate::columns::*;
use crate::rows::{ContentRow, Listing, ListingKey};
use bytes::Bytes;
use oci::{Digest, Name};
use rusqlite::{Connection, Result, Row, params};

/// What a [`ContentRow`] is read from, with `c` for content and `b` for blob.
pub(crate) const COLUMNS: &str = "c.is_manifest, c.size_bytes, c.media_type, c.private_to, \
    c.since, c.last_used, CASE WHEN b.is_going = 0 THEN 1 ELSE 0 END, b.condemned_at, c.is_hosted";

pub(crate) const CONTENT: &str = "SELECT c.is_manifest, c.size_bytes, c.media_type, c.private_to, \
    c.since, c.last_used, CASE WHEN b.is_going = 0 THEN 1 ELSE 0 END, b.condemned_at, c.is_hosted \
    FROM content c LEFT JOIN blob b ON b.digest = c.digest \
    WHERE c.name = $1 AND c.digest = $2";

/// What is hosted is its repository's to give, though no credential was needed to get it.
pub(crate) const PUBLIC: &str = "SELECT 1 FROM content \
    WHERE digest = $1 AND private_to IS NULL AND is_hosted = 0 LIMIT 1";

pub(crate) const HOLDERS: &str =
    "SELECT name FROM content WHERE digest = $1 ORDER BY name LIMIT $2";

pub(crate) const LISTING: &str = "SELECT body, at FROM listing WHERE name = $1 AND what = $2";

pub(crate) fn content(
    connection: &Connection,
    name: &Name,
    digest: &Digest,
) -> Result<Option<ContentRow>> {
    let params = params![name.as_str(), digest.to_string()];
    first(connection, CONTENT, params, content_row)
}

/// Reads [`COLUMNS`].
pub(crate) fn content_row(row: &Row<'_>) -> Result<ContentRow> {
    Ok(ContentRow {
        is_manifest: flag(row, 0)?,
        size_bytes: optional_number(row, 1)?,
        media_type: optional_media_type(row, 2)?,
        private_to: row.get(3)?,
        since: time(row, 4)?,
        last_used: time(row, 5)?,
        present: flag(row, 6)?,
        condemned_at: optional_time(row, 7)?,
        is_hosted: flag(row, 8)?,
    })
}

pub(crate) fn is_public_somewhere(connection: &Connection, digest: &Digest) -> Result<bool> {
    exists(connection, PUBLIC, params![digest.to_string()])
}

pub(crate) fn holders(connection: &Connection, digest: &Digest, limit: u32) -> Result<Vec<Name>> {
    all(connection, HOLDERS, params![digest.to_string(), limit], |row| name(row, 0))
}

pub(crate) fn listing(
    connection: &Connection,
    name: &Name,
    what: &ListingKey,
) -> Result<Option<Listing>> {
    first(connection, LISTING, params![name.as_str(), listing_text(what)], |row| {
        Ok(Listing { body: Bytes::from(row.get::<_, Vec<u8>>(0)?), at: time(row, 1)? })
    })
}
