//! Hosted content: pushes, deletes and collection, each with its conditions in the same transaction.
//!
//! Two sums hang on a hosted row: `blob.is_held`, and the bytes of its repository. Whoever makes,
//! changes or removes one goes through here.

use super::keep::{self, expect_row};
use super::{Failure, apply, names};
use crate::columns::{all, execute, exists, first, flag, micros};
use crate::hosted::{Collection, PushedBlob, PushedManifest};
use crate::rows::Content;
use jiff::Timestamp;
use oci::{Digest, Name, Tag};
use rusqlite::{Connection, params};

const COUNT: &str = "INSERT INTO hosted_use (repository, entries, bytes) VALUES ($1, $2, $3) \
    ON CONFLICT (repository) DO UPDATE SET \
    entries = hosted_use.entries + excluded.entries, bytes = hosted_use.bytes + excluded.bytes";
const HOLD: &str = "UPDATE blob SET is_held = 1 WHERE digest = $1 AND is_held = 0";
const RELEASE: &str = "UPDATE blob SET is_held = 0 WHERE digest = $1 AND is_held = 1 \
    AND NOT EXISTS (SELECT 1 FROM content WHERE content.digest = $1 AND content.is_hosted = 1)";

/// What a content row weighs: 1 and its bytes if it is hosted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    rows: i64,
    bytes: i64,
}

impl Weight {
    pub(super) fn is_hosted(self) -> bool {
        self.rows > 0
    }
}

const WEIGHT: &str = "SELECT is_hosted, CASE WHEN is_hosted = 1 THEN COALESCE(size_bytes, 0) \
    ELSE 0 END FROM content WHERE name = $1 AND digest = $2";

pub(super) fn weight(c: &Connection, name: &Name, digest: &str) -> Result<Weight, Failure> {
    let read = |row: &rusqlite::Row<'_>| Ok(Weight { rows: row.get(0)?, bytes: row.get(1)? });
    Ok(first(c, WEIGHT, params![name.as_str(), digest], read)?.unwrap_or_default())
}

/// Brings the sums in step with a row that weighed `before`.
pub(super) fn reweigh(
    c: &Connection,
    name: &Name,
    digest: &str,
    before: Weight,
) -> Result<(), Failure> {
    let after = weight(c, name, digest)?;
    add(c, names::repository(name), after.rows - before.rows, after.bytes - before.bytes)?;
    match (before.is_hosted(), after.is_hosted()) {
        (false, true) => execute(c, HOLD, params![digest])?,
        (true, false) => execute(c, RELEASE, params![digest])?,
        (false, false) | (true, true) => 0,
    };
    Ok(())
}

fn add(c: &Connection, repository: &str, rows: i64, bytes: i64) -> Result<(), Failure> {
    if (rows, bytes) != (0, 0) {
        execute(c, COUNT, params![repository, rows, bytes])?;
    }
    Ok(())
}

const OTHER_SIZES: &str = "SELECT repository, COALESCE(size_bytes, 0) FROM content \
    WHERE digest = $1 AND is_hosted = 1 AND COALESCE(size_bytes, -1) <> $2";

