//! Server-sent events (HTML Living Standard §9.2), as far as the plane sends them: `data:` lines of
//! one JSON value, and comments that keep the connection open.

use crate::exit::Failure;
use serde::de::DeserializeOwned;

/// The longest event.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// A stream of events.
pub(crate) struct Events {
    answer: reqwest::Response,
    parser: Parser,
    name: String,
}

impl Events {
    pub(super) fn new(answer: reqwest::Response, name: String) -> Self {
        Self { answer, parser: Parser::default(), name }
    }

    /// The next event; `None` when the plane ended the stream.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        let broken =
            |name: &str| Failure::cannot_tell(format!("the stream of events from {name} broke"));
        loop {
            if let Some(data) = self.parser.take() {
                let value = serde_json::from_str(&data);
                return value.map(Some).map_err(|error| broken(&self.name).because(&error));
            }
            match self.answer.chunk().await {
                Ok(Some(bytes)) if self.parser.push(&bytes) => {}
                Ok(None) => return Ok(None),
                Ok(Some(_)) => return Err(broken(&self.name)),
                Err(error) => return Err(broken(&self.name).because(super::root(&error))),
            }
        }
    }
}

#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
}

impl Parser {
    /// Takes bytes; false when they make an event that is too long.
    fn push(&mut self, bytes: &[u8]) -> bool {
        self.buffer.extend_from_slice(bytes);
        self.buffer.len() <= EVENT_BYTES_MAX
    }

    /// The data of the next whole event.
    fn take(&mut self) -> Option<String> {
        loop {
            let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
            let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let event = String::from_utf8_lossy(&event);
            let lines: Vec<&str> = event
                .lines()
                .filter_map(|line| line.strip_prefix("data:"))
                .map(|data| data.strip_prefix(' ').unwrap_or(data))
                .collect();
            if !lines.is_empty() {
                return Some(lines.join("\n"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_whatever_pieces_they_arrive_in() {
        let text = b": hello\n\ndata: {\"a\":\n\ndata: 1\ndata:2\n\nevent: x\n\ndata: last";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in text.chunks(size) {
                assert!(parser.push(piece));
                while let Some(event) = parser.take() {
                    events.push(event);
                }
            }
            assert_eq!(events, ["{\"a\":", "1\n2"], "pieces of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_given_up() {
        let mut parser = Parser::default();
        let line = vec![b'x'; 1 << 20];
        assert!((0..17).any(|_| !parser.push(&line)));
    }
}
