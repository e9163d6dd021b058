//! Whether a record is what was written: follows the chain line by line, segment by segment, and tells
//! the first place where it breaks.

use super::{Lines, Range, Reader, Walk, Wrong, beginning, summary_of, within};
use crate::chain::Hash;
use crate::layout::Segment;
use crate::line::{self, GapBody, GapWhy, Head, Kind, RetainedBody};
use crate::summary;
use crate::tally::{ALWAYS, Counting};
use crate::{Anchor, Error, Instance};
use jiff::Timestamp;
use std::fmt;
use std::path::Path;

/// Gaps that are told one by one; all are counted.
const GAPS_TOLD_MAX: usize = 1000;

/// What was found, instance by instance.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One for each instance.
    pub instances: Vec<Verified>,
}

impl Report {
    /// Whether nothing is broken. Gaps that the record tells of are not a break.
    pub fn is_good(&self) -> bool {
        self.instances.iter().all(|it| it.broken.is_none())
    }
}

/// What was found in the record of one instance.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Whose record.
    pub instance: Instance,
    /// Segments that are good.
    pub segments: u64,
    /// Lines that are good.
    pub lines: u64,
    /// The last good line: an anchor for the next time.
    pub last: Option<Anchor>,
    /// Lines up to this one were removed because of their age; 0: none.
    pub removed_through: u64,
    /// Anchors given that are good.
    pub anchors_matched: u64,
    /// What the record itself says is missing: the first thousand.
    pub gaps: Vec<GapSeen>,
    /// All of these.
    pub gap_count: u64,
    /// At the end of the newest segment: bytes of a line that is being written, or was when the process
    /// was killed.
    pub unfinished_bytes: u64,
    /// The first place that is wrong; behind it nothing was looked at.
    pub broken: Option<Break>,
}

/// Something that the record says is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapSeen {
    /// The number of the line that says so.
    pub seq: u64,
    /// Why.
    pub why: GapWhy,
    /// How many entries, if that is known.
    pub lost: Option<u64>,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
}

/// A place that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// The segment, by the name of its files; empty where there is none.
    pub segment: String,
    /// The line in it, from 1; 0 where it is not about a line.
    pub line: u64,
    /// The number that the line has, or should have.
    pub seq: u64,
    /// What is wrong.
    pub what: Broken,
}

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The line is not the one that was written, or not in its place.
    Line(String),
    /// Segments are missing: these lines, from and to.
    Missing(u64, u64),
    /// The file cannot be read so far.
    Unreadable(String),
    /// The chain does not go on from the segment before.
    Beginning,
    /// The segment is of another instance.
    Instance(String),
    /// The summary says something else than the lines.
    Summary(&'static str),
    /// The line has another hash than the anchor given says: the whole record may be another one.
    Anchor,
    /// The record ends before the anchor given: it was cut off.
    Truncated,
    /// Segments were removed, and no line says that this was because of their age.
    Removed,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(what) | Self::Unreadable(what) => f.write_str(what),
            Self::Missing(from, to) => write!(f, "lines {from} to {to} are missing"),
            Self::Beginning => f.write_str("the chain does not go on from the segment before"),
            Self::Instance(other) => write!(f, "it is a segment of the instance {other}"),
            Self::Summary(what) => write!(f, "the summary {what}"),
            Self::Anchor => f.write_str("the line has another hash than the anchor says"),
            Self::Truncated => f.write_str("the record ends before the line that the anchor names"),
            Self::Removed => {
                f.write_str("older segments were removed, and no line says that they were too old")
            }
        }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.segment.as_str(), self.line) {
            ("", _) => write!(f, "seq {}: {}", self.seq, self.what),
            (segment, 0) => write!(f, "{segment}: {}", self.what),
            (segment, line) => write!(f, "{segment}, line {line}, seq {}: {}", self.seq, self.what),
        }
    }
}

impl Reader {
    /// Follows the chains. Blocks; memory is that of the counts of one segment.
    ///
    /// # Errors
    /// [`Error::Io`] if a directory or an anchor cannot be read. What is wrong with the record itself
    /// is in the report.
    pub fn verify(&self, range: &Range) -> Result<Report, Error> {
        let verified = self.instances.iter().map(|(instance, dir)| {
            loop {
                let mut check = Check::new(instance, dir, range)?;
                check.verified.broken = check.run(range)?.err();
                // What was too old may have been removed while it was being read.
                let is_settled = summary::read_anchor(dir)? == check.removed;
                if check.verified.broken.is_none() || is_settled {
                    return Ok(check.verified);
                }
            }
        });
        Ok(Report { instances: verified.collect::<Result<_, Error>>()? })
    }
}

