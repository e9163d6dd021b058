//! One line of a segment: what it looks like, written and read.
//!
//! A line is one JSON object. Its members `seq`, `at` and `kind` come first and in this order, `hash`
//! comes last; between them is what the kind has. Readers of ours rely on the order.

use crate::chain::{self, Hash};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::Write;

/// The version of what lines and summaries look like. Nobody reads or goes on with a later one. Whoever
/// adds a kind of line makes it higher, and begins a new segment where the last one has a lower.
pub const SCHEMA: u32 = 1;

/// Longest line that is read. What is written is far shorter: two details, and bounded texts.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The first line of every segment.
    Segment,
    /// The process began to record.
    Start,
    /// It ended in order.
    Stop,
    /// Facts that lines after it name by their hash.
    Facts,
    /// What rules said, named in the same way.
    Outcomes,
    /// A decision.
    Decision,
    /// How often it was made again within a window.
    Repeat,
    /// A revision came into force.
    Revision,
    /// A mark of the caller's.
    Mark,
    /// Something was lost.
    Gap,
    /// Segments were removed because of their age.
    Retained,
}

impl Kind {
    const ALL: [(Self, &str); 11] = [
        (Self::Segment, "Segment"),
        (Self::Start, "Start"),
        (Self::Stop, "Stop"),
        (Self::Facts, "Facts"),
        (Self::Outcomes, "Outcomes"),
        (Self::Decision, "Decision"),
        (Self::Repeat, "Repeat"),
        (Self::Revision, "Revision"),
        (Self::Mark, "Mark"),
        (Self::Gap, "Gap"),
        (Self::Retained, "Retained"),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(kind, _)| *kind == self).map_or("", |(_, text)| text)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| known.as_bytes() == text).map(|(kind, _)| kind)
    }
}

/// The members that every line has, but for the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) seq: u64,
    pub(crate) at: &'a str,
    pub(crate) kind: Kind,
}

impl<'a> Head<'a> {
    /// Reads the beginning of a line, without looking at the rest.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"{\"seq\":")?;
        let end = rest.iter().take(21).position(|c| *c == b',')?;
        let seq = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        let (at, rest) = quoted(rest[end..].strip_prefix(b",\"at\":\"")?)?;
        let (kind, _) = quoted(rest.strip_prefix(b",\"kind\":\"")?)?;
        Some(Self { seq, at: std::str::from_utf8(at).ok()?, kind: Kind::parse(kind)? })
    }

    pub(crate) fn time(&self) -> Option<Timestamp> {
        self.at.parse().ok()
    }
}

fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().take(64).position(|c| *c == b'"')?;
    Some((&text[..end], &text[end + 1..]))
}

/// A line that is being written at the end of a buffer.
pub(crate) struct NewLine<'a> {
    lines: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> NewLine<'a> {
    pub(crate) fn begin(lines: &'a mut Vec<u8>, seq: u64, at: Timestamp, kind: Kind) -> Self {
        let start = lines.len();
        // A vector takes all that is written to it.
        let _ = write!(lines, "{{\"seq\":{seq},\"at\":\"{at}\",\"kind\":\"{}\"", kind.as_str());
        Self { lines, start }
    }

    /// Adds the members of an object.
    pub(crate) fn members(self, object: &impl Serialize) -> Self {
        let from = self.lines.len();
        // Of structs of strings and numbers, written to a vector: nothing can fail.
        if serde_json::to_writer(&mut *self.lines, object).is_err() {
            self.lines.truncate(from);
            return self;
        }
        match self.lines.len() - from {
            2 => self.lines.truncate(from),
            _ => {
                self.lines[from] = b',';
                self.lines.pop();
            }
        }
        self
    }

    /// Adds one member whose value is a JSON text already.
    pub(crate) fn json(self, name: &str, json: &str) -> Self {
        let _ = write!(self.lines, ",\"{name}\":{json}");
        self
    }

    pub(crate) fn seal(self, previous: &Hash) -> Hash {
        chain::seal(previous, self.lines, self.start)
    }
}

/// Reads what a line of a kind has; members of no interest are passed over.
pub(crate) fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(line)
}

/// Of [`Kind::Segment`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SegmentBody<'a> {
    pub(crate) schema: u32,
    #[serde(borrow)]
    pub(crate) instance: Cow<'a, str>,
    /// The hash of the last line of the segment before.
    pub(crate) previous: Hash,
}

/// Of [`Kind::Start`].
#[derive(Debug, Serialize)]
pub(crate) struct StartBody<'a> {
    pub(crate) version: &'a str,
    pub(crate) pid: u32,
}

