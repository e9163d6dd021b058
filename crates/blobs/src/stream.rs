//! The bytes of a blob as a stream, at the pace of who polls it.
//!
//! No poll waits for the disk. What is in memory is handed out at once; what is not is read by the
//! blocking pool first.

use crate::blob::{OpenBlob, ReadHow};
use crate::error::Error;
use crate::map::{Mapping, WINDOW_BYTES};
use crate::object::ReadAhead;
use crate::pread::{self, READ_BYTES};
use bytes::Bytes;
use futures_util::Stream;
use oci::range::ByteRange;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;

/// Longest slice of a mapping handed out at a time.
const FRAME_BYTES: u64 = 1 << 20;
/// Reads from disk under way ahead of the consumer.
const READ_AHEAD: usize = 2;

/// Part of a blob's bytes, or all. Ends early only after an error, and then for good.
pub struct BlobStream {
    blob: Arc<OpenBlob>,
    /// Next byte to hand out.
    position: u64,
    end: u64,
    source: Source,
}

enum Source {
    /// Slices of the mapping; `present_until` is how far it is known to be in memory.
    Mapped { mapping: Mapping, present_until: u64, populating: Option<JoinHandle<io::Result<()>>> },
    /// Copies of what is in memory.
    Hot,
    /// Copies of what the blocking pool reads from disk; stays so to the end.
    Cold { next: u64, reads: VecDeque<JoinHandle<Result<Bytes, Error>>> },
    /// Ranges from an object store.
    Object(ReadAhead),
    /// Over, after an error.
    Failed,
}

impl BlobStream {
    pub(crate) fn new(blob: Arc<OpenBlob>, range: ByteRange, how: ReadHow) -> Self {
        let end = range.end.min(blob.size_bytes());
        let position = range.start.min(end);
        if let Some(ahead) = blob.ahead(position, end) {
            return Self { blob, position, end, source: Source::Object(ahead) };
        }
        let mapping = match how {
            ReadHow::Mapped if position < end => blob.mapping().cloned(),
            _ => None,
        };
        let source = mapping.map_or(Source::Hot, |mapping| Source::Mapped {
            mapping,
            present_until: position,
            populating: None,
        });
        Self { blob, position, end, source }
    }

    /// A slice of the mapping; `Ready(None)` when this way of reading ended for the stream.
    fn poll_mapped(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Source::Mapped { mapping, present_until, populating } = &mut self.source else {
            return Poll::Ready(None);
        };
        let window_end = self.end.min(self.position.saturating_add(WINDOW_BYTES as u64));
        if let Some(task) = populating {
            let populated = ready!(Pin::new(task).poll(context));
            *populating = None;
            // Whatever went wrong, reading by copies works or tells the true reason.
            if !matches!(populated, Ok(Ok(()))) {
                return Poll::Ready(None);
            }
            *present_until = window_end;
        }
        if self.position >= *present_until {
            let window = span(self.position, window_end);
            if !mapping.is_resident(window.clone()) {
                let task = populate(mapping.clone(), window);
                let task = populating.insert(task);
                // Polled at once: that is what asks to be woken.
                let populated = ready!(Pin::new(task).poll(context));
                *populating = None;
                if !matches!(populated, Ok(Ok(()))) {
                    return Poll::Ready(None);
                }
            }
            *present_until = window_end;
        }
        let until = (*present_until).min(self.position + FRAME_BYTES);
        Poll::Ready(Some(mapping.slice(span(self.position, until))))
    }

    /// A copy of what is in memory; `None` when it is not.
    fn read_hot(&self) -> Result<Option<Bytes>, Error> {
        let wanted = chunk_bytes(self.position, self.end);
        let Some(file) = self.blob.file() else { return Ok(None) };
        let read = pread::read_now(file, self.position, wanted)
            .map_err(|error| Error::io("read", self.blob.path(), error))?;
        match read {
            Some(bytes) if bytes.is_empty() => Err(self.too_short()),
            read => Ok(read),
        }
    }

    fn poll_cold(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        let Source::Cold { next, reads } = &mut self.source else {
            return Poll::Ready(Err(self.too_short()));
        };
        while reads.len() < READ_AHEAD && *next < self.end {
            let length = chunk_bytes(*next, self.end);
            reads.push_back(read_on_pool(self.blob.clone(), *next, length));
            *next += length as u64;
        }
        let Some(first) = reads.front_mut() else {
            return Poll::Ready(Err(self.too_short()));
        };
        let read = ready!(Pin::new(first).poll(context));
        reads.pop_front();
        let stopped = || Err(Error::Stopped { path: self.blob.path().to_owned() });
        Poll::Ready(read.unwrap_or_else(|_| stopped()))
    }

    fn too_short(&self) -> Error {
        Error::TooShort { path: self.blob.path().to_owned(), offset: self.position }
    }
}