/// One instance being looked at.
struct Check<'a> {
    dir: &'a Path,
    anchors: Vec<&'a Anchor>,
    removed: Option<RetainedBody>,
    /// Whether a line says that what is gone was too old.
    is_removal_told: bool,
    verified: Verified,
}

impl<'a> Check<'a> {
    fn new(instance: &'a Instance, dir: &'a Path, range: &'a Range) -> Result<Self, Error> {
        let removed = summary::read_anchor(dir)?;
        let removed_through = removed.map_or(0, |it| it.removed_through);
        let mine = |anchor: &&Anchor| anchor.instance == *instance && anchor.seq > removed_through;
        let mut anchors: Vec<&Anchor> = range.anchors.iter().filter(mine).collect();
        anchors.sort_unstable_by_key(|anchor| std::cmp::Reverse(anchor.seq));
        let verified = Verified {
            instance: instance.clone(),
            segments: 0,
            lines: 0,
            last: None,
            removed_through,
            anchors_matched: 0,
            gaps: Vec::new(),
            gap_count: 0,
            unfinished_bytes: 0,
            broken: None,
        };
        Ok(Self { dir, anchors, removed, is_removal_told: false, verified })
    }

    /// All segments of the range. The outer error: nothing can be said.
    fn run(&mut self, range: &Range) -> Result<Result<(), Break>, Error> {
        let all = Reader::segments(self.dir)?;
        let (from, to) = (range.from.unwrap_or(Timestamp::MIN), range.to.unwrap_or(Timestamp::MAX));
        let chosen = within(&all, from, to);
        let mut walk = match chosen.start {
            0 => Some(self.removed.as_ref().map_or(Walk::BEGIN, Walk::after)),
            // Before a range there is what the summary says; it is not looked at.
            start => summary_of(&all[start - 1])
                .ok()
                .flatten()
                .map(|it| Walk { next_seq: it.last_seq + 1, last: it.last_hash }),
        };
        // Anchors of lines before the range are not its business.
        let first_seq = all.get(chosen.start).map_or(0, |segment| segment.first_seq);
        self.anchors.retain(|anchor| chosen.start == 0 || anchor.seq >= first_seq);
        let is_whole = chosen.end == all.len();
        let newest = all.len().saturating_sub(1);
        for index in chosen.clone() {
            match self.segment(&all[index], walk, index == newest) {
                Ok(end) => walk = Some(end),
                Err(broken) => return Ok(Err(broken)),
            }
        }
        if !is_whole {
            return Ok(Ok(()));
        }
        let end = walk.unwrap_or(Walk::BEGIN);
        let broken = |seq, what| Break { segment: String::new(), line: 0, seq, what };
        if let Some(anchor) = self.anchors.iter().find(|anchor| anchor.seq >= end.next_seq) {
            return Ok(Err(broken(anchor.seq, Broken::Truncated)));
        }
        if chosen.start == 0 && self.removed.is_some() && !self.is_removal_told {
            return Ok(Err(broken(self.verified.removed_through, Broken::Removed)));
        }
        Ok(Ok(()))
    }

