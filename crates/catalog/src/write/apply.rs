//! Verbs, as SQL. Runs inside the writer's savepoint: a failure undoes the batch.

use super::{Failure, governance, hosted, judged, keep, names};
use crate::batch::{Batch, Verb};
use crate::columns::{
    execute, exists, first, kind_text, listing_text, micros, number, role_text, size, state_text,
};
use crate::rows::{Content, JobRow, ManifestRow};
use jiff::Timestamp;
use oci::{Digest, Name, Tag};
use rusqlite::{Connection, params};

pub(super) fn apply(connection: &Connection, batch: &Batch) -> Result<(), Failure> {
    for verb in batch.verbs() {
        apply_verb(connection, verb)?;
    }
    Ok(())
}

fn apply_verb(c: &Connection, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::PutManifest(manifest) => put_manifest(c, manifest),
        Verb::PutContent { name, digest, content } => put_content(c, name, digest, content),
        Verb::PutBlob { digest, size_bytes, is_manifest, at } => {
            keep::put_blob(c, digest, *size_bytes, *is_manifest, false, *at)
        }
        Verb::MoveTag { name, tag, digest, checked_at } => {
            move_tag(c, name, tag, digest, *checked_at)
        }
        Verb::TouchTag { name, tag, checked_at } => {
            let params = params![name.as_str(), tag.as_str(), micros(*checked_at)];
            done(execute(c, TOUCH_TAG, params))
        }
        Verb::TagGone { name, tag, since } => {
            done(execute(c, TAG_GONE, params![name.as_str(), tag.as_str(), micros(*since)]))
        }
        Verb::RemoveTag { name, tag } => remove_tag(c, name, tag),
        Verb::PutListing { name, key, body, at } => {
            let key = listing_text(key);
            done(execute(c, PUT_LISTING, params![name.as_str(), key, body.as_ref(), micros(*at)]))
        }
        Verb::RemoveListings { name } => remove_listings(c, name),
        Verb::Used { pairs, at } => used(c, pairs, *at),
        Verb::Condemn { digest, at, unused_since } => keep::condemn(c, digest, *at, *unused_since),
        Verb::Uncondemn { digest } => keep::uncondemn(c, digest),
        Verb::BeginRemoval { digest } => keep::begin_removal(c, digest),
        Verb::BlobGone { digest } => keep::blob_gone(c, digest),
        Verb::BlobLost { digest } => keep::blob_lost(c, digest),
        Verb::DropContent { name, digest } => drop_content(c, name, digest),
        Verb::DropName { name } => drop_name(c, name),
        Verb::Pin { name, reference, at } => {
            execute(c, PIN, params![name.as_str(), reference.to_string(), micros(*at)])?;
            names::renumber(c, name)
        }
        Verb::Unpin { name, reference } => {
            let sql = "DELETE FROM pin WHERE name = $1 AND reference = $2";
            done(execute(c, sql, params![name.as_str(), reference.to_string()]))
        }
        Verb::PutRevision { digest, text, source, documents, at } => {
            let (length, at) = (size(text.len() as u64), micros(*at));
            let params = params![digest.to_string(), text, source, size(*documents), length, at];
            done(execute(c, PUT_REVISION, params))
        }
        Verb::PutJob(job) => put_job(c, job),
        Verb::Prune { before, limit } => keep::prune(c, *before, *limit),
        Verb::PushBlob(pushed) => hosted::push_blob(c, pushed),
        Verb::PushManifest(pushed) => hosted::push_manifest(c, pushed),
        Verb::DeleteTag { name, tag } => hosted::delete_tag(c, name, tag),
        Verb::DeleteManifest { name, digest, tags, at } => {
            hosted::delete_manifest(c, name, digest, tags, *at)
        }
        Verb::DeleteBlob { name, digest, at } => hosted::delete_blob(c, name, digest, *at),
        Verb::ExpectUnlisted { name, digest } => hosted::expect_unlisted(c, name, digest),
        Verb::Collect(collection) => hosted::collect(c, collection),
        Verb::CollectJudged(collection) => judged::collect(c, collection),
        Verb::Adopt { name, digest, at } => hosted::adopt(c, name, digest, *at),
        Verb::Disown { name, digest } => hosted::disown(c, name, digest),
        Verb::Admit { environment, name, digest, at } => {
            governance::admit(c, environment, name, digest, *at)
        }
        Verb::Soften { environment, name, digest, policy, at } => {
            governance::soften(c, environment, name, digest, policy, *at)
        }
        Verb::Lease { principal, setting, name, digest, used } => {
            governance::lease(c, principal, setting, name, digest, *used)
        }
        Verb::DropLeases { name } => governance::drop_leases(c, name),
        Verb::ForgetUnused { leases_before, admissions_before, limit } => {
            governance::forget(c, *leases_before, *admissions_before, *limit)
        }
        Verb::SetComplete => done(execute(c, SET_COMPLETE, [])),
    }
}

