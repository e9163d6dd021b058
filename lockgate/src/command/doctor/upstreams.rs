//! Each upstream: reachable, logged in, how much of its rate limit is left, and what time it thinks
//! it is.

use super::certificates;
use super::finding::{Report, State};
use crate::client::{self, Api};
use jiff::Timestamp;
use plane::{EndpointView, UpstreamView, View};
use resources::{Kind, Set, Spec};
use serde::Deserialize;

/// A clock that is further off than this makes certificates and tokens fail (contracts §11).
const SKEW_SECONDS_MAX: i64 = 60;
/// Less than this share of a rate limit is worth a word.
const RATE_PERCENT_MIN: u64 = 10;
/// What a probe says of a credential that a registry or its token service does not take.
const REFUSED_CREDENTIAL: &str = "the credential is not accepted";

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
    let mut unasked = Vec::new();
    let built_in = resources::builtin();
    for upstream in upstreams {
        let is_built_in = is_built_in(&built_in, upstream, view);
        let has_credentials = view.is_some_and(|view| has_credentials(view, &upstream.name));
        for endpoint in &upstream.endpoints {
            if is_built_in && !endpoint.available {
                unasked.push((upstream.name.as_str(), endpoint));
            } else {
                of_endpoint(&upstream.name, endpoint, has_credentials, now, report);
            }
            if let Some(clock) = endpoint.clock {
                skews.push((now.as_second() - clock.as_second(), endpoint.url.as_str()));
            }
        }
    }
    of_built_in(&unasked, report);
    of_clock(&skews, report);
}

/// Whether nobody wrote this upstream: whoever wrote none of them need not reach all of the built-in
/// ones. Where the resources are not known, its address tells.
fn is_built_in(built_in: &Set, upstream: &UpstreamView, view: Option<&View>) -> bool {
    let Some(document) = built_in.get(Kind::Upstream, &upstream.name) else { return false };
    if let Some(view) = view {
        let in_force = view.set().get(Kind::Upstream, &upstream.name);
        return in_force.is_some_and(|in_force| in_force.spec == document.spec);
    }
    let Spec::Upstream(spec) = &document.spec else { return false };
    let of_built_in = |endpoint: &EndpointView| {
        spec.endpoints.iter().any(|known| known.url.as_str().trim_end_matches('/') == endpoint.url)
    };
    upstream.endpoints.iter().all(of_built_in)
}

fn has_credentials(view: &View, name: &str) -> bool {
    let mut upstreams = view.upstreams();
    upstreams
        .find(|upstream| upstream.name() == name)
        .is_some_and(|upstream| !upstream.settings().credentials.is_empty())
}

/// Built-in ones that cannot be reached, in one finding: a site that uses none of them has them all.
fn of_built_in(unasked: &[(&str, &EndpointView)], report: &mut Report) {
    let Some((name, first)) = unasked.first() else { return };
    let names: Vec<&str> = unasked.iter().map(|(name, _)| *name).collect();
    let text =
        format!("built in and not reachable: {}; {}", names.join(", "), problem(name, first));
    let remedy = "nobody minds if nobody pulls from them; else look at the network and the proxy";
    report.warning("upstream", text, remedy);
}

/// What is wrong with an endpoint, with the name of its upstream.
fn problem(name: &str, endpoint: &EndpointView) -> String {
    match endpoint.problem.as_deref() {
        // The plane's own words begin so.
        Some(problem) if problem.starts_with("upstream ") => {
            problem["upstream ".len()..].to_owned()
        }
        Some(problem) => format!("{name} at {}: {problem}", endpoint.url),
        None => format!("{name} at {} does not answer", endpoint.url),
    }
}

fn of_endpoint(
    name: &str,
    endpoint: &EndpointView,
    has_credentials: bool,
    now: Timestamp,
    report: &mut Report,
) {
    let url = &endpoint.url;
    if endpoint.problem.is_none() && endpoint.available {
        let limit = match (endpoint.rate_limit_remaining, endpoint.rate_limit) {
            (Some(left), Some(limit)) => format!("; {left} of {limit} requests left"),
            _ => String::new(),
        };
        report.right("upstream", format!("{name} at {url} answers{limit}"));
    } else {
        let text = problem(name, endpoint);
        // A credential that is not taken lets nobody in, however well the registry answers. A limit
        // that is used up passes by itself.
        let is_spent = endpoint.rate_limit_remaining == Some(0) && !text.contains("credential");
        let is_shut_out = has_credentials && !is_spent || text.contains(REFUSED_CREDENTIAL);
        let state = if endpoint.available && !is_shut_out { State::Warning } else { State::Wrong };
        report.push(state, "upstream", text, remedy_of(endpoint));
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
        let what = format!("the server's certificate of {url}");
        certificates::judge_foreign(&what, not_after, now, report);
    }
}