    /// One segment, which has to go on where `expected` stands. Gives where it ends.
    fn segment(
        &mut self,
        segment: &Segment,
        expected: Option<Walk>,
        is_newest: bool,
    ) -> Result<Walk, Break> {
        let broken =
            |line, seq, what| Break { segment: segment.name().to_owned(), line, seq, what };
        let first = segment.first_seq;
        if let Some(expected) = expected.filter(|it| it.next_seq < first) {
            let missing = Broken::Missing(expected.next_seq, first - 1);
            return Err(broken(0, expected.next_seq, missing));
        }
        let unreadable = |error: Error| Broken::Unreadable(error.whole());
        let lines = Lines::open(segment).map_err(|error| broken(0, first, unreadable(error)))?;
        let gone = || broken(0, first, Broken::Unreadable("it is gone".to_owned()));
        let mut lines = lines.ok_or_else(gone)?;
        let mut counting = Counting::default();
        let (mut number, mut begun, mut previous) = (0, None, Hash::NONE);
        loop {
            let seq = begun.map_or(first, |walk: Walk| walk.next_seq);
            let text = lines.next().map_err(|it| broken(number + 1, seq, unreadable(it)))?;
            let Some(text) = text else { break };
            number += 1;
            let at = |what| broken(number, seq, what);
            let wrong = |wrong: Wrong| at(Broken::Line(wrong.to_string()));
            let mut walk = match begun {
                Some(walk) => walk,
                None => {
                    let (begins, instance) = beginning(text).map_err(wrong)?;
                    if instance != self.verified.instance.as_str() {
                        return Err(at(Broken::Instance(instance)));
                    }
                    if begins.next_seq != first || expected.is_some_and(|it| it != begins) {
                        return Err(at(Broken::Beginning));
                    }
                    previous = begins.last;
                    begins
                }
            };
            let head = walk.step(text).map_err(wrong)?;
            let taken = if segment.is_plain { Ok(()) } else { counting.take(&head, text, ALWAYS) };
            taken.and_then(|()| self.note(&head, text)).map_err(|error| {
                at(Broken::Line(format!("the line is not what its kind has: {error}")))
            })?;
            if self.anchors.last().is_some_and(|it| it.seq == head.seq) {
                self.check_anchors(&walk).map_err(at)?;
            }
            self.verified.lines += 1;
            let (instance, hash) = (self.verified.instance.clone(), walk.last);
            self.verified.last = Some(Anchor { instance, seq: head.seq, hash });
            begun = Some(walk);
        }
        let empty = || broken(0, first, Broken::Unreadable("it is empty".to_owned()));
        let walk = begun.ok_or_else(empty)?;
        self.verified.unfinished_bytes = lines.unfinished_bytes();
        if lines.unfinished_bytes() > 0 && !(is_newest && segment.is_plain) {
            let what = "the last line is not whole".to_owned();
            return Err(broken(number + 1, walk.next_seq, Broken::Line(what)));
        }
        let agrees = agrees(segment, &walk, previous, lines.bytes(), counting);
        agrees.map_err(|what| broken(0, first, what))?;
        self.verified.segments += 1;
        Ok(walk)
    }

    fn note(&mut self, head: &Head<'_>, text: &[u8]) -> Result<(), serde_json::Error> {
        match head.kind {
            Kind::Gap => {
                let GapBody { why, lost, from, to, .. } = line::read(text)?;
                self.verified.gap_count += 1;
                if self.verified.gaps.len() < GAPS_TOLD_MAX {
                    self.verified.gaps.push(GapSeen { seq: head.seq, why, lost, from, to });
                }
            }
            Kind::Retained => {
                let told: RetainedBody = line::read(text)?;
                self.is_removal_told |= Some(told) == self.removed;
            }
            _ => {}
        }
        Ok(())
    }

    fn check_anchors(&mut self, walk: &Walk) -> Result<(), Broken> {
        while let Some(anchor) = self.anchors.pop_if(|it| it.seq + 1 == walk.next_seq) {
            if anchor.hash != walk.last {
                return Err(Broken::Anchor);
            }
            self.verified.anchors_matched += 1;
        }
        Ok(())
    }
}

/// Holds the summary of a compressed segment against what was read.
fn agrees(
    segment: &Segment,
    walk: &Walk,
    previous: Hash,
    bytes: u64,
    mut counting: Counting,
) -> Result<(), Broken> {
    if segment.is_plain {
        return Ok(());
    }
    let summary = summary_of(segment).map_err(|error| Broken::Unreadable(error.whole()))?;
    let summary = summary.ok_or(Broken::Summary("is missing"))?;
    if (summary.last_seq + 1, summary.last_hash) != (walk.next_seq, walk.last) {
        let what =
            "names another last line: the end of the segment was cut off, or the summary changed";
        return Err(Broken::Summary(what));
    }
    let times = (counting.times, counting.ids, counting.events);
    let revisions = std::mem::take(&mut counting.revisions);
    if (summary.previous, summary.bytes, summary.revisions) != (previous, bytes, revisions)
        || (summary.times, summary.ids_unix_ms, summary.events) != times
    {
        return Err(Broken::Summary("says something else than the lines"));
    }
    match summary.counts == counting.finish() {
        true => Ok(()),
        false => Err(Broken::Summary("counts something else than the lines")),
    }
}
