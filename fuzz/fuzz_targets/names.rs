//! Digests, names, tags, references, patterns, ranges, routes and manifests: what is read prints as something
//! that is read as the same, and stays within what it is taken from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::range::{self, Selection};
use oci::route::Route;
use oci::{Digest, Manifest, MediaType, Name, Platform, Reference, Tag};
use policy::cel::VersionRange;
use policy::{NamePattern, TagPattern, TextPattern};
use std::fmt::{Debug, Display};

fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::parse(data, None) {
        let same = Manifest::parse(data, None).expect("it was read before");
        assert_eq!(format!("{manifest:?}"), format!("{same:?}"));
        assert!(manifest.blobs().count() <= data.len());
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    again(text, |text| Digest::parse(text).ok());
    again(text, |text| Name::parse(text).ok());
    again(text, |text| Tag::parse(text).ok());
    again(text, |text| Reference::parse(text).ok());
    again(text, |text| MediaType::parse(text).ok());
    again(text, |text| text.parse::<Platform>().ok());
    if let Some(Ok(route)) = Route::parse(text) {
        assert_eq!(
            format!("{route:?}"),
            format!("{:?}", Route::parse(text).expect("as before").expect("as before"))
        );
        assert!(!format!("{route:?}").contains("/../"), "{route:?}");
    }
    if let Some(name) = text.lines().next().and_then(|line| Name::parse(line).ok()) {
        for segment in name.segments() {
            assert!(!segment.is_empty() && !matches!(segment, "." | ".."), "{name}");
        }
    }
    ranges(text);
    patterns(text);
});

fn again<T: Debug + Display + PartialEq>(text: &str, read: impl Fn(&str) -> Option<T>) {
    let Some(value) = read(text) else { return };
    let printed = value.to_string();
    assert!(!printed.contains(char::is_control), "{printed:?}");
    assert_eq!(read(&printed), Some(value));
}

fn ranges(text: &str) {
    let Some(specs) = range::parse(text) else { return };
    assert!(specs.len() <= range::MAX_RANGES);
    for size in [0, 1, 7, u64::MAX] {
        if let Selection::Ranges(ranges) = range::select(&specs, size) {
            assert!(!ranges.is_empty());
            for range in ranges {
                assert!(!range.is_empty() && range.end <= size, "{range:?} of {size}");
            }
        }
    }
}

fn patterns(text: &str) {
    let (pattern, subject) = text.split_once('\n').unwrap_or((text, "a/b/c"));
    if let Ok(pattern) = NamePattern::parse(pattern) {
        assert_eq!(NamePattern::parse(pattern.as_str()).as_ref(), Ok(&pattern));
        if pattern.as_str() == "**" {
            assert!(
                Name::parse(subject).is_ok_and(|it| pattern.matches(&it))
                    || Name::parse(subject).is_err()
            );
        }
        pattern.matches_text(subject);
    }
    if let Ok(text) = TextPattern::parse(pattern) {
        let is_plain = !pattern.contains(['*', '?', '[', ']', '{', '}', '\\', '!']);
        assert!(!is_plain || text.matches(pattern), "{pattern:?} is not itself");
        text.matches(subject);
    }
    if let (Ok(pattern), Ok(tag)) = (TagPattern::parse(pattern), Tag::parse(subject)) {
        pattern.matches(&tag);
    }
    if let Ok(range) = VersionRange::parse(pattern) {
        range.contains(subject);
    }
}
