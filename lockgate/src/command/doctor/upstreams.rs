//! Each upstream: reachable, logged in, how much of its rate limit is left, and what time it thinks
//! it is.

use super::certificates;
use super::finding::{Report, State};
use crate::client::Api;
use jiff::Timestamp;
use plane::{EndpointView, UpstreamView, View};
use resources::Kind;
use serde::Deserialize;

/// A clock that is further off than this makes certificates and tokens fail (contracts §11).
const SKEW_SECONDS_MAX: i64 = 60;
/// Less than this share of a rate limit is worth a word.
const RATE_PERCENT_MIN: u64 = 10;

#[derive(Deserialize)]
struct Upstreams {
    items: Vec<UpstreamView>,
}

/// Has the plane ask: what counts is what it reaches from where it runs.
pub(super) async fn by_plane(api: &Api, view: Option<&View>, report: &mut Report) {
    match api.post::<Upstreams>("upstreams/probe", None).await {
        Ok(upstreams) => judge(&upstreams.items, view, report),
        Err(failure) => {
            report.unknown("upstream", failure.one_line(), "ask again; see the log of the plane")
        }
    }
}

/// Asks from here, as a plane would.
pub(super) async fn by_ourselves(view: &View, report: &mut Report) {
    let probes = view.upstreams().map(|upstream| async move {
        let endpoints = upstream.probe().await.into_iter().map(EndpointView::of_probe).collect();
        UpstreamView { name: upstream.name().to_owned(), endpoints }
    });
    let upstreams = futures_util::future::join_all(probes).await;
    judge(&upstreams, Some(view), report);
}

fn judge(upstreams: &[UpstreamView], view: Option<&View>, report: &mut Report) {
    let now = Timestamp::now();
    let mut skews = Vec::new();
    for upstream in upstreams {
        // Whoever wrote none of them need not reach all of the built-in ones.
        let is_built_in = view
            .and_then(|view| view.set().get(Kind::Upstream, &upstream.name))
            .is_some_and(|document| document.place.source() == "built-in");
        for endpoint in &upstream.endpoints {
            of_endpoint(&upstream.name, endpoint, is_built_in, now, report);
            if let Some(clock) = endpoint.clock {
                skews.push((now.as_second() - clock.as_second(), endpoint.url.as_str()));
            }
        }
    }
    of_clock(&skews, report);
}

fn of_endpoint(
    name: &str,
    endpoint: &EndpointView,
    is_built_in: bool,
    now: Timestamp,
    report: &mut Report,
) {
    let url = &endpoint.url;
    match (&endpoint.problem, endpoint.available) {
        (None, true) => {
            let limit = match (endpoint.rate_limit_remaining, endpoint.rate_limit) {
                (Some(left), Some(limit)) => format!("; {left} of {limit} requests left"),
                _ => String::new(),
            };
            report.right("upstream", format!("{name} at {url} answers{limit}"));
        }
        (problem, available) => {
            let problem = problem.as_deref().unwrap_or("does not answer");
            let remedy = if is_built_in {
                "it is built in: nobody minds if nobody asks for it"
            } else {
                "what is cached is served meanwhile; check its address, credentials and the network"
            };
            let state = if available || is_built_in { State::Warning } else { State::Wrong };
            report.push(state, "upstream", format!("{name} at {url}: {problem}"), remedy);
        }
    }
    if let (Some(left), Some(limit)) = (endpoint.rate_limit_remaining, endpoint.rate_limit)
        && left < limit.saturating_mul(RATE_PERCENT_MIN) / 100
    {
        let text = format!("{name} at {url}: {left} of {limit} requests left");
        report.warning("upstream", text, "log in (spec.credentials) for a larger limit, or wait");
    }
    if let Some(not_after) = endpoint.certificate_not_after
        && crate::serve::is_soon(not_after, now)
    {
        certificates::judge(&format!("the server's certificate of {url}"), not_after, now, report);
    }
}

/// Ours against theirs: the middle one, so that a single registry with a wrong clock is not believed.
fn of_clock(skews: &[(i64, &str)], report: &mut Report) {
    let mut sorted = skews.to_vec();
    sorted.sort_unstable();
    let Some((skew, url)) = sorted.get(sorted.len() / 2) else {
        let text = "no upstream told its time".to_owned();
        return report.unknown("clock", text, "compare it with `timedatectl`");
    };
    if skew.abs() > SKEW_SECONDS_MAX {
        let direction = if *skew > 0 { "ahead of" } else { "behind" };
        let text = format!("this clock is {} s {direction} that of {url}", skew.abs());
        let remedy = "synchronise it (chrony, systemd-timesyncd): certificates, tokens and expiry are judged by it";
        report.wrong("clock", text, remedy);
    } else {
        report.right("clock", format!("agrees with {} upstream answers", skews.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> EndpointView {
        EndpointView {
            url: "https://registry.example.test".to_owned(),
            available: true,
            problem: None,
            rate_limit_remaining: None,
            rate_limit: None,
            certificate_not_after: None,
            clock: None,
        }
    }

    fn states(endpoint: &EndpointView, is_built_in: bool) -> Vec<State> {
        let mut report = Report::default();
        of_endpoint("up", endpoint, is_built_in, Timestamp::now(), &mut report);
        report.states()
    }

    #[test]
    fn an_upstream_that_fails_is_wrong_unless_nobody_asked_for_it() {
        assert_eq!(states(&endpoint(), false), [State::Right]);
        let failing =
            EndpointView { available: false, problem: Some("refused".to_owned()), ..endpoint() };
        assert_eq!(states(&failing, false), [State::Wrong]);
        assert_eq!(states(&failing, true), [State::Warning]);
        let spent =
            EndpointView { rate_limit_remaining: Some(9), rate_limit: Some(100), ..endpoint() };
        assert_eq!(states(&spent, false), [State::Right, State::Warning]);
        let old = EndpointView { certificate_not_after: Some(Timestamp::UNIX_EPOCH), ..endpoint() };
        assert_eq!(states(&old, false), [State::Right, State::Wrong]);
    }

    #[test]
    fn one_registry_with_a_wrong_clock_is_not_believed() {
        let judged = |skews: &[(i64, &str)]| {
            let mut report = Report::default();
            of_clock(skews, &mut report);
            report.states()
        };
        assert_eq!(judged(&[]), [State::Unknown]);
        assert_eq!(judged(&[(0, "a"), (3600, "b"), (-2, "c")]), [State::Right]);
        assert_eq!(judged(&[(61, "a")]), [State::Wrong]);
        assert_eq!(judged(&[(-4000, "a"), (-4001, "b"), (0, "c")]), [State::Wrong]);
    }
}
