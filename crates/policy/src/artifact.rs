//! What the bytes of an artifact settle: its kind, and what its config says.
//!
//! An artifact is what a runtime would make of it, not what it calls itself: whatever has the layers of
//! an image is an image, so that nobody dresses one up as a signature to get it past a rule.

use crate::{ArtifactKind, ConfigFacts, ManifestFacts};
use jiff::Timestamp;
use oci::{Descriptor, Digest, Manifest, ManifestKind, MediaType};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};

/// Labels of a config that are looked at.
const LABELS_MAX: usize = 512;
/// Different media types in one manifest.
const TYPES_MAX: usize = 1000;
/// Platforms of an index that are looked at.
const PLATFORMS_MAX: usize = 64;

/// The types of configs that some runtime runs. Docker's engine, without containerd's store, takes the
/// last three for images, because registries once gave configs such types, and does not look at the
/// types of layers.
const IMAGE_CONFIGS: [&str; 5] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/octet-stream",
    "application/json",
    "text/html",
];
const IMAGE_LAYERS: [&str; 3] = [
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
    "application/vnd.docker.container.image.rootfs.",
];
const HELM: &str = "application/vnd.cncf.helm.config.v1+json";
/// Beginnings of types that say something about another artifact.
const EVIDENCE: [&str; 16] = [
    "application/vnd.dev.sigstore.bundle",
    "application/vnd.dev.cosign.",
    "application/vnd.dev.cosignproject.cosign.",
    "application/vnd.in-toto",
    "application/vnd.dsse.envelope",
    "application/vnd.cncf.notary.signature",
    "application/spdx",
    "text/spdx",
    "application/vnd.cyclonedx",
    "application/vnd.syft+json",
    "application/vnd.security.vulnerability.report",
    "application/sarif+json",
    "application/vnd.openvex",
    "application/vex+json",
    "application/vnd.trivy.",
    "application/vnd.aquasec.trivy.report",
];
const BUNDLES: [&str; 4] = [
    "application/vnd.cnab.",
    "application/vnd.oci.bundle",
    "application/vnd.olm.",
    "application/vnd.dev.carvel.",
];
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

impl ManifestFacts {
    /// The facts of a manifest. `digest`: of these bytes.
    ///
    /// # Errors
    /// Why the bytes are no manifest.
    pub fn of(bytes: &[u8], media_type: &MediaType, digest: &Digest) -> Result<Self, String> {
        let manifest =
            Manifest::parse(bytes, Some(media_type)).map_err(|error| error.to_string())?;
        let parts = || manifest.config.iter().chain(&manifest.layers);
        let sum = |sum: u64, part: &Descriptor| sum.saturating_add(part.size_bytes);
        let config_type = manifest.config.as_ref().map(|it| it.media_type.to_string());
        let artifact_type = manifest.artifact_type.clone().or(config_type);
        Ok(Self {
            digest: *digest,
            kind: kind_of(&manifest, artifact_type.as_deref()),
            media_type: media_type.clone(),
            artifact_type,
            size_bytes: parts().fold(bytes.len() as u64, sum),
            part_types: types(parts())?,
            layer_count: manifest.layers.len(),
            index_platforms: platforms(&manifest.manifests),
            lists_referrers: manifest
                .manifests
                .iter()
                .all(|entry| entry.artifact_type.is_some() && entry.platform.is_none()),
            annotations: manifest.annotations,
        })
    }
}

/// Each media type once. More than are looked at is an error: what is cut off would escape the rules.
fn types<'m>(parts: impl Iterator<Item = &'m Descriptor>) -> Result<Vec<MediaType>, String> {
    let mut seen = HashSet::new();
    let all = parts.map(|it| &it.media_type).filter(|it| seen.insert(it.as_str()));
    let all: Vec<MediaType> = all.take(TYPES_MAX + 1).cloned().collect();
    match all.len() > TYPES_MAX {
        true => Err(format!("it names more than {TYPES_MAX} media types")),
        false => Ok(all),
    }
}

fn platforms(children: &[Descriptor]) -> Vec<String> {
    let named = children.iter().filter_map(|child| child.platform.as_ref());
    named.take(PLATFORMS_MAX).map(ToString::to_string).collect()
}

