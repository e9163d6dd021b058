//! Lines of files that may be anything: none is longer than what is kept of it.

use std::io::{self, BufRead};

/// A line of a log is far shorter; what is longer is no line of one.
pub(super) const LINE_BYTES_MAX: usize = 64 << 10;

/// The lines of a reader.
pub(super) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    /// Lines so far.
    pub(super) read: u64,
    /// Those among them that were too long, and left out.
    pub(super) too_long: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), read: 0, too_long: 0 }
    }

    /// The next line that is not too long, without its end; `None` after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            self.line.clear();
            let (mut is_whole, mut is_end) = (true, false);
            loop {
                let piece = match self.reader.fill_buf() {
                    Ok(piece) => piece,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                if piece.is_empty() {
                    is_end = true;
                    break;
                }
                let end = piece.iter().position(|byte| *byte == b'\n');
                let taken = &piece[..end.unwrap_or(piece.len())];
                if self.line.len() + taken.len() <= LINE_BYTES_MAX {
                    self.line.extend_from_slice(taken);
                } else {
                    is_whole = false;
                }
                let used = taken.len() + usize::from(end.is_some());
                self.reader.consume(used);
                if end.is_some() {
                    break;
                }
            }
            if is_end && self.line.is_empty() && is_whole {
                return Ok(None);
            }
            self.read += 1;
            if is_whole {
                let text = String::from_utf8_lossy(&self.line);
                return Ok(Some(text.trim_end_matches('\r').to_owned()));
            }
            self.too_long += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read};

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_the_others_stay() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let fits = "y".repeat(LINE_BYTES_MAX);
        let text = format!("a\r\n{long}\n{fits}\n\nb\n{long}");
        for size in [1, 7, 4096, 1 << 20] {
            let mut lines = Lines::new(BufReader::with_capacity(size, text.as_bytes()));
            let mut found = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                found.push(line);
            }
            assert_eq!(found, ["a", fits.as_str(), "", "b"]);
            assert_eq!((lines.read, lines.too_long), (6, 2));
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let endless = io::repeat(b'x').take(100 << 20);
        let mut lines = Lines::new(BufReader::new(endless));
        assert_eq!(lines.next().unwrap(), None);
        assert!(lines.line.capacity() <= 2 * LINE_BYTES_MAX);
    }
}
