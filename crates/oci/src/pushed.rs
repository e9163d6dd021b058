//! What is asked of a manifest that is pushed, beyond what reading one needs.
//!
//! What was fetched must be served as it is; what is pushed can still be refused. So here every
//! descriptor that collection and reference checks rely on must be whole, and a document that two
//! readers could take for two different things is not taken (image-spec, CVE-2021-41190). Fields
//! and media types that are not known are left alone, as image-spec demands of registries.

use crate::{Digest, Manifest, ManifestError, MediaType};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Maps and lists within one another; protects readers that recurse.
const MAX_DEPTH: usize = 64;
/// The largest content a descriptor may speak of (1 PiB): sums of sizes cannot overflow.
const MAX_SIZE_BYTES: u64 = 1 << 50;
/// The longest artifact type; the same as for a media type.
const MAX_ARTIFACT_TYPE_BYTES: usize = 255;

type Raw<'a> = Option<&'a RawValue>;

/// The fields that mean something to us; each is looked at with its path at hand.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    schema_version: Raw<'a>,
    #[serde(borrow)]
    media_type: Raw<'a>,
    #[serde(borrow)]
    artifact_type: Raw<'a>,
    #[serde(borrow)]
    config: Raw<'a>,
    #[serde(borrow)]
    layers: Raw<'a>,
    #[serde(borrow)]
    blobs: Raw<'a>,
    #[serde(borrow)]
    manifests: Raw<'a>,
    #[serde(borrow)]
    subject: Raw<'a>,
    #[serde(borrow)]
    annotations: Raw<'a>,
    #[serde(borrow)]
    fs_layers: Raw<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescriptorFields<'a> {
    #[serde(borrow)]
    media_type: Raw<'a>,
    #[serde(borrow)]
    digest: Raw<'a>,
    #[serde(borrow)]
    size: Raw<'a>,
    #[serde(borrow)]
    urls: Raw<'a>,
    #[serde(borrow)]
    annotations: Raw<'a>,
    #[serde(borrow)]
    artifact_type: Raw<'a>,
    #[serde(borrow)]
    platform: Raw<'a>,
}

#[derive(Deserialize)]
struct PlatformFields<'a> {
    #[serde(borrow)]
    os: Raw<'a>,
    #[serde(borrow)]
    architecture: Raw<'a>,
    #[serde(borrow)]
    variant: Raw<'a>,
}

impl Manifest {
    /// Reads the bytes of a manifest that is pushed, and refuses what could harm whoever relies on
    /// it: see the module. The error names the field. `content_type` is what the pusher says;
    /// the media type of what is returned is always set.
    pub fn check_pushed(
        bytes: &[u8],
        content_type: Option<&MediaType>,
    ) -> Result<Self, ManifestError> {
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("", "it is not UTF-8"))?;
        check_depth(bytes)?;
        check_is_object(text, "")?;
        let fields: Fields = serde_json::from_str(text)?;
        let media_type = media_type(&fields, content_type)?;
        check_shape(&fields, &media_type)?;
        let mut count = 0;
        for (name, list) in
            [("layers", fields.layers), ("blobs", fields.blobs), ("manifests", fields.manifests)]
        {
            let items = list.map(|list| items(list, name)).transpose()?.unwrap_or_default();
            count += items.len();
            if count > Self::MAX_DESCRIPTORS {
                return Err(ManifestError::TooMany(count));
            }
            for (index, item) in items.into_iter().enumerate() {
                check_descriptor(item, &format!("{name}[{index}]"))?;
            }
        }
        for (name, one) in [("config", fields.config), ("subject", fields.subject)] {
            one.map(|one| check_descriptor(one, name)).transpose()?;
        }
        check_annotations(fields.annotations, "annotations")?;
        check_artifact_type(fields.artifact_type, "artifactType")?;
        Self::parse(bytes, Some(&media_type))
    }
}

