//! The shapes of data that are pushed: what the conformance program makes, smaller.

use bytes::Bytes;
use oci::{Algorithm, Digest};
use serde_json::{Value, json};

pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const NOT_DISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const EXAMPLE: &str = "application/vnd.example.oci.conformance.v1";
const OTHER: &str = "application/vnd.example.oci.conformance.v2";

/// The names of the program's settings for data.
pub(crate) const NAMES: [&str; 15] = [
    "image",
    "index",
    "index-list",
    "sparse",
    "artifact",
    "subject",
    "subject-missing",
    "artifact-list",
    "subject-list",
    "data-field",
    "nondistributable",
    "custom-fields",
    "no-layers",
    "empty-blob",
    "sha512",
];

/// What a referrers list must say of a manifest.
#[derive(Clone, Debug)]
pub(crate) struct Referrer {
    pub(crate) subject: String,
    pub(crate) artifact_type: String,
    pub(crate) annotations: Value,
}

#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) digest: String,
    pub(crate) media_type: &'static str,
    pub(crate) body: Bytes,
    pub(crate) refers: Option<Referrer>,
}

/// One shape: blobs, and manifests in the order in which they can be pushed.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) blobs: Vec<(String, Bytes)>,
    pub(crate) manifests: Vec<Manifest>,
    algorithm: Algorithm,
    embeds_data: bool,
    has_custom_fields: bool,
    seed: u64,
}

impl Shape {
    /// The top manifest, which a tag names.
    pub(crate) fn top(&self) -> &Manifest {
        self.manifests.last().expect("every shape has a manifest")
    }

    fn digest(&self, bytes: &[u8]) -> String {
        Digest::of(self.algorithm, bytes).to_string()
    }

    fn bytes(&mut self, count: usize) -> Bytes {
        self.seed += 1;
        testkit::Synthetic::new(count as u64, self.seed).to_bytes()
    }

    fn described(&self, bytes: &[u8], media_type: &str) -> Value {
        let mut descriptor =
            json!({"mediaType": media_type, "digest": self.digest(bytes), "size": bytes.len()});
        if self.embeds_data {
            descriptor["data"] = base64(bytes).into();
        }
        descriptor
    }

    fn blob(&mut self, bytes: Bytes, media_type: &str) -> Value {
        let (descriptor, digest) = (self.described(&bytes, media_type), self.digest(&bytes));
        if !self.blobs.iter().any(|(held, _)| *held == digest) {
            self.blobs.push((digest, bytes));
        }
        descriptor
    }

    /// Adds a manifest and gives its descriptor.
    fn manifest(&mut self, media_type: &'static str, mut document: Value) -> Value {
        document["schemaVersion"] = 2.into();
        document["mediaType"] = media_type.into();
        if self.has_custom_fields {
            document["org.example.unknown"] = json!({"kept": [1, 2, 3]});
        }
        let refers = document["subject"]["digest"].as_str().map(|subject| Referrer {
            subject: subject.to_owned(),
            artifact_type: document["artifactType"]
                .as_str()
                .or(document["config"]["mediaType"].as_str())
                .unwrap_or_default()
                .to_owned(),
            annotations: document["annotations"].clone(),
        });
        // Indented: whoever prints it again changes its bytes.
        let body = Bytes::from(serde_json::to_vec_pretty(&document).expect("JSON"));
        let descriptor = self.described(&body, media_type);
        self.manifests.push(Manifest { digest: self.digest(&body), media_type, body, refers });
        descriptor
    }

    fn image(&mut self, layers: usize, more: Value) -> Value {
        let layers: Vec<Value> = (0..layers)
            .map(|_| {
                let bytes = self.bytes(900);
                self.blob(bytes, LAYER)
            })
            .collect();
        let seed = self.seed;
        let config = json!({"os": "linux", "architecture": "amd64", "author": format!("{seed}")});
        let config = self.blob(Bytes::from(config.to_string()), CONFIG);
        self.manifest(IMAGE, merged(json!({"config": config, "layers": layers}), more))
    }

