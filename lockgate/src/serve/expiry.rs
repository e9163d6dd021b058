//! Certificates and tokens of upstreams run out; their ends are a metric, and a warning in time.

use jiff::Timestamp;
use plane::{Plane, View};
use std::sync::Arc;
use std::time::Duration;
use telemetry::Metrics;

/// How often it is looked whether other resources are in force.
const INTERVAL: Duration = Duration::from_secs(30);
/// Files are read again after so many looks: hourly.
const LOOKS: u32 = 120;
/// Warned of this long before.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Shows the ends of what the upstreams in force use, again and again. Runs until it is aborted.
pub(super) async fn show(plane: Arc<Plane>, metrics: Arc<Metrics>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut shown = None;
    let mut looks = 0;
    loop {
        ticks.tick().await;
        let view = plane.view();
        looks = (looks + 1) % LOOKS;
        if shown == Some(*view.revision()) && looks != 0 {
            continue;
        }
        shown = Some(*view.revision());
        let metrics = metrics.clone();
        // Reads files.
        let _ = tokio::task::spawn_blocking(move || look(&view, &metrics)).await;
    }
}

fn look(view: &View, metrics: &Metrics) {
    for upstream in view.upstreams() {
        for expiry in upstream.expiries() {
            let Some(not_after) = expiry.not_after else { continue };
            let path = expiry.path.to_string_lossy();
            metrics.set_certificate(&path, not_after.as_second());
            if is_soon(not_after, Timestamp::now()) {
                tracing::warn!(upstream = upstream.name(), %path, %not_after, "runs out soon");
            }
        }
    }
}

/// Whether something with this end needs attention now.
pub(crate) fn is_soon(not_after: Timestamp, now: Timestamp) -> bool {
    let soon = i64::try_from(SOON.as_secs()).unwrap_or(i64::MAX);
    not_after.as_second().saturating_sub(now.as_second()) < soon
}
