//! The artifacts of a scenario as bytes: manifests that say what the scenario says of them.

use super::ScenarioError;
use bytes::Bytes;
use jiff::Timestamp;
use oci::{Digest, MediaType, Name, Tag};
use resources::{Scenario, ScenarioArtifact, ScenarioArtifactKind};
use serde_json::{Value, json};

/// Layers up to this length are made; longer ones are only spoken of in the manifest.
const LAYER_MADE_MAX_BYTES: u64 = 1 << 20;
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const IMAGE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const PLATFORM: &str = "linux/amd64";

/// A manifest.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) digest: Digest,
    pub(super) media_type: MediaType,
    pub(super) bytes: Bytes,
}

/// One artifact.
#[derive(Clone, Debug)]
pub(super) struct Artifact {
    pub(super) id: String,
    /// Who has it from the beginning.
    pub(super) name: Option<Name>,
    pub(super) tags: Vec<Tag>,
    pub(super) root: Document,
    /// Of an index: its images, by platform.
    pub(super) children: Vec<(String, Document)>,
    /// Configs and layers.
    pub(super) blobs: Vec<Bytes>,
    pub(super) first_layer: Digest,
    pub(super) subject: Option<Digest>,
    pub(super) artifact_type: Option<&'static str>,
    pub(super) first_seen: Option<Timestamp>,
    /// Environment, first, last.
    pub(super) admitted: Vec<(String, Timestamp, Timestamp)>,
}

impl Artifact {
    /// Its manifests, children before the index that lists them.
    pub(super) fn documents(&self) -> impl Iterator<Item = &Document> {
        self.children.iter().map(|(_, child)| child).chain(std::iter::once(&self.root))
    }
}

/// All of a scenario.
#[derive(Debug, Default)]
pub(super) struct Artifacts(Vec<Artifact>);

impl Artifacts {
    /// Makes them, in the order in which they are written: a subject stands before what refers to it.
    pub(super) fn make(scenario: &Scenario) -> Result<Self, ScenarioError> {
        let mut all = Self::default();
        for written in &scenario.artifacts {
            let wrong = |reason: String| {
                ScenarioError::senseless(format!("artifact {}", written.id), reason)
            };
            if all.find(written.id.as_str()).is_some() {
                return Err(wrong("two artifacts have this id".to_owned()));
            }
            let subject = match &written.subject {
                None => None,
                Some(id) => {
                    let subject = all.find(id.as_str()).ok_or_else(|| {
                        wrong(format!("its subject {id} is no artifact that stands before it"))
                    })?;
                    Some(subject.root.clone())
                }
            };
            let made = Maker { written, subject }.artifact().map_err(wrong)?;
            all.0.push(made);
        }
        Ok(all)
    }

    pub(super) fn find(&self, id: &str) -> Option<&Artifact> {
        self.0.iter().find(|artifact| artifact.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Artifact> {
        self.0.iter()
    }

    /// The ids, for whoever asks for another.
    pub(super) fn ids(&self) -> String {
        let ids: Vec<&str> = self.0.iter().map(|artifact| artifact.id.as_str()).collect();
        ids.join(", ")
    }

    /// The earliest time that anything happened.
    pub(super) fn first_time(&self) -> Option<Timestamp> {
        let seen = self.0.iter().filter_map(|artifact| artifact.first_seen);
        let admitted = self.0.iter().flat_map(|artifact| artifact.admitted.iter());
        seen.chain(admitted.map(|(_, first, _)| *first)).min()
    }
}

struct Maker<'a> {
    written: &'a ScenarioArtifact,
    subject: Option<Document>,
}

/// What one manifest is made of.
struct Parts {
    config: Value,
    config_bytes: Bytes,
    layers: Vec<(Value, Digest, Option<Bytes>)>,
}

impl Maker<'_> {
    fn artifact(&self) -> Result<Artifact, String> {
        let written = self.written;
        let name = match &written.name {
            Some(text) => Some(Name::parse(text).map_err(|error| error.to_string())?),
            None => None,
        };
        let tags: Result<Vec<Tag>, _> = written.tags.iter().map(|text| Tag::parse(text)).collect();
        let admitted = written.admitted.iter().map(|(environment, at)| {
            let (first, last) = (at.first.get(), at.last.as_ref().unwrap_or(&at.first).get());
            (environment.clone(), first, last)
        });
        let mut blobs = Vec::new();
        let mut first_layer = None;
        let mut images = Vec::new();
        let of_written = written.platforms.iter().map(|it| it.as_str().to_owned());
        let mut platforms: Vec<String> = of_written.collect();
        if platforms.is_empty() || written.kind != ScenarioArtifactKind::Image {
            platforms = vec![PLATFORM.to_owned()];
        }
        for platform in &platforms {
            let parts = self.parts(platform)?;
            blobs.push(parts.config_bytes.clone());
            blobs.extend(parts.layers.iter().filter_map(|(_, _, bytes)| bytes.clone()));
            first_layer = first_layer.or(parts.layers.first().map(|(_, digest, _)| *digest));
            images.push((platform.clone(), self.manifest(&parts)));
        }
        let first_layer = first_layer.ok_or("it has no layer")?;
        let (root, children) = match images.as_slice() {
            [(_, only)] => (only.clone(), Vec::new()),
            _ => (self.index(&images), images),
        };
        Ok(Artifact {
            id: written.id.as_str().to_owned(),
            name,
            tags: tags.map_err(|error| error.to_string())?,
            root,
            children,
            blobs,
            first_layer,
            subject: self.subject.as_ref().map(|it| it.digest),
            artifact_type: self.artifact_type(),
            first_seen: written.first_seen.as_ref().map(resources::WireTime::get),
            admitted: admitted.collect(),
        })
    }

