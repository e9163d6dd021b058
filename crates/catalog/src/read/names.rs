//! Walks over names: lists for clients, the cache for operators.
//!
//! The cache goes by jumping through the index from one name to the next, so that a walk costs what it
//! shows and not what each name holds. A list of names alone has a table of its own.

use super::pins;
use crate::columns::*;
use crate::rows::{CacheCursor, CacheFilter, CachedRow, Pinned};
use oci::{Digest, Name, Tag};
use rusqlite::{Connection, Result, Row, params};

pub(crate) const NEXT_CONTENT: &str =
    "SELECT name FROM content WHERE name > $1 ORDER BY name LIMIT 1";
pub(crate) const NAMES: &str = "SELECT name FROM name WHERE name > $1 ORDER BY name LIMIT $2";
pub(crate) const NAMES_OF: &str =
    "SELECT name FROM name WHERE repository = $1 AND name > $2 ORDER BY name LIMIT $3";
pub(crate) const CHANGE: &str = "SELECT change FROM name WHERE name = $1";
const FROM_CONTENT: &str = "SELECT name FROM content WHERE name >= $1 ORDER BY name LIMIT 1";

const CACHED: &str = "SELECT c.name, c.digest, c.is_manifest, c.size_bytes, \
    CASE WHEN b.is_going = 0 THEN 1 ELSE 0 END, c.last_used, c.private_to \
    FROM content c LEFT JOIN blob b ON b.digest = c.digest";

const NAMING: &str = "SELECT tag FROM tag WHERE digest = $1 AND name = $2 AND gone_since IS NULL \
    ORDER BY tag LIMIT 64";

/// More digests than this are not followed from pins to say which rows of a page are pinned.
const MAX_PINNED: u32 = 50_000;

pub(crate) fn names(
    connection: &Connection,
    after: Option<&Name>,
    limit: u32,
) -> Result<Vec<Name>> {
    // No name is empty, so the empty text comes before all of them.
    let after = after.map_or("", Name::as_str);
    all(connection, NAMES, params![after, limit], |row| name(row, 0))
}

pub(crate) fn names_of(
    connection: &Connection,
    repository: &str,
    after: Option<&Name>,
    limit: u32,
) -> Result<Vec<Name>> {
    let after = after.map_or("", Name::as_str);
    all(connection, NAMES_OF, params![repository, after, limit], |row| name(row, 0))
}

pub(crate) fn change(connection: &Connection, name: &Name) -> Result<Option<u64>> {
    first(connection, CHANGE, params![name.as_str()], |row| number(row, 0))
}

pub(crate) fn cached(
    connection: &Connection,
    filter: &CacheFilter,
    after: Option<&CacheCursor>,
    limit: u32,
) -> Result<Vec<CachedRow>> {
    let pinned = pins::pinned_digests(connection, &[], MAX_PINNED)?;
    let page = match &filter.digest {
        Some(digest) => names_of_digest(connection, filter, digest, after, limit)?,
        None => digests_of_names(connection, filter, after, limit)?,
    };
    page.into_iter().map(|row| finished(connection, row, &pinned)).collect()
}

fn names_of_digest(
    connection: &Connection,
    filter: &CacheFilter,
    digest: &Digest,
    after: Option<&CacheCursor>,
    limit: u32,
) -> Result<Vec<CachedRow>> {
    let sql = format!("{CACHED} WHERE c.digest = $1 AND c.name > $2 ORDER BY c.name");
    let after = after.map_or("", |cursor| cursor.name.as_str());
    let mut statement = prepare(connection, &sql)?;
    let mut rows = statement.query(params![digest.to_string(), after])?;
    let mut page = Vec::new();
    while page.len() < limit as usize
        && let Some(row) = rows.next()?
    {
        let row = cached_row(row)?;
        if filter_matches(filter, &row.name) {
            page.push(row);
        }
    }
    Ok(page)
}

fn digests_of_names(
    connection: &Connection,
    filter: &CacheFilter,
    after: Option<&CacheCursor>,
    limit: u32,
) -> Result<Vec<CachedRow>> {
    let sql = format!("{CACHED} WHERE c.name = $1 AND c.digest > $2 ORDER BY c.digest LIMIT $3");
    let prefix = literal_prefix(filter);
    let start = after.map_or("", |cursor| cursor.name.as_str()).max(prefix);
    let mut at = first(connection, FROM_CONTENT, params![start], |row| name(row, 0))?;
    let mut page: Vec<CachedRow> = Vec::new();
    while let Some(name_here) = at.take_if(|name| name.as_str().starts_with(prefix)) {
        if filter_matches(filter, &name_here) {
            let from = after.filter(|cursor| cursor.name == name_here);
            let from = from.map_or_else(String::new, |cursor| cursor.digest.to_string());
            let room = limit as usize - page.len();
            let params = params![name_here.as_str(), from, room as i64];
            page.extend(all(connection, &sql, params, cached_row)?);
        }
        if page.len() >= limit as usize {
            break;
        }
        at = first(connection, NEXT_CONTENT, params![name_here.as_str()], |row| name(row, 0))?;
    }
    Ok(page)
}

/// What every name that passes the filter begins with. A name of repository `a` begins with `a`,
/// but so does `a-b/c`: the filter itself tells them apart.
fn literal_prefix(filter: &CacheFilter) -> &str {
    let repository = filter.repository.as_deref().unwrap_or_default();
    let pattern = filter.names.as_ref().map_or("", |pattern| pattern.as_str());
    let literal = pattern.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default();
    if literal.len() > repository.len() { literal } else { repository }
}

fn filter_matches(filter: &CacheFilter, name: &Name) -> bool {
    let repository = filter.repository.as_deref();
    repository.is_none_or(|wanted| name.segments().next() == Some(wanted))
        && filter.names.as_ref().is_none_or(|pattern| pattern.matches(name))
}

fn cached_row(row: &Row<'_>) -> Result<CachedRow> {
    Ok(CachedRow {
        name: name(row, 0)?,
        digest: digest(row, 1)?,
        tags: Vec::new(),
        is_manifest: flag(row, 2)?,
        size_bytes: optional_number(row, 3)?,
        present: flag(row, 4)?,
        last_used: time(row, 5)?,
        pinned: false,
        private_to: row.get(6)?,
    })
}

fn finished(connection: &Connection, mut row: CachedRow, pinned: &Pinned) -> Result<CachedRow> {
    row.pinned = pinned.digests.contains(&row.digest);
    if row.is_manifest {
        let params = params![row.digest.to_string(), row.name.as_str()];
        row.tags = all(connection, NAMING, params, |row| -> Result<Tag> { tag(row, 0) })?;
    }
    Ok(row)
}
