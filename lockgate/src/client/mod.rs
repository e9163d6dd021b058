//! Asks a running plane: over the socket of its data directory, or by URL.
//!
//! It exists so that commands say what they want and get a value or a [`Failure`] with the plane's
//! own reason, its request id, and what to do when no plane is there.

mod events;
mod registry;
mod session;
pub(crate) mod tokens;

pub(crate) use events::Events;
pub(crate) use registry::{Fetched, MANIFEST_BYTES_MAX, Pushed, Registry};

use crate::exit::Failure;
use crate::flags::PlaneFlags;
use crate::output;
use crate::settings::socket_path;
use reqwest::{Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use session::Session;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// The longest answer that is read whole: a page of a list, or the text of a revision.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// To connect. A plane that is there accepts at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two pieces of an answer; longer than the pauses in a stream of events (15 s), and than
/// a probe of all upstreams takes.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What to do when nobody answers.
const NO_PLANE: &str = "start it with `lockgate serve` (and its --resources DIR, if it has one), \
                        or name it with --plane or --data-dir";

/// A plane.
#[derive(Clone)]
pub(crate) struct Api {
    http: reqwest::Client,
    base: Url,
    session: Session,
    /// What it is called in messages: its URL or its socket.
    name: String,
}

/// An error as the plane tells it (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Problem {
    title: String,
    detail: String,
    request_id: String,
}

impl Api {
    /// The plane that the flags name. Asks nothing yet.
    pub(crate) fn find(flags: &PlaneFlags) -> Result<Self, Failure> {
        if let Some(url) = &flags.plane {
            return Self::at(url, flags.ca_file.as_deref());
        }
        let data_dir = flags.settings.load(Vec::new())?.settings.data_dir();
        Self::local(&data_dir)
    }

    /// The plane whose data directory this is.
    pub(crate) fn local(data_dir: &Path) -> Result<Self, Failure> {
        let socket = socket_path(data_dir);
        let name = socket.display().to_string();
        let builder = client().unix_socket(socket);
        let http = build(builder)?;
        // The host is a formality of HTTP: the socket leads to one plane only.
        let base = "http://localhost".parse().map_err(bad_url("the socket"))?;
        Ok(Self { http, base, session: Session::Nobody, name })
    }

    /// The plane at a URL.
    pub(crate) fn at(url: &Url, ca_file: Option<&Path>) -> Result<Self, Failure> {
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            let hint = "write it as https://registry.example.com";
            return Err(Failure::usage(format!("{url} is not the URL of a plane")).hint(hint));
        }
        let http = build(trusting(client(), ca_file)?)?;
        let name = url.to_string();
        let session = Session::at(url, ca_file)?;
        Ok(Self { http, base: url.clone(), session, name })
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The token that is shown with requests; none, for nobody.
    pub(crate) async fn token(&self) -> Result<Option<SecretString>, Failure> {
        self.session.token().await
    }

