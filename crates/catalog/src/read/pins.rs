//! What operators want kept, and all it reaches.

use crate::columns::*;
use crate::rows::{PinRow, Pinned, Role};
use oci::{Digest, Name, Tag};
use rusqlite::{Connection, Result, params};
use std::collections::HashSet;

const PINS: &str = "SELECT name, reference, at FROM pin ORDER BY name, reference";
const PINNED_DIGESTS: &str = "SELECT DISTINCT reference FROM pin WHERE reference LIKE '%:%'";
const PINNED_TAGS: &str = "SELECT DISTINCT t.digest FROM pin p \
    JOIN tag t ON t.name = p.name AND t.tag = p.reference";
pub(crate) const CHILDREN: &str = "SELECT child, role FROM edge WHERE parent = $1";

pub(crate) fn pins(connection: &Connection) -> Result<Vec<PinRow>> {
    all(connection, PINS, [], |row| {
        Ok(PinRow { name: name(row, 0)?, reference: reference(row, 1)?, at: time(row, 2)? })
    })
}

/// Depth first from the roots; each digest is visited once, so a loop that a liar wrote ends too.
pub(crate) fn pinned_digests(
    connection: &Connection,
    also: &[(Name, Tag)],
    limit: u32,
) -> Result<Pinned> {
    // One transaction: what is read belongs together.
    let read = connection.unchecked_transaction()?;
    let mut roots = all(&read, PINNED_DIGESTS, [], |row| digest(row, 0))?;
    roots.extend(all(&read, PINNED_TAGS, [], |row| digest(row, 0))?);
    for (name, tag) in also {
        roots.extend(super::tags::tag(&read, name, tag)?.map(|row| row.digest));
    }
    let mut reached = Reached { limit: limit as usize, ..Reached::default() };
    for root in roots {
        reached.note(root, true);
    }
    let mut children = prepare(&read, CHILDREN)?;
    while let Some(parent) = reached.open.pop() {
        let mut rows = children.query(params![parent.to_string()])?;
        while let Some(row) = rows.next()? {
            reached.note(digest(row, 0)?, role(row, 1)? == Role::Child);
        }
    }
    Ok(reached.pinned)
}

#[derive(Default)]
struct Reached {
    limit: usize,
    pinned: Pinned,
    /// Manifests that were, or will be, followed. Not the same as reached: one manifest can list as
    /// a layer what another lists as a child.
    followed: HashSet<Digest>,
    open: Vec<Digest>,
}

impl Reached {
    fn note(&mut self, digest: Digest, follow: bool) {
        if !self.pinned.digests.contains(&digest) {
            if self.pinned.digests.len() >= self.limit {
                self.pinned.cut = true;
                return;
            }
            self.pinned.digests.insert(digest);
        }
        if follow && self.followed.insert(digest) {
            self.open.push(digest);
        }
    }
}
