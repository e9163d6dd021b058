//! What is asked of a manifest that is pushed, beyond what reading one needs.
//!
//! What was fetched must be served as it is; what is pushed can still be refused. So here every
//! descriptor that collection and reference checks rely on must be whole, and a document that two
//! readers could take for two different things is not taken (image-spec, CVE-2021-41190). Fields
//! and media types that are not known are left alone, as image-spec demands of registries.

use crate::raw_json::{Object, check_depth, invalid};
use crate::{Digest, Manifest, ManifestError, MediaType};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The largest content a descriptor may speak of (1 PiB): sums of sizes cannot overflow.
const MAX_SIZE_BYTES: u64 = 1 << 50;
/// The longest artifact type; the same as for a media type.
const MAX_ARTIFACT_TYPE_BYTES: usize = 255;

const MANIFEST_FIELDS: [&str; 10] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "blobs",
    "manifests",
    "subject",
    "annotations",
    "fsLayers",
];
const DESCRIPTOR_FIELDS: [&str; 7] =
    ["mediaType", "digest", "size", "urls", "annotations", "artifactType", "platform"];
const PLATFORM_FIELDS: [&str; 3] = ["os", "architecture", "variant"];

impl Manifest {
    /// Reads the bytes of a manifest that is pushed, and refuses what could harm whoever relies on
    /// it: see the module. The error names the field. `content_type` is what the pusher says; the
    /// media type of what is returned is always set.
    pub fn check_pushed(
        bytes: &[u8],
        content_type: Option<&MediaType>,
    ) -> Result<Self, ManifestError> {
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("", "it is not UTF-8"))?;
        check_depth(text)?;
        let manifest = Object::read(text, "", &MANIFEST_FIELDS)?;
        let media_type = media_type(&manifest, content_type)?;
        check_schema(&manifest, &media_type)?;
        check_shape(&manifest, &media_type)?;
        let mut count = 0;
        for name in ["layers", "blobs", "manifests"] {
            let items = manifest.items(name)?;
            count += items.len();
            if count > Self::MAX_DESCRIPTORS {
                return Err(ManifestError::TooMany(count));
            }
            for (index, item) in items.into_iter().enumerate() {
                check_descriptor(item.get(), &format!("{name}[{index}]"))?;
            }
        }
        for name in ["config", "subject"] {
            if let Some(descriptor) = manifest.get(name) {
                check_descriptor(descriptor.get(), name)?;
            }
        }
        check_annotations(&manifest)?;
        check_artifact_type(&manifest)?;
        Self::parse(bytes, Some(&media_type))
    }
}

/// What it is: its own word and the pusher's must agree, and one of them is needed unless the shape
/// says it.
fn media_type(
    manifest: &Object,
    content_type: Option<&MediaType>,
) -> Result<MediaType, ManifestError> {
    match (media_type_of(manifest)?, content_type) {
        (Some(own), Some(told)) if own != *told => Err(invalid(
            "mediaType",
            format!("it is {own}, but Content-Type says {told}; send the same in both"),
        )),
        (Some(own), _) => Ok(own),
        (None, Some(told)) => Ok(told.clone()),
        (None, None) if manifest.has("manifests") => Ok(MediaType::OCI_INDEX),
        (None, None) if manifest.has("config") => Ok(MediaType::OCI_MANIFEST),
        (None, None) => {
            Err(invalid("mediaType", "neither it nor Content-Type says what this manifest is"))
        }
    }
}

fn check_schema(manifest: &Object, media_type: &MediaType) -> Result<(), ManifestError> {
    let is_2 = "the number 2 is needed";
    // Another type may count otherwise.
    let reason = if media_type.is_manifest() { is_2 } else { "a whole number is needed" };
    let version = manifest.typed::<u64>("schemaVersion", reason)?;
    if media_type.is_schema1() || version == Some(1) || manifest.has("fsLayers") {
        return Err(invalid(
            "schemaVersion",
            "Docker schema 1 is not taken; push schema 2 or an OCI manifest",
        ));
    }
    if media_type.is_manifest() && version != Some(2) {
        return Err(invalid("schemaVersion", is_2));
    }
    Ok(())
}

