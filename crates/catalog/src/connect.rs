//! Connections to the file: how they lock it, and that none of them maps it into memory.
//!
//! Where a file system becomes read-only, a write is an error, but a store to a mapped page is a
//! SIGBUS, which ends the process. SQLite maps the index of its log (`-shm`), except with the VFS
//! `unix-excl` (sqlite.org/vfs.html): there the index is in the heap, shared by the connections of
//! this process, and other processes are locked out. A data directory has one process anyway
//! (contracts §10).
//!
//! While the file cannot be written, that VFS would lock it, and so index it, as others do. Such a
//! file is frozen: no process writes to it, so it is read with no locks at all and an index of its
//! own for each connection (`unix-none`, exclusive locking mode). This must end before anybody
//! writes again, also because closing such a connection ends all POSIX locks that this process has
//! on the file (fcntl(2)).

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags, ffi};
use std::path::Path;
use std::time::Duration;

/// How long SQLite waits for a lock that someone else holds, for reads and for writes.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// Prepared statements that a connection keeps; there are about this many.
const STATEMENTS: usize = 160;

const IN_PROCESS: &str = "unix-excl";
const UNLOCKED: &str = "unix-none";

/// How the file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Access {
    /// Beside the writer of this process.
    #[default]
    Shared,
    /// While nobody can write.
    Frozen,
}

/// Keeps what is prepared, and maps nothing.
pub(crate) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.execute_batch("PRAGMA mmap_size = 0;")
}

/// Leaves the log as it is when the connection closes: a checkpoint would be one to a path that may
/// lead elsewhere by then.
pub(crate) fn keep_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// A connection of the VFS that shares its index, to a file that can be written.
fn shared(path: &Path, more: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let connection = Connection::open_with_flags_and_vfs(path, flags, IN_PROCESS)?;
    // SQLite opens for reading what it cannot write. Asked before the first statement, which would
    // make a `-shm` then.
    if connection.is_readonly(MAIN_DB)? {
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_READONLY), None));
    }
    prepare(&connection)?;
    Ok(connection)
}

/// The connection that writes. Makes the file if there is none. Until [`keep_log`] it puts its log
/// into the file when it closes: a file that turns out not to be for us can then be moved alone.
pub(crate) fn writer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = shared(path, OpenFlags::SQLITE_OPEN_CREATE)?;
    // FULL: an fsync for each commit, so that what a ticket called done survives a power cut.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -4096; PRAGMA journal_size_limit = 67108864;",
    )?;
    Ok(connection)
}

/// A connection that reads. Never makes a file: only the writer does.
pub(crate) fn reader(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    let connection = match access {
        Access::Shared => shared(path, OpenFlags::empty())?,
        Access::Frozen => frozen(path)?,
    };
    keep_log(&connection)?;
    connection.execute_batch("PRAGMA query_only = 1; PRAGMA cache_size = -1024;")?;
    Ok(connection)
}

fn frozen(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(path, flags, UNLOCKED)?;
    prepare(&connection)?;
    // Before the first read: the index of the log is then made in the heap (sqlite.org/wal.html,
    // "Use of WAL Without Shared-Memory").
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE;")?;
    Ok(connection)
}

/// A connection to a file that nobody has open, taken as it is: no lock, and no look at what may lie
/// beside it, nor anything left there (sqlite.org/uri.html, `immutable`).
pub(crate) fn immutable(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?;
    prepare(&connection)?;
    Ok(connection)
}

/// Whether a file that is there can be opened for writing. Reads and writes nothing.
pub(crate) fn probe(path: &Path) -> rusqlite::Result<()> {
    shared(path, OpenFlags::empty()).map(drop)
}
