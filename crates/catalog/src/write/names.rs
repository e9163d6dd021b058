//! The rows of names: there as long as a name has content or tags, numbered with each change.

use super::Failure;
use crate::columns::{execute, exists, first, number};
use oci::Name;
use rusqlite::{Connection, params};

const KNOWN: &str = "SELECT 1 FROM name WHERE name = $1";
const NEXT: &str = "UPDATE counter SET value = value + 1 WHERE what = 'change'";
const PUT: &str = "INSERT INTO name (name, repository, change) \
    SELECT $1, $2, value FROM counter WHERE what = 'change'";
const CHANGE: &str = "UPDATE name SET change = \
    (SELECT value FROM counter WHERE what = 'change') WHERE name = $1";
const SETTLE: &str = "DELETE FROM name WHERE name = $1 \
    AND NOT EXISTS (SELECT 1 FROM content WHERE content.name = $1) \
    AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.name = $1)";

/// The first segment, which is what its repository is called.
pub(super) fn repository(name: &Name) -> &str {
    name.segments().next().unwrap_or_default()
}

/// Makes the row, if there is none.
pub(super) fn note(c: &Connection, name: &Name) -> Result<(), Failure> {
    if !exists(c, KNOWN, params![name.as_str()])? {
        execute(c, NEXT, [])?;
        execute(c, PUT, params![name.as_str(), repository(name)])?;
    }
    Ok(())
}

/// Gives a name its next number, if it has a row: for what a mark must know of and is no content.
pub(super) fn renumber(c: &Connection, name: &Name) -> Result<(), Failure> {
    if exists(c, KNOWN, params![name.as_str()])? {
        execute(c, NEXT, [])?;
        execute(c, CHANGE, params![name.as_str()])?;
    }
    Ok(())
}

/// Gives a name its next number, and makes the row if there is none.
pub(super) fn changed(c: &Connection, name: &Name) -> Result<(), Failure> {
    execute(c, NEXT, [])?;
    if execute(c, CHANGE, params![name.as_str()])? == 0 {
        execute(c, PUT, params![name.as_str(), repository(name)])?;
    }
    Ok(())
}

/// Removes the row of a name that has lost all it had.
pub(super) fn settle(c: &Connection, name: &str) -> Result<(), Failure> {
    execute(c, SETTLE, params![name])?;
    Ok(())
}

/// Expects that the name was not changed since its number was read.
pub(super) fn expect(c: &Connection, name: &Name, change: u64) -> Result<(), Failure> {
    let now = first(c, crate::read::names::CHANGE, params![name.as_str()], |row| number(row, 0))?;
    if now == Some(change) { Ok(()) } else { Err(Failure::Conflict) }
}