/// Said before every row of a digest gets its true size.
pub(super) fn resize(c: &Connection, digest: &str, size_bytes: i64) -> Result<(), Failure> {
    let wrong: Vec<(String, i64)> =
        all(c, OTHER_SIZES, params![digest, size_bytes], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (repository, believed) in wrong {
        add(c, &repository, 0, size_bytes - believed)?;
    }
    Ok(())
}

fn bytes_of(c: &Connection, repository: &str) -> Result<u64, Failure> {
    Ok(crate::read::hosted::hosted_use(c, repository)?.bytes)
}

/// Expects that the repository is within its quota, or holds no more than before: a quota that was
/// lowered stops nobody from pushing again what is there.
fn expect_quota(
    c: &Connection,
    name: &Name,
    quota_bytes: Option<u64>,
    before: u64,
) -> Result<(), Failure> {
    let now = bytes_of(c, names::repository(name))?;
    if quota_bytes.is_some_and(|quota| now > quota && now > before) {
        return Err(Failure::Conflict);
    }
    Ok(())
}

pub(super) fn push_blob(c: &Connection, pushed: &PushedBlob) -> Result<(), Failure> {
    let before = bytes_of(c, names::repository(&pushed.name))?;
    keep::put_blob(c, &pushed.digest, pushed.size_bytes, false, true, pushed.at)?;
    let content = Content {
        is_manifest: false,
        size_bytes: Some(pushed.size_bytes),
        media_type: pushed.media_type.clone(),
        private_to: None,
        is_hosted: true,
        at: pushed.at,
    };
    apply::put_content(c, &pushed.name, &pushed.digest, &content)?;
    expect_quota(c, &pushed.name, pushed.quota_bytes, before)
}

pub(super) fn push_manifest(c: &Connection, pushed: &PushedManifest) -> Result<(), Failure> {
    let (name, manifest) = (&pushed.name, &pushed.manifest);
    for tag in &pushed.immutable {
        let known = crate::read::tags::tag(c, name, tag)?;
        if known.is_some_and(|row| row.digest != manifest.digest) {
            return Err(Failure::Conflict);
        }
    }
    let before = bytes_of(c, names::repository(name))?;
    for digest in &pushed.requires {
        adopt(c, name, digest, pushed.at)?;
    }
    apply::put_manifest(c, manifest)?;
    keep::put_blob(c, &manifest.digest, manifest.size_bytes, true, true, pushed.at)?;
    let content = Content {
        is_manifest: true,
        size_bytes: Some(manifest.size_bytes),
        media_type: Some(manifest.media_type.clone()),
        private_to: None,
        is_hosted: true,
        at: pushed.at,
    };
    apply::put_content(c, name, &manifest.digest, &content)?;
    for tag in &pushed.tags {
        apply::move_tag(c, name, tag, &manifest.digest, pushed.at)?;
    }
    expect_quota(c, name, pushed.quota_bytes, before)
}

const IS_SAFE: &str = "SELECT 1 FROM content \
    WHERE name = $1 AND digest = $2 AND is_hosted = 1 AND is_kept = 1";
const IS_HERE: &str = crate::read::hosted::IS_HERE;
const HOST: &str = "UPDATE content SET is_hosted = 1, \
    last_used = CASE WHEN last_used < $3 THEN $3 ELSE last_used END \
    WHERE name = $1 AND digest = $2 AND is_hosted = 0";
const DISOWN: &str = "UPDATE content SET is_hosted = 0 \
    WHERE name = $1 AND digest = $2 AND is_hosted = 1";
const IS_MANIFEST: &str = "SELECT is_manifest FROM content WHERE name = $1 AND digest = $2";

/// Makes content hosted whose bytes are here; nothing to do for what is hosted already.
pub(super) fn adopt(
    c: &Connection,
    name: &Name,
    digest: &Digest,
    at: Timestamp,
) -> Result<(), Failure> {
    let text = digest.to_string();
    if exists(c, IS_SAFE, params![name.as_str(), text])? {
        return Ok(());
    }
    keep::revive(c, &text)?;
    if !exists(c, IS_HERE, params![name.as_str(), text])? {
        return Err(Failure::Conflict);
    }
    let before = weight(c, name, &text)?;
    if execute(c, HOST, params![name.as_str(), text, micros(at)])? > 0 {
        reweigh(c, name, &text, before)?;
        changed_if_manifest(c, name, &text)?;
    }
    Ok(())
}

pub(super) fn disown(c: &Connection, name: &Name, digest: &Digest) -> Result<(), Failure> {
    let text = digest.to_string();
    let before = weight(c, name, &text)?;
    if execute(c, DISOWN, params![name.as_str(), text])? > 0 {
        reweigh(c, name, &text, before)?;
        changed_if_manifest(c, name, &text)?;
    }
    Ok(())
}

fn changed_if_manifest(c: &Connection, name: &Name, digest: &str) -> Result<(), Failure> {
    let is_manifest = first(c, IS_MANIFEST, params![name.as_str(), digest], |row| flag(row, 0))?;
    if is_manifest == Some(true) { names::changed(c, name) } else { Ok(()) }
}

const DELETE_TAG: &str = "DELETE FROM tag WHERE name = $1 AND tag = $2";
pub(super) const DELETE_TAG_OF: &str =
    "DELETE FROM tag WHERE name = $1 AND tag = $2 AND digest = $3";
pub(super) const IS_NAMED: &str = "SELECT 1 FROM tag WHERE digest = $2 AND name = $1 LIMIT 1";

pub(super) fn delete_tag(c: &Connection, name: &Name, tag: &Tag) -> Result<(), Failure> {
    expect_row(execute(c, DELETE_TAG, params![name.as_str(), tag.as_str()])?)?;
    names::changed(c, name)?;
    names::settle(c, name.as_str())
}

pub(super) fn delete_manifest(
    c: &Connection,
    name: &Name,
    digest: &Digest,
    tags: &[Tag],
    at: Timestamp,
) -> Result<(), Failure> {
    let text = digest.to_string();
    for tag in tags {
        execute(c, DELETE_TAG_OF, params![name.as_str(), tag.as_str(), text])?;
    }
    // A tag that came since was not judged by whoever allowed this.
    if exists(c, IS_NAMED, params![name.as_str(), text])? {
        return Err(Failure::Conflict);
    }
    remove(c, name, &text, at)?;
    names::changed(c, name)?;
    names::settle(c, name.as_str())
}

pub(super) fn delete_blob(
    c: &Connection,
    name: &Name,
    digest: &Digest,
    at: Timestamp,
) -> Result<(), Failure> {
    let text = digest.to_string();
    let is_manifest = first(c, IS_MANIFEST, params![name.as_str(), text], |row| flag(row, 0))?;
    if is_manifest != Some(false) {
        return Err(Failure::Conflict);
    }
    remove(c, name, &text, at)?;
    names::settle(c, name.as_str())
}

pub(super) fn expect_unlisted(c: &Connection, name: &Name, digest: &Digest) -> Result<(), Failure> {
    match crate::read::manifests::listed_by(c, name, digest, 1)?.is_empty() {
        true => Ok(()),
        false => Err(Failure::Conflict),
    }
}

const REMOVE: &str = "DELETE FROM content WHERE name = $1 AND digest = $2";
const CONDEMN_UNHELD: &str = "UPDATE blob SET condemned_at = $2 \
    WHERE digest = $1 AND condemned_at IS NULL \
    AND NOT EXISTS (SELECT 1 FROM content WHERE content.digest = $1)";

/// Removes a content row that must be there, and condemns its bytes if nobody else needs them.
pub(super) fn remove(
    c: &Connection,
    name: &Name,
    digest: &str,
    at: Timestamp,
) -> Result<(), Failure> {
    let before = weight(c, name, digest)?;
    expect_row(execute(c, REMOVE, params![name.as_str(), digest])?)?;
    if before.is_hosted() {
        add(c, names::repository(name), -before.rows, -before.bytes)?;
        execute(c, RELEASE, params![digest])?;
    }
    if !keep::is_pinned(c, digest)? {
        execute(c, CONDEMN_UNHELD, params![digest, micros(at)])?;
    }
    Ok(())
}

pub(super) const USED_SINCE: &str = "SELECT is_manifest, last_used FROM content \
    WHERE name = $1 AND digest = $2 AND is_hosted = 1";

pub(super) fn collect(c: &Connection, collection: &Collection) -> Result<(), Failure> {
    let Collection { name, change, tags, contents, at } = collection;
    names::expect(c, name, *change)?;
    let mut gone = 0;
    for (tag, digest) in tags {
        let params = params![name.as_str(), tag.as_str(), digest.to_string()];
        gone += execute(c, DELETE_TAG_OF, params)?;
    }
    for (digest, seen) in contents {
        let text = digest.to_string();
        let read = |row: &rusqlite::Row<'_>| Ok((flag(row, 0)?, row.get::<_, i64>(1)?));
        let row = first(c, USED_SINCE, params![name.as_str(), text], read)?;
        let Some((is_manifest, last_used)) = row else { continue };
        let is_used = last_used > micros(*seen);
        // A manifest that lives again keeps others alive: the mark is wrong. A blob only itself.
        if is_manifest && (is_used || exists(c, IS_NAMED, params![name.as_str(), text])?) {
            return Err(Failure::Conflict);
        }
        if !is_used {
            remove(c, name, &text, *at)?;
            gone += 1;
        }
    }
    if gone > 0 {
        names::changed(c, name)?;
        names::settle(c, name.as_str())?;
    }
    Ok(())
}
