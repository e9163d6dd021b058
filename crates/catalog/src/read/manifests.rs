//! Manifests: what they are, what they list, who lists and who refers.

use crate::columns::*;
use crate::rows::{Edge, Listed, ManifestRow, ReferrerRow};
use oci::{Digest, Name};
use rusqlite::{Connection, Result, params};

pub(crate) const MANIFEST: &str = "SELECT media_type, size_bytes, kind, subject, artifact_type, \
    annotations FROM manifest WHERE digest = $1";

pub(crate) const EDGES: &str = "SELECT child, size_bytes, media_type, role FROM edge \
    WHERE parent = $1 ORDER BY position";

/// CROSS JOIN keeps the order: first who lists it, by index, then one look-up for each. The other way
/// round it would go through all that the name holds. What came to the name as a blob speaks for nothing,
/// though its bytes be a manifest elsewhere: nobody decided about it here.
pub(crate) const LISTED_BY: &str = "SELECT e.parent, e.size_bytes, e.media_type, e.role, \
    CASE WHEN c.private_to IS NULL THEN 1 ELSE 0 END \
    FROM edge e CROSS JOIN content c \
    WHERE e.child = $2 AND c.name = $1 AND c.digest = e.parent AND c.is_manifest = 1 \
    ORDER BY c.last_used DESC, e.parent LIMIT $3";

/// An artifact that lists a manifest as a layer is no parent of it.
pub(crate) const PARENTS: &str = "SELECT e.parent FROM edge e CROSS JOIN content c \
    WHERE e.child = $2 AND e.role = 'child' AND c.name = $1 AND c.digest = e.parent \
    AND c.is_manifest = 1 ORDER BY c.last_used DESC, e.parent LIMIT $3";

pub(crate) const PARENTS_OF: &str =
    "SELECT DISTINCT parent FROM edge WHERE child = $1 ORDER BY parent LIMIT $2";

pub(crate) const REFERRERS: &str = "SELECT m.digest, m.media_type, m.size_bytes, m.artifact_type, \
    m.annotations FROM manifest m CROSS JOIN content c \
    WHERE m.subject = $2 AND c.name = $1 AND c.digest = m.digest ORDER BY m.digest LIMIT $3";

pub(crate) fn manifest(connection: &Connection, wanted: &Digest) -> Result<Option<ManifestRow>> {
    let text = wanted.to_string();
    let found = first(connection, MANIFEST, params![text], |row| {
        Ok(ManifestRow {
            digest: *wanted,
            media_type: media_type(row, 0)?,
            size_bytes: number(row, 1)?,
            kind: kind(row, 2)?,
            subject: optional_digest(row, 3)?,
            artifact_type: row.get(4)?,
            annotations: json(row, 5)?,
            edges: Vec::new(),
        })
    })?;
    let Some(mut manifest) = found else { return Ok(None) };
    manifest.edges = all(connection, EDGES, params![text], |row| {
        Ok(Edge {
            digest: digest(row, 0)?,
            size_bytes: number(row, 1)?,
            media_type: media_type(row, 2)?,
            role: role(row, 3)?,
        })
    })?;
    Ok(Some(manifest))
}

pub(crate) fn listed_by(
    connection: &Connection,
    name: &Name,
    child: &Digest,
    limit: u32,
) -> Result<Vec<Listed>> {
    all(connection, LISTED_BY, params![name.as_str(), child.to_string(), limit], |row| {
        Ok(Listed {
            manifest: digest(row, 0)?,
            size_bytes: number(row, 1)?,
            media_type: media_type(row, 2)?,
            role: role(row, 3)?,
            is_public: flag(row, 4)?,
        })
    })
}

pub(crate) fn parents(
    connection: &Connection,
    name: &Name,
    child: &Digest,
    limit: u32,
) -> Result<Vec<Digest>> {
    let params = params![name.as_str(), child.to_string(), limit];
    all(connection, PARENTS, params, |row| digest(row, 0))
}

pub(crate) fn parents_of(
    connection: &Connection,
    child: &Digest,
    limit: u32,
) -> Result<Vec<Digest>> {
    all(connection, PARENTS_OF, params![child.to_string(), limit], |row| digest(row, 0))
}

pub(crate) fn referrers(
    connection: &Connection,
    name: &Name,
    subject: &Digest,
    limit: u32,
) -> Result<Vec<ReferrerRow>> {
    all(connection, REFERRERS, params![name.as_str(), subject.to_string(), limit], |row| {
        Ok(ReferrerRow {
            digest: digest(row, 0)?,
            media_type: media_type(row, 1)?,
            size_bytes: number(row, 2)?,
            artifact_type: row.get(3)?,
            annotations: json(row, 4)?,
        })
    })
}
