//! Finding a decision by its id: the time in the id names the segment.

use super::record::{Record, TextTable, record};
use super::{Lines, Reader, summary_of};
use crate::layout::Segment;
use crate::line::{Head, Kind};
use crate::{Error, Instance};
use policy::DecisionId;
use std::ops::Range;

/// Lines of repeats that are given when it is not known which of them counts a decision.
const CANDIDATES_MAX: usize = 16;

/// What was found of an id.
#[derive(Clone, Debug)]
pub enum Found {
    /// The decision. Where it was only counted, the line that counts it names its id.
    One(Box<Record>),
    /// It was only counted, by one of these lines, which name no ids but the first and the last.
    OneOf(Vec<Record>),
    /// There is none.
    None,
}

impl Reader {
    /// Finds a decision. Blocks; reads the segments that may have it by
    /// their time: one or two of each instance, and that which is being written.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`] where a segment cannot be read so far.
    pub fn find(&self, id: DecisionId) -> Result<Found, Error> {
        let mut candidates = Vec::new();
        for (instance, dir) in &self.instances {
            let segments = Self::segments(dir)?;
            let near = near(&segments, id);
            let (before, after) = (&segments[..near.start], &segments[near.end..]);
            // What is not where it should be was made while the clock was another one.
            for segment in segments[near.clone()].iter().chain(before).chain(after) {
                if !may_have(segment, id)? {
                    continue;
                }
                if let Some(found) = look_in(instance, segment, id, &mut candidates)? {
                    return Ok(Found::One(Box::new(found)));
                }
            }
        }
        match candidates.is_empty() {
            true => Ok(Found::None),
            false => Ok(Found::OneOf(candidates)),
        }
    }
}

/// The segments that most likely have an id: that of its time, one before (a clock that was set back)
/// and one after (it waited to be written).
fn near(segments: &[Segment], id: DecisionId) -> Range<usize> {
    let at = i64::try_from(id.made_at_unix_ms()).unwrap_or(i64::MAX);
    let next = segments.partition_point(|it| it.begun_unix_ms <= at);
    next.saturating_sub(2)..segments.len().min(next + 1)
}

/// Whether a segment may have an id, by its summary. Without one, anything is possible.
fn may_have(segment: &Segment, id: DecisionId) -> Result<bool, Error> {
    let at = id.made_at_unix_ms();
    let ids = summary_of(segment)?.map(|summary| summary.ids_unix_ms);
    Ok(ids.is_none_or(|ids| ids.is_some_and(|ids| ids.first <= at && at <= ids.last)))
}

fn look_in(
    instance: &Instance,
    segment: &Segment,
    id: DecisionId,
    candidates: &mut Vec<Record>,
) -> Result<Option<Record>, Error> {
    let Some(mut lines) = Lines::open(segment)? else { return Ok(None) };
    let path = lines.path().to_owned();
    let mut texts = TextTable::default();
    let quoted = format!("\"{id}\"");
    let mut number = 0;
    while let Some(text) = lines.next()? {
        number += 1;
        let damaged = |what: String| Error::damaged(&path, number, what);
        let head = Head::parse(text).ok_or_else(|| damaged("no line of a record".to_owned()))?;
        texts.take(&head, text).map_err(|error| damaged(error.to_string()))?;
        let has_it = match head.kind {
            Kind::Decision => contains(text, quoted.as_bytes()),
            Kind::Repeat => true,
            _ => false,
        };
        if !has_it {
            continue;
        }
        let Some(found) = record(instance, &head, text, &mut texts).map_err(damaged)? else {
            continue;
        };
        match &found.repeats {
            None if found.decision.id == id => return Ok(Some(found)),
            None => {}
            Some(it) if found.decision.id == id || it.last_id == id || it.ids.contains(&id) => {
                return Ok(Some(found));
            }
            // Ids of one process are in the order of their times, to the millisecond.
            Some(it) => {
                let (first, last) = (found.decision.id, it.last_id);
                let made = DecisionId::made_at_unix_ms;
                let may_count = (made(first)..=made(last)).contains(&made(id)) && it.count > 2;
                if may_count && candidates.len() < CANDIDATES_MAX {
                    candidates.push(found);
                }
            }
        }
    }
    Ok(None)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    std::str::from_utf8(text)
        .is_ok_and(|text| std::str::from_utf8(part).is_ok_and(|part| text.contains(part)))
}
