//! What goes to the terminal: answers to standard output, everything else to standard error.
//!
//! It exists so that a closed pipe ends a command quietly, colours appear on terminals only, and
//! sizes and times look the same everywhere.

use jiff::Timestamp;
use std::io::{self, IsTerminal, Write};

/// SGR code of errors.
pub(crate) const RED: &str = "31";
/// SGR code of what is right.
pub(crate) const GREEN: &str = "32";
/// SGR code of what needs attention.
pub(crate) const YELLOW: &str = "33";
/// SGR code of hints.
pub(crate) const CYAN: &str = "36";

/// Writes to standard output. Whoever stops reading (`| head`) gets no more and hears no complaint.
pub(crate) fn out(text: &str) {
    let mut out = anstream::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Writes a line to standard error.
pub(crate) fn say(line: &str) {
    // There is nobody left to tell.
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Writes `head: text` to standard error; further lines of the text stand below its first.
pub(crate) fn headed(head: &str, colour: &str, text: &str) {
    let indent = " ".repeat(head.len() + 2);
    let text = text.trim_end().replace('\n', &format!("\n{indent}"));
    say(&format!("{}: {text}", paint(colour, head)));
}

/// Writes a warning to standard error.
pub(crate) fn warn(text: &str) {
    headed("warning", YELLOW, text);
}

/// The text in a colour; [`out`] and [`say`] take it off again where it is not wanted.
pub(crate) fn paint(colour: &str, text: &str) -> String {
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

/// Whether somebody watches standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Whether somebody is there to answer a question.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && is_watched()
}

/// Asks somebody at a terminal.
pub(crate) fn confirm(question: &str) -> bool {
    let _ = write!(anstream::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// A size for people: `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut divisor = 1_u64;
    while bytes / divisor >= 1024 && unit + 1 < UNITS.len() {
        divisor *= 1024;
        unit += 1;
    }
    if unit == 0 {
        return format!("{bytes} B");
    }
    // In tenths, rounded; u128 because the largest sizes times ten do not fit.
    let tenths = (u128::from(bytes) * 10 + u128::from(divisor) / 2) / u128::from(divisor);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// How long ago or how far ahead: `3d ago`, `in 14d`.
pub(crate) fn relative(time: Timestamp, now: Timestamp) -> String {
    let seconds = time.as_second().saturating_sub(now.as_second());
    let text = span(seconds.unsigned_abs());
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {text}"),
        _ => format!("{text} ago"),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A text as it may stand in XML, between tags or quotes.
pub(crate) fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML 1.0 has no place for these, not even escaped.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// One line of text from somebody else's data: no control characters reach the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_and_the_right_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times_are_told_from_now() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |seconds: i64| relative(Timestamp::from_second(1_000_000 + seconds).unwrap(), now);
        assert_eq!(at(0), "now");
        assert_eq!(at(-59), "59s ago");
        assert_eq!(at(3 * 86_400), "in 3d");
        assert_eq!(at(-7200), "2h ago");
    }

    #[test]
    fn escapes_in_foreign_text_do_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
