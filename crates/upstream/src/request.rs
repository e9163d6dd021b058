//! One exchange with one endpoint: the request, the registry's challenge, its redirects, up to the
//! head of the answer that counts.

use crate::auth::{self, Authorization, Bearing, Source};
use crate::challenge::{self, Challenge};
use crate::clock;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::guard;
use crate::origin::{self, same_origin};
use crate::redirect::Chain;
use crate::settings::Class;
use crate::upstream::Shared;
use crate::wire::{drain, head_of};
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, RANGE};
use http::{HeaderMap, Method, StatusCode};
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

/// One exchange, with tokens and redirects, ends after this many times `firstByte`.
const EXCHANGE_FACTOR: u32 = 3;

/// A registry that asks nobody for a login is not asked about it with every absence.
const PING_INTERVAL: Duration = Duration::from_secs(60);

/// What is asked of a registry about one repository.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// The repository as the upstream knows it; empty: the registry as a whole is asked.
    pub(crate) repository: String,
    /// `manifests/<reference>`, `blobs/<digest>`, `tags/list`, …; no escaping needed.
    pub(crate) rest: String,
    pub(crate) query: Option<String>,
    pub(crate) accept: &'static str,
    /// First byte wanted, when it is not 0.
    pub(crate) range_from: Option<u64>,
    pub(crate) class: Class,
    /// Whether it counts against a registry's pull limit.
    pub(crate) is_counted: bool,
    /// Whether it is about a part of the API that a registry need not have: then a redirect that may
    /// not be followed is an answer like any other.
    pub(crate) is_optional: bool,
}

impl Ask {
    /// A GET of `rest` of a repository.
    pub(crate) fn get(repository: &str, rest: String, class: Class) -> Self {
        Self {
            method: Method::GET,
            repository: repository.to_owned(),
            rest,
            query: None,
            accept: "*/*",
            range_from: None,
            class,
            is_counted: false,
            is_optional: false,
        }
    }

    /// A GET of `rest` of the registry as a whole, such as `_catalog`.
    pub(crate) fn of_registry(rest: &str, class: Class) -> Self {
        Self::get("", rest.to_owned(), class)
    }

    /// The same with HEAD, which no registry counts.
    pub(crate) fn into_head(self) -> Self {
        Self { method: Method::HEAD, is_counted: false, ..self }
    }

    /// What is asked for, in a sentence.
    pub(crate) fn label(&self) -> String {
        match self.repository.as_str() {
            "" => self.rest.clone(),
            repository => format!("{} of {repository}", self.rest),
        }
    }

    /// Below `/v2/`.
    fn path(&self) -> String {
        match self.repository.as_str() {
            "" => self.rest.clone(),
            repository => format!("{repository}/{}", self.rest),
        }
    }

    /// What a token must be good for (distribution's token specification, "Resource Scope"; the
    /// catalog's scope is that of docker-registry and its kin).
    fn scope(&self) -> String {
        match self.repository.as_str() {
            "" => "registry:catalog:*".to_owned(),
            repository => format!("repository:{repository}:pull"),
        }
    }
}

/// The head of an answer, its body still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: reqwest::Response,
    /// Whether the endpoint itself gave it, not a server it redirected to.
    pub(crate) is_at_endpoint: bool,
    /// The prefix of our credential by which it was asked, if one was shown.
    pub(crate) shown_credential: Option<String>,
    /// Time from the first request to this head.
    pub(crate) latency: Duration,
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header as text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }
}

/// Asks one endpoint. Whatever HTTP status comes at the end is an answer; an error is that there
/// was none, or that it must not be followed. Tokens, redirects and all, it takes a bounded time.
pub(crate) async fn exchange(
    shared: &Shared,
    endpoint: &Endpoint,
    ask: &Ask,
) -> Result<Answer, Failure> {
    // Making the client is our own work, which the registry's time does not pay for.
    shared.client(endpoint).await?;
    let patience = shared.settings.timeouts.first_byte * EXCHANGE_FACTOR;
    match tokio::time::timeout(patience, authorized(shared, endpoint, ask)).await {
        Ok(result) => result,
        Err(_) => {
            let text = format!("{}: no end of questions in {patience:?}", endpoint.label());
            Err(Failure::indeterminate(text))
        }
    }
}

