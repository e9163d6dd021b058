//! What was in force, and what was worked on.

use crate::columns::*;
use crate::rows::{JobRow, RevisionRow};
use oci::Digest;
use rusqlite::{Connection, Result, Row, params};

const REVISIONS: &str = "SELECT digest, first_activated, last_activated, source, documents, \
    size_bytes FROM revision ORDER BY last_activated DESC, digest LIMIT $1";
const REVISION_TEXT: &str = "SELECT text FROM revision WHERE digest = $1";
const JOBS: &str = "SELECT id, kind, spec_json, state, progress_json, created, updated FROM job \
    ORDER BY created DESC, id DESC LIMIT $1";
const JOB: &str = "SELECT id, kind, spec_json, state, progress_json, created, updated FROM job \
    WHERE id = $1";

pub(crate) fn revisions(connection: &Connection, limit: u32) -> Result<Vec<RevisionRow>> {
    all(connection, REVISIONS, params![limit], |row| {
        Ok(RevisionRow {
            digest: digest(row, 0)?,
            first_activated: time(row, 1)?,
            last_activated: time(row, 2)?,
            source: row.get(3)?,
            documents: number(row, 4)?,
            size_bytes: number(row, 5)?,
        })
    })
}

pub(crate) fn revision_text(connection: &Connection, digest: &Digest) -> Result<Option<String>> {
    first(connection, REVISION_TEXT, params![digest.to_string()], |row| row.get(0))
}

pub(crate) fn jobs(connection: &Connection, limit: u32) -> Result<Vec<JobRow>> {
    all(connection, JOBS, params![limit], job_row)
}

pub(crate) fn job(connection: &Connection, id: &str) -> Result<Option<JobRow>> {
    first(connection, JOB, params![id], job_row)
}

fn job_row(row: &Row<'_>) -> Result<JobRow> {
    Ok(JobRow {
        id: row.get(0)?,
        kind: row.get(1)?,
        spec_json: row.get(2)?,
        state: state(row, 3)?,
        progress_json: row.get(4)?,
        created: time(row, 5)?,
        updated: time(row, 6)?,
    })
}
