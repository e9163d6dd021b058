//! The lines of one segment, one after the other, whether it is compressed or not.

use crate::Error;
use crate::chain::{self, Hash};
use crate::layout::Segment;
use crate::line::{Head, Kind, LINE_BYTES_MAX, RetainedBody, SCHEMA, SegmentBody, read};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

const READ_BYTES: usize = 256 << 10;

/// Largest window that a compressed segment may ask for, as a power of two: 8 MiB. What we write needs 2 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// Reads a segment. It holds one line at a time.
pub(crate) struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
    unfinished_bytes: u64,
}

impl Lines {
    /// Opens a segment; the compressed file where the plain one is gone meanwhile. None where both are.
    pub(crate) fn open(segment: &Segment) -> Result<Option<Self>, Error> {
        let plain = segment.plain();
        match File::open(&plain) {
            Ok(file) => {
                let input = Box::new(BufReader::with_capacity(READ_BYTES, file));
                return Ok(Some(Self::new(plain, input)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("open", &plain, error)),
        }
        Self::open_packed(segment.packed())
    }

    /// Opens a compressed segment.
    pub(crate) fn open_packed(path: PathBuf) -> Result<Option<Self>, Error> {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        let decoder = zstd::stream::read::Decoder::new(file).and_then(|mut decoder| {
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Ok(decoder)
        });
        let decoder = decoder.map_err(|error| Error::io("read", &path, error))?;
        Ok(Some(Self::new(path, Box::new(BufReader::with_capacity(READ_BYTES, decoder)))))
    }

    fn new(path: PathBuf, input: Box<dyn BufRead + Send>) -> Self {
        Self { path, input, line: Vec::new(), number: 0, bytes: 0, unfinished_bytes: 0 }
    }

    /// The next line without its end. None at the end of what is whole.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        self.line.clear();
        let mut bounded = self.input.by_ref().take(LINE_BYTES_MAX as u64 + 1);
        let read = bounded.read_until(b'\n', &mut self.line);
        let read = read.map_err(|error| {
            Error::damaged(&self.path, self.number + 1, format!("cannot be read: {error}"))
        })?;
        if self.line.pop_if(|last| *last == b'\n').is_some() {
            self.number += 1;
            self.bytes += read as u64;
            return Ok(Some(&self.line));
        }
        if read > LINE_BYTES_MAX {
            return Err(Error::damaged(&self.path, self.number + 1, "the line is too long"));
        }
        self.unfinished_bytes = read as u64;
        Ok(None)
    }

    /// The number of the line that was read last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of all whole lines that were read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes at the end that are no whole line.
    pub(crate) fn unfinished_bytes(&self) -> u64 {
        self.unfinished_bytes
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It does not look like one of ours.
    Form,
    /// A line is missing before it, or it is not in its place.
    Seq { expected: u64, found: u64 },
    /// It, or the order of lines before it, was changed.
    Hash,
    /// The segment does not begin as one.
    Beginning,
    /// It is of a later version.
    Schema(u32),
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Form => f.write_str("this is not a line of a record"),
            Self::Seq { expected, found } => {
                write!(f, "line with seq {expected} expected, seq {found} found")
            }
            Self::Hash => f.write_str(
                "the hash is not that of this line after the one before: one of them was changed",
            ),
            Self::Beginning => f.write_str("the first line does not begin a segment"),
            Self::Schema(schema) => write!(f, "schema {schema} is later than this version knows"),
        }
    }
}

/// Follows a chain from line to line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    /// The number that the next line must have.
    pub(crate) next_seq: u64,
    /// The hash of the last line.
    pub(crate) last: Hash,
}

impl Walk {
    /// Before the first line of all.
    pub(crate) const BEGIN: Self = Self { next_seq: 1, last: Hash::NONE };

    /// After what was removed because of its age.
    pub(crate) fn after(removed: &RetainedBody) -> Self {
        Self { next_seq: removed.removed_through + 1, last: removed.last_hash }
    }

    /// Takes the next line.
    pub(crate) fn step<'a>(&mut self, line: &'a [u8]) -> Result<Head<'a>, Wrong> {
        let head = Head::parse(line).ok_or(Wrong::Form)?;
        if head.seq != self.next_seq {
            return Err(Wrong::Seq { expected: self.next_seq, found: head.seq });
        }
        self.last = chain::check(&self.last, line).ok_or(Wrong::Hash)?;
        self.next_seq += 1;
        Ok(head)
    }
}

/// Reads the first line of a segment: where its chain goes on from, and whose it is.
pub(crate) fn beginning(line: &[u8]) -> Result<(Walk, String), Wrong> {
    let head = Head::parse(line).ok_or(Wrong::Form)?;
    let body: SegmentBody<'_> = match head.kind {
        Kind::Segment => read(line).map_err(|_| Wrong::Beginning)?,
        _ => return Err(Wrong::Beginning),
    };
    if body.schema > SCHEMA {
        return Err(Wrong::Schema(body.schema));
    }
    Ok((Walk { next_seq: head.seq, last: body.previous }, body.instance.into_owned()))
}
