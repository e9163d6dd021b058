//! What `lockgate doctor` asks of an upstream: reachable, let in, how much is left, until when.

use crate::auth::{self, Bearing};
use crate::challenge;
use crate::endpoint::Endpoint;
use crate::expiry;
use crate::failure::Failure;
use crate::guard;
use crate::manifests;
use crate::origin;
use crate::request;
use crate::settings::{Class, Profile};
use crate::upstream::Shared;
use crate::wire;
use http::header::{AUTHORIZATION, DATE};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use oci::{Reference, Tag};

/// The repository that Docker keeps for asking about the pull limit without using it up.
const HUB_PREVIEW: &str = "ratelimitpreview/test";

/// What a look at one endpoint found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointProbe {
    /// `scheme://host[:port]`.
    pub endpoint: String,
    /// Whether it answered as a registry does.
    pub is_reachable: bool,
    /// End of the server certificate it showed, for https.
    pub certificate_not_after: Option<Timestamp>,
    /// What its clock says: the `Date` header of its answer, by which ours is judged.
    pub clock: Option<Timestamp>,
    /// One for each credential; one for anonymous use when there is none.
    pub credentials: Vec<CredentialProbe>,
    /// What it says of its rate limit.
    pub rate_limit: Option<RateLimit>,
    /// What is wrong, and what to do.
    pub problems: Vec<Problem>,
}

/// Whether one credential is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialProbe {
    /// Its prefix, `*` for the empty one; `None` for anonymous.
    pub scope: Option<String>,
    /// Whether the registry or its token service took it.
    pub is_accepted: bool,
}

/// A rate limit in requests per window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per window.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// The window in seconds.
    pub window_seconds: u64,
}

/// Something wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in one line.
    pub what: String,
    /// What to do, in one line.
    pub remedy: String,
}

/// Looks at all endpoints at once.
pub(crate) async fn all(shared: &Shared) -> Vec<EndpointProbe> {
    let probes = shared.endpoints.iter().map(|endpoint| probe(shared, endpoint));
    futures_util::future::join_all(probes).await
}

async fn probe(shared: &Shared, endpoint: &Endpoint) -> EndpointProbe {
    let mut probe = EndpointProbe {
        endpoint: origin::shown(&endpoint.url),
        is_reachable: false,
        certificate_not_after: None,
        clock: None,
        credentials: Vec::new(),
        rate_limit: None,
        problems: Vec::new(),
    };
    let status = match look(shared, endpoint, &mut probe).await {
        Ok(status) => status,
        Err(failure) => {
            probe.problem(failure.detail(), remedy_of(&failure));
            return probe;
        }
    };
    probe.is_reachable = true;
    let each: Vec<Option<usize>> = match shared.credentials.all() {
        none if none.is_empty() => vec![None],
        some => some.map(Some).collect(),
    };
    for credential in each {
        let scope = credential.map(|index| shared.credentials.scope(index));
        let is_accepted = match log_in(shared, endpoint, credential, status).await {
            Ok(()) => true,
            Err(failure) => {
                probe.problem(failure.detail(), remedy_of(&failure));
                false
            }
        };
        probe.credentials.push(CredentialProbe { scope, is_accepted });
    }
    probe.rate_limit = rate_limit(shared, endpoint).await;
    if let Some(RateLimit { limit, remaining: 0, .. }) = probe.rate_limit {
        let what = format!("{}: none of {limit} requests is left", endpoint.label());
        probe.problem(&what, "log in with an account that has a higher limit, or wait");
    }
    probe
}