fn kind_of(manifest: &Manifest, artifact_type: Option<&str>) -> ArtifactKind {
    let config = manifest.config.as_ref().map(|it| it.media_type.as_str()).unwrap_or_default();
    let layers = || manifest.layers.iter().map(|it| it.media_type.as_str());
    let is_image_layer = |layer: &str| begins(layer, &IMAGE_LAYERS);
    // Before it may be a list: a document can be written so that it is both (CVE-2021-41190), and what
    // is asked of images is more. Schema 1 has neither config nor types, and is an image.
    let is_old = manifest.kind == ManifestKind::Schema1;
    if is_old || IMAGE_CONFIGS.contains(&config) || layers().any(is_image_layer) {
        return ArtifactKind::Image;
    }
    if manifest.kind == ManifestKind::Index {
        return ArtifactKind::Index;
    }
    let artifact_type = artifact_type.unwrap_or_default();
    if config == HELM {
        ArtifactKind::HelmChart
    } else if begins(artifact_type, &EVIDENCE) || layers().any(|layer| begins(layer, &EVIDENCE)) {
        ArtifactKind::Evidence
    } else if begins(artifact_type, &BUNDLES) || begins(config, &BUNDLES) {
        ArtifactKind::Bundle
    } else if config == EMPTY && manifest.layers.len() == 1 {
        ArtifactKind::File
    } else {
        ArtifactKind::Other
    }
}

fn begins(text: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| text.starts_with(beginning))
}

/// The config of an image, as far as we look at it (image-spec, "OCI Image Configuration").
#[derive(Deserialize)]
struct WireConfig {
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    config: Option<WireRun>,
}

#[derive(Deserialize)]
struct WireRun {
    #[serde(default, rename = "Labels")]
    labels: Option<BTreeMap<String, Option<String>>>,
}

