//! Moments and spans of time: how they are read, written and taken apart, all in UTC.

use super::functions::Function;
use super::value::Value;
use jiff::{SignedDuration, Timestamp, tz::Offset};

/// The value of a function of a moment or a span, or one that makes either.
pub(super) fn call(function: Function, value: &Value<'_>) -> Result<Value<'static>, String> {
    match (function, value) {
        (Function::ToTimestamp, Value::Timestamp(moment)) => Ok(Value::Timestamp(*moment)),
        (Function::ToTimestamp, Value::String(text)) => text
            .parse()
            .map(Value::Timestamp)
            .map_err(|_| format!("{:?} is no time such as 2026-01-31T12:00:00Z", head(text))),
        (Function::ToTimestamp, Value::Int(seconds)) => Timestamp::from_second(*seconds)
            .map(Value::Timestamp)
            .map_err(|_| format!("{seconds} seconds since 1970 is no time")),
        (Function::ToDuration, Value::Duration(span)) => Ok(Value::Duration(*span)),
        (Function::ToDuration, Value::String(text)) => parse_duration(text)
            .map(Value::Duration)
            .ok_or_else(|| format!("{:?} is no duration such as 1h30m or 336h", head(text))),
        (function, Value::Timestamp(moment)) => part(function, *moment),
        (Function::Hours, Value::Duration(span)) => Ok(Value::Int(span.as_hours())),
        (Function::Minutes, Value::Duration(span)) => Ok(Value::Int(span.as_mins())),
        (Function::Seconds, Value::Duration(span)) => Ok(Value::Int(span.as_secs())),
        (_, other) => Err(format!("the function does not take {}", other.value_type())),
    }
}

fn head(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Months and days of months, years and weeks count from 0, as CEL has it; `getDate` counts from 1.
fn part(function: Function, moment: Timestamp) -> Result<Value<'static>, String> {
    let at = Offset::UTC.to_datetime(moment);
    Ok(Value::Int(match function {
        Function::Year => at.year().into(),
        Function::Month => i64::from(at.month()) - 1,
        Function::DayOfMonth => i64::from(at.day()) - 1,
        Function::Date => at.day().into(),
        Function::DayOfWeek => at.weekday().to_sunday_zero_offset().into(),
        Function::DayOfYear => i64::from(at.day_of_year()) - 1,
        Function::Hours => at.hour().into(),
        Function::Minutes => at.minute().into(),
        Function::Seconds => at.second().into(),
        Function::Milliseconds => at.millisecond().into(),
        _ => return Err("the function does not take timestamp".to_owned()),
    }))
}

/// `1h30m`, `-1.5s`, `250ms`: what Go and thereby CEL writes.
fn parse_duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() || text.len() > 64 {
        return None;
    }
    let mut nanoseconds = 0_i128;
    while !rest.is_empty() {
        let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let (number, after) = rest.split_at(end);
        let unit_end =
            after.find(|it: char| it.is_ascii_digit() || it == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let unit: i128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        nanoseconds = nanoseconds.checked_add(scaled(number, unit)?)?;
        rest = next;
    }
    let nanoseconds = if negative { -nanoseconds } else { nanoseconds };
    let seconds = i64::try_from(nanoseconds / 1_000_000_000).ok()?;
    // The remainder is below 10^9.
    Some(SignedDuration::new(seconds, (nanoseconds % 1_000_000_000) as i32))
}

/// A decimal number of units.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 18 || fraction.len() > 18 {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
    let scale = 10_i128.pow(fraction.len() as u32);
    Some(digits(whole)? * unit + digits(fraction)? * unit / scale)
}

/// Seconds with as many decimals as there are: `5400s`, `0.25s`.
pub(super) fn format_duration(span: SignedDuration) -> String {
    let sign = if span.is_negative() { "-" } else { "" };
    let (seconds, nanoseconds) =
        (span.as_secs().unsigned_abs(), span.subsec_nanos().unsigned_abs());
    if nanoseconds == 0 {
        return format!("{sign}{seconds}s");
    }
    let decimals = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}s", decimals.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, written) in [
            ("1h30m", "5400s"),
            ("336h", "1209600s"),
            ("250ms", "0.25s"),
            ("-1.5s", "-1.5s"),
            ("1.5h", "5400s"),
            (".5s", "0.5s"),
            ("1µs", "0.000001s"),
            ("0", "0s"),
            ("100000000000000000h", ""),
        ] {
            let read = parse_duration(text).map(format_duration).unwrap_or_default();
            assert_eq!(read, written, "{text}");
        }
        for text in
            ["", "-", "1", "h", "1d", "1.2.3s", "1 h", "1h-1m", ".s", "9999999999999999999s"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
