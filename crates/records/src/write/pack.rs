//! Compressing segments that are full, in a thread of its own, and removing what is too old.
//!
//! The plain file goes last: after the compressed one was read back and is on the disk, and after its
//! summary is. A crash between leaves the plain one, and the next start does all of it again.

use crate::Error;
use crate::chain::Hash;
use crate::layout::{self, NewFile, Segment};
use crate::line::{RetainedBody, SCHEMA};
use crate::read::{Lines, Walk, beginning};
use crate::summary::Summary;
use crate::tally::{ALWAYS, Counting};
use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

/// How hard to compress: hundreds of megabytes a second, a tenth of the size.
const LEVEL: i32 = 3;

/// Compresses all segments of a directory that are plain, but for the newest, which is being written;
/// also those that come to it meanwhile. Blocks; ends early when nobody is left who could wake it.
///
/// A damaged segment stays as it is, and stops none of the others. It is looked at once in a process.
fn pack_all(dir: &Path, wake: &Receiver<()>, damaged: &mut BTreeSet<u64>) -> Result<(), Error> {
    let mut is_woken = true;
    while std::mem::take(&mut is_woken) {
        let mut segments = layout::segments(dir)?;
        segments.pop();
        segments.retain(|it| it.is_plain && !damaged.contains(&it.first_seq));
        for segment in &segments {
            match wake.try_recv() {
                Ok(()) => is_woken = true,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            match pack(segment) {
                Err(error @ Error::Damaged { .. }) => {
                    tracing::error!(error = %error.whole(), "a segment of the record is damaged");
                    damaged.insert(segment.first_seq);
                }
                packed => packed?,
            }
        }
    }
    Ok(())
}

/// Compresses one segment. Blocks.
pub(crate) fn pack(segment: &Segment) -> Result<(), Error> {
    let (summary, whole) = compress(segment)?;
    if hash_packed(segment)? != whole {
        return Err(Error::damaged(&segment.packed(), 0, "it reads back as something else"));
    }
    summary.write(segment)?;
    layout::remove(&segment.plain())?;
    layout::sync_dir(segment.dir())
}

/// Makes the compressed file. Gives the summary, and the hash of the whole text.
fn compress(segment: &Segment) -> Result<(Summary, Hash), Error> {
    let path = segment.packed();
    let failed = |error| Error::io("write", &path, error);
    let mut new = NewFile::begin(&path)?;
    let mut encoder = zstd::stream::write::Encoder::new(new.file(), LEVEL).map_err(failed)?;
    encoder.include_checksum(true).map_err(failed)?;
    let mut whole = Context::new(&SHA256);
    let summary = summarize(segment, |text| {
        for part in [text, b"\n"] {
            whole.update(part);
            encoder.write_all(part)?;
        }
        Ok(())
    })?;
    encoder.finish().map_err(failed)?;
    new.place()?;
    Ok((summary, Hash::finish(whole)))
}

/// Reads a segment, checks its chain and counts what is in it. Hands each line on.
fn summarize(
    segment: &Segment,
    mut each: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<Summary, Error> {
    let plain = segment.plain();
    let Some(mut lines) = Lines::open(segment)? else {
        return Err(Error::damaged(&plain, 0, "it is gone"));
    };
    let mut counting = Counting::default();
    let (mut begun, mut walk) = (None, Walk::BEGIN);
    let mut number = 0;
    while let Some(text) = lines.next()? {
        number += 1;
        let wrong = |what: String| Error::damaged(&plain, number, what);
        if begun.is_none() {
            let (first, instance) = beginning(text).map_err(|it| wrong(it.to_string()))?;
            walk = first;
            begun = Some((first.last, instance));
        }
        let head = walk.step(text).map_err(|it| wrong(it.to_string()))?;
        let taken = counting.take(&head, text, ALWAYS);
        taken.map_err(|error| wrong(error.to_string()))?;
        each(text).map_err(|error| Error::io("write", &segment.packed(), error))?;
    }
    let Some((previous, instance)) = begun else {
        return Err(Error::damaged(&plain, 0, "it is empty"));
    };
    if lines.unfinished_bytes() > 0 {
        return Err(Error::damaged(&plain, number + 1, "the last line is not whole"));
    }
    Ok(Summary {
        schema: SCHEMA,
        instance,
        first_seq: segment.first_seq,
        last_seq: walk.next_seq - 1,
        previous,
        last_hash: walk.last,
        bytes: lines.bytes(),
        times: counting.times,
        ids_unix_ms: counting.ids,
        events: counting.events,
        revisions: std::mem::take(&mut counting.revisions),
        counts: counting.finish(),
    })
}

fn hash_packed(segment: &Segment) -> Result<Hash, Error> {
    let path = segment.packed();
    let gone = || Error::damaged(&segment.packed(), 0, "it is gone");
    let mut lines = Lines::open_packed(path)?.ok_or_else(gone)?;
    let mut whole = Context::new(&SHA256);
    while let Some(text) = lines.next()? {
        whole.update(text);
        whole.update(b"\n");
    }
    Ok(Hash::finish(whole))
}

/// The segments that are older than `retain`, as far as they are the oldest ones and compressed; and
/// the last line of them. All that a segment tells of is as old.
pub(crate) fn too_old(
    dir: &Path,
    now: Timestamp,
    retain: Duration,
) -> Result<Option<(RetainedBody, Vec<Segment>)>, Error> {
    let Ok(oldest) = now.checked_sub(retain) else { return Ok(None) };
    let mut segments = layout::segments(dir)?;
    // The newest is being written.
    segments.pop();
    let mut old = Vec::new();
    let mut last = None;
    for segment in segments {
        let summary = match segment.is_plain {
            true => None,
            false => Summary::read(&segment)?,
        };
        let Some(summary) = summary else { break };
        let begun = Timestamp::from_millisecond(segment.begun_unix_ms).unwrap_or(now);
        let newest = summary.times.map_or(begun, |times| times.last.max(begun));
        if newest >= oldest {
            break;
        }
        last =
            Some(RetainedBody { removed_through: summary.last_seq, last_hash: summary.last_hash });
        old.push(segment);
    }
    Ok(last.map(|last| (last, old)))
}

/// Looks so often for segments that could not be compressed when it was told of them.
const AGAIN_EVERY: Duration = Duration::from_secs(60);

/// Compresses what is full whenever it is told of a new segment, until nobody can tell. Blocks.
pub(crate) fn pack_thread(dir: &Path, wake: &Receiver<()>) {
    let (mut is_failing, mut damaged) = (false, BTreeSet::new());
    while wake.recv_timeout(AGAIN_EVERY) != Err(RecvTimeoutError::Disconnected) {
        let packed = pack_all(dir, wake, &mut damaged);
        if let (Err(error), false) = (&packed, is_failing) {
            tracing::warn!(error = %error.whole(), "cannot compress a segment of the record");
        }
        is_failing = packed.is_err();
    }
}
