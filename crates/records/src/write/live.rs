//! The segment that is being written. Lines wait in memory until a commit has them on the disk; what
//! a commit could not write stays and is written again, so the chain never has a hole that is not told.

use crate::chain::Hash;
use crate::detail::Text;
use crate::layout::{self, NewFile, Segment};
use crate::limit::WriteLimit;
use crate::line::{DecisionBody, Kind, NewLine, RepeatBody, SCHEMA, SegmentBody, TextBody};
use crate::read::Walk;
use crate::{Decision, Error, Instance};
use jiff::Timestamp;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Texts of a segment that are remembered as written. Beyond, some are written twice.
const INTERNED_MAX: usize = 65_536;

/// Longest name of a waiver. There may be many of them in one line.
const NAME_BYTES_MAX: usize = 256;

/// A segment that is open for writing.
pub(crate) struct Live {
    dir: PathBuf,
    instance: Instance,
    segment: Segment,
    file: File,
    /// Bytes that are on the disk.
    durable_bytes: u64,
    /// Lines that come after these.
    pending: Vec<u8>,
    walk: Walk,
    /// Where the chain stands without what is pending.
    durable: Walk,
    interned: HashSet<Hash>,
    limit: Arc<WriteLimit>,
}

impl Live {
    /// Begins a segment: its file is there, with its first line, or not at all.
    pub(crate) fn begin(
        dir: &Path,
        instance: &Instance,
        walk: Walk,
        at: Timestamp,
        limit: &Arc<WriteLimit>,
    ) -> Result<Self, Error> {
        let segment = Segment::new(dir, walk.next_seq, at);
        let path = segment.plain();
        let mut line = Vec::new();
        let body = SegmentBody {
            schema: SCHEMA,
            instance: Cow::Borrowed(instance.as_str()),
            previous: walk.last,
        };
        let last = NewLine::begin(&mut line, walk.next_seq, at, Kind::Segment)
            .members(&body)
            .seal(&walk.last);
        let mut new = NewFile::begin(&path)?;
        limit.write_at(new.file(), &line, 0).map_err(|error| Error::io("write", &path, error))?;
        new.place()?;
        let walk = Walk { next_seq: walk.next_seq + 1, last };
        Self::go_on(segment, instance, walk, line.len() as u64, HashSet::new(), limit)
    }

