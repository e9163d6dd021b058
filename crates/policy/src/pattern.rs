//! Patterns over repository names: `docker.io/**`, `team/*/api`.

use globset::{GlobBuilder, GlobMatcher};
use oci::Name;

/// A glob over a canonical name. `*` stays within a segment, `**` crosses them; `x/**` also
/// matches what is directly below `x`, not `x` itself.
#[derive(Clone, Debug)]
pub struct NamePattern {
    text: String,
    matcher: GlobMatcher,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?}: {reason}; use * within a segment and ** across segments")]
pub struct PatternError {
    pattern: String,
    reason: String,
}

impl NamePattern {
    /// Compiles a pattern, once, when resources are loaded.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let error =
            |reason: String| PatternError { pattern: text.chars().take(128).collect(), reason };
        if text.is_empty() || text.len() > 512 {
            return Err(error("it has 1 to 512 characters".to_owned()));
        }
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .build()
            .map_err(|cause| error(cause.kind().to_string()))?;
        Ok(Self { text: text.to_owned(), matcher: glob.compile_matcher() })
    }

    /// Whether the name fits.
    pub fn matches(&self, name: &Name) -> bool {
        self.matches_text(name.as_str())
    }

    /// Whether a text that is not a name alone (such as `name:tag`) fits.
    pub fn matches_text(&self, text: &str) -> bool {
        self.matcher.is_match(text)
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_know_their_segments() {
        let fits =
            |pattern: &str, name: &str| NamePattern::parse(pattern).unwrap().matches_text(name);
        assert!(fits("docker.io/**", "docker.io/library/alpine"));
        assert!(!fits("docker.io/**", "docker.io"));
        assert!(!fits("docker.io/*", "docker.io/library/alpine"));
        assert!(fits("**", "a/b/c"));
        assert!(fits("library/*:*-lts", "library/node:20-lts"));
        assert!(!fits("docker.io/**", "docker.iox/a"));
        assert!(NamePattern::parse("a[").is_err());
        assert!(NamePattern::parse("").is_err());
    }
}