    /// Asks for a value.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        let answer = self.send(Method::GET, path, query, None).await?;
        self.read_json(answer).await
    }

    /// Asks for a text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let answer = self.send(Method::GET, path, &[], None).await?;
        let bytes = self.read(answer).await?;
        String::from_utf8(bytes).map_err(|error| self.nonsense().because(&error))
    }

    /// Does something that gives a value.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let answer = self.send(Method::POST, path, &[], body).await?;
        self.read_json(answer).await
    }

    /// Takes something away.
    pub(crate) async fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<(), Failure> {
        let answer = self.send(Method::DELETE, path, query, None).await?;
        self.read(answer).await.map(drop)
    }

    /// Listens to server-sent events.
    pub(crate) async fn events(&self, path: &str) -> Result<Events, Failure> {
        let answer = self.send(Method::GET, path, &[], None).await?;
        Ok(Events::new(answer, self.name.clone()))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<reqwest::Response, Failure> {
        let mut url = self.base.join("/api/v1/").map_err(bad_url(&self.name))?;
        url.set_path(&format!("/api/v1/{path}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.with_token(self.http.request(method, url)).await?;
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| self.unreachable(error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(self.refused(answer).await)
    }

    /// The request, and who asks.
    async fn with_token(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::RequestBuilder, Failure> {
        Ok(match self.token().await? {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        })
    }

    async fn read_json<T: DeserializeOwned>(
        &self,
        answer: reqwest::Response,
    ) -> Result<T, Failure> {
        let bytes = self.read(answer).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.nonsense().because(&error))
    }

    async fn read(&self, answer: reqwest::Response) -> Result<Vec<u8>, Failure> {
        let bytes =
            whole(answer, ANSWER_BYTES_MAX).await.map_err(|error| self.unreachable(error))?;
        bytes.ok_or_else(|| self.nonsense())
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let what = if error.is_connect() { "no plane answers at" } else { "no answer from" };
        let failure = Failure::cannot_tell(format!("{what} {}", self.name));
        let cause = root(&error);
        let hint = self.what_to_do(error.is_connect(), error.is_timeout(), &cause.to_string());
        failure.because(cause).hint(hint)
    }

    /// What to do when no answer came: "start it" is wrong for a plane that is there.
    fn what_to_do(&self, is_connect: bool, is_timeout: bool, cause: &str) -> String {
        let by_url = self.name.starts_with(self.base.scheme());
        let other = |scheme: &str| {
            let rest = self.name.split_once("://").map_or("", |(_, rest)| rest);
            format!("write {scheme}://{rest}")
        };
        match (is_connect, is_timeout) {
            _ if by_url && self.base.scheme() == "https" && is_no_tls(cause) => {
                format!("it answers without TLS: {}", other("http"))
            }
            (false, true) => "it is there and too slow: see its log and its load; what was asked \
                              for may still be done"
                .to_owned(),
            (true, true) => "is the address right, and does the network let it through?".to_owned(),
            (false, false) if by_url && self.base.scheme() == "http" => {
                format!("if it speaks TLS, {}; else see its log", other("https"))
            }
            (true, false) if by_url => format!("is the address right? {NO_PLANE}"),
            _ => NO_PLANE.to_owned(),
        }
    }

    fn nonsense(&self) -> Failure {
        let hint = "is it a plane, and of the same version as this command?";
        Failure::cannot_tell(format!("{} gave an answer that makes no sense", self.name)).hint(hint)
    }

    async fn refused(&self, answer: reqwest::Response) -> Failure {
        let status = answer.status();
        let is_problem = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem+json"));
        let problem: Problem = match self.read(answer).await {
            Ok(bytes) if is_problem => serde_json::from_slice(&bytes).unwrap_or_default(),
            _ => Problem::default(),
        };
        told(status, &problem, &self.name)
    }
}

fn told(status: StatusCode, problem: &Problem, name: &str) -> Failure {
    let mut message = match (problem.detail.as_str(), problem.title.as_str()) {
        ("", "") => format!("{name} answered {status}"),
        ("", text) | (text, _) => output::clean(text),
    };
    if !problem.request_id.is_empty() {
        message.push_str(&format!(" (request {})", output::clean(&problem.request_id)));
    }
    let failure =
        if status.is_client_error() { Failure::no(message) } else { Failure::cannot_tell(message) };
    match status {
        StatusCode::BAD_REQUEST => failure.senseless(),
        StatusCode::UNAUTHORIZED => failure.hint(
            "log in: `lockgate login URL`; on the plane's own machine its socket needs no login: use \
             --data-dir instead of --plane",
        ),
        StatusCode::FORBIDDEN => failure.hint(
            "over TCP an AccessPolicy must allow Administer; on the plane's own machine its \
             socket needs none: use --data-dir instead of --plane",
        ),
        _ => failure,
    }
}

/// All bytes of an answer; `None`: there are more than these.
async fn whole(
    mut answer: reqwest::Response,
    max_bytes: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if bytes.len() + piece.len() > max_bytes {
            return Ok(None);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes))
}

/// A client with our bounds that follows no redirect and uses no proxy: for planes.
pub(crate) fn client() -> reqwest::ClientBuilder {
    outward().no_proxy()
}

/// The same by the proxy that the environment names (HTTPS_PROXY, NO_PROXY): for what is not ours.
pub(crate) fn outward() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
}

/// The same with further certificate authorities.
pub(crate) fn trusting(
    builder: reqwest::ClientBuilder,
    ca_file: Option<&Path>,
) -> Result<reqwest::ClientBuilder, Failure> {
    let Some(path) = ca_file else { return Ok(builder) };
    let bad = |path: &Path| Failure::usage(format!("--ca-file {} cannot be used", path.display()));
    let text = std::fs::read(path).map_err(|error| bad(path).because(&error))?;
    let certificates =
        reqwest::Certificate::from_pem_bundle(&text).map_err(|error| bad(path).because(&error))?;
    if certificates.is_empty() {
        return Err(bad(path).hint("it holds no certificate in PEM (BEGIN CERTIFICATE)"));
    }
    Ok(builder.tls_certs_merge(certificates))
}

/// The client, or why TLS cannot be set up.
pub(crate) fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, Failure> {
    builder.build().map_err(|error| Failure::cannot_tell("cannot set up HTTP").because(&error))
}

/// What really went wrong: the layers above only say that they sent a request.
pub(crate) fn root<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> &'e (dyn std::error::Error + 'static) {
    let mut deepest = error;
    while let Some(below) = deepest.source() {
        deepest = below;
    }
    deepest
}

