//! Several ranges in one answer: `multipart/byteranges` (RFC 9110 §14.6).

use super::blob::content_range;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::HeaderValue;
use oci::range::ByteRange;
use std::hash::{BuildHasher, Hasher, RandomState};

/// The parts of an answer, and so its length, before a byte of the blob is read.
pub(super) struct Plan {
    boundary: String,
    parts: Vec<(Bytes, ByteRange)>,
    end: Bytes,
}

impl Plan {
    /// Plans an answer with these ranges, in this order.
    pub(super) fn new(ranges: &[ByteRange], size_bytes: u64, media_type: &HeaderValue) -> Self {
        Self::with_boundary(random_boundary(), ranges, size_bytes, media_type)
    }

    fn with_boundary(
        boundary: String,
        ranges: &[ByteRange],
        size_bytes: u64,
        media_type: &HeaderValue,
    ) -> Self {
        let media_type = media_type.to_str().unwrap_or("application/octet-stream");
        let head = |(position, range): (usize, &ByteRange)| {
            let start = if position == 0 { "" } else { "\r\n" };
            let content_range = content_range(*range, size_bytes);
            let head = format!(
                "{start}--{boundary}\r\nContent-Type: {media_type}\r\n\
                 Content-Range: {content_range}\r\n\r\n"
            );
            (Bytes::from(head), *range)
        };
        let parts = ranges.iter().enumerate().map(head).collect();
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        Self { boundary, parts, end }
    }

    /// `Content-Type` of the answer.
    pub(super) fn content_type(&self) -> HeaderValue {
        super::headers::value(format!("multipart/byteranges; boundary={}", self.boundary))
    }

    /// `Content-Length` of the answer.
    pub(super) fn length_bytes(&self) -> u64 {
        let parts = self.parts.iter().map(|(head, range)| head.len() as u64 + range.len());
        parts.sum::<u64>() + self.end.len() as u64
    }

    /// The bytes. A part's source is opened when the part before it is sent.
    pub(super) fn stream<S, E>(
        self,
        mut open: impl FnMut(ByteRange) -> S + Send + 'static,
    ) -> impl Stream<Item = Result<Bytes, E>> + Send + 'static
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Send + 'static,
    {
        let parts = stream::iter(self.parts).map(move |(head, range)| {
            let source = open(range);
            stream::iter([Ok(head)]).chain(source)
        });
        parts.flatten().chain(stream::iter([Ok(self.end)]))
    }
}

/// 128 bits that nobody can guess, so that no blob holds the boundary on purpose.
fn random_boundary() -> String {
    // The standard library seeds each thread's first `RandomState` from the system's randomness.
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;
    use std::convert::Infallible;

    #[tokio::test]
    async fn the_parts_and_the_length_agree() {
        let blob = Bytes::from_static(b"0123456789");
        let ranges = [ByteRange { start: 5, end: 7 }, ByteRange { start: 0, end: 1 }];
        let media_type = HeaderValue::from_static("a/b");
        let plan = Plan::with_boundary("B".to_owned(), &ranges, 10, &media_type);
        assert_eq!(plan.content_type(), "multipart/byteranges; boundary=B");
        let length = plan.length_bytes();
        let open = move |range: ByteRange| {
            let piece = blob.slice(range.start as usize..range.end as usize);
            stream::iter([Ok::<_, Infallible>(piece)])
        };
        let pieces: Vec<Bytes> = plan.stream(open).try_collect().await.unwrap();
        let text = String::from_utf8(pieces.concat()).unwrap();
        assert_eq!(
            text,
            "--B\r\nContent-Type: a/b\r\nContent-Range: bytes 5-6/10\r\n\r\n56\
             \r\n--B\r\nContent-Type: a/b\r\nContent-Range: bytes 0-0/10\r\n\r\n0\
             \r\n--B--\r\n"
        );
        assert_eq!(length, text.len() as u64);
    }

    #[tokio::test]
    async fn a_part_that_breaks_ends_it() {
        let ranges = [ByteRange { start: 0, end: 2 }, ByteRange { start: 4, end: 6 }];
        let plan = Plan::new(&ranges, 10, &HeaderValue::from_static("a/b"));
        let open = |_| stream::iter([Ok(Bytes::from_static(b"0")), Err("broken")]);
        assert_eq!(plan.stream(open).try_collect::<Vec<Bytes>>().await, Err("broken"));
    }

    #[test]
    fn boundaries_differ() {
        let (one, other) = (random_boundary(), random_boundary());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
        assert_ne!(one[..16], one[16..]);
    }
}