fn done(changed: rusqlite::Result<usize>) -> Result<(), Failure> {
    changed.map(|_| ()).map_err(Failure::Sql)
}

const PUT_MANIFEST: &str = "INSERT INTO manifest \
    (digest, media_type, size_bytes, kind, subject, artifact_type, annotations) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (digest) DO NOTHING";
const PUT_EDGE: &str = "INSERT INTO edge (parent, position, child, role, size_bytes, media_type) \
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (parent, child, role) DO NOTHING";

pub(super) fn put_manifest(c: &Connection, manifest: &ManifestRow) -> Result<(), Failure> {
    let digest = manifest.digest.to_string();
    // A map of texts always has a JSON form.
    let annotations = serde_json::to_string(&manifest.annotations)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let params = params![
        digest,
        manifest.media_type.as_str(),
        size(manifest.size_bytes),
        kind_text(manifest.kind),
        manifest.subject.map(|subject| subject.to_string()),
        manifest.artifact_type,
        annotations,
    ];
    if execute(c, PUT_MANIFEST, params)? == 0 {
        // Known: then its edges are too, for both were written in one transaction.
        return Ok(());
    }
    for (position, edge) in manifest.edges.iter().enumerate() {
        let params = params![
            digest,
            size(position as u64),
            edge.digest.to_string(),
            role_text(edge.role),
            size(edge.size_bytes),
            edge.media_type.as_str(),
        ];
        execute(c, PUT_EDGE, params)?;
    }
    Ok(())
}

const KEPT_SIZE: &str = "SELECT size_bytes FROM blob WHERE digest = $1 AND condemned_at IS NULL";

/// Public wins: once a name was served a digest without a credential, the bytes are no secret. A
/// manifest stays one: its bytes asked for, or pushed, as a blob must not take what it lists from it.
const PUT_CONTENT: &str = "INSERT INTO content (name, digest, repository, is_manifest, \
    size_bytes, media_type, private_to, since, last_used, is_kept, is_hosted) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10) ON CONFLICT (name, digest) DO UPDATE SET \
    is_manifest = CASE WHEN excluded.is_manifest = 1 THEN 1 ELSE content.is_manifest END, \
    is_hosted = CASE WHEN excluded.is_hosted = 1 THEN 1 ELSE content.is_hosted END, \
    size_bytes = COALESCE(excluded.size_bytes, content.size_bytes), \
    media_type = COALESCE(excluded.media_type, content.media_type), \
    private_to = CASE WHEN content.private_to IS NULL THEN NULL ELSE excluded.private_to END, \
    last_used = CASE WHEN excluded.last_used > content.last_used THEN excluded.last_used \
        ELSE content.last_used END, \
    is_kept = excluded.is_kept";

pub(super) fn put_content(
    c: &Connection,
    name: &Name,
    digest: &Digest,
    content: &Content,
) -> Result<(), Failure> {
    let text = digest.to_string();
    keep::revive(c, &text)?;
    keep::touch_blob(c, &text, content.at)?;
    let kept_size = first(c, KEPT_SIZE, params![text], |row| number(row, 0))?;
    let before = hosted::weight(c, name, &text)?;
    names::note(c, name)?;
    let params = params![
        name.as_str(),
        text,
        names::repository(name),
        i64::from(content.is_manifest),
        kept_size.or(content.size_bytes).map(size),
        content.media_type.as_ref().map(|media_type| media_type.as_str()),
        content.private_to,
        micros(content.at),
        i64::from(kept_size.is_some()),
        i64::from(content.is_hosted),
    ];
    execute(c, PUT_CONTENT, params)?;
    if !content.is_hosted && !before.is_hosted() {
        return Ok(());
    }
    hosted::reweigh(c, name, &text, before)?;
    if content.is_manifest { names::changed(c, name) } else { Ok(()) }
}

