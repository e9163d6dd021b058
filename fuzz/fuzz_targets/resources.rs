//! Files of resources: what is read and written again says the same and has the same revision, and what is
//! wrong is told with a place in the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resources::{Problems, builtin, overlay, read_text};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let set = match read_text("a.yaml", text) {
        Ok(set) => set,
        Err(problems) => return told(&problems, text),
    };
    let yaml = set.to_yaml();
    let again = read_text("b.yaml", &yaml).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"));
    assert_eq!(set.canonical_json(), again.canonical_json());
    assert_eq!(set.revision(), again.revision());
    assert_eq!(yaml, again.to_yaml());
    let json = serde_json::from_str::<serde_json::Value>(&set.canonical_json());
    assert!(json.is_ok(), "the revision is taken over JSON");
    match overlay(&builtin(), &set) {
        Ok(whole) => assert!(whole.documents().len() >= builtin().documents().len()),
        Err(problems) => told(&problems, text),
    }
});

fn told(problems: &Problems, text: &str) {
    let shown = problems.to_string();
    assert!(!shown.trim().is_empty());
    for line in shown.lines() {
        assert!(!line.contains(|c: char| c.is_control() && c != '\t'), "{line:?}");
    }
    // As editors count; the end of a text may be on a line of its own.
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1;
    for line in shown.lines() {
        let Some(place) = line.strip_prefix("a.yaml:") else { continue };
        let number: String = place.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(number) = number.parse::<usize>() {
            assert!(number <= lines, "{line}");
        }
    }
}
