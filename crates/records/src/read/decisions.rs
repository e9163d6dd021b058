//! All decisions of a time, one after the other, to be decided again.

use super::record::{Record, TextTable, record};
use super::{Lines, Reader, summary_of, within};
use crate::layout::Segment;
use crate::line::Head;
use crate::tally::is_between;
use crate::{Error, Instance};
use jiff::Timestamp;
use std::collections::VecDeque;
use std::path::PathBuf;

/// Gives records: instance by instance, each in the order of its lines. Ends after an error.
pub struct Decisions {
    from: Timestamp,
    to: Timestamp,
    instances: VecDeque<(Instance, PathBuf)>,
    segments: VecDeque<(Instance, Segment)>,
    open: Option<Open>,
}

struct Open {
    instance: Instance,
    lines: Lines,
    texts: TextTable,
}

impl Reader {
    /// The decisions from `from` until `to` (not included). Lines of repeats come as their first
    /// decision, with their count. Blocks while it is read; memory is that of one segment's texts.
    pub fn decisions(&self, from: Timestamp, to: Timestamp) -> Decisions {
        let instances = self.instances.clone().into();
        Decisions { from, to, instances, segments: VecDeque::new(), open: None }
    }
}

impl Decisions {
    /// Opens the next segment that may have something. None at the end.
    fn open_next(&mut self) -> Result<Option<Open>, Error> {
        loop {
            if let Some((instance, segment)) = self.segments.pop_front() {
                let times = summary_of(&segment)?.map(|summary| summary.times);
                let overlaps = times.is_none_or(|times| {
                    times.is_some_and(|it| it.last >= self.from && it.first < self.to)
                });
                let lines = if overlaps { Lines::open(&segment)? } else { None };
                if let Some(lines) = lines {
                    return Ok(Some(Open { instance, lines, texts: TextTable::default() }));
                }
            } else if let Some((instance, dir)) = self.instances.pop_front() {
                let segments = Reader::segments(&dir)?;
                // A line may have waited: the segment after the last one in time is looked at too.
                let range = within(&segments, self.from, self.to);
                let range = range.start.saturating_sub(1)..segments.len().min(range.end + 1);
                self.segments = segments[range]
                    .iter()
                    .map(|segment| (instance.clone(), segment.clone()))
                    .collect();
            } else {
                return Ok(None);
            }
        }
    }

    fn read(&mut self) -> Result<Option<Record>, Error> {
        loop {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.open_next()? {
                    Some(open) => open,
                    None => return Ok(None),
                },
            };
            let number = open.lines.number() + 1;
            let path = open.lines.path().to_owned();
            let Some(text) = open.lines.next()? else { continue };
            let damaged = |what: String| Error::damaged(&path, number, what);
            let head =
                Head::parse(text).ok_or_else(|| damaged("no line of a record".to_owned()))?;
            open.texts.take(&head, text).map_err(|error| damaged(error.to_string()))?;
            let found = record(&open.instance, &head, text, &mut open.texts).map_err(damaged)?;
            self.open = Some(open);
            if let Some(found) = found
                && is_between(found.decision.at, (self.from, self.to))
            {
                return Ok(Some(found));
            }
        }
    }
}

impl Iterator for Decisions {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if read.is_err() {
            (self.open, self.segments, self.instances) = Default::default();
        }
        read.transpose()
    }
}

impl std::fmt::Debug for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decisions").field("from", &self.from).finish_non_exhaustive()
    }
}
