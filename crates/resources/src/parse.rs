//! Durations and sizes as people write them: `5m`, `1h30m`, `forever`, `200GiB`.
//!
//! One parser for files, the environment and flags (contracts §6: durations match one pattern,
//! parsed in one place). The text is kept as written, since it is part of the revision.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Longer texts are refused before they are looked at.
const MAX_TEXT_BYTES: usize = 32;
/// Ten years: longer is written `forever`, and sums with a clock cannot overflow.
const MAX_DURATION: Duration = Duration::from_secs(3650 * 24 * 3600);

const DURATION_UNITS_MS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS_BYTES: [(&str, u64); 12] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
];

/// Reads `([0-9]+(ms|s|m|h|d))+`, such as `500ms` or `1h30m`, up to ten years.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || {
        format!("{:?} is no duration; write one such as 500ms, 30s, 5m, 1h30m or 30d", cut(text))
    };
    if text.is_empty() || text.len() > MAX_TEXT_BYTES {
        return Err(bad());
    }
    let mut total_ms: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let unit = &rest[..letters];
        let (_, unit_ms) =
            DURATION_UNITS_MS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        total_ms =
            number.checked_mul(*unit_ms).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(bad)?;
        rest = &rest[letters..];
    }
    let duration = Duration::from_millis(total_ms);
    if duration > MAX_DURATION {
        return Err(format!("{text:?} is longer than ten years"));
    }
    Ok(duration)
}

/// Writes a duration as [`parse_duration`] reads it; what is below a millisecond is cut off.
pub fn format_duration(duration: Duration) -> String {
    let mut rest_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest_ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, unit_ms) in DURATION_UNITS_MS.iter().rev() {
        let count = rest_ms / unit_ms;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            rest_ms %= unit_ms;
        }
    }
    text
}

/// Reads a size in bytes: `4096`, `512MiB`, `200GiB`, `1.5TiB`, `10GB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("{:?} is no size; write one such as 512MiB, 200GiB or 1.5TiB", cut(text));
    if text.is_empty() || text.len() > MAX_TEXT_BYTES {
        return Err(bad());
    }
    let end = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(end);
    let (_, unit_bytes) =
        SIZE_UNITS_BYTES.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_fraction = number.contains('.');
    if is_fraction && (fraction.is_empty() || fraction.len() > 6 || *unit_bytes == 1) {
        return Err(bad());
    }
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let whole_bytes = whole.checked_mul(*unit_bytes).ok_or_else(bad)?;
    let mut fraction_bytes = 0;
    if is_fraction {
        let numerator: u128 = fraction.parse().map_err(|_| bad())?;
        let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| bad())?);
        // At most 6 digits times 2^50: far below 2^128, and the quotient below one unit.
        let bytes = numerator * u128::from(*unit_bytes) / scale;
        fraction_bytes = u64::try_from(bytes).map_err(|_| bad())?;
    }
    whole_bytes.checked_add(fraction_bytes).ok_or_else(bad)
}

/// Writes a size for people, with the largest unit that leaves it whole or one decimal.
pub fn format_size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut scale: u64 = 1;
    while unit + 1 < units.len() && bytes / scale >= 1024 {
        scale *= 1024;
        unit += 1;
    }
    if bytes.is_multiple_of(scale) {
        return format!("{}{}", bytes / scale, units[unit]);
    }
    format!("{:.1}{}", bytes as f64 / scale as f64, units[unit])
}

/// Reads a share of a whole: `1%` to `100%`.
pub fn parse_percent(text: &str) -> Result<u8, String> {
    text.strip_suffix('%')
        .filter(|digits| digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .filter(|percent| (1..=100).contains(percent))
        .ok_or_else(|| format!("{:?} is no share; write one from 1% to 100%", cut(text)))
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A duration as written; always bounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WireDuration {
    text: String,
    value: Duration,
}

impl WireDuration {
    /// What it says.
    pub fn get(&self) -> Duration {
        self.value
    }
}

impl TryFrom<String> for WireDuration {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Ok(Self { value: parse_duration(&text)?, text })
    }
}

impl From<Duration> for WireDuration {
    fn from(value: Duration) -> Self {
        Self { text: format_duration(value), value }
    }
}

impl From<WireDuration> for String {
    fn from(duration: WireDuration) -> Self {
        duration.text
    }
}

/// A duration as written, or `forever`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WireDurationOrForever {
    text: String,
    value: Option<Duration>,
}

impl WireDurationOrForever {
    /// What it says; `None` is for ever.
    pub fn get(&self) -> Option<Duration> {
        self.value
    }
}

impl TryFrom<String> for WireDurationOrForever {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let value = match text.as_str() {
            "forever" => None,
            text => Some(parse_duration(text).map_err(|error| format!("{error}, or forever"))?),
        };
        Ok(Self { text, value })
    }
}

