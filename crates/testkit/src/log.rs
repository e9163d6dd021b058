//! What the registry saw and sent: the evidence that tests judge by.

use crate::wire::{Request, header};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A request and what became of it so far.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, without the question mark.
    pub query: String,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// When it arrived.
    pub at: Instant,
    /// Which connection it came on, counted from 1.
    pub connection: u64,
    /// The status answered; 0 as long as there is none.
    pub status: u16,
    /// Body bytes handed to the socket so far.
    pub bytes_sent: u64,
    /// Whether the exchange is over, well or badly.
    pub finished: bool,
    /// Whether it ended as an orderly answer.
    pub completed: bool,
}

impl Seen {
    /// The first value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// Requests and body bytes of one path.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PathTotals {
    /// Requests by method.
    pub requests: BTreeMap<String, u64>,
    /// Body bytes sent.
    pub bytes: u64,
}

/// A request in progress.
#[derive(Debug)]
pub(crate) struct Record {
    request: Request,
    at: Instant,
    connection: u64,
    status: AtomicU16,
    bytes: AtomicU64,
    finished: AtomicBool,
    completed: AtomicBool,
}

impl Record {
    pub(crate) fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn seen(&self) -> Seen {
        Seen {
            method: self.request.method.clone(),
            path: self.request.path.clone(),
            query: self.request.query.clone(),
            headers: self.request.headers.clone(),
            at: self.at,
            connection: self.connection,
            finished: self.finished.load(Ordering::Acquire),
            completed: self.completed.load(Ordering::Relaxed),
            status: self.status.load(Ordering::Relaxed),
            bytes_sent: self.bytes.load(Ordering::Relaxed),
        }
    }
}

#[derive(Default)]
struct Held {
    records: VecDeque<Arc<Record>>,
    totals: BTreeMap<String, PathTotals>,
    access_log: Option<std::fs::File>,
}

/// The newest requests in full, and totals for each path.
pub(crate) struct Log {
    limit: usize,
    held: Mutex<Held>,
}

impl Log {
    /// Keeps the newest `limit` requests.
    pub(crate) fn new(limit: usize, access_log: Option<std::fs::File>) -> Self {
        Self { limit, held: Mutex::new(Held { access_log, ..Held::default() }) }
    }

    pub(crate) fn begin(&self, request: &Request, connection: u64) -> Arc<Record> {
        let record = Arc::new(Record {
            request: request.clone(),
            at: Instant::now(),
            connection,
            status: AtomicU16::new(0),
            bytes: AtomicU64::new(0),
            finished: AtomicBool::new(false),
            completed: AtomicBool::new(false),
        });
        let mut held = self.held.lock();
        if held.records.len() >= self.limit {
            held.records.pop_front();
        }
        held.records.push_back(record.clone());
        record
    }

    pub(crate) fn end(&self, record: &Record, completed: bool) {
        record.completed.store(completed, Ordering::Relaxed);
        record.finished.store(true, Ordering::Release);
        let mut held = self.held.lock();
        let totals = held.totals.entry(record.request.path.clone()).or_default();
        *totals.requests.entry(record.request.method.clone()).or_default() += 1;
        totals.bytes += record.bytes.load(Ordering::Relaxed);
        if let Some(file) = &mut held.access_log {
            let _ = file.write_all(access_line(record).as_bytes());
        }
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.held.lock().records.iter().map(|record| record.seen()).collect()
    }

    pub(crate) fn totals(&self) -> BTreeMap<String, PathTotals> {
        self.held.lock().totals.clone()
    }

    pub(crate) fn clear(&self) {
        let mut held = self.held.lock();
        held.records.clear();
        held.totals.clear();
    }
}

/// One JSON line for a finished request.
fn access_line(record: &Record) -> String {
    let took: Duration = record.at.elapsed();
    let line = serde_json::json!({
        "method": record.request.method,
        "path": record.request.path,
        "query": record.request.query,
        "range": record.request.header("range"),
        "userAgent": record.request.header("user-agent"),
        "status": record.status.load(Ordering::Relaxed),
        "bytes": record.bytes.load(Ordering::Relaxed),
        "completed": record.completed.load(Ordering::Relaxed),
        "connection": record.connection,
        "ms": took.as_secs_f64() * 1000.0,
    });
    format!("{line}\n")
}