fn invalid(path: &str, reason: impl Into<String>) -> ManifestError {
    ManifestError::Field { path: path.to_owned(), reason: reason.into() }
}

/// Unknown fields are skipped without recursion, so only this sees how deep they are.
fn check_depth(bytes: &[u8]) -> Result<(), ManifestError> {
    let (mut depth, mut is_text, mut is_escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => depth += 1,
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(invalid("", format!("it is nested more than {MAX_DEPTH} levels deep")));
        }
    }
    Ok(())
}

/// A list of the right length would pass for an object otherwise.
fn check_is_object(text: &str, path: &str) -> Result<(), ManifestError> {
    match text.trim_start().starts_with('{') {
        true => Ok(()),
        false => Err(invalid(path, "a JSON object is needed")),
    }
}

/// What it is: its own word and the pusher's must agree, and one of them is needed unless the shape
/// says it.
fn media_type(
    fields: &Fields,
    content_type: Option<&MediaType>,
) -> Result<MediaType, ManifestError> {
    let own = fields.media_type.map(|raw| a_media_type(raw, "mediaType")).transpose()?;
    match (own, content_type) {
        (Some(own), Some(told)) if own != *told => Err(invalid(
            "mediaType",
            format!("it is {own}, but Content-Type says {told}; send the same in both"),
        )),
        (Some(own), _) => Ok(own),
        (None, Some(told)) => Ok(told.clone()),
        (None, None) if fields.manifests.is_some() => Ok(MediaType::OCI_INDEX),
        (None, None) if fields.config.is_some() => Ok(MediaType::OCI_MANIFEST),
        (None, None) => {
            Err(invalid("mediaType", "neither it nor Content-Type says what this manifest is"))
        }
    }
}

/// That the fields are those of the kind, and of no other kind at once.
fn check_shape(fields: &Fields, media_type: &MediaType) -> Result<(), ManifestError> {
    let version: Option<u64> = match fields.schema_version {
        Some(raw) if media_type.is_manifest() => {
            Some(typed(raw, "schemaVersion", "the number 2 is needed")?)
        }
        Some(raw) => serde_json::from_str(raw.get()).ok(),
        None => None,
    };
    if media_type.is_schema1() || version == Some(1) || fields.fs_layers.is_some() {
        return Err(invalid(
            "schemaVersion",
            "Docker schema 1 is not taken; push schema 2 or an OCI manifest",
        ));
    }
    if media_type.is_manifest() && version != Some(2) {
        return Err(invalid("schemaVersion", "the number 2 is needed"));
    }
    let is_set = [
        ("config", fields.config.is_some()),
        ("layers", fields.layers.is_some()),
        ("blobs", fields.blobs.is_some()),
        ("manifests", fields.manifests.is_some()),
    ];
    let (needed, foreign): (&str, &[&str]) = if media_type.is_index() {
        ("manifests", &["config", "layers", "blobs"])
    } else if media_type.is_manifest() {
        ("config", &["manifests", "blobs"])
    } else if fields.layers.is_some() {
        ("", &["blobs"])
    } else {
        ("", &[])
    };
    for (name, is_set) in is_set {
        if is_set && foreign.contains(&name) {
            let reason =
                format!("{media_type} has no such field, and it could be taken for another kind");
            return Err(invalid(name, reason));
        }
        if !is_set && name == needed {
            return Err(invalid(name, format!("{media_type} needs it")));
        }
    }
    Ok(())
}

