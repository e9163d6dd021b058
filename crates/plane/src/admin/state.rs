//! The state of the process, from what is known; upstreams also by asking them.

use super::{CatalogStatus, EndpointView, RevisionStatus, Status, StoreStatus, UpstreamView};
use crate::keep::FULL;
use crate::plane::Plane;
use futures_util::future::join_all;
use upstream::{Circuit, EndpointHealth, EndpointProbe, Upstream};

/// The state of the process. Asks nobody.
pub(crate) fn status(plane: &Plane, ready: bool) -> Status {
    let core = &plane.core;
    let view = core.view();
    let (usage, disk, mut warnings) = plane.keep.known();
    // Housekeeping looks every few seconds; the store may have filled up since.
    if core.shelf.is_full() && !warnings.iter().any(|warning| warning == FULL) {
        warnings.push(FULL.to_owned());
    }
    let catalog = core.shelf.catalog.status();
    if let Some(problem) = &catalog.problem {
        warnings.push(format!("the catalog: {problem}"));
    }
    if catalog.gaps > 0 {
        warnings
            .push(format!("the catalog lost {} batches of notes since the start", catalog.gaps));
    }
    let problem = plane.resources_problem();
    warnings.extend(problem.clone());
    let upstreams = plane.upstreams();
    for upstream in &upstreams {
        for endpoint in upstream.endpoints.iter().filter(|endpoint| !endpoint.available) {
            let problem = endpoint.problem.as_deref().unwrap_or("it failed lately");
            warnings.push(format!("upstream {} at {}: {problem}", upstream.name, endpoint.url));
        }
    }
    warnings.extend(core.shelf.name_warnings());
    warnings.extend(plane.collector.warnings());
    warnings.extend(core.shelf.mismatches());
    Status {
        ready,
        warnings,
        revision: RevisionStatus {
            digest: view.revision,
            source: view.source.clone(),
            activated: view.activated,
            problem,
        },
        store: StoreStatus {
            blobs: usage.blobs,
            bytes: usage.bytes,
            max_bytes: plane.keep.settings().max_bytes,
            disk,
            full: core.shelf.is_full(),
        },
        catalog: CatalogStatus {
            writable: catalog.writable,
            waiting_batches: catalog.waiting_batches,
            gaps: catalog.gaps,
            problem: catalog.problem,
        },
        upstreams: upstreams.into_iter().filter(UpstreamView::is_news).collect(),
    }
}

impl UpstreamView {
    /// Whether it was asked lately or is in trouble: most of the well-known ones never are.
    fn is_news(&self) -> bool {
        self.endpoints.iter().any(|endpoint| !endpoint.available || endpoint.problem.is_some())
    }

    fn of_health(name: &str, upstream: &Upstream) -> Self {
        let endpoints = upstream.health().into_iter().map(EndpointView::of_health).collect();
        Self { name: name.to_owned(), endpoints }
    }
}

impl EndpointView {
    fn of_health(health: EndpointHealth) -> Self {
        Self {
            available: health.circuit == Circuit::Closed && health.throttled_for.is_none(),
            url: health.endpoint,
            problem: health.last_problem.map(|(at, problem)| format!("{problem} (at {at:.0})")),
            rate_limit_remaining: None,
            rate_limit: None,
            certificate_not_after: None,
            clock: None,
        }
    }

    /// What a probe found, as operators see it.
    pub fn of_probe(probe: EndpointProbe) -> Self {
        let problems = probe.problems.iter();
        let texts: Vec<String> =
            problems.map(|problem| format!("{}; {}", problem.what, problem.remedy)).collect();
        Self {
            url: probe.endpoint,
            available: probe.is_reachable,
            problem: (!texts.is_empty()).then(|| texts.join("; ")),
            rate_limit_remaining: probe.rate_limit.as_ref().map(|limit| limit.remaining),
            rate_limit: probe.rate_limit.as_ref().map(|limit| limit.limit),
            certificate_not_after: probe.certificate_not_after,
            clock: probe.clock,
        }
    }
}

impl Plane {
    /// Health of every upstream, from what is known.
    pub fn upstreams(&self) -> Vec<UpstreamView> {
        let view = self.core.view();
        view.upstreams.iter().map(|(name, up)| UpstreamView::of_health(name, up)).collect()
    }

    /// Asks every upstream now: reachable, token, rate limit, certificate.
    pub async fn probe_upstreams(&self) -> Vec<UpstreamView> {
        let view = self.core.view();
        let probes = view.upstreams.iter().map(|(name, upstream)| async move {
            let endpoints = upstream.probe().await;
            let endpoints = endpoints.into_iter().map(EndpointView::of_probe).collect();
            UpstreamView { name: name.clone(), endpoints }
        });
        join_all(probes).await
    }
}