/// Sends the request with whatever authorization the registry wants.
async fn authorized(shared: &Shared, endpoint: &Endpoint, ask: &Ask) -> Result<Answer, Failure> {
    let started = Instant::now();
    let credential = shared.credentials.covering(&ask.repository);
    let bearing = Bearing::of(shared, endpoint, credential, Some(ask.scope())).await?;
    let mut authorization = auth::ahead(shared, endpoint, &bearing).await?;
    let mut sent = send(shared, endpoint, ask, authorization.as_ref(), started).await?;
    // At most: nothing → token → renewed token. A registry that goes on asking is refused.
    for _ in 0..2 {
        match reauthorize(shared, endpoint, &bearing, &sent, authorization.as_ref()).await? {
            Some(better) => {
                drain(sent.response).await;
                sent = send(shared, endpoint, ask, Some(&better), started).await?;
                authorization = Some(better);
            }
            None => break,
        }
    }
    if authorization.is_some() && bearing.resolved.is_some() && sent.is_at_endpoint {
        sent.shown_credential = bearing.credential.map(|index| shared.credentials.scope(index));
    }
    if sent.is_at_endpoint
        && let Some(said) = endpoint.budget.observe(sent.headers())
    {
        shared.metrics.set_rate_limit(said.limit, said.remaining);
    }
    Ok(sent)
}

/// Another `Authorization` to try, if the answer asks for one and there is one.
async fn reauthorize(
    shared: &Shared,
    endpoint: &Endpoint,
    bearing: &Bearing,
    sent: &Answer,
    used: Option<&Authorization>,
) -> Result<Option<Authorization>, Failure> {
    let status = sent.status();
    if !sent.is_at_endpoint || !matches!(status.as_u16(), 400 | 401 | 403 | 404) {
        return Ok(None);
    }
    let challenges = challenge::parse(sent.headers());
    let asked = auth::choose(&challenges, bearing).cloned();
    if let (StatusCode::UNAUTHORIZED, Some(asked)) = (status, &asked) {
        endpoint.remember(asked);
    }
    match used {
        None if status == StatusCode::UNAUTHORIZED => match asked {
            Some(asked) => auth::answer(shared, endpoint, bearing, &asked, None).await,
            None => Ok(None),
        },
        // Some registries hide from strangers what they would show to us, without a challenge.
        None if bearing.resolved.is_some() && status != StatusCode::BAD_REQUEST => {
            match how_to_log_in(shared, endpoint, bearing).await? {
                Some(asked) => auth::answer(shared, endpoint, bearing, &asked, None).await,
                None => Ok(None),
            }
        }
        None => Ok(None),
        Some(_) if status == StatusCode::NOT_FOUND => Ok(None),
        Some(used) => renewed(shared, endpoint, bearing, asked, used).await,
    }
}

/// A refused login, got again where that may help: short-lived ones are refused with 400, 401 or
/// 403 when they have ended, depending on the registry.
async fn renewed(
    shared: &Shared,
    endpoint: &Endpoint,
    bearing: &Bearing,
    asked: Option<Challenge>,
    used: &Authorization,
) -> Result<Option<Authorization>, Failure> {
    match &used.source {
        Source::Lasting => Ok(None),
        Source::Token { key, is_fresh: true, .. } => {
            shared.tokens.renewal_was_fruitless(key);
            Ok(None)
        }
        Source::Token { key, token, is_fresh: false } => {
            // Unless the registry says that the token is no good, the answer may be no whatever
            // the token, and asking for token after token would not change it.
            let is_invalid =
                matches!(asked, Some(Challenge::Bearer { is_invalid_token: true, .. }));
            if !is_invalid && !shared.tokens.may_renew(key) {
                return Ok(None);
            }
            let challenge = asked.or_else(|| endpoint.challenge());
            let Some(challenge) = challenge else { return Ok(None) };
            auth::answer(shared, endpoint, bearing, &challenge, Some(token)).await
        }
        Source::ShortLived => {
            let Some(index) = bearing.credential else { return Ok(None) };
            let before = bearing.resolved.as_ref().map(|resolved| resolved.version);
            shared.credentials.forget(index, &endpoint.authority).await;
            let fresh =
                Bearing::of(shared, endpoint, bearing.credential, bearing.scope.clone()).await?;
            if fresh.resolved.as_ref().map(|resolved| resolved.version) == before {
                return Ok(None);
            }
            let challenge = asked.or_else(|| endpoint.challenge());
            match challenge {
                Some(challenge) => auth::answer(shared, endpoint, &fresh, &challenge, None).await,
                None => auth::ahead(shared, endpoint, &fresh).await,
            }
        }
    }
}

