//! A plane that lives as long as the questions.

use crate::exit::Failure;
use crate::scratch::Scratch;
use catalog::Catalog;
use plane::{CheckReport, CheckRequest, Clock, Credentials, Options, Peer, Plane};
use policy::Caller;
use resources::Set;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use telemetry::{Metrics, Registry};

/// Owners of policies, by their names.
pub(super) type Owners = BTreeMap<String, String>;

/// A plane of these resources, asked by its operator.
pub(super) struct Alone {
    plane: Arc<Plane>,
    caller: Caller,
    /// Who answers for each artifact policy.
    pub(super) owners: Owners,
    /// Goes last: the plane lies in it.
    _scratch: Scratch,
}

impl Alone {
    /// Starts it.
    pub(super) async fn start(resources: &Path) -> Result<Self, Failure> {
        let set = resources::effective(Some(resources)).map_err(|problems| {
            Failure::cannot_tell(format!("the resources are wrong\n{problems}"))
        })?;
        let owners = owners_in(&set);
        let scratch = Scratch::new("check")?;
        let cannot = |what: &str| Failure::cannot_tell(what.to_owned());
        let store = blobs::Store::open(blobs::Options::new(scratch.path().to_owned()))
            .map_err(|error| cannot("no store can be made").because(&error))?;
        let catalog = Catalog::in_memory()
            .map_err(|error| cannot("no catalog can be made").because(&error))?;
        let options = Options {
            data_dir: scratch.path().to_owned(),
            store,
            catalog,
            metrics: Metrics::new(Registry::default(), "check", None),
            access_log: None,
            keep: plane::KeepSettings::default(),
            gc: plane::GcSettings::default(),
            fills: plane::FillSettings::default(),
            pushes: plane::PushSettings::default(),
            clock: Clock::system(),
            keys_dir: None,
        };
        let plane = Plane::start(options, Ok(set), "a check")
            .await
            .map_err(|error| cannot("the resources cannot be used").because(&error))?;
        let operator = Peer { address: None, is_loopback: false, is_operator: true };
        let caller = plane.who_asks(operator, &Credentials::default()).await;
        let caller = caller.map_err(|error| Failure::cannot_tell(error.to_string()))?;
        Ok(Self { plane, caller, owners, _scratch: scratch })
    }

    /// The answers.
    pub(super) async fn check(&self, request: &CheckRequest) -> Result<CheckReport, Failure> {
        let report = self.plane.check(request, &self.caller).await;
        report.map_err(|error| Failure::usage(error.to_string()))
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.plane.stop(Duration::from_secs(5)).await;
    }
}

/// Who answers for the artifact policies of a set.
pub(super) fn owners_in(set: &Set) -> Owners {
    let policies = set.artifact_policies();
    let owned =
        policies.filter_map(|(document, spec)| Some((document.name(), spec.owner.as_ref()?)));
    owned.map(|(name, owner)| (name.to_owned(), owner.as_str().to_owned())).collect()
}