fn remedy_of(endpoint: &EndpointView) -> String {
    let problem = endpoint.problem.as_deref().unwrap_or_default();
    match endpoint.url.strip_prefix("https://") {
        Some(host) if client::is_no_tls(problem) => {
            format!("it answers without TLS: is its url meant to be http://{host}?")
        }
        _ => "what is cached is served meanwhile; check its address, credentials and the network"
            .to_owned(),
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

    fn states(endpoint: &EndpointView) -> Vec<State> {
        let mut report = Report::default();
        of_endpoint("up", endpoint, false, Timestamp::now(), &mut report);
        report.states()
    }

    #[test]
    fn an_upstream_is_judged_by_what_it_says_and_does() {
        assert_eq!(states(&endpoint()), [State::Right]);
        let problem = Some("refused".to_owned());
        let failing = EndpointView { available: false, problem: problem.clone(), ..endpoint() };
        assert_eq!(states(&failing), [State::Wrong]);
        assert_eq!(states(&EndpointView { problem, ..endpoint() }), [State::Warning]);
        let spent =
            EndpointView { rate_limit_remaining: Some(9), rate_limit: Some(100), ..endpoint() };
        assert_eq!(states(&spent), [State::Right, State::Warning]);
        let old = EndpointView { certificate_not_after: Some(Timestamp::UNIX_EPOCH), ..endpoint() };
        assert_eq!(states(&old), [State::Right, State::Wrong]);
    }

    #[test]
    fn built_in_registries_that_nobody_asks_for_are_no_trouble_each() {
        let failing = EndpointView { available: false, ..endpoint() };
        let upstream =
            |name: &str| UpstreamView { name: name.to_owned(), endpoints: vec![failing.clone()] };
        let view = crate::command::config::check_resources(None).unwrap();
        let mut report = Report::default();
        judge(&[upstream("docker.io"), upstream("quay.io")], Some(&view), &mut report);
        assert_eq!(report.states(), [State::Warning, State::Unknown], "{:?}", report.findings());
        // Where the resources cannot be read, those at another address are somebody's own.
        let at = |name: &str, url: &str| {
            let endpoint = EndpointView { url: url.to_owned(), ..failing.clone() };
            UpstreamView { name: name.to_owned(), endpoints: vec![endpoint] }
        };
        let all = [
            at("quay.io", "https://quay.io"),
            at("ghcr.io", "https://ghcr.io"),
            at("docker.io", "https://mirror.corp.example"),
        ];
        let mut report = Report::default();
        judge(&all, None, &mut report);
        assert_eq!(report.states(), [State::Wrong, State::Warning, State::Unknown]);
    }

    #[test]
    fn a_credential_that_is_not_taken_is_wrong_and_a_limit_that_is_used_up_is_not() {
        let judged = |problem: &str, left: Option<u64>, has_credentials: bool| {
            let mut report = Report::default();
            let problem = Some(problem.to_owned());
            let limit = left.map(|_| 100);
            let endpoint = EndpointView {
                problem,
                rate_limit_remaining: left,
                rate_limit: limit,
                ..endpoint()
            };
            of_endpoint("up", &endpoint, has_credentials, Timestamp::now(), &mut report);
            report.states()[0]
        };
        assert_eq!(judged("up: the credential is not accepted", None, true), State::Wrong);
        assert_eq!(judged("up: the credential is not accepted", None, false), State::Wrong);
        assert_eq!(judged("up: token service: no token (HTTP 500)", None, true), State::Wrong);
        assert_eq!(judged("up: none of 100 requests is left", Some(0), true), State::Warning);
        assert_eq!(judged("up: wants a password, and there is none", None, false), State::Warning);
    }

    #[test]
    fn https_to_a_registry_without_tls_asks_for_the_scheme() {
        let text = "up at h:1: TLS: received corrupt message of type InvalidContentType";
        let problem = Some(text.to_owned());
        let of = |url: &str| {
            remedy_of(&EndpointView { url: url.to_owned(), problem: problem.clone(), ..endpoint() })
        };
        assert!(of("https://h:1").ends_with("is its url meant to be http://h:1?"));
        assert!(!of("http://h:1").contains("meant"));
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