    fn artifact(&mut self, artifact_type: &str, more: Value) -> Value {
        let config = self.blob(Bytes::from_static(b"{}"), EMPTY);
        let bytes = self.bytes(700);
        let layer = self.blob(bytes, artifact_type);
        let document = json!({"artifactType": artifact_type, "config": config, "layers": [layer]});
        self.manifest(IMAGE, merged(document, more))
    }

    fn index(&mut self, children: Vec<Value>, more: Value) -> Value {
        self.manifest(INDEX, merged(json!({"manifests": children}), more))
    }

    fn pair(&mut self) -> Value {
        let children = vec![self.image(2, json!({})), self.image(1, json!({}))];
        self.index(children, json!({}))
    }
}

/// RFC 4648 §4, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place > three.len() { '=' } else { letter.into() });
        }
    }
    text
}

fn merged(mut document: Value, more: Value) -> Value {
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        document[key] = value;
    }
    document
}

fn annotated(subject: &Value, text: &str) -> Value {
    let mut subject = subject.clone();
    subject.as_object_mut().expect("a descriptor").remove("data");
    json!({"subject": subject, "annotations": {"org.opencontainers.conformance": text}})
}

/// The shape of this name; `salt` makes its digests differ from those of another case.
pub(crate) fn shape(name: &'static str, salt: u64) -> Shape {
    let mut shape = Shape {
        name,
        blobs: Vec::new(),
        manifests: Vec::new(),
        algorithm: if name == "sha512" { Algorithm::Sha512 } else { Algorithm::Sha256 },
        embeds_data: name == "data-field",
        has_custom_fields: name == "custom-fields",
        seed: salt * 1000,
    };
    match name {
        "image" | "data-field" => drop(shape.image(2, json!({}))),
        "index" | "custom-fields" | "sha512" => drop(shape.pair()),
        "index-list" => {
            let children = vec![shape.pair(), shape.pair()];
            shape.index(children, json!({}));
        }
        "sparse" => {
            let missing = shape.described(b"never pushed", IMAGE);
            let here = shape.image(1, json!({}));
            shape.index(vec![here, missing], json!({}));
        }
        "artifact" => drop(shape.artifact(EXAMPLE, json!({}))),
        "subject" => {
            let subject = shape.image(1, json!({}));
            shape.image(1, annotated(&subject, "an image"));
            shape.artifact(EXAMPLE, annotated(&subject, "one"));
            shape.artifact(OTHER, annotated(&subject, "another"));
        }
        "subject-missing" => {
            let missing = shape.described(b"never pushed", IMAGE);
            shape.artifact(EXAMPLE, annotated(&missing, "of what is not there"));
        }
        "artifact-list" => {
            let children =
                vec![shape.artifact(EXAMPLE, json!({})), shape.artifact(OTHER, json!({}))];
            shape.index(children, json!({"artifactType": EXAMPLE}));
        }
        "subject-list" => {
            let subject = shape.pair();
            let more = merged(annotated(&subject, "of an index"), json!({"artifactType": EXAMPLE}));
            let child = shape.artifact(EXAMPLE, annotated(&subject, "a child"));
            shape.index(vec![child], more);
        }
        "nondistributable" => {
            let mut elsewhere = shape.described(b"kept elsewhere", NOT_DISTRIBUTABLE);
            elsewhere["urls"] = json!(["https://store.example.com/blobs/1"]);
            let bytes = shape.bytes(300);
            let here = shape.blob(bytes, LAYER);
            let config = shape.blob(Bytes::from(format!("{{\"author\":\"{salt}\"}}")), CONFIG);
            shape.manifest(IMAGE, json!({"config": config, "layers": [elsewhere, here]}));
        }
        "no-layers" => drop(shape.image(0, json!({}))),
        "empty-blob" => {
            let empty = shape.blob(Bytes::new(), LAYER);
            let config = shape.blob(Bytes::from(format!("{{\"author\":\"{salt}\"}}")), CONFIG);
            shape.manifest(IMAGE, json!({"config": config, "layers": [empty]}));
        }
        other => panic!("no shape {other}"),
    }
    shape
}
