//! Conditional requests (RFC 9110 §13), where every validator is a digest.

use http::{HeaderMap, HeaderValue, header};

/// Whether `If-None-Match` says that the client has it. `etag` is ours, with its quotes.
///
/// The comparison is weak (§13.1.2). A bare digest without quotes counts too; some clients send
/// one.
pub(super) fn has_it(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let digest = unquoted(etag.as_bytes());
    let mut lines = headers.get_all(header::IF_NONE_MATCH).iter();
    lines.any(|line| line.as_bytes().split(|byte| *byte == b',').any(|tag| matches(tag, digest)))
}

fn matches(tag: &[u8], digest: &[u8]) -> bool {
    let tag = tag.trim_ascii();
    let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
    tag == b"*" || unquoted(tag) == digest
}

/// Whether `Range` counts: without `If-Range` it does; with, only if that is our strong tag. A
/// date never matches, because there is no `Last-Modified` to compare it to (§13.1.5).
pub(super) fn range_counts(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|condition| condition.as_bytes() == etag.as_bytes())
}

fn unquoted(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"\"").and_then(|tag| tag.strip_suffix(b"\"")).unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: HeaderValue = HeaderValue::from_static("\"sha256:ab\"");

    fn none_match(lines: &[&'static str]) -> bool {
        let line = |line: &&'static str| (header::IF_NONE_MATCH, HeaderValue::from_static(line));
        has_it(&lines.iter().map(line).collect(), &ETAG)
    }

    #[test]
    fn if_none_match_in_all_its_forms() {
        for lines in [
            &["\"sha256:ab\""][..],
            &["W/\"sha256:ab\""],
            &["sha256:ab"],
            &["*"],
            &["\"x\", W/\"y\" ,\"sha256:ab\""],
            &["\"x\"", "\"sha256:ab\""],
        ] {
            assert!(none_match(lines), "{lines:?}");
        }
        for lines in [&[][..], &[""], &["\"sha256:a\""], &["\"sha256:abc\"", "w/\"sha256:ab\""]] {
            assert!(!none_match(lines), "{lines:?}");
        }
    }

    #[test]
    fn if_range_takes_our_strong_tag_and_nothing_else() {
        let counts = |value: &'static str| {
            let line = (header::IF_RANGE, HeaderValue::from_static(value));
            range_counts(&[line].into_iter().collect(), &ETAG)
        };
        assert!(range_counts(&HeaderMap::new(), &ETAG));
        assert!(counts("\"sha256:ab\""));
        assert!(!counts("W/\"sha256:ab\""));
        assert!(!counts("Tue, 24 Nov 2026 17:02:03 GMT"));
        assert!(!counts("\"sha256:cd\""));
    }
}