/// How to log in to a registry that did not ask for it: what it once said, or says now. One request
/// at a time asks, and the others wait for what it hears.
async fn how_to_log_in(
    shared: &Shared,
    endpoint: &Endpoint,
    bearing: &Bearing,
) -> Result<Option<Challenge>, Failure> {
    let mut pinged = endpoint.pinged.lock().await;
    if let Some(known) = endpoint.challenge() {
        return Ok(Some(known));
    }
    let now = clock::now();
    if pinged.is_some_and(|at| now.saturating_duration_since(at) < PING_INTERVAL) {
        return Ok(None);
    }
    let asked = ping(shared, endpoint, bearing).await?;
    *pinged = Some(now);
    Ok(asked)
}

/// Asks `/v2/` itself how to log in, as docker does first of all.
pub(crate) async fn ping(
    shared: &Shared,
    endpoint: &Endpoint,
    bearing: &Bearing,
) -> Result<Option<Challenge>, Failure> {
    let client = shared.client(endpoint).await?;
    let request = client.get(endpoint.at("", None));
    let response = head_of(endpoint, request, shared.settings.timeouts.first_byte).await?;
    if response.status() != StatusCode::UNAUTHORIZED {
        return Ok(None);
    }
    let challenges = challenge::parse(response.headers());
    let asked = auth::choose(&challenges, bearing).cloned();
    if let Some(asked) = &asked {
        endpoint.remember(asked);
    }
    Ok(asked)
}

/// Sends the request and follows redirects.
async fn send(
    shared: &Shared,
    endpoint: &Endpoint,
    ask: &Ask,
    authorization: Option<&Authorization>,
    started: Instant,
) -> Result<Answer, Failure> {
    let settings = &shared.settings;
    let patience = settings.timeouts.first_byte;
    shared.slots.pace(&settings.name, ask.class, patience).await?;
    let start = endpoint.at(&ask.path(), ask.query.as_deref());
    guard::check_url(&start, settings.boundary.private_addresses).map_err(|refused| {
        Failure::indeterminate(format!("{}: {refused}", endpoint.label())).blameless()
    })?;
    let client = shared.client(endpoint).await?;
    let mut chain = Chain::new(&start);
    let mut url = start;
    let mut deadline = Instant::now() + patience;
    let mut elsewhere: Option<Authorization> = None;
    let mut is_first = true;
    loop {
        let is_at_endpoint = same_origin(&url, &endpoint.url);
        let shown = if is_at_endpoint { authorization } else { elsewhere.as_ref() };
        let request = prepare(&client, ask, &url, shown);
        let left = deadline.saturating_duration_since(Instant::now());
        let response = head_of(endpoint, request, left).await?;
        let latency = started.elapsed();
        let answer = Answer { response, is_at_endpoint, shown_credential: None, latency };
        if is_redirect(answer.status()) {
            url = match chain.next(answer.headers(), settings) {
                Ok(next) => next,
                Err(_) if ask.is_optional => return Ok(answer),
                Err(text) => {
                    let text = format!("{} {text} ({})", endpoint.label(), ask.label());
                    return Err(Failure::indeterminate(text).blameless());
                }
            };
            drain(answer.response).await;
            if std::mem::take(&mut is_first) {
                // All redirects together get as long as the registry itself had.
                deadline = Instant::now() + patience;
            }
            elsewhere = None;
            continue;
        }
        let is_asked = answer.status() == StatusCode::UNAUTHORIZED && !is_at_endpoint;
        if !is_asked || elsewhere.is_some() {
            return Ok(answer);
        }
        let challenges = challenge::parse(answer.headers());
        elsewhere = auth::answer_elsewhere(shared, endpoint, &url, &challenges).await?;
        if elsewhere.is_none() {
            return Ok(answer);
        }
        drain(answer.response).await;
    }
}

fn prepare(
    client: &reqwest::Client,
    ask: &Ask,
    url: &Url,
    authorization: Option<&Authorization>,
) -> reqwest::RequestBuilder {
    let mut request = client
        .request(ask.method.clone(), url.clone())
        .header(ACCEPT, ask.accept)
        .header(ACCEPT_ENCODING, "identity");
    if let Some(first) = ask.range_from.filter(|first| *first > 0) {
        request = request.header(RANGE, format!("bytes={first}-"));
    }
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization.header.clone());
    }
    request
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The origin that an answer came from, for people.
pub(crate) fn answered_by(answer: &Answer) -> String {
    origin::authority(answer.response.url())
}
