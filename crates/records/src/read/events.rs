//! What happened to the plane in a time: revisions and marks.

use super::{Lines, Reader, summary_of};
use crate::line::{self, Head, Kind};
use crate::tally::is_between;
use crate::{Error, Event, Happened, Instance};
use jiff::Timestamp;
use oci::Digest;
use serde::Deserialize;

/// Events that are given at once.
const EVENTS_MAX: usize = 100_000;

/// An event that was recorded.
#[derive(Clone, Debug)]
pub struct EventRecord {
    /// Whose record it is in.
    pub instance: Instance,
    /// The number of its line.
    pub seq: u64,
    /// The event.
    pub event: Event,
}

#[derive(Deserialize)]
struct RevisionBody {
    revision: Digest,
    by: String,
}

#[derive(Deserialize)]
struct MarkBody {
    what: String,
    detail: serde_json::Value,
}

impl Reader {
    /// The events from `from` until `to` (not included): instance by instance, each in the order of its
    /// lines; the first hundred thousand. Blocks; reads only the segments that have some of that time.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`] where a segment cannot be read.
    pub fn events(&self, from: Timestamp, to: Timestamp) -> Result<Vec<EventRecord>, Error> {
        let mut found = Vec::new();
        for (instance, dir) in &self.instances {
            for segment in Self::segments(dir)? {
                let times = summary_of(&segment)?.map(|summary| summary.events);
                let overlaps = times.is_none_or(|times| {
                    times.is_some_and(|times| times.last >= from && times.first < to)
                });
                let lines = if overlaps { Lines::open(&segment)? } else { None };
                if let Some(lines) = lines {
                    read(instance, lines, (from, to), &mut found)?;
                }
            }
        }
        Ok(found)
    }
}

fn read(
    instance: &Instance,
    mut lines: Lines,
    between: (Timestamp, Timestamp),
    found: &mut Vec<EventRecord>,
) -> Result<(), Error> {
    let path = lines.path().to_owned();
    let mut number = 0;
    while let Some(text) = lines.next()? {
        number += 1;
        let damaged = |what: &str| Error::damaged(&path, number, what);
        let bad = |error: serde_json::Error| damaged(&error.to_string());
        let head = Head::parse(text).ok_or_else(|| damaged("no line of a record"))?;
        let what = match head.kind {
            Kind::Revision => {
                let RevisionBody { revision, by } = line::read(text).map_err(bad)?;
                Happened::Revision { revision, by: by.into() }
            }
            Kind::Mark => {
                let MarkBody { what, detail } = line::read(text).map_err(bad)?;
                Happened::Mark { what: what.into(), detail }
            }
            _ => continue,
        };
        let at = head.time().ok_or_else(|| damaged("its time is none"))?;
        if is_between(at, between) && found.len() < EVENTS_MAX {
            let event = Event { at, what };
            found.push(EventRecord { instance: instance.clone(), seq: head.seq, event });
        }
    }
    Ok(())
}
