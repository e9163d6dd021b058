//! Decisions that are made again and again: the first is written whole, the rest as one line with a
//! count when the window ends.
//!
//! All windows end together. Until then the counts are in a small journal, which a commit appends to,
//! so that a kill loses no count that was flushed: the next start writes the lines that are missing.
//! The journal is no second truth: what it says of a decision holds only while the segment that is
//! being written has that decision and no repeat of it.

use super::live::{self, Live};
use crate::layout::{self, JOURNAL};
use crate::limit::WriteLimit;
use crate::line::RepeatBody;
use crate::{Decision, Error};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Ids that a repeat of a refusal names besides the first and the last.
const IDS_MAX: usize = 32;

/// A journal longer than this ends the window early.
const JOURNAL_BYTES_MAX: u64 = 8 << 20;

/// Longest line of a journal that is read.
const JOURNAL_LINE_BYTES_MAX: usize = 16 << 10;

/// A decision, as the key of all that repeat it.
struct Same(Box<Decision>);

impl PartialEq for Same {
    fn eq(&self, other: &Self) -> bool {
        self.0.repeats(&other.0)
    }
}

impl Eq for Same {}

impl Hash for Same {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

/// How often.
struct Counted {
    repeat: RepeatBody,
    /// Whether the journal says less, and which of the ids it has.
    is_changed: bool,
    ids_told: usize,
}

/// The decisions of this window.
pub(crate) struct Repeats {
    table: HashMap<Same, Counted>,
    table_max: usize,
    window: Duration,
    began: Option<Timestamp>,
    journal: File,
    path: PathBuf,
    journal_bytes: u64,
    /// Whether the journal is of a window that ended.
    is_stale: bool,
    /// Whether a write failed, so that something may be left behind its end.
    is_torn: bool,
    limit: Arc<WriteLimit>,
}

impl Repeats {
    /// Begins with an empty table; what the journal holds must be written by then.
    pub(crate) fn open(
        dir: &Path,
        window: Duration,
        table_max: usize,
        limit: &Arc<WriteLimit>,
    ) -> Result<Self, Error> {
        let path = dir.join(JOURNAL);
        let journal = layout::open_write(&path)?;
        Ok(Self {
            table: HashMap::new(),
            table_max,
            window,
            began: None,
            journal,
            path,
            journal_bytes: 0,
            is_stale: true,
            is_torn: false,
            limit: limit.clone(),
        })
    }

    /// Counts a decision that this window has already. Gives it back if it is a new one.
    pub(crate) fn count(&mut self, decision: Box<Decision>) -> Option<Box<Decision>> {
        let decision = Same(decision);
        let Some(counted) = self.table.get_mut(&decision) else { return Some(decision.0) };
        let decision = decision.0;
        let repeat = &mut counted.repeat;
        let id = decision.id.to_string();
        if repeat.count == 0 {
            (repeat.first_id, repeat.first_at) = (id.clone(), decision.at);
        } else if decision.verdict.refuses() && repeat.ids.len() < IDS_MAX {
            repeat.ids.push(std::mem::take(&mut repeat.last_id));
        }
        repeat.count += 1;
        (repeat.last_id, repeat.last_at) = (id, decision.at);
        counted.is_changed = true;
        None
    }

    /// Remembers a decision that was written as line `seq`, if there is room.
    pub(crate) fn remember(&mut self, decision: Box<Decision>, seq: u64, now: Timestamp) {
        if self.table.len() >= self.table_max {
            return;
        }
        self.began.get_or_insert(now);
        let repeat = RepeatBody {
            of: decision.id.to_string(),
            of_seq: seq,
            count: 0,
            first_id: String::new(),
            first_at: decision.at,
            last_id: String::new(),
            last_at: decision.at,
            ids: Vec::new(),
        };
        let counted = Counted { repeat, is_changed: false, ids_told: 0 };
        self.table.insert(Same(decision), counted);
    }

    /// Whether the window is over. It is, too, when the clock was set back before its beginning.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        let is_old = self.began.is_some_and(|began| {
            now < began || now.duration_since(began).unsigned_abs() >= self.window
        });
        is_old || self.journal_bytes > JOURNAL_BYTES_MAX
    }

    /// Ends the window: a line for each decision that was made again.
    pub(crate) fn close(&mut self, live: &mut Live) {
        let mut all: Vec<_> = self.table.drain().filter(|(_, it)| it.repeat.count > 0).collect();
        all.sort_unstable_by_key(|(_, counted)| counted.repeat.of_seq);
        for (decision, counted) in all {
            live.repeat(&counted.repeat, &live::body(&decision.0));
        }
        self.began = None;
        self.is_stale = true;
    }

    /// Makes counts survive a kill. To be called when all lines are on the disk.
    pub(crate) fn commit(&mut self) -> Result<(), Error> {
        let failed = |error| Error::io("write", &self.path, error);
        if self.is_stale {
            self.journal.set_len(0).map_err(failed)?;
            (self.journal_bytes, self.is_stale) = (0, false);
        }
        if self.is_torn {
            self.journal.set_len(self.journal_bytes).map_err(failed)?;
        }
        let mut news = Vec::new();
        for counted in self.table.values().filter(|counted| counted.is_changed) {
            let ids = counted.repeat.ids[counted.ids_told..].to_vec();
            let told = RepeatBody { ids, ..counted.repeat.clone() };
            // Strings and numbers, to a vector: nothing can fail.
            if serde_json::to_writer(&mut news, &told).is_ok() {
                news.push(b'\n');
            }
        }
        if news.is_empty() {
            return Ok(());
        }
        self.is_torn = true;
        self.limit.write_at(&self.journal, &news, self.journal_bytes).map_err(failed)?;
        self.limit.sync(&self.journal).map_err(failed)?;
        self.is_torn = false;
        self.journal_bytes += news.len() as u64;
        for counted in self.table.values_mut().filter(|counted| counted.is_changed) {
            counted.is_changed = false;
            counted.ids_told = counted.repeat.ids.len();
        }
        Ok(())
    }
}

/// What a killed process left in its journal, by the number of the line that was repeated.
pub(crate) fn left_behind(dir: &Path) -> Result<BTreeMap<u64, RepeatBody>, Error> {
    let path = dir.join(JOURNAL);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(Error::io("open", &path, error)),
    };
    let mut found: BTreeMap<u64, RepeatBody> = BTreeMap::new();
    let mut input = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = std::io::Read::take(&mut input, JOURNAL_LINE_BYTES_MAX as u64);
        let read = bounded.read_until(b'\n', &mut line);
        read.map_err(|error| Error::io("read", &path, error))?;
        // What is not whole was not flushed; nothing whole comes after it.
        let whole = line.strip_suffix(b"\n");
        let told = whole.and_then(|line| serde_json::from_slice::<RepeatBody>(line).ok());
        let Some(told) = told else { return Ok(found) };
        let slot = found
            .entry(told.of_seq)
            .or_insert_with(|| RepeatBody { ids: Vec::new(), ..told.clone() });
        let mut ids = std::mem::take(&mut slot.ids);
        ids.extend(told.ids.iter().cloned());
        ids.truncate(IDS_MAX);
        *slot = RepeatBody { ids, ..told };
    }
}
