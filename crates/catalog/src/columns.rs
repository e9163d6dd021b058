//! Between columns and domain values. Every text that comes out of the database is parsed again: a
//! file can be edited, and a wrong row must be an error, not a wrong digest.

use crate::rows::{JobState, ListingKey, Role};
use jiff::Timestamp;
use oci::{Digest, ManifestKind, MediaType, Name, Reference, Tag};
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, Error, Params, Result, Row};
use std::str::FromStr;

/// Prepares portable SQL. SQLite numbers `?1`, PostgreSQL `$1`; ours is written with `$`.
pub(crate) fn prepare<'c>(connection: &'c Connection, sql: &str) -> Result<CachedStatement<'c>> {
    connection.prepare_cached(&sql.replace('$', "?"))
}

/// Runs a statement and tells how many rows it changed.
pub(crate) fn execute(connection: &Connection, sql: &str, params: impl Params) -> Result<usize> {
    prepare(connection, sql)?.execute(params)
}

/// The first row, if there is one.
pub(crate) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut statement = prepare(connection, sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

/// All rows.
pub(crate) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    prepare(connection, sql)?.query_map(params, read)?.collect()
}

/// Whether there is a row.
pub(crate) fn exists(connection: &Connection, sql: &str, params: impl Params) -> Result<bool> {
    prepare(connection, sql)?.exists(params)
}

fn wrong(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

/// A word that no version of this program writes there.
#[derive(Debug, thiserror::Error)]
#[error("unknown word {0:?}")]
struct UnknownWord(String);

fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| wrong(column, error))
}

fn word<T>(row: &Row<'_>, column: usize, read: fn(&str) -> Option<T>) -> Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    read(text).ok_or_else(|| wrong(column, UnknownWord(text.chars().take(32).collect())))
}

fn is_null(row: &Row<'_>, column: usize) -> Result<bool> {
    Ok(row.get_ref(column)?.data_type() == Type::Null)
}

pub(crate) fn digest(row: &Row<'_>, column: usize) -> Result<Digest> {
    parsed(row, column)
}

pub(crate) fn optional_digest(row: &Row<'_>, column: usize) -> Result<Option<Digest>> {
    if is_null(row, column)? { Ok(None) } else { digest(row, column).map(Some) }
}

pub(crate) fn name(row: &Row<'_>, column: usize) -> Result<Name> {
    parsed(row, column)
}

pub(crate) fn tag(row: &Row<'_>, column: usize) -> Result<Tag> {
    parsed(row, column)
}

pub(crate) fn reference(row: &Row<'_>, column: usize) -> Result<Reference> {
    parsed(row, column)
}

pub(crate) fn media_type(row: &Row<'_>, column: usize) -> Result<MediaType> {
    MediaType::parse(row.get_ref(column)?.as_str()?).map_err(|error| wrong(column, error))
}

pub(crate) fn optional_media_type(row: &Row<'_>, column: usize) -> Result<Option<MediaType>> {
    if is_null(row, column)? { Ok(None) } else { media_type(row, column).map(Some) }
}

pub(crate) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|error| wrong(column, error))
}

pub(crate) fn optional_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>> {
    if is_null(row, column)? { Ok(None) } else { time(row, column).map(Some) }
}

pub(crate) fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(column, value))
}

pub(crate) fn optional_number(row: &Row<'_>, column: usize) -> Result<Option<u64>> {
    if is_null(row, column)? { Ok(None) } else { number(row, column).map(Some) }
}

pub(crate) fn flag(row: &Row<'_>, column: usize) -> Result<bool> {
    Ok(row.get::<_, i64>(column)? != 0)
}

pub(crate) fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| wrong(column, error))
}

pub(crate) fn kind(row: &Row<'_>, column: usize) -> Result<ManifestKind> {
    word(row, column, |text| match text {
        "image" => Some(ManifestKind::Image),
        "index" => Some(ManifestKind::Index),
        "schema1" => Some(ManifestKind::Schema1),
        "other" => Some(ManifestKind::Other),
        _ => None,
    })
}

pub(crate) fn kind_text(kind: ManifestKind) -> &'static str {
    match kind {
        ManifestKind::Image => "image",
        ManifestKind::Index => "index",
        ManifestKind::Schema1 => "schema1",
        ManifestKind::Other => "other",
    }
}

pub(crate) fn role(row: &Row<'_>, column: usize) -> Result<Role> {
    word(row, column, |text| match text {
        "config" => Some(Role::Config),
        "layer" => Some(Role::Layer),
        "child" => Some(Role::Child),
        _ => None,
    })
}

pub(crate) fn role_text(role: Role) -> &'static str {
    match role {
        Role::Config => "config",
        Role::Layer => "layer",
        Role::Child => "child",
    }
}

pub(crate) fn state(row: &Row<'_>, column: usize) -> Result<JobState> {
    word(row, column, |text| match text {
        "queued" => Some(JobState::Queued),
        "running" => Some(JobState::Running),
        "done" => Some(JobState::Done),
        "failed" => Some(JobState::Failed),
        "cancelled" => Some(JobState::Cancelled),
        _ => None,
    })
}

pub(crate) fn state_text(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

pub(crate) fn listing_text(key: &ListingKey) -> String {
    match key {
        ListingKey::Tags => "tags".to_owned(),
        ListingKey::Referrers(subject) => format!("referrers:{subject}"),
    }
}

/// A size as a column holds it. No artifact comes near the limit.
pub(crate) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A time as a column holds it.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}