    /// Goes on with a segment after `durable_bytes` of it.
    pub(crate) fn go_on(
        segment: Segment,
        instance: &Instance,
        walk: Walk,
        durable_bytes: u64,
        interned: HashSet<Hash>,
        limit: &Arc<WriteLimit>,
    ) -> Result<Self, Error> {
        let file = layout::open_write(&segment.plain())?;
        let (dir, instance, limit) = (segment.dir().to_owned(), instance.clone(), limit.clone());
        let (pending, durable) = (Vec::new(), walk);
        Ok(Self {
            dir,
            instance,
            segment,
            file,
            durable_bytes,
            pending,
            walk,
            durable,
            interned,
            limit,
        })
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Where the chain stands on the disk.
    pub(crate) fn durable(&self) -> Walk {
        self.durable
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.durable_bytes + self.pending.len() as u64
    }

    /// Whether it has more than its first line.
    pub(crate) fn has_lines(&self) -> bool {
        self.walk.next_seq > self.segment.first_seq + 1
    }

    /// Adds a line. Gives its number.
    pub(crate) fn line(
        &mut self,
        at: Timestamp,
        kind: Kind,
        fill: impl FnOnce(NewLine<'_>) -> NewLine<'_>,
    ) -> u64 {
        let seq = self.walk.next_seq;
        let line = fill(NewLine::begin(&mut self.pending, seq, at, kind));
        self.walk = Walk { next_seq: seq + 1, last: line.seal(&self.walk.last) };
        seq
    }

    /// Adds a decision, and before it what it was made from, if this segment does not have that yet.
    pub(crate) fn decision(&mut self, decision: &Decision) -> u64 {
        if let Some(detail) = &decision.detail {
            let texts = detail.texts();
            self.intern(decision.at, Kind::Facts, "facts", &texts.facts);
            self.intern(decision.at, Kind::Outcomes, "outcomes", &texts.outcomes);
        }
        let id = Cow::Owned(decision.id.to_string());
        let body = DecisionBody { id, ..body(decision) };
        self.line(decision.at, Kind::Decision, |line| line.members(&body))
    }

    /// Adds how often a decision was made again.
    pub(crate) fn repeat(&mut self, repeat: &RepeatBody, decision: &DecisionBody<'_>) {
        self.line(repeat.last_at, Kind::Repeat, |line| line.members(repeat).members(decision));
    }

    fn intern(&mut self, at: Timestamp, kind: Kind, name: &str, text: &Text) {
        if self.interned.len() >= INTERNED_MAX {
            self.interned.clear();
        }
        if self.interned.insert(text.hash) {
            let body = TextBody { text: text.hash };
            self.line(at, kind, |line| line.members(&body).json(name, &text.json));
        }
    }

    /// Puts all lines on the disk, or none that counts: what failed is done again by the next commit.
    pub(crate) fn commit(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let path = || self.segment.plain();
        let written = self.limit.write_at(&self.file, &self.pending, self.durable_bytes);
        written.map_err(|error| Error::io("write", &path(), error))?;
        // After a sync that failed, the kernel may have dropped what it could not write (fsync(2),
        // "Errors"). Nothing is taken for written then; the next commit writes all of it again.
        self.limit.sync(&self.file).map_err(|error| Error::io("sync", &path(), error))?;
        self.durable_bytes += self.pending.len() as u64;
        self.pending.clear();
        self.durable = self.walk;
        Ok(())
    }

    /// Whether somebody removed the file: what is written to it is lost.
    pub(crate) fn is_gone(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let identity = |it: std::fs::Metadata| (it.dev(), it.ino());
        let named = std::fs::metadata(self.segment.plain()).map(identity);
        // What cannot be asked is no sign.
        match (named, self.file.metadata().map(identity)) {
            (Ok(named), Ok(open)) => named != open,
            (Err(error), _) => {
                matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
            }
            _ => false,
        }
    }

    /// Ends this segment, whose lines must be on the disk, and begins the next one.
    pub(crate) fn rotate(&mut self, at: Timestamp) -> Result<(), Error> {
        debug_assert!(self.pending.is_empty(), "lines are left behind");
        *self = Self::begin(&self.dir, &self.instance, self.walk, at, &self.limit)?;
        Ok(())
    }
}

/// What a line has of a decision, without its id.
pub(crate) fn body(decision: &Decision) -> DecisionBody<'_> {
    let waivers = decision.waivers.iter().take(Decision::MAX_WAIVERS);
    let texts = decision.detail.as_ref().map(|detail| detail.texts());
    DecisionBody {
        id: Cow::Borrowed(""),
        principal_kind: Cow::Borrowed(decision.principal_kind.as_str()),
        principal: Cow::Borrowed(cut(&decision.principal)),
        environment: Cow::Borrowed(cut(decision.environment.as_str())),
        purpose: Cow::Borrowed(decision.purpose.as_str()),
        cluster: Cow::Borrowed(cut(decision.cluster.as_deref().unwrap_or_default())),
        action: Cow::Borrowed(decision.action.as_str()),
        name: Cow::Borrowed(decision.name.as_ref().map_or("", |name| name.as_str())),
        reference: Cow::Borrowed(cut(&decision.reference)),
        digest: decision.digest,
        verdict: decision.verdict,
        policy: Cow::Borrowed(cut(&decision.policy)),
        rule: Cow::Borrowed(cut(&decision.rule)),
        message: Cow::Borrowed(cut(&decision.message)),
        revision: decision.revision,
        enforced: decision.enforced,
        waivers: waivers.map(|it| Cow::Borrowed(cut_to(it, NAME_BYTES_MAX))).collect(),
        break_glass: Cow::Borrowed(cut(decision.break_glass.as_deref().unwrap_or_default())),
        facts: texts.map(|it| it.facts.hash),
        outcomes: texts.map(|it| it.outcomes.hash),
    }
}

/// A text within its bound.
pub(crate) fn cut(text: &str) -> &str {
    cut_to(text, Decision::MAX_TEXT_BYTES)
}

fn cut_to(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Keeps beside a segment what is cut off it.
pub(crate) fn keep_torn(segment: &Segment, from: u64) -> Result<(), Error> {
    use std::io::{Seek, SeekFrom};
    let path = segment.torn();
    let mut torn = layout::open_write(&path)?;
    let mut plain = layout::open_write(&segment.plain())?;
    let copied = torn
        .seek(SeekFrom::End(0))
        .and_then(|_| plain.seek(SeekFrom::Start(from)))
        .and_then(|_| std::io::copy(&mut plain, &mut torn))
        .and_then(|_| torn.flush())
        .and_then(|()| torn.sync_all());
    copied.map_err(|error| Error::io("write", &path, error))?;
    layout::sync_dir(segment.dir())
}
