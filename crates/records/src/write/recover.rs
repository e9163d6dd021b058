//! What the next process makes of what the last one left: the chain goes on after the last whole line
//! with the right hash, and what is missing is told.

use super::live::{self, Live};
use super::repeats;
use crate::chain::Hash;
use crate::layout::{self, Segment};
use crate::limit::WriteLimit;
use crate::line::{
    self, DecisionBody, GapBody, GapWhy, Head, Kind, LINE_BYTES_MAX, RepeatBody, TextBody,
};
use crate::read::{Lines, Walk, Wrong, beginning};
use crate::summary::{self, Summary};
use crate::{Error, Instance};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// What was found in the segment that was being written.
struct Found {
    /// None if not even the first line is good.
    walk: Option<Walk>,
    good_bytes: u64,
    interned: HashSet<Hash>,
    /// The last line's kind and time.
    last: Option<(Kind, Timestamp)>,
    /// Repeats that the journal has and the chain has not, with the line of their decision.
    missing: Vec<(RepeatBody, Vec<u8>)>,
    /// Counts in the journal whose decision is gone.
    orphans: u64,
}

/// Goes on with the record in a directory, or begins one. Writes what is to be told of the end of the
/// last process; none of it is on the disk before the first commit.
pub(crate) fn go_on(
    dir: &Path,
    instance: &Instance,
    now: Timestamp,
    limit: &Arc<WriteLimit>,
) -> Result<Live, Error> {
    layout::clear_temps(dir)?;
    let removed = summary::read_anchor(dir)?;
    let mut segments = layout::segments(dir)?;
    if let Some(removed) = &removed {
        let is_kept = |segment: &Segment| segment.first_seq > removed.removed_through;
        for segment in segments.extract_if(.., |segment| !is_kept(segment)) {
            segment.remove()?;
        }
    }
    let before = |segments: &[Segment]| match segments.last() {
        Some(segment) => end_of(segment),
        None => Ok(removed.as_ref().map_or(Walk::BEGIN, Walk::after)),
    };
    let Some(newest) = segments.pop_if(|segment| segment.is_plain) else {
        return Live::begin(dir, instance, before(&segments)?, now, limit);
    };
    let found = look_through(&newest, instance, repeats::left_behind(dir)?)?;
    let bytes_cut = cut(&newest, found.good_bytes)?;
    let Some(walk) = found.walk else {
        layout::remove(&newest.plain())?;
        let mut live = Live::begin(dir, instance, before(&segments)?, now, limit)?;
        tell(&mut live, GapWhy::Torn, None, (now, now), bytes_cut);
        return Ok(live);
    };
    let (last, missing, orphans) = (found.last, found.missing, found.orphans);
    let mut live = Live::go_on(newest, instance, walk, found.good_bytes, found.interned, limit)?;
    for (repeat, decision) in &missing {
        if let Ok(decision) = line::read::<DecisionBody<'_>>(decision) {
            live.repeat(repeat, &decision);
        }
    }
    let (kind, at) = last.unwrap_or((Kind::Segment, now));
    let from = at.min(now);
    if bytes_cut > 0 || orphans > 0 {
        tell(&mut live, GapWhy::Torn, (orphans > 0).then_some(orphans), (from, now), bytes_cut);
    } else if kind != Kind::Stop {
        tell(&mut live, GapWhy::Killed, None, (from, now), 0);
    }
    Ok(live)
}

fn tell(
    live: &mut Live,
    why: GapWhy,
    lost: Option<u64>,
    (from, to): (Timestamp, Timestamp),
    bytes_cut: u64,
) {
    let gap = GapBody { why, lost, from, to, bytes_cut: (bytes_cut > 0).then_some(bytes_cut) };
    tracing::warn!(?why, lost, %from, %to, bytes_cut, "the record has a gap");
    live.line(to, Kind::Gap, |line| line.members(&gap));
}