impl EndpointProbe {
    fn problem(&mut self, what: &str, remedy: &str) {
        let problem = Problem { what: what.to_owned(), remedy: remedy.to_owned() };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// Asks `/v2/`: the status, if it is one that registries give.
async fn look(
    shared: &Shared,
    endpoint: &Endpoint,
    probe: &mut EndpointProbe,
) -> Result<StatusCode, Failure> {
    let label = endpoint.label();
    let url = endpoint.at("", None);
    guard::check_url(&url, shared.settings.boundary.private_addresses)
        .map_err(|refused| Failure::indeterminate(format!("{label}: {refused}")))?;
    let client = shared.client(endpoint).await?;
    let patience = shared.settings.timeouts.first_byte;
    let response = wire::head_of(endpoint, client.get(url), patience).await?;
    let tls = response.extensions().get::<reqwest::tls::TlsInfo>();
    probe.certificate_not_after =
        tls.and_then(|tls| tls.peer_certificate()).and_then(expiry::not_after);
    probe.clock = date_of(response.headers());
    let challenges = challenge::parse(response.headers());
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED if !challenges.is_empty() => endpoint.remember(&challenges[0]),
        StatusCode::UNAUTHORIZED => {
            let text = format!("{label}: asks for credentials without saying which kind");
            return Err(Failure::indeterminate(text));
        }
        other => {
            let text = format!("{label}: answers {} to /v2/, as no registry does", other.as_u16());
            return Err(Failure::indeterminate(text));
        }
    }
    Ok(response.status())
}

/// The `Date` header (RFC 9110 §6.6.1).
fn date_of(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

async fn log_in(
    shared: &Shared,
    endpoint: &Endpoint,
    credential: Option<usize>,
    status: StatusCode,
) -> Result<(), Failure> {
    let bearing = Bearing::of(shared, endpoint, credential, None).await?;
    if status == StatusCode::OK {
        return Ok(());
    }
    let label = endpoint.label();
    let asked = request::ping(shared, endpoint, &bearing).await?;
    let authorization = match asked {
        Some(asked) => auth::answer(shared, endpoint, &bearing, &asked, None).await?,
        None => auth::ahead(shared, endpoint, &bearing).await?,
    };
    let Some(authorization) = authorization else {
        let text = format!("{label}: wants a password, and there is none");
        return Err(Failure::denied(text));
    };
    let client = shared.client(endpoint).await?;
    let request = client.get(endpoint.at("", None)).header(AUTHORIZATION, authorization.header);
    let patience = shared.settings.timeouts.first_byte;
    let response = wire::head_of(endpoint, request, patience).await?;
    match response.status() {
        StatusCode::OK => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(Failure::denied(format!("{label}: the credential is not accepted")))
        }
        other => Err(Failure::indeterminate(format!("{label}: answers {}", other.as_u16()))),
    }
}

/// What an endpoint says of its limit; Docker Hub has a repository for asking.
async fn rate_limit(shared: &Shared, endpoint: &Endpoint) -> Option<RateLimit> {
    if shared.settings.profile != Profile::DockerHub {
        return endpoint.budget.last();
    }
    let latest = Reference::Tag(Tag::parse("latest").ok()?);
    let ask = manifests::ask(HUB_PREVIEW, &latest, Class::Waiting).into_head();
    // Its headers are read on the way, like those of every answer.
    let _ = request::exchange(shared, endpoint, &ask).await;
    endpoint.budget.last()
}

fn remedy_of(failure: &Failure) -> &'static str {
    let text = failure.reason();
    if failure.kind() == crate::failure::FailureKind::Denied {
        "check the user name and password of the Upstream's credentials"
    } else if failure.is_rate_limit() {
        "wait, or log in with an account that has a higher limit"
    } else if text.contains("privateAddresses") {
        "set boundary.privateAddresses: true in the Upstream, if it is meant to be there"
    } else if text.contains("boundary.") {
        "add the named server to the Upstream's boundary, if it can be trusted"
    } else if text.contains("InvalidContentType") {
        // So rustls calls what is no TLS record at all.
        "it answers without TLS: is its url meant to begin with http://?"
    } else if text.contains("TLS") || text.contains("certificate") {
        "check the server's certificate, tls.caFile and this machine's clock"
    } else if text.contains("credential") {
        "check the file or program that the Upstream's credentials name"
    } else {
        "check the address, the network and the proxy, and whether the registry is up"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_to_a_server_without_tls_is_not_taken_for_a_bad_certificate() {
        let of = |text: &str| remedy_of(&Failure::indeterminate(text.to_owned()));
        let no_tls = "up: h:1: TLS: received corrupt message of type InvalidContentType";
        assert!(of(no_tls).contains("http://"));
        assert!(of("up: h:1: TLS: invalid peer certificate: Expired").contains("certificate"));
    }
}