/// Of [`Kind::Facts`] and [`Kind::Outcomes`], beside the text itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TextBody {
    pub(crate) text: Hash,
}

/// Of [`Kind::Facts`], read.
#[derive(Debug, Deserialize)]
pub(crate) struct FactsBody<'a> {
    #[serde(borrow)]
    pub(crate) facts: &'a serde_json::value::RawValue,
}

/// Of [`Kind::Outcomes`], read.
#[derive(Debug, Deserialize)]
pub(crate) struct OutcomesBody<'a> {
    #[serde(borrow)]
    pub(crate) outcomes: &'a serde_json::value::RawValue,
}

/// Of [`Kind::Decision`]; and of [`Kind::Repeat`], without the id, beside how often.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DecisionBody<'a> {
    #[serde(borrow, default, skip_serializing_if = "is_empty")]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) principal_kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) principal: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) environment: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) purpose: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "is_empty")]
    pub(crate) cluster: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) action: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "is_empty")]
    pub(crate) name: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "is_empty")]
    pub(crate) reference: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<oci::Digest>,
    pub(crate) verdict: crate::Verdict,
    #[serde(borrow, default, skip_serializing_if = "is_empty")]
    pub(crate) policy: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "is_empty")]
    pub(crate) rule: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "is_empty")]
    pub(crate) message: Cow<'a, str>,
    pub(crate) revision: oci::Digest,
    pub(crate) enforced: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) waivers: Vec<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "is_empty")]
    pub(crate) break_glass: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) facts: Option<Hash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outcomes: Option<Hash>,
}

fn is_empty(text: &str) -> bool {
    text.is_empty()
}

/// What a repeat has besides: the decision that was written whole, how often it was made again, the
/// first and the last of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RepeatBody {
    /// The decision that was written whole.
    pub(crate) of: String,
    /// Its line.
    pub(crate) of_seq: u64,
    /// How often it was made again; it is not counted itself.
    pub(crate) count: u64,
    pub(crate) first_id: String,
    pub(crate) first_at: Timestamp,
    pub(crate) last_id: String,
    pub(crate) last_at: Timestamp,
    /// Of refusals, the ids besides: somebody will ask by them. Bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ids: Vec<String>,
}

/// Why something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GapWhy {
    /// More was noted than could be written.
    QueueFull,
    /// The disk was full.
    DiskFull,
    /// The disk could not be written for another reason.
    WriteError,
    /// The process ended without a word: what it had not yet written, a fraction of a second, is gone.
    Killed,
    /// The same, and in the middle of a line, which was cut off.
    Torn,
}

/// Of [`Kind::Gap`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GapBody {
    pub(crate) why: GapWhy,
    /// How many entries; nobody knows after a kill.
    pub(crate) lost: Option<u64>,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_cut: Option<u64>,
}

/// Of [`Kind::Retained`], and what an anchor file holds: the last line that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetainedBody {
    pub(crate) removed_through: u64,
    pub(crate) last_hash: Hash,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back() {
        let mut lines = Vec::new();
        let at: Timestamp = "2026-11-25T10:00:00.25Z".parse().unwrap();
        let body = SegmentBody { schema: 1, instance: "a".into(), previous: Hash::NONE };
        NewLine::begin(&mut lines, 7, at, Kind::Segment).members(&body).seal(&Hash::NONE);
        let from = lines.len();
        NewLine::begin(&mut lines, 8, at, Kind::Stop)
            .members(&serde_json::json!({}))
            .json("x", "[1]")
            .seal(&Hash::NONE);
        let line = &lines[..from - 1];
        let head = Head::parse(line).unwrap();
        assert_eq!(head, Head { seq: 7, at: "2026-11-25T10:00:00.25Z", kind: Kind::Segment });
        assert_eq!(head.time(), Some(at));
        assert_eq!(read::<SegmentBody<'_>>(line).unwrap().instance, "a");
        let stop = std::str::from_utf8(&lines[from..]).unwrap();
        let whole =
            "{\"seq\":8,\"at\":\"2026-11-25T10:00:00.25Z\",\"kind\":\"Stop\",\"x\":[1],\"hash\":\"";
        assert!(stop.starts_with(whole), "{stop}");
    }

    #[test]
    fn other_heads_are_none() {
        for bad in [
            "",
            "{}",
            "{\"seq\":-1,\"at\":\"x\",\"kind\":\"Stop\"}",
            "{\"seq\":18446744073709551616,\"at\":\"x\",\"kind\":\"Stop\"}",
            "{\"seq\":1,\"at\":\"x\",\"kind\":\"Other\"}",
            "{\"seq\":1,\"kind\":\"Stop\",\"at\":\"x\"}",
        ] {
            assert_eq!(Head::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
