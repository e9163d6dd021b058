//! `tracing` events to [`Lines`], as text or JSON.

use crate::Lines;
use crate::fields::TextFields;
use std::io::{self, IsTerminal, Write};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How a log line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not understood.
    #[error("log filter {filter:?} is not understood; write it as info, debug or info,edge=debug")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging was started before in this process.
    #[error("logging was already started in this process")]
    Started(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends the process's `tracing` events to `lines` from now on. `filter` is a level (`info`), or
/// levels by target (`info,edge=debug`).
///
/// # Errors
/// When `filter` is not understood, or when logging was started before.
pub fn init_logs(format: Format, filter: &str, lines: Lines) -> Result<(), Error> {
    let parsed = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| Error::Filter { filter: filter.to_owned(), source })?;
    let colour = format == Format::Text && io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_ansi(colour)
        .with_writer(OneLine { lines, colour });
    match format {
        Format::Text => builder.fmt_fields(TextFields).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(Error::Started)
}

/// Keeps an event on one line, whatever its values hold.
#[derive(Clone)]
struct OneLine {
    lines: Lines,
    colour: bool,
}

impl<'a> MakeWriter<'a> for OneLine {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for OneLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        let stray = |byte: &u8| byte.is_ascii_control() && !(self.colour && *byte == 0x1b);
        if text.iter().any(stray) {
            let mut line = Vec::with_capacity(event.len() + 16);
            for byte in text {
                if stray(byte) {
                    line.extend(byte.escape_ascii());
                } else {
                    line.push(*byte);
                }
            }
            line.push(b'\n');
            self.lines.push(&line);
        } else {
            self.lines.push(event);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::Arc;
    use std::time::Duration;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_even_with_newlines_in_its_values() {
        let sink = Sink::default();
        let lines = Lines::new(sink.clone(), 1 << 20).unwrap();
        let writer = OneLine { lines: lines.clone(), colour: false };
        let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(name = %"a\nINFO forged", "pull\r\nof");
        });
        assert!(lines.flush(Duration::from_secs(60)));
        let text = String::from_utf8(sink.0.lock().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.contains(r"a\nINFO forged"), "{text}");
    }

    #[test]
    fn values_are_quoted_as_in_access_lines() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot be read")]
        struct Outer(#[source] io::Error);

        let sink = Sink::default();
        let lines = Lines::new(sink.clone(), 1 << 20).unwrap();
        let writer = OneLine { lines: lines.clone(), colour: false };
        let subscriber = tracing_subscriber::fmt()
            .with_writer(writer)
            .with_ansi(false)
            .fmt_fields(TextFields)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let error = Outer(io::Error::other("disk gone"));
            let error = &error as &dyn std::error::Error;
            let digest = "sha256:ab";
            tracing::info!(%digest, reason = %"two words", a = "x=y", n = 7, error, "it = so");
        });
        assert!(lines.flush(Duration::from_secs(60)));
        let text = String::from_utf8(sink.0.lock().clone()).unwrap();
        let fields = "it = so digest=sha256:ab reason=\"two words\" a=\"x=y\" n=7 \
                      error=\"cannot be read: disk gone\"\n";
        assert!(text.ends_with(fields), "{text}");
    }

    #[test]
    fn a_bad_filter_is_told_with_a_good_one() {
        let lines = Lines::new(io::sink(), 1 << 10).unwrap();
        let error = init_logs(Format::Text, "info,edge=loud", lines).unwrap_err();
        assert!(error.to_string().contains("info,edge=debug"), "{error}");
    }
}