/// Reads the segment up to the last line that is whole and right.
fn look_through(
    segment: &Segment,
    instance: &Instance,
    mut counts: BTreeMap<u64, RepeatBody>,
) -> Result<Found, Error> {
    counts.retain(|seq, _| *seq >= segment.first_seq);
    let mut found = Found {
        walk: None,
        good_bytes: 0,
        interned: HashSet::new(),
        last: None,
        missing: Vec::new(),
        orphans: 0,
    };
    let mut decisions: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    if let Some(mut lines) = Lines::open(segment)? {
        // What cannot be read ends it as what is wrong does.
        while let Ok(Some(text)) = lines.next() {
            let mut walk = match found.walk {
                Some(walk) => walk,
                None => match beginning(text) {
                    Ok((walk, whose)) if walk.next_seq == segment.first_seq => {
                        is_ours(segment, instance, &whose)?;
                        walk
                    }
                    // What a later version wrote is not ours to cut off.
                    Err(wrong @ Wrong::Schema(_)) => {
                        return Err(Error::damaged(&segment.plain(), 1, wrong.to_string()));
                    }
                    _ => break,
                },
            };
            let Ok(head) = walk.step(text) else { break };
            found.last = Some((head.kind, head.time().unwrap_or(Timestamp::MIN)));
            note(&head, text, &mut found.interned, &mut counts);
            if counts.contains_key(&head.seq) {
                decisions.insert(head.seq, text.to_owned());
            }
            found.walk = Some(walk);
            found.good_bytes = lines.bytes();
        }
    }
    for (seq, repeat) in counts {
        match decisions.remove(&seq) {
            Some(decision) => found.missing.push((repeat, decision)),
            None => found.orphans += repeat.count,
        }
    }
    Ok(found)
}

/// A directory that was copied from another instance has a chain that is not ours to go on with.
fn is_ours(segment: &Segment, instance: &Instance, whose: &str) -> Result<(), Error> {
    match whose == instance.as_str() {
        true => Ok(()),
        false => {
            let what = format!("it is a segment of the instance {whose:?}");
            Err(Error::damaged(&segment.plain(), 1, what))
        }
    }
}

/// Remembers what a line means for what is written after it.
fn note(
    head: &Head<'_>,
    text: &[u8],
    interned: &mut HashSet<Hash>,
    counts: &mut BTreeMap<u64, RepeatBody>,
) {
    match head.kind {
        Kind::Facts | Kind::Outcomes => {
            interned.extend(line::read::<TextBody>(text).map(|body| body.text));
        }
        Kind::Repeat => {
            if let Ok(repeat) = line::read::<RepeatBody>(text) {
                counts.remove(&repeat.of_seq);
            }
        }
        _ => {}
    }
}

/// Cuts off what is after the good lines, and keeps it aside. Gives how many bytes.
fn cut(segment: &Segment, good_bytes: u64) -> Result<u64, Error> {
    let path = segment.plain();
    let file = layout::open_write(&path)?;
    let bytes = file.metadata().map_err(|error| Error::io("look at", &path, error))?.len();
    if bytes <= good_bytes {
        return Ok(0);
    }
    match live::keep_torn(segment, good_bytes) {
        // A batch that was half written is no evidence worth a start that fails.
        Err(error) if error.is_disk_full() && bytes - good_bytes <= LINE_BYTES_MAX as u64 => {
            tracing::warn!(error = %error.whole(), "what is cut off the record is not kept");
        }
        kept => kept?,
    }
    let cut = file.set_len(good_bytes).and_then(|()| file.sync_all());
    cut.map_err(|error| Error::io("cut", &path, error))?;
    Ok(bytes - good_bytes)
}

/// Where the chain stands at the end of a segment that is not written any more.
fn end_of(segment: &Segment) -> Result<Walk, Error> {
    if let Some(summary) = Summary::read(segment)? {
        return Ok(Walk { next_seq: summary.last_seq + 1, last: summary.last_hash });
    }
    let Some(mut lines) = Lines::open(segment)? else {
        return Err(Error::damaged(&segment.packed(), 0, "it is gone"));
    };
    let mut walk = None;
    loop {
        let path = lines.path().to_owned();
        let number = lines.number() + 1;
        let Some(text) = lines.next()? else { break };
        let wrong = |wrong: Wrong| Error::damaged(&path, number, wrong.to_string());
        let mut here = match walk {
            Some(walk) => walk,
            None => beginning(text).map_err(wrong)?.0,
        };
        here.step(text).map_err(wrong)?;
        walk = Some(here);
    }
    walk.ok_or_else(|| Error::damaged(&segment.plain(), 0, "it is empty"))
}
