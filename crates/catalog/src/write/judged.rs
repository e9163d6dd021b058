//! Collecting from a name that does not stand still: nothing is expected of it; each thing that a
//! mark found dead is judged again by itself, inside the transaction that takes it.
//!
//! The rule is local, and stricter than the mark: what a tag, a pin, a manifest of the name or its own
//! subject keeps stays. It is sound because the mark gives those first that keep others, so that what
//! is judged later no longer sees them. What keeps each other in a circle (an index that refers to its
//! own child) stays until the name stands still and the mark decides.

use super::hosted::{DELETE_TAG_OF, IS_NAMED, USED_SINCE, remove};
use super::{Failure, names};
use crate::columns::{execute, exists, first, flag, micros};
use crate::hosted::Collection;
use oci::{Digest, Name, Tag};
use rusqlite::{Connection, Row, params};
use std::collections::HashMap;

const IS_LISTED: &str = "SELECT 1 FROM edge e CROSS JOIN content p \
    WHERE e.child = $2 AND p.name = $1 AND p.digest = e.parent LIMIT 1";
const HAS_SUBJECT: &str = "SELECT 1 FROM manifest m CROSS JOIN content s \
    WHERE m.digest = $2 AND s.name = $1 AND s.digest = m.subject LIMIT 1";
const IS_PINNED: &str = "SELECT 1 FROM pin WHERE name = $1 AND reference = $2 LIMIT 1";

/// Takes what is still dead.
pub(super) fn collect(c: &Connection, collection: &Collection) -> Result<(), Failure> {
    let Collection { name, tags, contents, at, .. } = collection;
    let (own, mut evidence) = split(tags, contents.iter().map(|(digest, _)| *digest));
    let mut gone = 0;
    for (tag, digest) in own {
        if !exists(c, IS_PINNED, params![name.as_str(), tag.as_str()])? {
            gone += delete_tag(c, name, tag, digest)?;
        }
    }
    for (digest, seen) in contents {
        let text = digest.to_string();
        let read = |row: &Row<'_>| Ok((flag(row, 0)?, row.get::<_, i64>(1)?));
        let row = first(c, USED_SINCE, params![name.as_str(), text], read)?;
        let Some((is_manifest, last_used)) = row else { continue };
        if last_used > micros(*seen) || is_needed(c, name, &text, is_manifest)? {
            continue;
        }
        remove(c, name, &text, *at)?;
        gone += 1;
        // Tags that spoke of it alone keep nothing any more.
        for (tag, names) in evidence.remove(digest).unwrap_or_default() {
            gone += delete_tag(c, name, tag, names)?;
        }
    }
    if gone > 0 {
        names::changed(c, name)?;
        names::settle(c, name.as_str())?;
    }
    Ok(())
}

type Named<'t> = (&'t Tag, &'t Digest);

/// Tags that go for their own sake, and those that go with what they speak of.
fn split(
    tags: &[(Tag, Digest)],
    dead: impl Iterator<Item = Digest>,
) -> (Vec<Named<'_>>, HashMap<Digest, Vec<Named<'_>>>) {
    let dead: Vec<Digest> = dead.collect();
    let known: std::collections::HashSet<&Digest> = dead.iter().collect();
    let (mut own, mut evidence) = (Vec::new(), HashMap::<Digest, Vec<Named<'_>>>::new());
    for (tag, names) in tags {
        let subject = match tag.evidence_of() {
            Some((subject, _)) => Some(subject).filter(|subject| known.contains(subject)),
            // A tag has no room for a whole SHA-512.
            None if tag.as_str().starts_with("sha512-") => {
                dead.iter().find(|digest| tag.is_evidence_about(digest).is_some()).copied()
            }
            None => None,
        };
        match subject {
            Some(subject) => evidence.entry(subject).or_default().push((tag, names)),
            None => own.push((tag, names)),
        }
    }
    (own, evidence)
}

fn is_needed(
    c: &Connection,
    name: &Name,
    digest: &str,
    is_manifest: bool,
) -> Result<bool, Failure> {
    let holds = |sql: &str| exists(c, sql, params![name.as_str(), digest]);
    if holds(IS_LISTED)? || holds(IS_PINNED)? {
        return Ok(true);
    }
    Ok(is_manifest && (holds(IS_NAMED)? || holds(HAS_SUBJECT)?))
}

fn delete_tag(c: &Connection, name: &Name, tag: &Tag, digest: &Digest) -> Result<usize, Failure> {
    let params = params![name.as_str(), tag.as_str(), digest.to_string()];
    Ok(execute(c, DELETE_TAG_OF, params)?)
}
