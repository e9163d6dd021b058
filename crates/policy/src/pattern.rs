//! Patterns over repository names and tags: `docker.io/**`, `team/*/api`, `pr-*`.

use globset::{GlobBuilder, GlobMatcher};
use oci::{Name, Tag};

/// A glob over a canonical name. `*` stays within a segment, `**` crosses them; `x/**` also
/// matches what is directly below `x`, not `x` itself.
#[derive(Clone, Debug, PartialEq)]
pub struct NamePattern(Glob);

/// A glob over tags: `*` stands for any characters, `?` for one, `[0-9]` for one of these, `{a,b}`
/// for either.
#[derive(Clone, Debug, PartialEq)]
pub struct TagPattern(Glob);

/// A glob over any other text, such as a namespace, a group or a git ref: `*` stays between slashes, `**`
/// crosses them. The whole text has to fit, and case counts.
#[derive(Clone, Debug, PartialEq)]
pub struct TextPattern(Glob);

/// A pattern, compiled. Rules run before every request, and the shapes that nearly all patterns have need
/// no automaton.
#[derive(Clone, Debug)]
struct Glob {
    text: String,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    /// `**`
    All,
    /// No character with a meaning of its own.
    Exact,
    /// `x/**`: what begins with so many bytes of the pattern, the slash included.
    Below(usize),
    /// `x*`: what begins with so many bytes of the pattern, and has no slash after them.
    Begins(usize),
    /// Anything else.
    Other(Box<GlobMatcher>),
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?}: {reason}; {hint}")]
pub struct PatternError {
    pattern: String,
    reason: String,
    hint: &'static str,
}

const NAME_HINT: &str = "use * within a segment and ** across segments";
const TAG_HINT: &str = "write one such as v*, pr-?? or {main,release}-*";

impl Glob {
    fn compile(text: &str, max_bytes: usize, hint: &'static str) -> Result<Self, PatternError> {
        let error = |reason: String| {
            let pattern = text.chars().take(128).collect();
            PatternError { pattern, reason, hint }
        };
        if text.is_empty() || text.len() > max_bytes {
            return Err(error(format!("it has 1 to {max_bytes} characters")));
        }
        let matcher = matcher(text).map_err(|cause| error(cause.kind().to_string()))?;
        Ok(Self { text: text.to_owned(), shape: Shape::of(text, matcher) })
    }

    fn matches(&self, text: &str) -> bool {
        let after = |bytes: usize| text.strip_prefix(&self.text[..bytes]);
        match &self.shape {
            Shape::All => true,
            Shape::Exact => text == self.text,
            Shape::Below(bytes) => after(*bytes).is_some(),
            Shape::Begins(bytes) => after(*bytes).is_some_and(|rest| !rest.contains('/')),
            Shape::Other(matcher) => matcher.is_match(text),
        }
    }
}

impl Shape {
    fn of(text: &str, matcher: GlobMatcher) -> Self {
        let is_plain = |text: &str| !text.contains(['*', '?', '[', ']', '{', '}', '\\', '!']);
        if text == "**" {
            return Self::All;
        }
        if is_plain(text) {
            return Self::Exact;
        }
        match (text.strip_suffix("/**"), text.strip_suffix('*')) {
            (Some(above), _) if !above.is_empty() && is_plain(above) => {
                Self::Below(above.len() + 1)
            }
            (None, Some(begin)) if is_plain(begin) => Self::Begins(begin.len()),
            _ => Self::Other(Box::new(matcher)),
        }
    }
}

fn matcher(text: &str) -> Result<GlobMatcher, globset::Error> {
    let glob = GlobBuilder::new(text).literal_separator(true).build()?;
    Ok(glob.compile_matcher())
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl NamePattern {
    /// Compiles a pattern, once, when resources are loaded.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Ok(Self(Glob::compile(text, 512, NAME_HINT)?))
    }

    /// Whether the name fits.
    pub fn matches(&self, name: &Name) -> bool {
        self.matches_text(name.as_str())
    }

    /// Whether the name fits any of these; without any, every name does, and the lack of one.
    pub(crate) fn any_fits(patterns: &[Self], name: Option<&Name>) -> bool {
        patterns.is_empty() || name.is_some_and(|name| patterns.iter().any(|it| it.matches(name)))
    }

    /// Whether a text that is not a name alone (such as `name:tag`) fits.
    pub fn matches_text(&self, text: &str) -> bool {
        self.0.matches(text)
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl TextPattern {
    /// Compiles a pattern, once, when resources are loaded.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Ok(Self(Glob::compile(text, 512, NAME_HINT)?))
    }

    /// Whether the text fits.
    pub fn matches(&self, text: &str) -> bool {
        self.0.matches(text)
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl TagPattern {
    /// Compiles a pattern, once, when resources are loaded.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.contains(['/', ':', '@', ' ']) {
            let pattern = text.chars().take(128).collect();
            let reason = "it holds what no tag can".to_owned();
            return Err(PatternError { pattern, reason, hint: TAG_HINT });
        }
        Ok(Self(Glob::compile(text, 256, TAG_HINT)?))
    }

    /// Whether the tag fits.
    pub fn matches(&self, tag: &Tag) -> bool {
        self.0.matches(tag.as_str())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0.text
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

    proptest::proptest! {
        #[test]
        fn shapes_say_what_the_automaton_says(
            pattern in r"[ab/.!]{0,4}[*?/]{0,3}[ab/*.]{0,3}",
            text in r"[ab/.!]{0,7}",
        ) {
            if let (Ok(compiled), Ok(matcher)) = (TextPattern::parse(&pattern), matcher(&pattern)) {
                proptest::prop_assert_eq!(compiled.matches(&text), matcher.is_match(&text));
            }
        }
    }

    #[test]
    fn patterns_of_tags_speak_of_whole_tags() {
        let fits = |pattern: &str, tag: &str| {
            TagPattern::parse(pattern).unwrap().matches(&Tag::parse(tag).unwrap())
        };
        assert!(fits("v*", "v1.2.3"));
        assert!(fits("*", ".x".trim_start_matches('.')));
        assert!(fits("*.*", "1.0"));
        assert!(!fits("v*", "dev1"));
        assert!(!fits("V*", "v1"));
        assert!(fits("pr-?", "pr-7"));
        assert!(!fits("pr-?", "pr-77"));
        assert!(fits("[0-9]*", "2026"));
        assert!(!fits("[!0-9]*", "2026"));
        assert!(fits("{main,release-*}", "release-1"));
        assert!(!fits("{main,release-*}", "mainline"));
        for bad in ["", "a[", "{a", "app:v*", "a/b", "v 1", &"a".repeat(257)] {
            assert!(TagPattern::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            TagPattern::parse("app:v*").unwrap_err().to_string(),
            "pattern \"app:v*\": it holds what no tag can; write one such as v*, pr-?? or \
             {main,release}-*"
        );
    }
}
