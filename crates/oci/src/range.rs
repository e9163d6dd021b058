//! Byte ranges (RFC 9110 §14): what part of a blob a client asks for.

/// A range with both ends known: bytes `start..end` of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether it holds no byte.
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }
}

/// One element of a `Range: bytes=…` header, before the size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `a-b`, both inclusive; with b below a it holds nothing.
    Closed(u64, u64),
    /// `a-`.
    From(u64),
    /// `-n`: the last n bytes.
    Suffix(u64),
}

/// What a `Range` header asks of content of a known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// No usable range: answer 200 with everything (RFC 9110 §14.2 lets us ignore it).
    Whole,
    /// Answer 206 with these, in the order asked for.
    Ranges(Vec<ByteRange>),
    /// None lies inside the content: answer 416.
    Unsatisfiable,
}

/// More ranges than this in one header are an attack (CVE-2011-3192): the header is ignored.
pub const MAX_RANGES: usize = 16;

/// Parses the value of a `Range` header. `None`: not a byte range, malformed or too many, so to
/// be ignored.
pub fn parse(value: &str) -> Option<Vec<RangeSpec>> {
    let specs = value.trim().strip_prefix("bytes=")?;
    let mut ranges = Vec::new();
    for spec in specs.split(',') {
        let spec = spec.trim();
        if spec.is_empty() {
            continue;
        }
        if ranges.len() == MAX_RANGES {
            return None;
        }
        let (first, last) = spec.split_once('-')?;
        ranges.push(match (first, last) {
            ("", suffix) => RangeSpec::Suffix(number(suffix)?),
            (first, "") => RangeSpec::From(number(first)?),
            (first, last) => {
                // Backwards is a range that holds nothing, not a header to be ignored: RFC 9110 allows
                // either, the conformance tests of the distribution-spec ask for 416.
                RangeSpec::Closed(number(first)?, number(last)?)
            }
        });
    }
    if ranges.is_empty() { None } else { Some(ranges) }
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Resolves parsed ranges against the size of the content. Overlapping or repeated ranges that
/// add up to more than the content are answered whole.
pub fn select(specs: &[RangeSpec], size_bytes: u64) -> Selection {
    let mut ranges = Vec::with_capacity(specs.len());
    for spec in specs {
        let (start, end) = match *spec {
            RangeSpec::Closed(first, last) => (first, last.saturating_add(1).min(size_bytes)),
            RangeSpec::From(first) => (first, size_bytes),
            RangeSpec::Suffix(count) => (size_bytes.saturating_sub(count), size_bytes),
        };
        if start < end {
            ranges.push(ByteRange { start, end });
        }
    }
    if ranges.is_empty() {
        return Selection::Unsatisfiable;
    }
    // A size may be what somebody says it is, so that the sum need not fit its type.
    let total: u128 = ranges.iter().map(|range| u128::from(range.len())).sum();
    if ranges.len() > 1 && total > u128::from(size_bytes) {
        return Selection::Whole;
    }
    Selection::Ranges(ranges)
}

/// What a chunk of an upload says of itself: `Content-Range: 0-1023` (distribution-spec, "Pushing a
/// blob in chunks"), or as RFC 9110 §14.4 writes it, `bytes 0-1023/2048`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes that are sent; at least one.
    pub range: ByteRange,
    /// The length of the whole, if it is said.
    pub total_bytes: Option<u64>,
}

/// Why a text is no `Content-Range`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Content-Range has the form first-last, such as 0-1023, with last not below first")]
pub struct ContentRangeError;

