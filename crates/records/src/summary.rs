//! What is in a segment, kept in a small file beside it, and what anchors a chain.

use crate::chain::Hash;
use crate::layout::{self, ANCHOR, Segment};
use crate::line::{RetainedBody, SCHEMA};
use crate::tally::{Counts, Span};
use crate::{Error, Instance};
use jiff::Timestamp;
use oci::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest summary or anchor file that is read: the rows of its counts are bounded.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A line, and the hash that it must have. Kept elsewhere, it shows that nothing before it was
/// changed and nothing up to it was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Whose record.
    pub instance: Instance,
    /// The number of the line.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// What a summary file holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    pub(crate) schema: u32,
    pub(crate) instance: String,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// The hash of the last line of the segment before.
    pub(crate) previous: Hash,
    /// The hash of the last line.
    pub(crate) last_hash: Hash,
    /// Of the lines, uncompressed.
    pub(crate) bytes: u64,
    /// When its decisions and gaps were.
    pub(crate) times: Option<Span<Timestamp>>,
    /// When the ids of its decisions were made, in Unix milliseconds.
    pub(crate) ids_unix_ms: Option<Span<u64>>,
    /// When revisions came into force and marks were set.
    pub(crate) events: Option<Span<Timestamp>>,
    /// The revisions that its decisions cite.
    pub(crate) revisions: BTreeSet<Digest>,
    pub(crate) counts: Counts,
}

impl Summary {
    /// The summary of a segment; none where there is no such file.
    pub(crate) fn read(segment: &Segment) -> Result<Option<Self>, Error> {
        let path = segment.summary();
        let Some(summary) = read_json::<Self>(&path)? else { return Ok(None) };
        if summary.schema > SCHEMA || summary.first_seq != segment.first_seq {
            return Err(Error::damaged(&path, 0, "it is not the summary of this segment"));
        }
        Ok(Some(summary))
    }

    pub(crate) fn write(&self, segment: &Segment) -> Result<(), Error> {
        let path = segment.summary();
        let text = serde_json::to_vec(self);
        let text = text.map_err(|error| Error::damaged(&path, 0, error.to_string()))?;
        layout::replace(&path, &text)
    }
}

/// Up to where segments were removed because of their age; none where none were.
pub(crate) fn read_anchor(dir: &Path) -> Result<Option<RetainedBody>, Error> {
    read_json(&dir.join(ANCHOR))
}

/// Says so, for good.
pub(crate) fn write_anchor(dir: &Path, anchor: &RetainedBody) -> Result<(), Error> {
    let path = dir.join(ANCHOR);
    let text = serde_json::to_vec(anchor);
    let text = text.map_err(|error| Error::damaged(&path, 0, error.to_string()))?;
    layout::replace(&path, &text)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path, error)),
    };
    let mut text = Vec::new();
    let read = file.take(FILE_BYTES_MAX).read_to_end(&mut text);
    read.map_err(|error| Error::io("read", path, error))?;
    let parsed = serde_json::from_slice(&text);
    parsed.map(Some).map_err(|error| Error::damaged(path, 0, error.to_string()))
}
