//! Percent-encoding (RFC 3986 §2.1), as far as queries and path segments need it.

use std::borrow::Cow;

/// `text` as it may stand in a query: unreserved characters, `/` and `:` stay as they are.
pub(crate) fn push_encoded(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Undoes the encoding. `None`: broken, or no UTF-8 below it. `plus_is_space`: as browsers write
/// queries.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    let is_encoded = |byte: u8| byte == b'%' || (plus_is_space && byte == b'+');
    if !text.bytes().any(is_encoded) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => nibble(bytes.next()?)? << 4 | nibble(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn nibble(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn broken_encodings_are_none() {
        for text in ["%", "%4", "%zz", "a%ff"] {
            assert_eq!(decode(text, true), None, "{text}");
        }
        assert_eq!(decode("a+b%2Bc", true).as_deref(), Some("a b+c"));
        assert_eq!(decode("a+b", false).as_deref(), Some("a+b"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_can_be_read_back(text in "\\PC{0,40}") {
            let mut encoded = String::new();
            push_encoded(&mut encoded, &text);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'&'));
            let decoded = decode(&encoded, true);
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
        }
    }
}
