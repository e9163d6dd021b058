//! What tags name.

use crate::columns::{all, digest, first, optional_time, tag as tag_column, time};
use crate::rows::TagRow;
use oci::{Name, Tag};
use rusqlite::{Connection, Result, params};

pub(crate) const TAG: &str =
    "SELECT digest, checked_at, gone_since, moved_at FROM tag WHERE name = $1 AND tag = $2";

const TAGS: &str = "SELECT tag FROM tag WHERE name = $1 AND tag > $2 AND gone_since IS NULL \
    ORDER BY tag LIMIT $3";

pub(crate) fn tag(connection: &Connection, name: &Name, tag: &Tag) -> Result<Option<TagRow>> {
    first(connection, TAG, params![name.as_str(), tag.as_str()], |row| {
        Ok(TagRow {
            digest: digest(row, 0)?,
            checked_at: time(row, 1)?,
            gone_since: optional_time(row, 2)?,
            moved_at: time(row, 3)?,
        })
    })
}

pub(crate) fn tags(
    connection: &Connection,
    name: &Name,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Tag>> {
    // No tag is empty, so the empty text comes before all of them.
    let after = after.unwrap_or_default();
    all(connection, TAGS, params![name.as_str(), after, limit], |row| tag_column(row, 0))
}
