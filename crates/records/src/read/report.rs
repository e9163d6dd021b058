//! Counting over a time: the summaries of whole segments, and the lines of those at the edges.

use super::{Lines, Reader, summary_of};
use crate::layout::Segment;
use crate::line::Head;
use crate::tally::{Between, Counting};
use crate::{Counts, Error};
use jiff::Timestamp;
use oci::Digest;
use std::collections::BTreeSet;

impl Reader {
    /// Counts the decisions from `from` until `to` (not included), of one policy or of all. A line of
    /// repeats belongs to the time of the first that it counts. Blocks; memory is that of one segment.
    ///
    /// It trusts the summaries; [`Reader::verify`] holds them against the lines.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Damaged`] where a segment cannot be counted.
    pub fn report(
        &self,
        policy: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Counts, Error> {
        let mut counts = Counts::default();
        for (_, dir) in &self.instances {
            for segment in Self::segments(dir)? {
                let Some(summary) = summary_of(&segment)? else {
                    counts.add(&count(&segment, (from, to))?.0);
                    continue;
                };
                match summary.times {
                    Some(times) if from <= times.first && times.last < to => {
                        counts.add(&summary.counts);
                    }
                    Some(times) if times.last >= from && times.first < to => {
                        counts.add(&count(&segment, (from, to))?.0);
                    }
                    _ => {}
                }
            }
        }
        if let Some(policy) = policy {
            counts.keep_policy(policy);
        }
        Ok(counts)
    }
}

/// Counts the lines of a segment that are of a time; and the revisions that are cited in all of it.
pub(super) fn count(
    segment: &Segment,
    between: Between,
) -> Result<(Counts, BTreeSet<Digest>), Error> {
    let mut counting = Counting::default();
    // It may have been removed because of its age meanwhile.
    if let Some(mut lines) = Lines::open(segment)? {
        let path = lines.path().to_owned();
        let mut number = 0;
        while let Some(text) = lines.next()? {
            number += 1;
            let damaged = |what: String| Error::damaged(&path, number, what);
            let head =
                Head::parse(text).ok_or_else(|| damaged("no line of a record".to_owned()))?;
            let taken = counting.take(&head, text, between);
            taken.map_err(|error| damaged(error.to_string()))?;
        }
    }
    let revisions = std::mem::take(&mut counting.revisions);
    Ok((counting.finish(), revisions))
}
