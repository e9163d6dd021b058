//! What is pushed and pulled: an image of one small configuration and one layer, whose first page makes
//! it unlike every other.

use crate::wire::{Answer, Body, PAGE_BYTES, Wire};
use testkit::{OCI_MANIFEST, Sha256, sha256};

pub(crate) const ACCEPT: &str = "accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json\r\n";
const OCTETS: &str = "content-type: application/octet-stream\r\n";
const CHUNK_BYTES: usize = 10 << 20;

/// How a layer is brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// POST, PUT with all of it.
    Monolithic,
    /// POST, PATCH after PATCH, PUT.
    Chunked,
}

/// An image ready to be pushed: digests are made before the clock runs.
pub(crate) struct Image {
    page: Box<[u8; PAGE_BYTES]>,
    size: usize,
    layer: String,
    config: Vec<u8>,
    config_digest: String,
    manifest: Vec<u8>,
    pub(crate) tag: String,
}

impl Image {
    pub(crate) fn new(size: usize, unique: &str) -> Self {
        let size = size.max(PAGE_BYTES);
        let mut page = Box::new([0; PAGE_BYTES]);
        for (at, byte) in page.iter_mut().zip(unique.bytes().cycle()) {
            *at = byte;
        }
        let mut hash = Sha256::new();
        hash.update(&page[..]);
        let zeros = vec![0; 1 << 20];
        let mut left = size - PAGE_BYTES;
        while left > 0 {
            let count = left.min(zeros.len());
            hash.update(&zeros[..count]);
            left -= count;
        }
        let layer = hash.finish();
        let config =
            format!("{{\"os\":\"linux\",\"architecture\":\"amd64\",\"author\":\"{unique}\"}}")
                .into_bytes();
        let config_digest = sha256(&config);
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": size}],
        });
        let manifest = manifest.to_string().into_bytes();
        Self { page, size, layer, config, config_digest, manifest, tag: unique.to_owned() }
    }

    /// The whole push, as a client does it.
    pub(crate) async fn push(&self, wire: &mut Wire, name: &str, way: Way) -> Result<u64, String> {
        self.push_layer(wire, name, way).await?;
        let at = begin(wire, name).await?;
        finish(wire, &at, &self.config_digest, Body::Bytes(&self.config)).await?;
        self.put(wire, name, &self.tag).await?;
        Ok(self.size as u64)
    }

    async fn push_layer(&self, wire: &mut Wire, name: &str, way: Way) -> Result<(), String> {
        let (page, size) = (&*self.page, self.size);
        let mut at = begin(wire, name).await?;
        if way == Way::Monolithic {
            return finish(wire, &at, &self.layer, Body::Layer { page, from: 0, to: size }).await;
        }
        let mut from = 0;
        while from < size {
            let to = size.min(from + CHUNK_BYTES);
            let headers = format!("{OCTETS}content-range: {from}-{}\r\n", to - 1);
            let body = Body::Layer { page, from, to };
            let answer = wire.ask("PATCH", &at, &headers, body, false).await?;
            at = answer.expect(202, "PATCH")?.location()?;
            from = to;
        }
        finish(wire, &at, &self.layer, Body::None).await
    }

    /// The manifest under one tag.
    pub(crate) async fn put(&self, wire: &mut Wire, name: &str, tag: &str) -> Result<(), String> {
        let headers = format!("content-type: {OCI_MANIFEST}\r\n");
        let path = format!("/v2/{name}/manifests/{tag}");
        let answer = wire.ask("PUT", &path, &headers, Body::Bytes(&self.manifest), false).await?;
        answer.expect(201, "PUT manifest").map(drop)
    }

    /// Mounts both blobs from a name, and puts the manifest: another name with the same image.
    pub(crate) async fn put_from(
        &self,
        wire: &mut Wire,
        from: &str,
        name: &str,
    ) -> Result<(), String> {
        for digest in [&self.layer, &self.config_digest] {
            let path = format!("/v2/{name}/blobs/uploads/?mount={digest}&from={from}");
            wire.ask("POST", &path, "", Body::None, false).await?.expect(201, "mount")?;
        }
        self.put(wire, name, "1").await
    }

    /// The whole pull, as a client does it.
    pub(crate) async fn pull(&self, wire: &mut Wire, name: &str) -> Result<u64, String> {
        let path = format!("/v2/{name}/manifests/{}", self.tag);
        let manifest =
            wire.ask("GET", &path, ACCEPT, Body::None, true).await?.expect(200, "manifest")?;
        if manifest.body != self.manifest {
            return Err(format!("{name}:{} is another manifest", self.tag));
        }
        let mut bytes = 0;
        for (digest, size) in [(&self.config_digest, self.config.len()), (&self.layer, self.size)] {
            let path = format!("/v2/{name}/blobs/{digest}");
            let answer =
                wire.ask("GET", &path, "", Body::None, false).await?.expect(200, "blob")?;
            if answer.body_bytes != size as u64 {
                return Err(format!("{digest} has {} bytes, not {size}", answer.body_bytes));
            }
            bytes += answer.body_bytes;
        }
        Ok(bytes)
    }
}

async fn begin(wire: &mut Wire, name: &str) -> Result<String, String> {
    let path = format!("/v2/{name}/blobs/uploads/");
    let answer: Answer = wire.ask("POST", &path, "", Body::None, false).await?;
    answer.expect(202, "POST")?.location()
}

async fn finish(wire: &mut Wire, at: &str, digest: &str, body: Body<'_>) -> Result<(), String> {
    let joined = if at.contains('?') { '&' } else { '?' };
    let path = format!("{at}{joined}digest={digest}");
    wire.ask("PUT", &path, OCTETS, body, false).await?.expect(201, "PUT blob").map(drop)
}
