//! Where the text of a YAML scalar begins, so that an error inside an expression has its own place.
//!
//! The parser only tells where a scalar begins, not how it was written. So the source is compared
//! with the value: only where both are the same, letter by letter, is a place inside known. Escapes,
//! doubled quotes, folded lines, aliases and tags differ, and keep the place of their field.

use crate::Place;
use std::sync::Arc;

/// In longer lines no place is looked for: finding each of many fields of one line costs their
/// product, and a column that far to the right helps nobody.
const MAX_LINE_BYTES: usize = 8 << 10;

/// How a scalar was written whose source is its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextStart {
    /// On one line, so many characters after the place of the field.
    Inline(u32),
    /// A block: from this line on, so many columns indented.
    Block(u32, u32),
}

impl TextStart {
    /// How the value of a field at `place` was written; nothing where its source is not its value.
    pub(crate) fn find(lines: &[&str], place: &Place, value: &str) -> Option<Self> {
        let index = usize::try_from(place.line()).ok()?.checked_sub(1)?;
        let line = lines.get(index).filter(|line| line.len() <= MAX_LINE_BYTES)?;
        let column = usize::try_from(place.column()).ok()?.checked_sub(1)?;
        let (at, first) = line.char_indices().nth(column)?;
        let source = &line[at..];
        // The parser tells of a block where its first line with content begins, without the indent.
        if value.contains('\n') {
            let blank_lines = value.lines().take_while(|line| line.is_empty()).count();
            let block = lines.get(index.checked_sub(blank_lines)?..)?;
            let first_line = place.line().checked_sub(u32::try_from(blank_lines).ok()?)?;
            let indent = place.column() - 1;
            return is_block(block, column, value).then_some(Self::Block(first_line, indent));
        }
        match first {
            '"' | '\'' => {
                let end = source[1..].strip_prefix(value)?;
                end.starts_with(first).then_some(Self::Inline(1))
            }
            _ => source.starts_with(value).then_some(Self::Inline(0)),
        }
    }

    pub(crate) fn place_of(self, field: &Place, line: u32, column: u32) -> Place {
        let (line, column) = (line.max(1), column.max(1));
        let at = |line, column| {
            let source: Arc<str> = field.source().into();
            Place::in_file(&source, line, column)
        };
        match self {
            Self::Inline(skip) if line == 1 => {
                at(field.line(), field.column().saturating_add(skip).saturating_add(column - 1))
            }
            Self::Inline(_) => field.clone(),
            Self::Block(first, indent) => {
                at(first.saturating_add(line - 1), indent.saturating_add(column))
            }
        }
    }
}

/// Whether the lines of a text are those of the value, each after so many spaces.
fn is_block(lines: &[&str], indent: usize, value: &str) -> bool {
    value.lines().enumerate().all(|(index, line)| {
        let source = lines.get(index).copied().unwrap_or_default();
        match source.split_at_checked(indent) {
            Some((spaces, rest)) => spaces.trim_start_matches(' ').is_empty() && rest == line,
            // Lines without content need not be indented.
            None => line.is_empty() && source.trim().is_empty(),
        }
    })
}
