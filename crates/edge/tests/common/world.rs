//! A whole plane in front of a registry that does what a test tells it.

use super::{Server, limits, metrics, plain};
use catalog::Catalog;
use edge::server::{Address, Limits, ListenerSettings, bind};
use plane::{Clock, Options, Plane};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use testkit::client::{self, Request, Response};
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

/// A hosted repository `team`, also by the host `team.example`, in which everybody may do everything.
pub const HOSTED: &str = "
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: team }
spec:
  hosts: [team.example]
  hosted: { immutableTags: ['v*'] }
---
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

    /// With the hosted repository of [`HOSTED`].
    pub async fn hosted() -> Self {
        Self::with(FakeRegistry::builder(), plain(), HOSTED).await
    }

    /// `more`: documents besides the upstream and the repository.
    pub async fn with(registry: Builder, listener: ListenerSettings, more: &str) -> Self {
        Self::within(registry, listener, more, limits()).await
    }

    pub async fn within(
        registry: Builder,
        listener: ListenerSettings,
        more: &str,
        bounds: Limits,
    ) -> Self {
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
            keys_dir: None,
        };
        let plane = Plane::start(options, set, "test").await.unwrap();
        let unix = ListenerSettings::plain(Address::Unix(dir.path().join("lockgate.sock")));
        let bound = bind(&[listener, unix], bounds, metrics.clone()).await.unwrap();
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

    /// A request with a body; the answer was read to its end.
    pub async fn send(&self, request: Request) -> Response {
        let answer = request.send(self.addr()).await.unwrap();
        assert!(answer.clean_end(), "{:?}", answer.end);
        answer
    }

    /// A new upload session of a name: its path.
    pub async fn begin_upload(&self, name: &str) -> String {
        let path = format!("/v2/{name}/blobs/uploads/");
        let answer = self.send(Request::new("POST", &path)).await;
        assert_eq!(answer.status, 202, "{}", answer.reason);
        answer.header("location").unwrap().to_owned()
    }

    /// Pushes a blob in one request; what it hashes to.
    pub async fn push_blob(&self, name: &str, bytes: &[u8]) -> String {
        let digest = oci::Digest::sha256(bytes).to_string();
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let answer = self.send(Request::new("POST", &path).body(bytes.to_vec())).await;
        assert_eq!(answer.status, 201, "{}", answer.reason);
        digest
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