const MOVE_TAG: &str = "INSERT INTO tag (name, tag, digest, checked_at, moved_at, gone_since) \
    VALUES ($1, $2, $3, $4, $4, NULL) ON CONFLICT (name, tag) DO UPDATE SET \
    digest = excluded.digest, checked_at = excluded.checked_at, gone_since = NULL, \
    moved_at = CASE WHEN tag.digest = excluded.digest THEN tag.moved_at \
        ELSE excluded.moved_at END";
const TOUCH_TAG: &str =
    "UPDATE tag SET checked_at = $3, gone_since = NULL WHERE name = $1 AND tag = $2";
const TAG_GONE: &str = "UPDATE tag SET gone_since = COALESCE(gone_since, $3), checked_at = $3 \
    WHERE name = $1 AND tag = $2";

pub(super) fn move_tag(
    c: &Connection,
    name: &Name,
    tag: &Tag,
    digest: &Digest,
    checked_at: Timestamp,
) -> Result<(), Failure> {
    let params = params![name.as_str(), tag.as_str(), digest.to_string(), micros(checked_at)];
    execute(c, MOVE_TAG, params)?;
    names::changed(c, name)
}

fn remove_tag(c: &Connection, name: &Name, tag: &Tag) -> Result<(), Failure> {
    let sql = "DELETE FROM tag WHERE name = $1 AND tag = $2";
    if execute(c, sql, params![name.as_str(), tag.as_str()])? > 0 {
        names::changed(c, name)?;
        names::settle(c, name.as_str())?;
    }
    Ok(())
}

const SET_COMPLETE: &str = "INSERT INTO counter (what, value) VALUES ('complete', 1) \
    ON CONFLICT (what) DO UPDATE SET value = 1";
const PUT_LISTING: &str = "INSERT INTO listing (name, what, body, at) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (name, what) DO UPDATE SET body = excluded.body, at = excluded.at";
const PIN: &str = "INSERT INTO pin (name, reference, at) VALUES ($1, $2, $3) \
    ON CONFLICT (name, reference) DO NOTHING";
const PUT_REVISION: &str = "INSERT INTO revision \
    (digest, text, source, documents, size_bytes, first_activated, last_activated) \
    VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (digest) DO UPDATE SET \
    source = excluded.source, last_activated = excluded.last_activated";
const PUT_JOB: &str = "INSERT INTO job \
    (id, kind, spec_json, state, progress_json, created, updated) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET \
    state = excluded.state, progress_json = excluded.progress_json, updated = excluded.updated";

fn put_job(c: &Connection, job: &JobRow) -> Result<(), Failure> {
    let params = params![
        job.id,
        job.kind,
        job.spec_json,
        state_text(job.state),
        job.progress_json,
        micros(job.created),
        micros(job.updated),
    ];
    done(execute(c, PUT_JOB, params))
}

const USED_CONTENT: &str =
    "UPDATE content SET last_used = $3 WHERE name = $1 AND digest = $2 AND last_used < $3";

fn used(c: &Connection, pairs: &[(Name, Digest)], at: Timestamp) -> Result<(), Failure> {
    for (name, digest) in pairs {
        let text = digest.to_string();
        execute(c, USED_CONTENT, params![name.as_str(), text, micros(at)])?;
        keep::touch_blob(c, &text, at)?;
    }
    Ok(())
}

fn remove_listings(c: &Connection, name: &Name) -> Result<(), Failure> {
    done(execute(c, "DELETE FROM listing WHERE name = $1", params![name.as_str()]))
}

fn drop_content(c: &Connection, name: &Name, digest: &Digest) -> Result<(), Failure> {
    let text = digest.to_string();
    if hosted::weight(c, name, &text)?.is_hosted() {
        return Err(Failure::Conflict);
    }
    let sql = "DELETE FROM content WHERE name = $1 AND digest = $2";
    execute(c, sql, params![name.as_str(), text])?;
    names::settle(c, name.as_str())
}

const HOLDS_HOSTED: &str = "SELECT 1 FROM content WHERE name = $1 AND is_hosted = 1 LIMIT 1";

fn drop_name(c: &Connection, name: &Name) -> Result<(), Failure> {
    if exists(c, HOLDS_HOSTED, params![name.as_str()])? {
        return Err(Failure::Conflict);
    }
    execute(c, "DELETE FROM content WHERE name = $1", params![name.as_str()])?;
    execute(c, "DELETE FROM tag WHERE name = $1", params![name.as_str()])?;
    execute(c, "DELETE FROM name WHERE name = $1", params![name.as_str()])?;
    remove_listings(c, name)
}
