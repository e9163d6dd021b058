//! The document of a name: an OCI image index (image-spec, `image-index.md`) of its hosted manifests.
//!
//! A manifest that has tags is listed once for each, under `org.opencontainers.image.ref.name`; one
//! without any is listed without. What an index cannot say is in annotations of our own. The document
//! is not content of the name, and no client sees it.

use jiff::Timestamp;
use oci::{Digest, MediaType, Name, Tag};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest document that is written or read: about a million tags.
pub(super) const MAX_BYTES: usize = 256 << 20;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The name itself.
const NAME: &str = "dev.lockgate.name";
/// The number of the name's last change, as the catalog counted.
const CHANGE: &str = "dev.lockgate.change";
/// When the manifest first came to the name.
const PUSHED: &str = "dev.lockgate.pushed";
/// When the tag came to name the manifest.
const TAGGED: &str = "dev.lockgate.tagged";
/// The scope of the credential it was fetched with, before it was adopted.
const PRIVATE_TO: &str = "dev.lockgate.private-to";

/// What a name held at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameDocument {
    pub(super) name: Name,
    /// The number of the name's last change.
    pub(super) change: u64,
    pub(super) manifests: Vec<Listed>,
}

/// One manifest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) digest: Digest,
    pub(super) media_type: MediaType,
    pub(super) size_bytes: u64,
    pub(super) pushed_at: Timestamp,
    /// The scope of the credential it was fetched with; `None`: public.
    pub(super) private_to: Option<String>,
    /// Tags that name it, and since when.
    pub(super) tags: Vec<(Tag, Timestamp)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: u32,
    media_type: String,
    annotations: BTreeMap<String, String>,
    manifests: Vec<WireEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEntry {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl NameDocument {
    /// As JSON.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let annotations = [(NAME, self.name.to_string()), (CHANGE, self.change.to_string())];
        let wire = Wire {
            schema_version: 2,
            media_type: MediaType::OCI_INDEX.to_string(),
            annotations: annotations.map(|(key, value)| (key.to_owned(), value)).into(),
            manifests: self.manifests.iter().flat_map(entries).collect(),
        };
        // Texts and numbers always have a JSON form.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Reads what [`Self::to_bytes`] wrote, for the name whose document it is.
    pub(super) fn parse(name: &Name, bytes: &[u8]) -> Result<Self, String> {
        let wire: Wire = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let said = |key: &str| wire.annotations.get(key).map(String::as_str);
        if said(NAME) != Some(name.as_str()) {
            return Err("it is not about this name".to_owned());
        }
        let change = said(CHANGE).and_then(|text| text.parse().ok());
        let change = change.ok_or_else(|| format!("{CHANGE} is missing or no number"))?;
        let mut manifests: BTreeMap<Digest, Listed> = BTreeMap::new();
        for entry in wire.manifests {
            let (digest, tag, listed) = read(entry)?;
            manifests.entry(digest).or_insert(listed).tags.extend(tag);
        }
        let manifests = manifests.into_values().collect();
        Ok(Self { name: name.clone(), change, manifests })
    }
}

fn entries(listed: &Listed) -> Vec<WireEntry> {
    let entry = |tag: Option<&(Tag, Timestamp)>| {
        let mut annotations = BTreeMap::from([(PUSHED.to_owned(), listed.pushed_at.to_string())]);
        if let Some((tag, at)) = tag {
            annotations.insert(REF_NAME.to_owned(), tag.to_string());
            annotations.insert(TAGGED.to_owned(), at.to_string());
        }
        if let Some(scope) = &listed.private_to {
            annotations.insert(PRIVATE_TO.to_owned(), scope.clone());
        }
        WireEntry {
            media_type: listed.media_type.to_string(),
            digest: listed.digest,
            size: listed.size_bytes,
            annotations,
        }
    };
    if listed.tags.is_empty() {
        return vec![entry(None)];
    }
    listed.tags.iter().map(|tag| entry(Some(tag))).collect()
}

type Read = (Digest, Option<(Tag, Timestamp)>, Listed);

fn read(entry: WireEntry) -> Result<Read, String> {
    let WireEntry { media_type, digest, size, mut annotations } = entry;
    let time = |key: &str| match annotations.get(key) {
        Some(text) => text.parse::<Timestamp>().map_err(|error| format!("{key}: {error}")),
        None => Ok(Timestamp::UNIX_EPOCH),
    };
    let pushed_at = time(PUSHED)?;
    let tag = match annotations.get(REF_NAME) {
        Some(text) => {
            let tag = Tag::parse(text).map_err(|error| format!("{REF_NAME}: {error}"))?;
            Some((tag, time(TAGGED)?))
        }
        None => None,
    };
    let listed = Listed {
        digest,
        media_type: MediaType::parse(&media_type).map_err(|error| error.to_string())?,
        size_bytes: size,
        pushed_at,
        private_to: annotations.remove(PRIVATE_TO),
        tags: Vec::new(),
    };
    Ok((digest, tag, listed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Manifest;

    fn document() -> NameDocument {
        let at = |second| Timestamp::from_second(second).unwrap();
        let tag = |text: &str| Tag::parse(text).unwrap();
        let listed = |bytes: &[u8], tags| Listed {
            digest: Digest::sha256(bytes),
            media_type: MediaType::OCI_MANIFEST,
            size_bytes: 7,
            pushed_at: at(5),
            private_to: None,
            tags,
        };
        let mut manifests = vec![
            listed(b"a", vec![(tag("v1"), at(6)), (tag("latest"), at(7))]),
            listed(b"b", Vec::new()),
        ];
        manifests[1].private_to = Some("https://up.example".to_owned());
        manifests.sort_by_key(|listed| listed.digest);
        NameDocument { name: Name::parse("team/app").unwrap(), change: 17, manifests }
    }

    #[test]
    fn what_is_written_is_read_and_others_can_read_it_too() {
        let document = document();
        let bytes = document.to_bytes();
        assert_eq!(NameDocument::parse(&document.name, &bytes).unwrap(), document);
        let index = Manifest::parse(&bytes, None).unwrap();
        assert_eq!(index.kind, oci::ManifestKind::Index);
        let mut tags: Vec<&str> = (index.manifests.iter())
            .filter_map(|entry| entry.annotations.get(REF_NAME).map(String::as_str))
            .collect();
        tags.sort_unstable();
        assert_eq!((tags.as_slice(), index.manifests.len()), (&["latest", "v1"][..], 3));
    }

    #[test]
    fn what_is_damaged_or_about_another_name_is_refused() {
        let document = document();
        let text = String::from_utf8(document.to_bytes()).unwrap();
        let other = Name::parse("team/other").unwrap();
        assert!(NameDocument::parse(&other, text.as_bytes()).unwrap_err().contains("this name"));
        for (from, to) in [
            ("sha256:", "sha257:"),
            ("\"v1\"", "\"/\""),
            ("\"17\"", "\"x\""),
            ("1970-01-01T00:00:05Z", "yesterday"),
            ("{", ""),
        ] {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, text, "{from}");
            assert!(NameDocument::parse(&document.name, broken.as_bytes()).is_err(), "{from}");
        }
    }
}