fn check_descriptor(raw: &RawValue, path: &str) -> Result<(), ManifestError> {
    let at = |field: &str| format!("{path}.{field}");
    check_is_object(raw.get(), path)?;
    let fields: DescriptorFields =
        serde_json::from_str(raw.get()).map_err(|cause| invalid(path, cause.to_string()))?;
    let needed = |raw: Raw<'_>, field: &str| match raw {
        Some(_) => Ok(()),
        None => Err(invalid(&at(field), "the descriptor needs it")),
    };
    needed(fields.media_type, "mediaType")?;
    needed(fields.digest, "digest")?;
    needed(fields.size, "size")?;
    if let Some(raw) = fields.media_type {
        a_media_type(raw, &at("mediaType"))?;
    }
    if let Some(raw) = fields.digest {
        let digest = a_text(raw, &at("digest"))?;
        Digest::parse(&digest).map_err(|cause| invalid(&at("digest"), cause.to_string()))?;
    }
    if let Some(raw) = fields.size {
        let reason = "a whole number of bytes is needed, not negative";
        let size_bytes: u64 = typed(raw, &at("size"), reason)?;
        if size_bytes > MAX_SIZE_BYTES {
            return Err(invalid(&at("size"), format!("{size_bytes} bytes are more than 1 PiB")));
        }
    }
    if let Some(raw) = fields.urls {
        items(raw, &at("urls"))?;
    }
    if let Some(raw) = fields.platform {
        check_platform(raw, &at("platform"))?;
    }
    check_annotations(fields.annotations, &at("annotations"))?;
    check_artifact_type(fields.artifact_type, &at("artifactType"))
}

fn check_platform(raw: &RawValue, path: &str) -> Result<(), ManifestError> {
    check_is_object(raw.get(), path)?;
    let fields: PlatformFields =
        serde_json::from_str(raw.get()).map_err(|cause| invalid(path, cause.to_string()))?;
    // Which of them are there is the client's business; what they are, ours.
    for (name, field) in
        [("os", fields.os), ("architecture", fields.architecture), ("variant", fields.variant)]
    {
        field.map(|raw| a_text(raw, &format!("{path}.{name}"))).transpose()?;
    }
    Ok(())
}

fn check_annotations(raw: Raw<'_>, path: &str) -> Result<(), ManifestError> {
    let Some(raw) = raw else { return Ok(()) };
    check_is_object(raw.get(), path)?;
    let reason = "a map from texts to texts is needed";
    typed::<BTreeMap<Cow<'_, str>, Cow<'_, str>>>(raw, path, reason).map(drop)
}

fn check_artifact_type(raw: Raw<'_>, path: &str) -> Result<(), ManifestError> {
    let Some(raw) = raw else { return Ok(()) };
    match a_text(raw, path)?.len() <= MAX_ARTIFACT_TYPE_BYTES {
        true => Ok(()),
        false => {
            let reason = format!("at most {MAX_ARTIFACT_TYPE_BYTES} characters are taken");
            Err(invalid(path, reason))
        }
    }
}

fn a_text<'a>(raw: &'a RawValue, path: &str) -> Result<Cow<'a, str>, ManifestError> {
    /// A `Cow` alone is never borrowed.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    typed::<Text<'a>>(raw, path, "a text is needed").map(|text| text.0)
}

fn a_media_type(raw: &RawValue, path: &str) -> Result<MediaType, ManifestError> {
    let text = a_text(raw, path)?;
    MediaType::parse(&text).map_err(|cause| invalid(path, cause.to_string()))
}

fn typed<'a, T: Deserialize<'a>>(
    raw: &'a RawValue,
    path: &str,
    reason: &str,
) -> Result<T, ManifestError> {
    serde_json::from_str(raw.get()).map_err(|_| invalid(path, reason))
}

/// The entries of a list, still unread; reading stops where there are too many.
fn items<'a>(raw: &'a RawValue, path: &str) -> Result<Vec<&'a RawValue>, ManifestError> {
    let list: Items = typed(raw, path, "a list is needed")?;
    match list.0.len() > Manifest::MAX_DESCRIPTORS {
        true => Err(ManifestError::TooMany(list.0.len())),
        false => Ok(list.0),
    }
}

struct Items<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<&RawValue>()? {
            // Beyond the bound they are only counted by one, which is enough to refuse them.
            if items.len() <= Manifest::MAX_DESCRIPTORS {
                items.push(item);
            }
        }
        Ok(Items(items))
    }
}
