//! Platforms: which child of an index a client means.

use std::fmt;
use std::str::FromStr;

/// `os/architecture[/variant]`, as in image-spec `image-index.md`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Platform {
    /// GOOS, such as `linux`.
    pub os: String,
    /// GOARCH, such as `amd64`.
    pub architecture: String,
    /// Such as `v8`; a platform without one matches any.
    pub variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("platform {0:?}: write os/architecture or os/architecture/variant, such as linux/arm64/v8")]
pub struct PlatformError(String);

impl Platform {
    /// Whether `other` is what someone who asked for `self` wants.
    pub fn matches(&self, other: &Platform) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || self.variant == other.variant)
    }
}

impl FromStr for Platform {
    type Err = PlatformError;
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(PlatformError(text.chars().take(64).collect())),
        };
        let is_odd = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-');
        if parts.iter().any(|part| part.is_empty() || part.len() > 64 || part.contains(is_odd)) {
            return Err(PlatformError(text.chars().take(64).collect()));
        }
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_without_variant_matches_any() {
        let wanted: Platform = "linux/arm64".parse().unwrap();
        assert!(wanted.matches(&"linux/arm64/v8".parse().unwrap()));
        assert!(!wanted.matches(&"linux/amd64".parse().unwrap()));
        let exact: Platform = "linux/arm/v7".parse().unwrap();
        assert!(!exact.matches(&"linux/arm/v6".parse().unwrap()));
        assert!("linux".parse::<Platform>().is_err());
        assert!("a//b".parse::<Platform>().is_err());
        assert!("linux/amd64\n/v2".parse::<Platform>().is_err());
        assert!(format!("linux/{}", "a".repeat(65)).parse::<Platform>().is_err());
    }
}
