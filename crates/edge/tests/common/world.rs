//! A whole plane in front of a registry that does what a test tells it.

use super::{Server, limits, metrics, plain};
use catalog::Catalog;
use edge::server::{Address, ListenerSettings, bind};
use plane::{Clock, Options, Plane};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use testkit::client::{self, Response};
use testkit::{Builder, FakeRegistry};
use tokio_util::sync::CancellationToken;

/// The repository in front of the registry.
pub const REPOSITORY: &str = "reg.example";

/// Lets anybody do anything.
pub const ALLOW_ALL: &str = "
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: all }
spec:
  allow:
    - { subjects: [{ kind: Anonymous }], actions: ['*'], repositories: ['**'] }
";

/// Registry, plane and server. The first listener is TCP, the last the operator's socket.
pub struct World {
    pub registry: FakeRegistry,
    pub plane: Arc<Plane>,
    pub server: Server,
    pub clock: Clock,
    pub stopping: CancellationToken,
    dir: TempDir,
}

impl World {
    pub async fn start() -> Self {
        Self::with(FakeRegistry::builder(), plain(), "").await
    }

    /// `more`: documents besides the upstream and the repository.
    pub async fn with(registry: Builder, listener: ListenerSettings, more: &str) -> Self {
        let registry = registry.start().await;
        let dir = tempfile::tempdir().unwrap();
        let text = documents(&registry.url()) + more;
        let read = resources::read_text("test.yaml", &text);
        let set = resources::overlay(&resources::builtin(), &read.unwrap());
        let metrics = metrics();
        let clock = Clock::manual();
        let options = Options {
            data_dir: dir.path().to_owned(),
            store: blobs::Store::open(blobs::Options::new(dir.path())).unwrap(),
            catalog: Catalog::open(&dir.path().join("catalog.sqlite")).unwrap().0,
            metrics: metrics.clone(),
            access_log: None,
            keep: Default::default(),
            gc: Default::default(),
            fills: Default::default(),
            pushes: Default::default(),
            clock: clock.clone(),
        };
        let plane = Plane::start(options, set, "test").await.unwrap();
        let unix = ListenerSettings::plain(Address::Unix(dir.path().join("lockgate.sock")));
        let bound = bind(&[listener, unix], limits(), metrics.clone()).await.unwrap();
        let stopping = CancellationToken::new();
        let handler = edge::service(plane.clone(), metrics.clone(), stopping.clone());
        let server = Server::run(bound, metrics, CancellationToken::new(), handler);
        Self { registry, plane, server, clock, stopping, dir }
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("lockgate.sock")
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        client::get(self.addr(), path, headers).await.unwrap()
    }

    pub async fn head(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        client::head(self.addr(), path, headers).await.unwrap()
    }
}

fn documents(url: &str) -> String {
    format!(
        "
apiVersion: lockgate.dev/v1alpha1
kind: Upstream
metadata: {{ name: fake }}
spec:
  endpoints: [{{ url: '{url}' }}]
  boundary: {{ privateAddresses: true }}
---
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: {{ name: {REPOSITORY} }}
spec:
  hosts: [{REPOSITORY}]
  remote: {{ upstream: fake }}
---
"
    )
}

/// The path by which a plane serves what the registry calls `path`.
pub fn through(path: &str) -> String {
    path.replacen("/v2/", &format!("/v2/{REPOSITORY}/"), 1)
}