/// Whether TLS failed because the other side does not speak it: what came is no TLS record
/// (rustls: `InvalidMessage::InvalidContentType`).
pub(crate) fn is_no_tls(cause: &str) -> bool {
    cause.contains("InvalidContentType")
}

fn bad_url(name: &str) -> impl Fn(url::ParseError) -> Failure + use<'_> {
    move |error| Failure::usage(format!("{name} is not the URL of a plane")).because(&error)
}

/// A file beside the socket tells whether a plane could be there at all.
pub(crate) fn has_socket(data_dir: &Path) -> bool {
    let socket: PathBuf = socket_path(data_dir);
    socket.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_fits_what_happened() {
        let at = |url: &str| Api::at(&url.parse().unwrap(), None).unwrap();
        let (plain, tls) = (at("http://h.test:5050"), at("https://h.test:5050"));
        let corrupt = "received corrupt message of type InvalidContentType";
        let told = tls.what_to_do(true, false, corrupt);
        assert_eq!(told, "it answers without TLS: write http://h.test:5050/");
        let told = plain.what_to_do(false, false, "connection closed");
        assert!(told.contains("write https://h.test:5050/"), "{told}");
        let local = Api::local(Path::new("/nonexistent")).unwrap();
        assert!(local.what_to_do(false, true, "operation timed out").starts_with("it is there"));
        assert_eq!(local.what_to_do(true, false, "refused"), NO_PLANE);
        assert!(plain.what_to_do(true, false, "refused").contains(NO_PLANE));
    }

    #[test]
    fn a_problem_is_told_with_its_request_and_what_it_means_for_scripts() {
        let problem = Problem {
            title: "Not Found".to_owned(),
            detail: "no revision begins with abcdef".to_owned(),
            request_id: "0a1b".to_owned(),
        };
        let failure = told(StatusCode::NOT_FOUND, &problem, "x");
        assert_eq!(failure.one_line(), "no revision begins with abcdef (request 0a1b)");
        assert!(!failure.is_cannot_tell());
        let failure = told(StatusCode::BAD_GATEWAY, &Problem::default(), "http://x/");
        assert_eq!(failure.one_line(), "http://x/ answered 502 Bad Gateway");
        assert!(failure.is_cannot_tell());
    }
}
