//! The record of decisions: what was decided, for whom, on what grounds; and what happened meanwhile.
//!
//! It exists so that an auditor can be answered a year later, and so that nobody need trust the answer:
//! a record is append-only, numbered without a gap and hash-chained, so an edit, a removal, another
//! order or a cut in the middle is found, and a loss is told by the record itself. It hides segments on
//! disk: nothing else knows what a line looks like or in which file it is.
//!
//! ```text
//! note ─▶ bounded queue ─▶ one thread: repeats, lines, hashes ─▶ <seq>-<time>.jsonl ─▶ ….jsonl.zst, ….summary.json
//! ```
//!
//! - [`Recorder`] writes the record of one instance. Noting never waits; a few times a second all that
//!   was noted is put on the disk at once. What finds no room is counted and becomes a line.
//! - [`Reader`] reads those of one or many instances, also while they are written: find a decision,
//!   verify the chain, count, go through all.
//!
//! What keeps a record small: facts and outcomes are written once for each segment and named by their
//! hash; the same decision within a minute is written once and then counted; full segments are
//! compressed. The lines are JSON and the chain can be followed with a shell (`chain.rs` says how).
//!
//! Below the data directory: `records/<instance>/`; what lies there is in `layout.rs`.

mod chain;
mod detail;
mod entry;
mod error;
mod instance;
mod layout;
mod limit;
mod line;
mod options;
mod read;
mod recorder;
mod summary;
mod tally;
mod write;

pub use chain::Hash;
pub use detail::{DETAIL_BYTES_MAX, Detail, RuleSaid};
pub use entry::{Decision, Entry, Event, Happened, Verdict};
pub use error::Error;
pub use instance::Instance;
pub use line::{GapWhy, SCHEMA};
pub use options::{Clock, Options};
pub use read::{
    Break, Broken, Decisions, EventRecord, Found, GapSeen, Range, Reader, Record, Repeats, Report,
    Verified,
};
pub use recorder::{Recorder, State};
pub use summary::Anchor;
pub use tally::{Counts, Group, OTHERS, Tally};
