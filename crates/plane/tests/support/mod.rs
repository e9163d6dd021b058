//! A plane over a temporary directory, in front of registries that misbehave on request.
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "a rig that cannot be set up is a failed test")]
#![allow(dead_code)]

pub mod members;

use bytes::Bytes;
use futures_util::StreamExt;
use oci::Digest;
use oci::range::ByteRange;
use plane::{
    Ask, BlobAnswer, ByteStream, Clock, Credentials, FillSettings, GcSettings, Incoming,
    IncomingError, KeepSettings, Method, Options, Peer, Plane, PushSettings, ReadHow, Refusal,
    Served, UploadState, What, Wishes,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use telemetry::{AccessLog, CacheStatus, Metrics, Registry, RequestIds};
use testkit::FakeRegistry;

/// A plane and what it stands on.
pub struct Rig {
    pub plane: Arc<Plane>,
    pub clock: Clock,
    pub dir: Arc<tempfile::TempDir>,
    pub metrics: Arc<Metrics>,
    pub catalog: catalog::Catalog,
    pub store: blobs::Store,
    ids: RequestIds,
    /// Shown with every request: the header `Authorization`.
    pub authorization: Option<String>,
    /// The header `Lockgate-Environment`.
    pub environment: Option<String>,
    /// The header `Lockgate-Purpose`.
    pub purpose: Option<String>,
}

/// How a rig differs from the usual.
#[derive(Default)]
pub struct Setup {
    pub keep: KeepSettings,
    pub gc: GcSettings,
    pub fills: FillSettings,
    pub pushes: PushSettings,
    pub dir: Option<Arc<tempfile::TempDir>>,
    pub fail_writes_after_bytes: Option<u64>,
    pub access_log: Option<AccessLog>,
    /// Instead of the one in the directory.
    pub catalog: Option<catalog::Catalog>,
}

pub const LOOPBACK: Peer = Peer {
    address: Some(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)),
    is_loopback: true,
    is_operator: false,
};

/// Documents of one repository `reg` with these spec lines, over the given upstream URL.
pub fn documents(url: &str, remote: &str) -> String {
    format!(
        "apiVersion: lockgate.dev/v1alpha1\nkind: Upstream\nmetadata: {{ name: up }}\nspec:\n  \
         endpoints: [{{ url: \"{url}\" }}]\n  boundary: {{ privateAddresses: true }}\n  \
         timeouts: {{ connect: 500ms, firstByte: 1s, stall: 500ms }}\n---\n\
         apiVersion: lockgate.dev/v1alpha1\nkind: Repository\nmetadata: {{ name: reg }}\nspec:\n  \
         hosts: [reg.example]\n  remote: {{ upstream: up{remote} }}\n"
    )
}

pub fn set_of(text: &str) -> Result<resources::Set, resources::Problems> {
    resources::overlay(&resources::builtin(), &resources::read_text("test.yaml", text)?)
}

impl Rig {
    pub async fn over(registry: &FakeRegistry) -> Self {
        Self::with(&documents(&registry.url(), ""), Setup::default()).await
    }

    pub async fn with(text: &str, setup: Setup) -> Self {
        let dir = setup.dir.unwrap_or_else(|| Arc::new(tempfile::tempdir().unwrap()));
        let data_dir: PathBuf = dir.path().to_owned();
        let mut store = blobs::Options::new(data_dir.clone());
        store.fail_writes_after_bytes = setup.fail_writes_after_bytes;
        let store = blobs::Store::open(store).unwrap();
        let open = || catalog::Catalog::open(&data_dir.join("catalog.sqlite")).unwrap().0;
        let catalog = setup.catalog.unwrap_or_else(open);
        let metrics = Metrics::new(Registry::default(), "test", None);
        let clock = Clock::manual();
        let options = Options {
            data_dir,
            store: store.clone(),
            catalog: catalog.clone(),
            metrics: metrics.clone(),
            access_log: setup.access_log,
            keep: setup.keep,
            gc: setup.gc,
            fills: setup.fills,
            pushes: setup.pushes,
            clock: clock.clone(),
            keys_dir: None,
        };
        let plane = Plane::start(options, set_of(text), "test.yaml").await.unwrap();
        let ids = RequestIds::new();
        let (authorization, environment, purpose) = (None, None, None);
        Self {
            plane,
            clock,
            dir,
            metrics,
            catalog,
            store,
            ids,
            authorization,
            environment,
            purpose,
        }
    }

