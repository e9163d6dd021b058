//! What is to be exported, as it is written on the command line or in a list.

use crate::client::Registry;
use crate::exit::Failure;
use oci::{Digest, Name, Reference, Tag};

/// One line of what is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) name: Name,
    /// `None`: all tags of the name.
    pub(super) reference: Option<Reference>,
}

impl Asked {
    /// Reads `team/app`, `team/app:1`, `team/app@sha256:…`. With a tag and a digest, the digest
    /// decides, as everywhere.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |error: &(dyn std::error::Error + 'static)| {
            Failure::usage(format!("{text:?} is no reference")).because(error)
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(Digest::parse(digest).map_err(|error| wrong(&error))?))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) {
            Some((name, tag)) => (name, Some(Tag::parse(tag).map_err(|error| wrong(&error))?)),
            None => (rest, None),
        };
        let name = Name::parse(name).map_err(|error| {
            wrong(&error).hint("write it as clients do behind the plane's address: team/app:1")
        })?;
        let reference = digest.map(Reference::Digest).or(tag.map(Reference::Tag));
        Ok(Self { name, reference })
    }

    /// The references that are meant: itself, or all tags of the name.
    pub(super) async fn references(&self, registry: &Registry) -> Result<Vec<Reference>, Failure> {
        if let Some(reference) = &self.reference {
            return Ok(vec![reference.clone()]);
        }
        let tags = registry.tags(&self.name).await?;
        if tags.is_empty() {
            return Err(Failure::no(format!("{} has no tags", self.name)));
        }
        Ok(tags.into_iter().map(Reference::Tag).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_clients_write_them() {
        let digest = Digest::sha256(b"x");
        let read = |text: &str| {
            let asked = Asked::parse(text).unwrap();
            (asked.name.to_string(), asked.reference.map(|reference| reference.to_string()))
        };
        assert_eq!(read("team/app"), ("team/app".to_owned(), None));
        assert_eq!(read("a.b/c:1"), ("a.b/c".to_owned(), Some("1".to_owned())));
        let pinned = Some(digest.to_string());
        assert_eq!(read(&format!("a.b/c@{digest}")), ("a.b/c".to_owned(), pinned.clone()));
        assert_eq!(read(&format!("a.b/c:1@{digest}")), ("a.b/c".to_owned(), pinned));
        for text in ["", "A/b", "a/b:", "a/b@sha256:12", "a/b:.x", "https://a/b"] {
            assert!(Asked::parse(text).is_err(), "{text}");
        }
    }
}
