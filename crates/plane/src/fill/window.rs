//! The last chunks of a fill, in memory: readers close behind the writer take them from here, one
//! copy for all; and when the disk is full they are all there is.

use bytes::Bytes;
use std::collections::VecDeque;

/// Consecutive chunks, the newest at the end.
#[derive(Debug, Default)]
pub(super) struct Window {
    chunks: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Window {
    /// Adds what came after everything before it.
    pub(super) fn push(&mut self, offset: u64, chunk: Bytes) {
        debug_assert!(self.end().is_none_or(|end| end == offset), "chunks are consecutive");
        self.bytes += chunk.len();
        self.chunks.push_back((offset, chunk));
    }

    /// Bytes from `position` on, at most `max`, as far as one chunk has them.
    pub(super) fn get(&self, position: u64, max: u64) -> Option<Bytes> {
        let after = self.chunks.partition_point(|(offset, _)| *offset <= position);
        let (offset, chunk) = self.chunks.get(after.checked_sub(1)?)?;
        let from = usize::try_from(position - offset).ok().filter(|from| *from < chunk.len())?;
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Some(chunk.slice(from..chunk.len().min(from.saturating_add(max))))
    }

    /// Drops the oldest chunks until at most `max_bytes` are left; the newest always stays.
    pub(super) fn shrink_to(&mut self, max_bytes: usize) {
        while self.bytes > max_bytes && self.chunks.len() > 1 {
            if let Some((_, chunk)) = self.chunks.pop_front() {
                self.bytes -= chunk.len();
            }
        }
    }

    /// Drops chunks that lie wholly before `position`.
    pub(super) fn drop_before(&mut self, position: u64) {
        while let Some((offset, chunk)) = self.chunks.front() {
            if offset + chunk.len() as u64 > position {
                break;
            }
            self.bytes -= chunk.len();
            self.chunks.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the oldest chunk begins.
    pub(super) fn start(&self) -> Option<u64> {
        self.chunks.front().map(|(offset, _)| *offset)
    }

    fn end(&self) -> Option<u64> {
        self.chunks.back().map(|(offset, chunk)| offset + chunk.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_it_holds_and_nothing_else() {
        let mut window = Window::default();
        window.push(10, Bytes::from_static(b"abcd"));
        window.push(14, Bytes::from_static(b"efg"));
        assert_eq!(window.get(9, 10), None);
        assert_eq!(window.get(10, 2).unwrap(), "ab");
        assert_eq!(window.get(12, 100).unwrap(), "cd");
        assert_eq!(window.get(16, 100).unwrap(), "g");
        assert_eq!(window.get(17, 1), None);
        window.shrink_to(3);
        assert_eq!((window.bytes(), window.start()), (3, Some(14)));
        assert_eq!(window.get(13, 1), None);
        window.shrink_to(0);
        assert_eq!(window.bytes(), 3, "the newest stays");
        window.drop_before(17);
        assert_eq!((window.bytes(), window.start()), (0, None));
    }
}