impl ConfigFacts {
    /// The facts of a config.
    ///
    /// # Errors
    /// Why the bytes are no config.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        // A list would be read as the fields in their order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err("it is no JSON object".to_owned());
        }
        let wire: WireConfig = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let platform = match (filled(wire.os), filled(wire.architecture), filled(wire.variant)) {
            (Some(os), Some(architecture), Some(variant)) => {
                Some(format!("{os}/{architecture}/{variant}"))
            }
            (Some(os), Some(architecture), None) => Some(format!("{os}/{architecture}")),
            _ => None,
        };
        let labels = wire.config.and_then(|run| run.labels).unwrap_or_default();
        if labels.len() > LABELS_MAX {
            return Err(format!("it has more than {LABELS_MAX} labels"));
        }
        Ok(Self {
            platform,
            labels: labels.into_iter().map(|(key, it)| (key, it.unwrap_or_default())).collect(),
            created: wire.created.and_then(|text| text.parse::<Timestamp>().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    fn facts(manifest: &serde_json::Value) -> ManifestFacts {
        let bytes = serde_json::to_vec(manifest).unwrap();
        let media_type = manifest["mediaType"].as_str().unwrap_or(IMAGE);
        let media_type = MediaType::parse(media_type).unwrap();
        ManifestFacts::of(&bytes, &media_type, &Digest::sha256(&bytes)).unwrap()
    }

    fn part(media_type: &str, size: u64) -> serde_json::Value {
        let digest = Digest::sha256(media_type.as_bytes()).to_string();
        json!({ "mediaType": media_type, "digest": digest, "size": size })
    }

    fn manifest(config: &str, layer: &str) -> serde_json::Value {
        json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": part(config, 100),
            "layers": [part(layer, 1000)],
        })
    }

    #[test]
    fn an_artifact_is_what_a_runtime_makes_of_it() {
        let helm_layer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
        for (config, layer, kind) in [
            (CONFIG, LAYER, ArtifactKind::Image),
            (CONFIG, "application/octet-stream", ArtifactKind::Image),
            (HELM, helm_layer, ArtifactKind::HelmChart),
            (HELM, LAYER, ArtifactKind::Image),
            (EMPTY, "application/vnd.dev.sigstore.bundle.v0.3+json", ArtifactKind::Evidence),
            (EMPTY, LAYER, ArtifactKind::Image),
            (EMPTY, "text/plain", ArtifactKind::File),
            ("application/x-unheard-of", "text/plain", ArtifactKind::Other),
            // What Docker's engine runs whatever its layers are called.
            (
                "application/json",
                "application/vnd.dev.sigstore.bundle.v0.3+json",
                ArtifactKind::Image,
            ),
            ("application/octet-stream", "text/plain", ArtifactKind::Image),
            ("", "text/plain", ArtifactKind::Image),
        ] {
            assert_eq!(facts(&manifest(config, layer)).kind, kind, "{config} {layer}");
        }
    }

    #[test]
    fn an_image_that_calls_itself_evidence_is_an_image() {
        let mut dressed = manifest(CONFIG, LAYER);
        dressed["artifactType"] = json!("application/vnd.dev.sigstore.bundle.v0.3+json");
        dressed["subject"] = part(IMAGE, 5);
        assert_eq!(facts(&dressed).kind, ArtifactKind::Image);
    }

    #[test]
    fn an_image_that_also_is_a_list_is_an_image() {
        let mut both = manifest(CONFIG, LAYER);
        both["manifests"] = json!([part(IMAGE, 5)]);
        assert_eq!(facts(&both).kind, ArtifactKind::Image);
        both["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
        assert_eq!(facts(&both).kind, ArtifactKind::Image);
        let old = json!({ "schemaVersion": 1, "fsLayers": [{ "blobSum": "x" }] });
        assert_eq!(facts(&old).kind, ArtifactKind::Image);
    }

    #[test]
    fn no_media_type_escapes_behind_many() {
        let mut many = manifest(CONFIG, LAYER);
        let same = vec![part(LAYER, 1); 3000];
        many["layers"] = json!([same.as_slice(), &[part("text/last", 1)]].concat());
        let found = facts(&many);
        assert_eq!(found.layer_count, 3001);
        let types: Vec<_> = found.part_types.iter().map(|it| it.as_str()).collect();
        assert_eq!(types, [CONFIG, LAYER, "text/last"]);
        let different: Vec<_> = (0..1000).map(|n| part(&format!("text/x{n}"), 1)).collect();
        many["layers"] = json!(different);
        let bytes = serde_json::to_vec(&many).unwrap();
        let digest = Digest::sha256(&bytes);
        let error = ManifestFacts::of(&bytes, &MediaType::OCI_MANIFEST, &digest).unwrap_err();
        assert_eq!(error, "it names more than 1000 media types");
    }

    #[test]
    fn sizes_are_of_all_parts_and_platforms_of_the_entries() {
        let image = manifest(CONFIG, LAYER);
        let length = serde_json::to_vec(&image).unwrap().len() as u64;
        assert_eq!(facts(&image).size_bytes, length + 1100);
        let mut child = part(IMAGE, 5);
        child["platform"] = json!({ "os": "linux", "architecture": "arm", "variant": "v7" });
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = facts(&json!({
            "schemaVersion": 2, "mediaType": media_type, "manifests": [child]
        }));
        assert_eq!(
            (index.kind, index.index_platforms),
            (ArtifactKind::Index, vec!["linux/arm/v7".into()])
        );
    }

    #[test]
    fn configs_are_read_leniently_and_bounded() {
        let read = |text: &str| ConfigFacts::parse(text.as_bytes());
        let config = read(
            r#"{"os":"linux","architecture":"amd64","created":"2026-11-01T00:00:00Z",
                "config":{"Labels":{"a":"b","n":null}}}"#,
        )
        .unwrap();
        assert_eq!(config.platform.as_deref(), Some("linux/amd64"));
        assert_eq!(config.labels["a"], "b");
        assert_eq!(config.labels["n"], "");
        assert!(config.created.is_some());
        assert_eq!(read("{}").unwrap(), ConfigFacts::default());
        assert_eq!(read(r#"{"created":"soon","config":{"Labels":null}}"#).unwrap().created, None);
        assert!(read("[]").is_err() && read("x").is_err());
    }
}