impl Stream for BlobStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let result = loop {
            if this.position >= this.end {
                return Poll::Ready(None);
            }
            match &mut this.source {
                Source::Mapped { .. } => match ready!(this.poll_mapped(context)) {
                    Some(bytes) => break Ok(bytes),
                    None => this.source = Source::Hot,
                },
                Source::Hot => match this.read_hot() {
                    Ok(Some(bytes)) => break Ok(bytes),
                    Ok(None) => {
                        let (next, reads) = (this.position, VecDeque::with_capacity(READ_AHEAD));
                        this.source = Source::Cold { next, reads };
                    }
                    Err(error) => break Err(error),
                },
                Source::Cold { .. } => break ready!(this.poll_cold(context)),
                Source::Object(ahead) => match ready!(ahead.poll_next(context)) {
                    Some(bytes) => break bytes,
                    None => break Err(this.too_short()),
                },
                Source::Failed => return Poll::Ready(None),
            }
        };
        match &result {
            Ok(bytes) => this.position += bytes.len() as u64,
            Err(_) => this.source = Source::Failed,
        }
        Poll::Ready(Some(result))
    }
}

impl Drop for BlobStream {
    fn drop(&mut self) {
        // Reads that have not begun need not begin any more.
        if let Source::Cold { reads, .. } = &self.source {
            for read in reads {
                read.abort();
            }
        }
    }
}

impl fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStream")
            .field("digest", self.blob.digest())
            .field("position", &self.position)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

fn chunk_bytes(position: u64, end: u64) -> usize {
    usize::try_from(end - position).unwrap_or(READ_BYTES).min(READ_BYTES)
}

/// A range of a mapping. What is mapped has a length that fits `usize`, and so do its ends.
fn span(start: u64, end: u64) -> Range<usize> {
    start as usize..end as usize
}

fn populate(mapping: Mapping, window: Range<usize>) -> JoinHandle<io::Result<()>> {
    tokio::task::spawn_blocking(move || mapping.populate(window))
}

fn read_on_pool(
    blob: Arc<OpenBlob>,
    offset: u64,
    length: usize,
) -> JoinHandle<Result<Bytes, Error>> {
    tokio::task::spawn_blocking(move || {
        let bytes = blob.read_waiting(offset, length)?;
        if bytes.len() < length {
            let offset = offset + bytes.len() as u64;
            return Err(Error::TooShort { path: blob.path().to_owned(), offset });
        }
        Ok(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Options, Store};
    use futures_util::StreamExt;
    use oci::Digest;

    const SIZE: usize = 3 * READ_BYTES + 77;

    fn blob(store: &Store) -> (Arc<OpenBlob>, Vec<u8>) {
        let bytes: Vec<u8> = (0..SIZE).map(|at| (at / 1000) as u8).collect();
        let digest = Digest::sha256(&bytes);
        store.put(&digest, &bytes).unwrap();
        (store.opens().get(&digest).unwrap(), bytes)
    }

    async fn rest(mut stream: BlobStream) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = stream.next().await {
            all.extend_from_slice(&bytes.unwrap());
        }
        all
    }

    // Whether bytes are in memory is the system's business, so these begin in the state that they
    // are about.

    #[tokio::test]
    async fn what_is_not_in_memory_is_read_ahead_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(dir.path())).unwrap();
        let (blob, bytes) = blob(&store);
        let range = ByteRange { start: 5, end: SIZE as u64 - 1 };
        let mut stream = BlobStream::new(blob, range, ReadHow::Copied);
        stream.source = Source::Cold { next: 5, reads: VecDeque::new() };
        assert_eq!(stream.next().await.unwrap().unwrap(), bytes[5..5 + READ_BYTES]);
        let Source::Cold { next, reads } = &stream.source else { panic!("stays cold") };
        assert_eq!((*next, reads.len()), (5 + (READ_AHEAD * READ_BYTES) as u64, READ_AHEAD - 1));
        assert_eq!(rest(stream).await, bytes[5 + READ_BYTES..SIZE - 1]);
    }

    #[tokio::test]
    async fn a_mapping_that_cannot_be_read_gives_way_to_copies() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(dir.path())).unwrap();
        let (blob, bytes) = blob(&store);
        let mut stream =
            BlobStream::new(blob, ByteRange { start: 0, end: SIZE as u64 }, ReadHow::Mapped);
        let Source::Mapped { populating, .. } = &mut stream.source else { panic!("is mapped") };
        let failure = || Err(io::Error::from_raw_os_error(libc::EFAULT));
        *populating = Some(tokio::task::spawn_blocking(failure));
        let first = stream.next().await.unwrap().unwrap();
        assert!(!matches!(stream.source, Source::Mapped { .. }));
        assert_eq!([first.to_vec(), rest(stream).await].concat(), bytes);
    }

    #[tokio::test]
    async fn a_damaged_file_is_an_error_and_then_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(dir.path())).unwrap();
        let (blob, _) = blob(&store);
        let file = std::fs::OpenOptions::new().write(true).open(blob.path()).unwrap();
        file.set_len(10).unwrap();
        for cold in [false, true] {
            let range = ByteRange { start: 0, end: SIZE as u64 };
            let mut stream = BlobStream::new(blob.clone(), range, ReadHow::Copied);
            if cold {
                stream.source = Source::Cold { next: 0, reads: VecDeque::new() };
            }
            let mut ends = Vec::new();
            while let Some(item) = stream.next().await {
                ends.push(item.map(|bytes| bytes.len()));
            }
            assert!(matches!(ends.pop(), Some(Err(Error::TooShort { offset: 10, .. }))), "{cold}");
            assert!(ends.iter().all(Result::is_ok));
            assert!(stream.next().await.is_none());
        }
    }
}