    pub async fn ask(&self, method: Method, path: &str) -> Result<Served, Refusal> {
        self.ask_as(LOOPBACK, method, path).await
    }

    pub async fn ask_as(&self, peer: Peer, method: Method, path: &str) -> Result<Served, Refusal> {
        self.send_as(peer, method, path, Incoming::none()).await
    }

    /// A request with a body.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        incoming: Incoming,
    ) -> Result<Served, Refusal> {
        self.send_as(LOOPBACK, method, path, incoming).await
    }

    pub async fn send_as(
        &self,
        peer: Peer,
        method: Method,
        path: &str,
        incoming: Incoming,
    ) -> Result<Served, Refusal> {
        self.send_to("127.0.0.1:5050", peer, method, path, incoming).await
    }

    /// A request to a host by its name.
    pub async fn send_to(
        &self,
        host: &str,
        peer: Peer,
        method: Method,
        path: &str,
        incoming: Incoming,
    ) -> Result<Served, Refusal> {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let ask = Ask {
            method,
            path,
            query,
            host: Some(host),
            peer,
            credentials: self.credentials(),
            wishes: self.wishes(),
            read: ReadHow::Mapped,
        };
        let mut trail = self.plane.trail(self.ids.next(), "GET", path, peer.address);
        self.plane.handle(&ask, incoming, &mut trail).await
    }

    fn credentials(&self) -> Credentials<'_> {
        Credentials { authorization: self.authorization.as_deref(), certificates: &[] }
    }

    fn wishes(&self) -> Wishes<'_> {
        let (environment, purpose) = (self.environment.as_deref(), self.purpose.as_deref());
        Wishes { environment, purpose }
    }

    /// Pushes a blob in one request; what it hashes to. `name`: as clients write it.
    pub async fn push_blob(&self, name: &str, bytes: &[u8]) -> Result<Digest, Refusal> {
        let digest = Digest::sha256(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let served = self.send(Method::Post, &path, body(bytes)).await?;
        match served.what {
            What::BlobCreated { digest, .. } => Ok(digest),
            other => panic!("no blob was made: {other:?}"),
        }
    }

    /// Pushes a manifest under a tag or a digest, which may have a query; what it hashes to.
    pub async fn push_manifest(
        &self,
        name: &str,
        reference: &str,
        manifest: &serde_json::Value,
    ) -> Result<Digest, Refusal> {
        let path = format!("/v2/{name}/manifests/{reference}");
        let bytes = serde_json::to_vec(manifest).unwrap();
        let media_type = manifest["mediaType"].as_str().map(str::to_owned);
        let incoming = body(&bytes).with_lines(media_type, None);
        match self.send(Method::Put, &path, incoming).await?.what {
            What::ManifestCreated { digest, .. } => Ok(digest),
            other => panic!("no manifest was made: {other:?}"),
        }
    }

    /// Pushes an image of one config and one layer, made from a seed; its manifest's digest.
    pub async fn push_image(
        &self,
        name: &str,
        reference: &str,
        seed: &str,
    ) -> Result<Digest, Refusal> {
        let config = format!("{{\"seed\":\"{seed}\"}}");
        let layer = format!("the layer of {seed}");
        self.push_blob(name, config.as_bytes()).await?;
        self.push_blob(name, layer.as_bytes()).await?;
        let manifest = image_manifest(config.as_bytes(), &[layer.as_bytes()]);
        self.push_manifest(name, reference, &manifest).await
    }

    /// Begins an upload session.
    pub async fn begin_upload(&self, name: &str) -> UploadState {
        let path = format!("/v2/{name}/blobs/uploads/");
        self.upload(Method::Post, &path, Incoming::none()).await.unwrap()
    }

    /// A request that is answered by how a session stands.
    pub async fn upload(
        &self,
        method: Method,
        path: &str,
        incoming: Incoming,
    ) -> Result<UploadState, Refusal> {
        match self.send(method, path, incoming).await?.what {
            What::Upload(state) => Ok(state),
            other => panic!("{path} is no session: {other:?}"),
        }
    }

    pub async fn get(&self, path: &str) -> Result<Served, Refusal> {
        self.ask(Method::Get, path).await
    }

    /// The bytes of a manifest, and how the cache came by them.
    pub async fn manifest(&self, path: &str) -> Result<(Bytes, CacheStatus), Refusal> {
        let served = self.get(path).await?;
        match served.what {
            What::Manifest(content) => Ok((content.bytes.clone(), served.cache.status)),
            other => panic!("{path} is no manifest: {other:?}"),
        }
    }

    pub async fn blob_answer(&self, path: &str) -> Result<(BlobAnswer, CacheStatus), Refusal> {
        let served = self.get(path).await?;
        match served.what {
            What::Blob(answer) => Ok((answer, served.cache.status)),
            other => panic!("{path} is no blob: {other:?}"),
        }
    }

    /// All bytes of a blob, or the text of what broke it off.
    pub async fn blob(&self, path: &str) -> Result<(Bytes, CacheStatus), String> {
        let (answer, status) =
            self.blob_answer(path).await.map_err(|refusal| refusal.to_string())?;
        Ok((collect(answer.stream(None)).await?, status))
    }

    pub async fn range(&self, path: &str, start: u64, end: u64) -> Result<Bytes, String> {
        let (answer, _) = self.blob_answer(path).await.map_err(|refusal| refusal.to_string())?;
        collect(answer.stream(Some(ByteRange { start, end }))).await
    }

    /// Waits until something is so; panics after ten seconds.
    pub async fn eventually(&self, what: &str, so: impl AsyncFn(&Self) -> bool) {
        for _ in 0..500 {
            if so(self).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never: {what}");
    }

    /// The value of a metric's line that begins with `start`.
    pub fn metric(&self, start: &str) -> f64 {
        let text = self.metrics.render();
        let line = text.lines().find(|line| line.starts_with(start));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|v| v.parse().ok()).unwrap_or(0.0)
    }
}