impl From<WireDurationOrForever> for String {
    fn from(duration: WireDurationOrForever) -> Self {
        duration.text
    }
}

/// A size in bytes as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WireSize {
    text: String,
    bytes: u64,
}

impl WireSize {
    /// In bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// From a number of bytes.
    pub fn from_bytes(bytes: u64) -> Self {
        let text = format_size(bytes);
        // Rounded for people: then the exact number says what is meant.
        let text = if parse_size(&text) == Ok(bytes) { text } else { bytes.to_string() };
        Self { text, bytes }
    }
}

impl TryFrom<String> for WireSize {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Ok(Self { bytes: parse_size(&text)?, text })
    }
}

impl From<WireSize> for String {
    fn from(size: WireSize) -> Self {
        size.text
    }
}

/// A share of a whole, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WirePercent(u8);

impl WirePercent {
    /// 1 to 100.
    pub fn percent(self) -> u8 {
        self.0
    }

    /// From a number from 1 to 100; what lies outside becomes the nearer of the two.
    pub fn clamped(percent: u8) -> Self {
        Self(percent.clamp(1, 100))
    }
}

impl TryFrom<String> for WirePercent {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        parse_percent(&text).map(Self)
    }
}

impl From<WirePercent> for String {
    fn from(share: WirePercent) -> Self {
        format!("{}%", share.0)
    }
}

impl fmt::Display for WirePercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl JsonSchema for WirePercent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "lockgate-percent",
            "maxLength": 4,
            "pattern": "^(100|[1-9][0-9]?)%$",
        })
    }
}

impl fmt::Display for WireDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Display for WireDurationOrForever {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Display for WireSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl JsonSchema for WireDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "lockgate-duration",
            "maxLength": MAX_TEXT_BYTES,
            "pattern": "^([0-9]+(ms|s|m|h|d))+$",
        })
    }
}

impl JsonSchema for WireDurationOrForever {
    fn schema_name() -> Cow<'static, str> {
        "DurationOrForever".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "lockgate-duration-or-forever",
            "maxLength": MAX_TEXT_BYTES,
            "pattern": "^(([0-9]+(ms|s|m|h|d))+|forever)$",
        })
    }
}

impl JsonSchema for WireSize {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "lockgate-size",
            "maxLength": MAX_TEXT_BYTES,
            "pattern": "^[0-9]+([.][0-9]{1,6})?([KMGTP]i?B|kB|B)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, seconds) in [
            ("0s", 0.0),
            ("500ms", 0.5),
            ("20s", 20.0),
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("30d", 2_592_000.0),
            ("1d1h1m1s1ms", 90_061.001),
        ] {
            assert_eq!(parse_duration(text).map(|d| d.as_secs_f64()), Ok(seconds), "{text}");
        }
        for text in ["", "5", "m", "5 m", "-5m", "5M", "1.5h", "5min", "forever", "4000d", "5mm"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        let error = parse_duration("5 minutes").unwrap_err();
        assert_eq!(
            error,
            "\"5 minutes\" is no duration; write one such as 500ms, 30s, 5m, 1h30m or 30d"
        );
        assert!(parse_duration("18446744073709551615d").is_err());
        assert_eq!(WireDurationOrForever::try_from("forever".to_owned()).unwrap().get(), None);
    }

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1KiB", 1024),
            ("256MiB", 256 << 20),
            ("200GiB", 200 << 30),
            ("1.5TiB", 3 << 39),
            ("10GB", 10_000_000_000),
            ("1B", 1),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "1 GiB", "1gib", "-1", "1.5", "1.", ".5GiB", "1.2.3GiB", "99999PiB"]
        {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(format_size(200 << 30), "200GiB");
        assert_eq!(format_size(1536), "1.5KiB");
        assert_eq!(format_size(1), "1B");
        assert_eq!(WireSize::from_bytes((1 << 30) + 1).to_string(), "1073741825");
    }

    #[test]
    fn shares_are_from_one_to_a_hundred_percent() {
        assert_eq!(parse_percent("85%"), Ok(85));
        assert_eq!(parse_percent("100%"), Ok(100));
        for text in ["", "85", "0%", "101%", "8.5%", "-1%", "%", "+5%", "1000%"] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_the_pattern_allows_is_read(text in "([0-9]{1,3}(ms|s|m|h|d)){1,4}") {
            proptest::prop_assert!(parse_duration(&text).is_ok());
        }

        #[test]
        fn durations_come_back(ms in 0u64..300_000_000_000) {
            let duration = Duration::from_millis(ms);
            proptest::prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn sizes_come_back(bytes in 0u64..) {
            let size = WireSize::from_bytes(bytes);
            proptest::prop_assert_eq!(parse_size(&size.to_string()), Ok(bytes));
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}|[0-9.a-zA-Z]{0,40}") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}