/// That the fields are those of the kind, and of no other kind at once.
fn check_shape(manifest: &Object, media_type: &MediaType) -> Result<(), ManifestError> {
    let (needed, foreign): (Option<&str>, &[&str]) = if media_type.is_index() {
        (Some("manifests"), &["config", "layers", "blobs"])
    } else if media_type.is_manifest() {
        (Some("config"), &["manifests", "blobs"])
    } else if manifest.has("layers") {
        (None, &["blobs"])
    } else {
        (None, &[])
    };
    if let Some(name) = foreign.iter().find(|name| manifest.has(name)) {
        let reason = format!("{media_type} has no such field: it could be taken for another kind");
        return Err(invalid(name, reason));
    }
    match needed.filter(|name| !manifest.has(name)) {
        Some(name) => Err(invalid(name, format!("{media_type} needs it"))),
        None => Ok(()),
    }
}

fn check_descriptor(text: &str, path: &str) -> Result<(), ManifestError> {
    let descriptor = Object::read(text, path, &DESCRIPTOR_FIELDS)?;
    let missing = |name: &str| invalid(&descriptor.at(name), "a descriptor needs it");
    media_type_of(&descriptor)?.ok_or_else(|| missing("mediaType"))?;
    let digest = descriptor.text("digest")?.ok_or_else(|| missing("digest"))?;
    Digest::parse(&digest).map_err(|e| invalid(&descriptor.at("digest"), e.to_string()))?;
    let reason = "a whole number of bytes is needed, not below zero";
    let size_bytes: u64 = descriptor.typed("size", reason)?.ok_or_else(|| missing("size"))?;
    if size_bytes > MAX_SIZE_BYTES {
        let reason = format!("{size_bytes} bytes are more than 1 PiB");
        return Err(invalid(&descriptor.at("size"), reason));
    }
    descriptor.items("urls")?;
    if let Some(platform) = descriptor.get("platform") {
        let path = descriptor.at("platform");
        let platform = Object::read(platform.get(), &path, &PLATFORM_FIELDS)?;
        // Which of them are there is the client's business.
        for name in PLATFORM_FIELDS {
            platform.text(name)?;
        }
    }
    check_annotations(&descriptor)?;
    check_artifact_type(&descriptor)
}

fn media_type_of(object: &Object) -> Result<Option<MediaType>, ManifestError> {
    let Some(text) = object.text("mediaType")? else { return Ok(None) };
    let parsed = MediaType::parse(&text);
    parsed.map(Some).map_err(|e| invalid(&object.at("mediaType"), e.to_string()))
}

fn check_annotations(object: &Object) -> Result<(), ManifestError> {
    type Texts<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;
    object.typed::<Texts>("annotations", "a map from texts to texts is needed").map(drop)
}