pub async fn collect(mut stream: ByteStream) -> Result<Bytes, String> {
    let mut all = Vec::new();
    while let Some(next) = stream.next().await {
        all.extend_from_slice(&next.map_err(|error| error.to_string())?);
    }
    Ok(all.into())
}

/// The path of something of the fake registry, under the plane's name for it.
pub fn through(path: &str) -> String {
    path.replacen("/v2/", "/v2/reg/", 1)
}

/// The body of a push, in pieces of 64 KiB, with its length.
pub fn body(bytes: &[u8]) -> Incoming {
    Incoming::new(futures_util::stream::iter(pieces(bytes)), Some(bytes.len() as u64))
}

/// The body of a push whose length is not said.
pub fn streamed(bytes: &[u8]) -> Incoming {
    Incoming::new(futures_util::stream::iter(pieces(bytes)), None)
}

fn pieces(bytes: &[u8]) -> Vec<Result<Bytes, IncomingError>> {
    bytes.chunks(64 << 10).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

/// Documents of one hosted repository `team` with these fields, and a policy that lets everybody on
/// the loopback do everything.
pub fn hosted(spec: &str) -> String {
    format!(
        "apiVersion: lockgate.dev/v1alpha1\nkind: Repository\nmetadata: {{ name: team }}\nspec:\n  \
         hosted: {{ {spec} }}\n---\n{EVERYBODY}"
    )
}

/// A policy that lets everybody do everything.
pub const EVERYBODY: &str = "apiVersion: lockgate.dev/v1alpha1\nkind: AccessPolicy\n\
    metadata: { name: all }\nspec:\n  allow:\n    - subjects: [{ kind: Anonymous }]\n      \
    actions: [\"*\"]\n      repositories: [\"**\"]\n";

pub fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    serde_json::json!({
        "mediaType": media_type, "digest": Digest::sha256(bytes).to_string(), "size": bytes.len(),
    })
}

/// The manifest of an image.
pub fn image_manifest(config: &[u8], layers: &[&[u8]]) -> serde_json::Value {
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    let layers: Vec<_> = layers.iter().map(|layer| descriptor(LAYER, layer)).collect();
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": testkit::OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": layers,
    })
}

/// An index of manifests.
pub fn index(children: &[&serde_json::Value]) -> serde_json::Value {
    let entry = |child: &&serde_json::Value| {
        let media_type = child["mediaType"].as_str().unwrap();
        descriptor(media_type, &serde_json::to_vec(child).unwrap())
    };
    let manifests: Vec<_> = children.iter().map(entry).collect();
    serde_json::json!({
        "schemaVersion": 2, "mediaType": testkit::OCI_INDEX, "manifests": manifests,
    })
}
