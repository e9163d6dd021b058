//! Values from strangers in a log line: nothing in them can end the line, forge a field or steer a
//! terminal.

/// No value takes more of a line than this, in bytes.
const VALUE_MAX_BYTES: usize = 512;

/// Appends `value` as a JSON string in ASCII (RFC 8259 §7), cut if it is very long.
pub(crate) fn push_json(line: &mut Vec<u8>, value: &str) {
    line.push(b'"');
    let kept = &value[..value.floor_char_boundary(VALUE_MAX_BYTES)];
    if kept.bytes().all(is_plain_in_quotes) {
        line.extend_from_slice(kept.as_bytes());
    } else {
        kept.chars().for_each(|c| push_escaped(line, c));
    }
    if kept.len() < value.len() {
        line.extend_from_slice(b"...");
    }
    line.push(b'"');
}

/// Appends `value` bare if it is a plain word, else as [`push_json`] does.
pub(crate) fn push_text(line: &mut Vec<u8>, value: &str) {
    let bare = !value.is_empty()
        && value.len() <= VALUE_MAX_BYTES
        && value.bytes().all(|byte| is_plain_in_quotes(byte) && byte != b' ' && byte != b'=');
    if bare {
        line.extend_from_slice(value.as_bytes());
    } else {
        push_json(line, value);
    }
}

fn is_plain_in_quotes(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn push_escaped(line: &mut Vec<u8>, c: char) {
    match c {
        '"' | '\\' => line.extend_from_slice(&[b'\\', c as u8]),
        ' '..='~' => line.push(c as u8),
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                line.extend_from_slice(b"\\u");
                for shift in [12, 8, 4, 0] {
                    let digit = usize::from((*unit >> shift) & 0xf);
                    line.push(b"0123456789abcdef"[digit]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(value: &str) -> String {
        let mut line = Vec::new();
        push_json(&mut line, value);
        String::from_utf8(line).unwrap()
    }

    fn text(value: &str) -> String {
        let mut line = Vec::new();
        push_text(&mut line, value);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn plain_words_stay_as_they_are_and_the_rest_is_quoted() {
        for (value, expected) in [
            ("docker.io/library/alpine:3", "docker.io/library/alpine:3"),
            ("", r#""""#),
            ("two words", r#""two words""#),
            ("status=200", r#""status=200""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("a\nb\u{1b}[31m", r#""a\u000ab\u001b[31m""#),
            ("\u{202e}é😀", r#""\u202e\u00e9\ud83d\ude00""#),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn a_very_long_value_is_cut() {
        assert_eq!(text(&"x".repeat(5000)).len(), 512 + 3 + 2);
        assert!(text(&"é".repeat(5000)).len() < 2000);
    }

    proptest! {
        #[test]
        fn any_value_is_one_json_string_in_printable_ascii(value in ".{0,100}") {
            let quoted = json(&value);
            prop_assert!(quoted.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            let back: String = serde_json::from_str(&quoted).unwrap();
            prop_assert_eq!(back, value);
        }
    }
}
