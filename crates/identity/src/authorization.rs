//! The header `Authorization` (RFC 9110 §11.6.2), read the same way wherever a client shows one.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Longer than any honest header: tokens are a few KiB.
const MAX_BYTES: usize = 24 << 10;

/// What a header shows. Nothing in it is checked yet.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization<'h> {
    /// A token (RFC 6750).
    Bearer(&'h str),
    /// A name and a secret (RFC 7617).
    Basic {
        /// The name.
        username: String,
        /// The secret.
        password: String,
    },
}

/// Why a header shows nothing. Never holds what was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// Longer than 24 KiB.
    #[error("the header Authorization is too long")]
    TooLong,
    /// Neither Bearer nor Basic.
    #[error("the scheme of Authorization is neither Bearer nor Basic")]
    Scheme,
    /// No base64, no text, no colon, or control characters, which neither part may have.
    #[error("it is no Basic credential")]
    Basic,
    /// A token of other characters than tokens have.
    #[error("it is no Bearer token")]
    Bearer,
}

impl std::fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer",
            Self::Basic { .. } => "Basic",
        })
    }
}

impl<'h> Authorization<'h> {
    /// Reads the value of a header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(header: &'h str) -> Result<Self, AuthorizationError> {
        if header.len() > MAX_BYTES {
            return Err(AuthorizationError::TooLong);
        }
        let (scheme, value) = header.split_once(' ').unwrap_or((header, ""));
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            let is_token = value.bytes().all(|byte| byte.is_ascii_graphic());
            return if is_token {
                Ok(Self::Bearer(value))
            } else {
                Err(AuthorizationError::Bearer)
            };
        }
        if scheme.eq_ignore_ascii_case("basic") {
            return basic(value).ok_or(AuthorizationError::Basic);
        }
        Err(AuthorizationError::Scheme)
    }

    /// Whether it is Basic with nothing in it: what clients without a login send.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Basic { username, password } if username.is_empty() && password.is_empty())
    }
}

fn basic(value: &str) -> Option<Authorization<'static>> {
    let decoded = BASE64_STANDARD.decode(value).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    // RFC 7617 §2: neither may have control characters. A name goes into logs and answers.
    if text.contains(char::is_control) {
        return None;
    }
    let (username, password) = text.split_once(':')?;
    Some(Authorization::Basic { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(text))
    }

    #[test]
    fn both_schemes_are_read_whatever_their_case() {
        assert!(Authorization::parse("bEARER  a.b.c ") == Ok(Authorization::Bearer("a.b.c")));
        let header = basic("alice:a:b ü").replace("Basic", "bAsic");
        let (username, password) = ("alice".to_owned(), "a:b ü".to_owned());
        assert!(Authorization::parse(&header) == Ok(Authorization::Basic { username, password }));
        assert!(Authorization::parse("Basic Og==").unwrap().is_empty());
        assert!(!Authorization::parse(&basic("a:")).unwrap().is_empty());
    }

    #[test]
    fn what_is_neither_says_why_and_nothing_else() {
        for (header, error) in [
            ("", AuthorizationError::Scheme),
            ("Digest x", AuthorizationError::Scheme),
            ("Basic", AuthorizationError::Basic),
            ("Basic ???", AuthorizationError::Basic),
            (&basic("no colon"), AuthorizationError::Basic),
            (&basic("a\nb:c"), AuthorizationError::Basic),
            (&basic("a:b\u{0}"), AuthorizationError::Basic),
            ("Bearer a b", AuthorizationError::Bearer),
            ("Bearer a\tb", AuthorizationError::Bearer),
            (&format!("Bearer {}", "a".repeat(MAX_BYTES)), AuthorizationError::TooLong),
        ] {
            assert_eq!(Authorization::parse(header).err(), Some(error), "{header:.40}");
        }
    }

    #[test]
    fn what_was_shown_is_never_printed() {
        let header = basic("alice:secret");
        let shown = format!("{:?}", Authorization::parse(&header));
        assert_eq!(shown, "Ok(Basic)");
    }
}
