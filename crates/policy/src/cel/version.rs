//! Ranges of versions, after <https://semver.org> and the ranges of Cargo, npm and Helm as far as these
//! agree.

use semver::{Version, VersionReq};

/// One or more ranges, any of which a version may be in.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionRange {
    text: String,
    any_of: Vec<VersionReq>,
}

impl VersionRange {
    /// Reads `>=1.2, <2`, `>=1.2 <2`, `^1.2 || ~2.3`, `1.4.*`. A version alone is refused, because it
    /// means "this one" to some tools and "compatible with this one" to others.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > 256 {
            return Err("a range of versions has at most 256 characters".to_owned());
        }
        let any_of = text.split("||").map(all_of).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), any_of })
    }

    /// Whether the text is a version in the range. A `v` before it and missing parts after it are let
    /// pass: `v1.2` is 1.2.0. A pre-release is in a range only if the range names one of the same
    /// version.
    pub fn contains(&self, version: &str) -> bool {
        parse_version(version)
            .is_some_and(|version| self.any_of.iter().any(|range| range.matches(&version)))
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Comparators with commas or spaces between, all of which must hold.
fn all_of(text: &str) -> Result<VersionReq, String> {
    let mut comparators: Vec<String> = Vec::new();
    let mut operator = "";
    for piece in text.split([',', ' ']).filter(|piece| !piece.is_empty()) {
        if piece.bytes().all(|byte| b"<>=^~".contains(&byte)) {
            operator = piece;
            continue;
        }
        let comparator = format!("{operator}{piece}");
        let bare = comparator.starts_with(|first: char| first.is_ascii_digit() || first == 'v');
        if bare && !comparator.ends_with(['*', 'x', 'X']) {
            return Err(format!(
                "`{comparator}` alone may mean one version or a range; write ={comparator}, ^{comparator} or ~{comparator}"
            ));
        }
        comparators.push(comparator);
        operator = "";
    }
    if comparators.is_empty() || !operator.is_empty() {
        return Err("a range of versions looks like `>=1.2, <2`".to_owned());
    }
    VersionReq::parse(&comparators.join(", "))
        .map_err(|cause| format!("it is no range of versions such as `>=1.2, <2`: {cause}"))
}

fn parse_version(text: &str) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    if text.len() > 256 {
        return None;
    }
    let core_end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(core_end);
    let missing = 2_usize.checked_sub(core.matches('.').count())?;
    Version::parse(&format!("{core}{}{rest}", ".0".repeat(missing))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_range(range: &str, version: &str) -> bool {
        VersionRange::parse(range).unwrap().contains(version)
    }

    #[test]
    fn ranges_of_cargo_npm_and_helm() {
        for range in [">=1.2, <2", ">=1.2 <2", ">= 1.2 , < 2", "^1.2", "^1.2 || ^3"] {
            assert!(in_range(range, "1.2.0"), "{range}");
            assert!(in_range(range, "v1.9"), "{range}");
            assert!(!in_range(range, "1.1.9"), "{range}");
            assert!(!in_range(range, "2.0.0"), "{range}");
            assert!(!in_range(range, "latest"), "{range}");
        }
        assert!(in_range("^1.2 || ^3", "3.0.1"));
        assert!(in_range("1.4.*", "1.4.9") && !in_range("1.4.*", "1.5.0"));
        assert!(in_range("*", "7"));
        assert!(!in_range(">=1", "2.0.0-rc.1"), "a pre-release has to be asked for");
        assert!(in_range(">=2.0.0-rc.0", "2.0.0-rc.1"));
        assert!(!in_range(">=1", "2024.01.02"), "zeros in front are no version");
        assert!(!in_range(">=1", "1.2.3.4"));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for range in ["", "||", ">=", "1.2.3", "v1.2", "newest", ">=1 ||", ">=1.2.3.4", "=>1"] {
            assert!(VersionRange::parse(range).is_err(), "{range}");
        }
        let error = VersionRange::parse("1.2").unwrap_err();
        assert!(error.contains("^1.2"), "{error}");
    }
}
