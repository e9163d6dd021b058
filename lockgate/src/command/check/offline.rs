//! A plane that lives as long as one question.

use crate::exit::Failure;
use crate::scratch::Scratch;
use catalog::Catalog;
use plane::{CheckReport, CheckRequest, Clock, Credentials, Options, Peer, Plane};
use std::path::Path;
use std::time::Duration;
use telemetry::{Metrics, Registry};

/// The answers of a plane with these resources, asked by its operator.
pub(super) async fn check(
    resources: &Path,
    request: &CheckRequest,
) -> Result<CheckReport, Failure> {
    let set = resources::effective(Some(resources))
        .map_err(|problems| Failure::cannot_tell(format!("the resources are wrong\n{problems}")))?;
    let scratch = Scratch::new("check")?;
    let cannot = |what: &str| Failure::cannot_tell(what.to_owned());
    let store = blobs::Store::open(blobs::Options::new(scratch.path().to_owned()))
        .map_err(|error| cannot("no store can be made").because(&error))?;
    let catalog =
        Catalog::in_memory().map_err(|error| cannot("no catalog can be made").because(&error))?;
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
        .map_err(|error| Failure::cannot_tell("the resources cannot be used").because(&error))?;
    let operator = Peer { address: None, is_loopback: false, is_operator: true };
    let caller = plane.who_asks(operator, &Credentials::default()).await;
    let caller = caller.map_err(|error| Failure::cannot_tell(error.to_string()))?;
    let report = plane.check(request, &caller).await;
    plane.stop(Duration::from_secs(5)).await;
    report.map_err(|error| Failure::usage(error.to_string()))
}