fn check_artifact_type(object: &Object) -> Result<(), ManifestError> {
    match object.text("artifactType")? {
        Some(text) if text.len() > MAX_ARTIFACT_TYPE_BYTES => {
            let reason = format!("at most {MAX_ARTIFACT_TYPE_BYTES} characters are taken");
            Err(invalid(&object.at("artifactType"), reason))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManifestKind;
    use serde_json::{Value, json};

    const HEX: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn descriptor() -> Value {
        json!({ "mediaType": "application/vnd.example", "digest": HEX, "size": 7 })
    }

    fn image() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST.as_str(),
            "config": descriptor(),
            "layers": [descriptor(), descriptor()],
        })
    }

    fn index() -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_INDEX.as_str(),
            "manifests": [descriptor()],
        })
    }

    /// The same document with one field set; a path of keys and indexes.
    fn with(mut document: Value, pointer: &str, value: Value) -> Value {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
        let parent = document.pointer_mut(parent).expect("the parent is there");
        parent.as_object_mut().expect("a map").insert(key.to_owned(), value);
        document
    }

    fn without(mut document: Value, pointer: &str) -> Value {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
        let parent = document.pointer_mut(parent).expect("the parent is there");
        parent.as_object_mut().expect("a map").remove(key);
        document
    }

    fn push(document: &Value) -> Result<Manifest, ManifestError> {
        Manifest::check_pushed(document.to_string().as_bytes(), None)
    }

    #[test]
    fn whole_manifests_are_taken() {
        let custom = "application/vnd.custom.thing.v3+json";
        for (document, kind) in [
            (image(), ManifestKind::Image),
            (index(), ManifestKind::Index),
            (with(image(), "/org.example.custom", json!({ "a": [1] })), ManifestKind::Image),
            (with(image(), "/layers", json!([])), ManifestKind::Image),
            (with(image(), "/layers", Value::Null), ManifestKind::Image),
            (without(image(), "/layers"), ManifestKind::Image),
            (without(image(), "/mediaType"), ManifestKind::Image),
            (without(index(), "/mediaType"), ManifestKind::Index),
            (with(index(), "/manifests", json!([])), ManifestKind::Index),
            (with(image(), "/subject", descriptor()), ManifestKind::Image),
            (with(image(), "/artifactType", json!("sbom")), ManifestKind::Image),
            (with(image(), "/config/data", json!("e30=")), ManifestKind::Image),
            (with(image(), "/layers/0/urls", json!(["https://a"])), ManifestKind::Image),
            (with(image(), "/annotations", json!({ "a": "b" })), ManifestKind::Image),
            (
                with(index(), "/manifests/0/platform", json!({ "os": "linux", "os.version": "1" })),
                ManifestKind::Index,
            ),
            (json!({ "mediaType": custom, "schemaVersion": 3 }), ManifestKind::Other),
            (json!({ "mediaType": custom, "blobs": [descriptor()] }), ManifestKind::Image),
        ] {
            let taken = push(&document).unwrap_or_else(|error| panic!("{error}\n{document}"));
            assert_eq!(taken.kind, kind, "{document}");
            assert!(taken.media_type.is_some(), "{document}");
        }
        let bytes = without(image(), "/mediaType").to_string();
        let told = Some(&MediaType::DOCKER_MANIFEST);
        let taken = Manifest::check_pushed(bytes.as_bytes(), told).unwrap();
        assert_eq!(taken.media_type, Some(MediaType::DOCKER_MANIFEST));
        assert_eq!(taken.layers.len(), 2);
    }

    #[test]
    fn what_is_refused_is_told_by_its_field() {
        let absurd = (MAX_SIZE_BYTES + 1).into();
        let long = "x".repeat(256);
        for (document, wanted) in [
            (json!([]), ": a JSON object is needed"),
            (json!({}), "mediaType: neither it nor"),
            (without(image(), "/schemaVersion"), "schemaVersion: the number 2"),
            (with(image(), "/schemaVersion", json!("2")), "schemaVersion: the number 2"),
            (with(image(), "/schemaVersion", json!(3)), "schemaVersion: the number 2"),
            (with(image(), "/schemaVersion", json!(1)), "schemaVersion: Docker schema 1"),
            (with(image(), "/fsLayers", json!([])), "schemaVersion: Docker schema 1"),
            (with(image(), "/mediaType", json!("nonsense")), "mediaType: a media type has"),
            (with(image(), "/mediaType", json!(7)), "mediaType: a text is needed"),
            (without(image(), "/config"), "config: application/vnd.oci.image.manifest"),
            (with(image(), "/manifests", json!([])), "manifests: application/vnd.oci.image.man"),
            (without(index(), "/manifests"), "manifests: application/vnd.oci.image.index"),
            (with(index(), "/config", descriptor()), "config: application/vnd.oci.image.index"),
            (with(index(), "/layers", json!([])), "layers: application/vnd.oci.image.index"),
            (with(image(), "/layers", json!({})), "layers: a list is needed"),
            (with(image(), "/layers", json!([7])), "layers[0]: a JSON object is needed"),
            (without(image(), "/layers/1/size"), "layers[1].size: a descriptor needs it"),
            (without(image(), "/layers/1/digest"), "layers[1].digest: a descriptor needs it"),
            (without(image(), "/layers/1/mediaType"), "layers[1].mediaType: a descriptor needs"),
            (with(image(), "/layers/1/mediaType", json!("")), "layers[1].mediaType: a media type"),
            (with(image(), "/layers/0/size", json!(-1)), "layers[0].size: a whole number"),
            (with(image(), "/layers/0/size", json!(1.5)), "layers[0].size: a whole number"),
            (with(image(), "/layers/0/size", json!("7")), "layers[0].size: a whole number"),
            (with(image(), "/layers/0/size", absurd), "layers[0].size: 1125899906842625 bytes"),
            (with(image(), "/layers/0/urls", json!("a")), "layers[0].urls: a list is needed"),
            (with(image(), "/config/digest", json!("md5:1")), "config.digest: digest algorithm"),
            (with(image(), "/config", json!("x")), "config: a JSON object is needed"),
            (with(image(), "/subject", json!({})), "subject.mediaType: a descriptor needs it"),
            (with(image(), "/annotations", json!({ "a": 1 })), "annotations: a map from texts"),
            (with(image(), "/annotations", json!([])), "annotations: a map from texts"),
            (with(image(), "/artifactType", json!(long)), "artifactType: at most 255"),
            (
                with(index(), "/manifests/0/platform", json!({ "os": 1 })),
                "manifests[0].platform.os: a text is needed",
            ),
            (with(image(), "/Layers", json!([])), "some readers take the field \"Layers\" for"),
            (with(image(), "/layer\u{17f}", json!([])), "some readers take the field"),
            (with(image(), "/config/Digest", json!("x")), "config: some readers take the field"),
            (
                json!({ "mediaType": "a/b", "layers": [], "blobs": [] }),
                "blobs: a/b has no such field",
            ),
        ] {
            let error = push(&document).expect_err(&document.to_string()).to_string();
            let told = error.strip_prefix("the manifest cannot be taken").expect(&error);
            assert!(told.contains(wanted), "{error}\n{document}");
        }
    }

    #[test]
    fn what_the_pusher_says_must_be_what_the_bytes_say() {
        let bytes = image().to_string();
        let same = Some(&MediaType::OCI_MANIFEST);
        assert!(Manifest::check_pushed(bytes.as_bytes(), same).is_ok());
        let error = Manifest::check_pushed(bytes.as_bytes(), Some(&MediaType::OCI_INDEX));
        assert_eq!(
            error.unwrap_err().to_string(),
            "the manifest cannot be taken: mediaType: it is \
             application/vnd.oci.image.manifest.v1+json, but Content-Type says \
             application/vnd.oci.image.index.v1+json; send the same in both"
        );
    }

    #[test]
    fn twice_too_deep_and_too_many_are_refused() {
        let twice = image().to_string().replacen('{', r#"{"config":{},"#, 1);
        let deep = with(image(), "/x", json!("DEEP")).to_string();
        let deep = |levels: usize| {
            deep.replace("\"DEEP\"", &format!("{}{}", "[".repeat(levels), "]".repeat(levels)))
        };
        let many = with(image(), "/layers", vec![json!(0); 50_001].into()).to_string();
        let wide = format!("{{{}\"z\":0}}", "\"x\":0,".repeat(5000));
        for (text, wanted) in [
            (twice, "the field config stands there twice"),
            (deep(64), "nested more than 64 levels"),
            (deep(100_000), "nested more than 64 levels"),
            (many, "names 50001 descriptors"),
            (wide, "more than 4096 fields"),
            (format!("{} x", image()), "trailing characters"),
            (String::new(), "a JSON object is needed"),
        ] {
            let error = Manifest::check_pushed(text.as_bytes(), None).unwrap_err().to_string();
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
        assert!(Manifest::check_pushed(deep(63).as_bytes(), None).is_ok());
        assert!(Manifest::check_pushed(b"\xff{}", None).is_err());
        let brackets = with(image(), "/x", json!(["\"[".repeat(500), "\\{".repeat(500)]));
        assert!(push(&brackets).is_ok(), "brackets in texts nest nothing");
    }

    proptest::proptest! {
        #[test]
        fn what_is_taken_can_be_read(
            at in 0usize..400,
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..4),
        ) {
            let mut document = image().to_string().into_bytes();
            let at = at.min(document.len());
            let end = (at + bytes.len()).min(document.len());
            document.splice(at..end, bytes);
            if let Ok(taken) = Manifest::check_pushed(&document, None) {
                let read = Manifest::parse(&document, taken.media_type.as_ref()).unwrap();
                proptest::prop_assert_eq!(read, taken);
            }
        }
    }
}
