//! A plane over a temporary directory, in front of registries that misbehave on request.
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "a rig that cannot be set up is a failed test")]
#![allow(dead_code)]

use bytes::Bytes;
use futures_util::StreamExt;
use oci::range::ByteRange;
use plane::{
    Ask, BlobAnswer, ByteStream, Clock, FillSettings, KeepSettings, Method, Options, Peer, Plane,
    ReadHow, Refusal, Served, What,
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
    ids: RequestIds,
}

/// How a rig differs from the usual.
#[derive(Default)]
pub struct Setup {
    pub keep: KeepSettings,
    pub fills: FillSettings,
    pub dir: Option<Arc<tempfile::TempDir>>,
    pub fail_writes_after_bytes: Option<u64>,
    pub access_log: Option<AccessLog>,
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
        let (catalog, _) = catalog::Catalog::open(&data_dir.join("catalog.sqlite")).unwrap();
        let metrics = Metrics::new(Registry::default(), "test", None);
        let clock = Clock::manual();
        let options = Options {
            data_dir,
            store: blobs::Store::open(store).unwrap(),
            catalog: catalog.clone(),
            metrics: metrics.clone(),
            access_log: setup.access_log,
            keep: setup.keep,
            fills: setup.fills,
            clock: clock.clone(),
        };
        let plane = Plane::start(options, set_of(text), "test.yaml").await.unwrap();
        Self { plane, clock, dir, metrics, catalog, ids: RequestIds::new() }
    }

    pub async fn ask(&self, method: Method, path: &str) -> Result<Served, Refusal> {
        self.ask_as(LOOPBACK, method, path).await
    }

    pub async fn ask_as(&self, peer: Peer, method: Method, path: &str) -> Result<Served, Refusal> {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let host = Some("127.0.0.1:5050");
        let ask = Ask { method, path, query, host, peer, read: ReadHow::Mapped };
        let mut trail = self.plane.trail(self.ids.next(), "GET", path, peer.address);
        self.plane.handle(&ask, &mut trail).await
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
