//! The fields of a `tracing` event as text: `name=value`, the value quoted as in access lines, so
//! that one way of taking a line apart does for both.

use crate::quote::push_text;
use std::error::Error;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Causes of an error that are followed; a chain that long is a ring.
const CAUSES_MAX: usize = 16;

/// Writes fields with quoted values, and an error with its causes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextFields;

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Visitor { writer, is_first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Visitor<'w> {
    writer: Writer<'w>,
    is_first: bool,
    result: fmt::Result,
}

impl Visitor<'_> {
    fn push(&mut self, field: &Field, value: &str) {
        let mut text = Vec::with_capacity(64);
        if !std::mem::take(&mut self.is_first) {
            text.push(b' ');
        }
        if field.name() == "message" {
            text.extend_from_slice(value.as_bytes());
        } else {
            text.extend_from_slice(field.name().as_bytes());
            text.push(b'=');
            push_text(&mut text, value);
        }
        let written = self.writer.write_str(&String::from_utf8_lossy(&text));
        self.result = self.result.and(written);
    }
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value);
    }

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        let mut text = error.to_string();
        let causes = std::iter::successors(error.source(), |cause: &&dyn Error| (*cause).source());
        for cause in causes.take(CAUSES_MAX).map(ToString::to_string) {
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        self.push(field, &text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, &format!("{value:?}"));
    }
}