    fn artifact_type(&self) -> Option<&'static str> {
        match self.written.kind {
            ScenarioArtifactKind::Image | ScenarioArtifactKind::HelmChart => None,
            ScenarioArtifactKind::File => Some("application/vnd.example.file"),
            ScenarioArtifactKind::Signature => {
                Some("application/vnd.dev.sigstore.bundle.v0.3+json")
            }
            ScenarioArtifactKind::Sbom => Some("application/spdx+json"),
        }
    }

    fn layer_type(&self) -> &str {
        if let Some(own) = &self.written.layer_media_type {
            return own.as_str();
        }
        match self.written.kind {
            ScenarioArtifactKind::Image => IMAGE_LAYER,
            ScenarioArtifactKind::HelmChart => {
                "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
            }
            ScenarioArtifactKind::File => "application/octet-stream",
            ScenarioArtifactKind::Signature => "application/vnd.dev.sigstore.bundle.v0.3+json",
            ScenarioArtifactKind::Sbom => "application/spdx+json",
        }
    }

    fn parts(&self, platform: &str) -> Result<Parts, String> {
        let written = self.written;
        let (config_type, config) = match written.kind {
            ScenarioArtifactKind::Image => (IMAGE_CONFIG, self.image_config(platform)?),
            ScenarioArtifactKind::HelmChart => (
                "application/vnd.cncf.helm.config.v1+json",
                json!({ "apiVersion": "v2", "name": written.id.as_str(), "version": "1.0.0" }),
            ),
            _ => (EMPTY, json!({})),
        };
        let config_bytes = Bytes::from(config.to_string());
        let count = written.layers.unwrap_or(1).max(1);
        let mut layers = Vec::new();
        for index in 0..count {
            let text = format!("layer {index} of {} for {platform}\n", written.id);
            let share = written.layer_bytes.map(|all| all / u64::from(count));
            let share = share.unwrap_or(text.len() as u64);
            let made = usize::try_from(share).ok().filter(|_| share <= LAYER_MADE_MAX_BYTES);
            let bytes = made.map(|length| {
                let mut bytes = text.clone().into_bytes();
                bytes.resize(length, b'.');
                Bytes::from(bytes)
            });
            let digest = Digest::sha256(bytes.as_deref().unwrap_or(text.as_bytes()));
            let entry = json!({ "mediaType": self.layer_type(), "digest": digest, "size": share });
            layers.push((entry, digest, bytes));
        }
        let config = json!({
            "mediaType": config_type,
            "digest": Digest::sha256(&config_bytes),
            "size": config_bytes.len(),
        });
        Ok(Parts { config, config_bytes, layers })
    }

    fn image_config(&self, platform: &str) -> Result<Value, String> {
        let mut config = split(platform)?;
        config["rootfs"] = json!({ "type": "layers", "diff_ids": [] });
        config["config"] = json!({ "Labels": self.written.labels });
        if let Some(created) = &self.written.created {
            config["created"] = json!(created.get().to_string());
        }
        Ok(config)
    }

    fn manifest(&self, parts: &Parts) -> Document {
        let layers: Vec<&Value> = parts.layers.iter().map(|(entry, _, _)| entry).collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST.as_str(),
            "config": parts.config,
            "layers": layers,
        });
        if let Some(artifact_type) = self.artifact_type() {
            manifest["artifactType"] = json!(artifact_type);
        }
        if let Some(subject) = &self.subject {
            manifest["subject"] = json!({
                "mediaType": subject.media_type.as_str(),
                "digest": subject.digest,
                "size": subject.bytes.len(),
            });
        }
        self.document(manifest, MediaType::OCI_MANIFEST)
    }

    fn index(&self, images: &[(String, Document)]) -> Document {
        let entry = |(platform, image): &(String, Document)| {
            json!({
                "mediaType": image.media_type.as_str(),
                "digest": image.digest,
                "size": image.bytes.len(),
                "platform": split(platform).unwrap_or_default(),
            })
        };
        let manifests: Vec<Value> = images.iter().map(entry).collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_INDEX.as_str(),
            "manifests": manifests,
        });
        self.document(index, MediaType::OCI_INDEX)
    }

    fn document(&self, mut manifest: Value, media_type: MediaType) -> Document {
        if !self.written.annotations.is_empty() {
            manifest["annotations"] = json!(self.written.annotations);
        }
        let bytes = Bytes::from(manifest.to_string());
        Document { digest: Digest::sha256(&bytes), media_type, bytes }
    }
}

/// `os/architecture[/variant]` as a config and an index spell it.
fn split(platform: &str) -> Result<Value, String> {
    let mut parts = platform.split('/');
    let (Some(os), Some(architecture)) = (parts.next(), parts.next()) else {
        return Err(format!("platform {platform:?} is not os/architecture[/variant]"));
    };
    if platform.contains('*') {
        return Err(format!("platform {platform:?} is a pattern; name one platform"));
    }
    let mut split = json!({ "os": os, "architecture": architecture });
    if let Some(variant) = parts.next() {
        split["variant"] = json!(variant);
    }
    Ok(split)
}
