//! A plane in this process, with hosted repositories in which anybody may do everything.

use catalog::Catalog;
use edge::server::{Address, Limits, ListenerSettings, bind, serve};
use plane::{Clock, Options, Plane};
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// `sparse` lets an index name what is not there.
const DOCUMENTS: &str = "
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: team }
spec:
  hosted: {}
---
apiVersion: lockgate.dev/v1alpha1
kind: Repository
metadata: { name: sparse }
spec:
  hosted: { sparseIndexes: true }
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: { name: all }
spec:
  allow:
    - { subjects: [{ kind: Anonymous }], actions: ['*'], repositories: ['**'] }
";

/// Ends with its plane; the directory goes with it.
pub(crate) struct World {
    pub(crate) addr: SocketAddr,
    stop: CancellationToken,
    _dir: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let read = resources::read_text("conformance.yaml", DOCUMENTS).unwrap();
        let set = resources::overlay(&resources::builtin(), &read);
        let metrics = telemetry::Metrics::new(telemetry::Registry::default(), "test", None);
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
            keys_dir: None,
            clock: Clock::manual(),
        };
        let plane = Plane::start(options, set, "test").await.unwrap();
        let loopback = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = ListenerSettings::plain(loopback);
        let bound = bind(&[listener], Limits::default(), metrics.clone()).await.unwrap();
        let Address::Tcp(addr) = bound.listeners()[0].address.clone() else {
            panic!("the listener is TCP")
        };
        let stop = CancellationToken::new();
        let (stopped, handler) = (stop.clone(), edge::service(plane, metrics, stop.clone()));
        tokio::spawn(serve(bound, handler, async move { stopped.cancelled().await }));
        Self { addr, stop, _dir: dir }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