impl ContentRange {
    /// Parses the value of the header.
    pub fn parse(value: &str) -> Result<Self, ContentRangeError> {
        let value = value.trim();
        // Some clients write it as they would write `Range`.
        let unit = ["bytes ", "bytes="];
        let value = unit.iter().find_map(|unit| value.strip_prefix(unit)).unwrap_or(value);
        let (range, total) = match value.split_once('/') {
            Some((range, total)) => (range, Some(total)),
            None => (value, None),
        };
        let (first, last) = range.split_once('-').ok_or(ContentRangeError)?;
        let start = number(first).ok_or(ContentRangeError)?;
        let last = number(last).filter(|last| *last >= start).ok_or(ContentRangeError)?;
        let end = last.checked_add(1).ok_or(ContentRangeError)?;
        let total_bytes = match total {
            None | Some("*") => None,
            Some(total) => {
                Some(number(total).filter(|total| *total >= end).ok_or(ContentRangeError)?)
            }
        };
        Ok(Self { range: ByteRange { start, end }, total_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &str, size: u64) -> Selection {
        match parse(value) {
            Some(specs) => select(&specs, size),
            None => Selection::Whole,
        }
    }

    #[test]
    fn ranges_of_the_largest_size_add_up() {
        let specs = parse("bytes=0-4,7-,-3").unwrap();
        assert_eq!(select(&specs, u64::MAX), Selection::Whole);
    }

    #[test]
    fn single_ranges() {
        let is = |start, end| Selection::Ranges(vec![ByteRange { start, end }]);
        assert_eq!(one("bytes=500-1499", 10_000), is(500, 1500));
        assert_eq!(one("bytes=500-", 10_000), is(500, 10_000));
        assert_eq!(one("bytes=-500", 10_000), is(9_500, 10_000));
        assert_eq!(one("bytes=2000-50000", 10_000), is(2000, 10_000));
        assert_eq!(one("bytes=-50000", 10_000), is(0, 10_000));
        assert_eq!(one("bytes=0-0", 1), is(0, 1));
        assert_eq!(one("bytes=10000-", 10_000), Selection::Unsatisfiable);
        assert_eq!(one("bytes=-0", 10_000), Selection::Unsatisfiable);
        assert_eq!(one("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(one("bytes=500-0", 10_000), Selection::Unsatisfiable);
        assert_eq!(one("bytes=500-0,1-1", 10_000), is(1, 2));
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        for value in ["bytes=", "bytes=a-b", "items=0-1", "bytes=+1-2", "bytes=1", "bytes=-"] {
            assert_eq!(one(value, 10), Selection::Whole, "{value}");
        }
        let many = format!("bytes={}", ["0-0"; 17].join(","));
        assert_eq!(one(&many, 1000), Selection::Whole);
    }

    #[test]
    fn several_ranges_keep_their_order_but_not_their_greed() {
        assert_eq!(
            one("bytes=5-6, 0-1", 10),
            Selection::Ranges(vec![ByteRange { start: 5, end: 7 }, ByteRange { start: 0, end: 2 }])
        );
        assert_eq!(one("bytes=0-,0-,0-", 10), Selection::Whole);
    }

    #[test]
    fn chunks_say_where_they_belong() {
        let is = |start, end, total_bytes| {
            Ok(ContentRange { range: ByteRange { start, end }, total_bytes })
        };
        for (value, wanted) in [
            ("0-1023", is(0, 1024, None)),
            (" 1024-1024 ", is(1024, 1025, None)),
            ("bytes 0-1023/*", is(0, 1024, None)),
            ("bytes 0-1023/1024", is(0, 1024, Some(1024))),
            ("bytes=5-9", is(5, 10, None)),
        ] {
            assert_eq!(ContentRange::parse(value), wanted, "{value}");
        }
        for bad in [
            "",
            "-",
            "0-",
            "-1",
            "1-0",
            "0--1",
            "+0-1",
            "0-1,2-3",
            "0x0-1",
            "bytes0-1",
            "bytes */10",
            "0-9/5",
            "0-9/x",
            "0-18446744073709551615",
        ] {
            assert!(ContentRange::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn content_ranges_never_panic(value in "(bytes[ =])?[0-9*/-]{0,50}|\\PC{0,40}") {
            if let Ok(ContentRange { range, total_bytes }) = ContentRange::parse(&value) {
                proptest::prop_assert!(range.start < range.end);
                proptest::prop_assert!(total_bytes.is_none_or(|total| total >= range.end));
            }
        }

        #[test]
        fn ranges_lie_inside(value in "bytes=[0-9,-]{0,40}", size in 0u64..5000) {
            if let Selection::Ranges(ranges) = one(&value, size) {
                for range in ranges {
                    proptest::prop_assert!(range.start < range.end && range.end <= size);
                }
            }
        }
    }
}
