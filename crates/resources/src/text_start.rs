//! Where the text of a YAML scalar begins, so that an error inside an expression has its own place.

use crate::Place;
use crate::document::Document;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextStart {
    /// On one line, so many characters after the place of the field.
    Inline(u32),
    /// A literal block: from this line on, so many columns indented.
    Block(u32, u32),
    /// In a way in which places inside are not known: with escapes, folded, over several lines.
    Unknown,
}

impl TextStart {
    pub(crate) fn place_of(self, field: &Place, line: u32, column: u32) -> Place {
        let at = |line, column| {
            let source: Arc<str> = field.source().into();
            Place::in_file(&source, line, column)
        };
        match self {
            Self::Inline(skip) if line <= 1 => at(field.line(), field.column() + skip + column - 1),
            Self::Block(first, indent) => at(first + line - 1, indent + column),
            Self::Inline(_) | Self::Unknown => field.clone(),
        }
    }
}

/// Notes, for every field whose place is kept, how its text was written.
pub(crate) fn note(document: &mut Document, text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    let starts: BTreeMap<String, TextStart> = document
        .field_places
        .iter()
        .filter_map(|(path, place)| Some((path.clone(), start(&lines, place)?)))
        .collect();
    document.text_starts = starts;
}

fn start(lines: &[&str], place: &Place) -> Option<TextStart> {
    let index = usize::try_from(place.line()).ok()?.checked_sub(1)?;
    let line = lines.get(index)?;
    let from: String = line.chars().skip(place.column().saturating_sub(1) as usize).collect();
    Some(match from.chars().next()? {
        '|' => {
            let body = lines.get(index + 1..)?.iter().position(|line| !line.trim().is_empty())?;
            let first = lines[index + 1 + body];
            let indent = first.len() - first.trim_start().len();
            let indent = u32::try_from(indent).ok()?;
            TextStart::Block(place.line() + 1, indent)
        }
        '>' | '[' | '{' => TextStart::Unknown,
        quote @ ('"' | '\'') => match is_plain(&from[1..], quote) {
            true => TextStart::Inline(1),
            false => TextStart::Unknown,
        },
        _ => TextStart::Inline(0),
    })
}

/// Whether a quoted text ends on its line and has no escapes.
fn is_plain(rest: &str, quote: char) -> bool {
    match rest.find(quote) {
        Some(end) => {
            let inside = &rest[..end];
            let is_doubled = quote == '\'' && rest[end + 1..].starts_with('\'');
            !is_doubled && (quote == '\'' || !inside.contains('\\'))
        }
        None => false,
    }
}
