//! Repository names: `docker.io/library/alpine`, any number of segments.

use smol_str::SmolStr;
use std::fmt;
use std::str::FromStr;

/// A checked repository name (distribution-spec, "Pulling manifests": `<name>`).
///
/// Cheap to clone. Whether it is canonical (contracts §1) is a matter of who made it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(SmolStr);

/// Why a text is not a repository name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a repository name may not be empty")]
    Empty,
    /// Longer than [`Name::MAX_BYTES`].
    #[error("a repository name has at most {} characters", Name::MAX_BYTES)]
    TooLong,
    /// A segment breaks the grammar.
    #[error(
        "repository name segment {0:?}: use lower-case letters and digits, separated by one of . _ __ or dashes"
    )]
    BadSegment(String),
}

impl Name {
    /// Names are used in paths of file systems and object stores and in client references; 255
    /// is what distribution-spec tells clients to expect.
    pub const MAX_BYTES: usize = 255;

    /// Parses a name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` per segment, segments joined by `/`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(SmolStr::new(text)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, in order; at least one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// `self/rest`; fails only when the result is too long.
    pub fn join(&self, rest: &Name) -> Result<Self, NameError> {
        Self::parse(&format!("{}/{}", self.0, rest.0))
    }

    /// What follows `prefix/`, if this name lies below `prefix`.
    pub fn below(&self, prefix: &Name) -> Option<Self> {
        let rest = self.0.strip_prefix(prefix.as_str())?.strip_prefix('/')?;
        Some(Self(SmolStr::new(rest)))
    }
}

/// Checks the grammar without making a value: for callers that only look something up.
pub(crate) fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > Name::MAX_BYTES {
        return Err(NameError::TooLong);
    }
    for segment in text.split('/') {
        if !segment_is_valid(segment.as_bytes()) {
            return Err(NameError::BadSegment(segment.chars().take(64).collect()));
        }
    }
    Ok(())
}

fn segment_is_valid(segment: &[u8]) -> bool {
    let mut at = 0;
    loop {
        let run = alphanumeric_run(&segment[at..]);
        if run == 0 {
            return false;
        }
        at += run;
        if at == segment.len() {
            return true;
        }
        at += match &segment[at..] {
            [b'.', ..] => 1,
            [b'_', b'_', ..] => 2,
            [b'_', ..] => 1,
            rest @ [b'-', ..] => rest.iter().take_while(|byte| **byte == b'-').count(),
            _ => return false,
        };
    }
}

fn alphanumeric_run(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()).count()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_of_any_depth() {
        for text in [
            "a",
            "library/alpine",
            "docker.io/library/alpine",
            "a/b/c/d/e/f/g",
            "a--b",
            "a__b",
            "a_b.c-d",
            "us-docker.pkg.dev/project/repo/image/sub",
            "0/1",
        ] {
            assert_eq!(Name::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_what_the_grammar_does_not_know() {
        for text in [
            "", "/", "a/", "/a", "a//b", "A", "a/B", ".a", "a.", "a..b", "a___b", "-a", "a-", "a_",
            "a b", "a/../b", "é", "a%2fb", "a:b", "a\u{0}",
        ] {
            assert!(Name::parse(text).is_err(), "{text:?}");
        }
        assert!(Name::parse(&"a".repeat(255)).is_ok());
        assert_eq!(Name::parse(&"a".repeat(256)), Err(NameError::TooLong));
    }

    #[test]
    fn joins_and_splits() {
        let repository = Name::parse("docker.io").unwrap();
        let rest = Name::parse("library/alpine").unwrap();
        let whole = repository.join(&rest).unwrap();
        assert_eq!(whole.as_str(), "docker.io/library/alpine");
        assert_eq!(whole.below(&repository), Some(rest));
        assert_eq!(whole.below(&Name::parse("docker").unwrap()), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[a-zA-Z0-9._/-]{0,40}|\\PC{0,40}") {
            if let Ok(name) = Name::parse(&text) {
                proptest::prop_assert_eq!(name.as_str(), text);
            }
        }
    }
}
