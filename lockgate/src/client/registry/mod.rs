//! The plane as a registry: what `export` and `import` need of the distribution API.
//!
//! It exists so that moving images in and out is a client's work like any other: every byte is
//! permitted and recorded by the plane, and its reason is printed when it refuses.

mod push;

pub(crate) use push::Pushed;

use super::{Api, build, client, root, trusting};
use crate::exit::Failure;
use crate::flags::PlaneFlags;
use crate::output;
use crate::settings::socket_path;
use oci::{ACCEPTED_MANIFESTS, Descriptor, Digest, Manifest, MediaType, Name, Reference, Tag};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use std::time::Duration;
use url::Url;

/// The largest manifest that is read or sent: more than any repository may be set to take.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// Tags of one name, or referrers of one digest.
const ENTRIES_MAX: usize = 1_000_000;
/// How long an upload may take until it is answered: its bytes go out, and the plane then syncs
/// them or sends them to its object store.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(3600);

/// A plane, asked as a registry.
#[derive(Clone)]
pub(crate) struct Registry {
    api: Api,
    /// For uploads: waits longer for the answer.
    patient: reqwest::Client,
    /// For object stores that the plane redirects to: knows no token.
    elsewhere: reqwest::Client,
}

/// A manifest, its digest checked.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) digest: Digest,
    pub(crate) media_type: MediaType,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct TagPage {
    tags: Option<Vec<Tag>>,
}

/// An error as the distribution API tells it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Errors {
    errors: Vec<Told>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    code: String,
    message: String,
    detail: serde_json::Value,
}

impl Registry {
    /// The plane that the flags name. Asks whether it answers.
    pub(crate) async fn find(flags: &PlaneFlags) -> Result<Self, Failure> {
        let api = Api::find(flags)?;
        let builder = match &flags.plane {
            Some(_) => trusting(client(), flags.ca_file.as_deref())?,
            None => {
                let data_dir = flags.settings.load(Vec::new())?.settings.data_dir();
                client().unix_socket(socket_path(&data_dir))
            }
        };
        let patient = build(builder.read_timeout(UPLOAD_TIMEOUT))?;
        let elsewhere = build(trusting(client(), flags.ca_file.as_deref())?)?;
        let registry = Self { api, patient, elsewhere };
        let answer = registry.sent(registry.request(Method::GET, "").await?).await?;
        if !answer.status().is_success() {
            return Err(registry.told(answer).await);
        }
        Ok(registry)
    }

    /// A manifest; `None` if the plane says that it is not there.
    pub(crate) async fn manifest(
        &self,
        name: &Name,
        reference: &Reference,
    ) -> Result<Option<Fetched>, Failure> {
        let request = self.request(Method::GET, &format!("{name}/manifests/{reference}")).await?;
        let answer = self.sent(request.header(header::ACCEPT, ACCEPTED_MANIFESTS)).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = self.expect(answer, &[StatusCode::OK]).await?;
        let media_type = text_of(&answer, &header::CONTENT_TYPE);
        let media_type = media_type.and_then(|text| MediaType::parse(text).ok());
        let told = digest_of(&answer);
        let bytes = self.api.read(answer).await?;
        let expected = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(_) => told.unwrap_or_else(|| Digest::sha256(&bytes)),
        };
        let digest = Digest::of(expected.algorithm(), &bytes);
        if digest != expected || bytes.len() as u64 > MANIFEST_BYTES_MAX {
            let text = format!("{name}: the manifest {expected} came as {digest}");
            return Err(Failure::cannot_tell(text).hint("something between here and the plane?"));
        }
        let media_type = media_type.unwrap_or(MediaType::OCI_MANIFEST);
        Ok(Some(Fetched { digest, media_type, bytes }))
    }

    /// What a tag or digest leads to; `None` if the plane says that it is not there.
    pub(crate) async fn head_manifest(
        &self,
        name: &Name,
        reference: &Reference,
    ) -> Result<Option<Digest>, Failure> {
        let request = self.request(Method::HEAD, &format!("{name}/manifests/{reference}")).await?;
        let answer = self.sent(request.header(header::ACCEPT, ACCEPTED_MANIFESTS)).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = self.expect(answer, &[StatusCode::OK]).await?;
        digest_of(&answer).map(Some).ok_or_else(|| self.api.nonsense())
    }

    /// The same for who only wants to spare a push: what is refused may be there or not.
    pub(crate) async fn known_manifest(
        &self,
        name: &Name,
        reference: &Reference,
    ) -> Result<Option<Digest>, Failure> {
        match self.head_manifest(name, reference).await {
            Err(failure) if !failure.is_cannot_tell() => Ok(None),
            other => other,
        }
    }

    /// All tags of a name, as listed.
    pub(crate) async fn tags(&self, name: &Name) -> Result<Vec<Tag>, Failure> {
        let mut tags = Vec::new();
        let mut next = Some(self.url(&format!("{name}/tags/list"))?);
        while let Some(url) = next {
            let (page, more) = self.page(url).await?;
            let page: TagPage = serde_json::from_slice(&page)
                .map_err(|error| self.api.nonsense().because(&error))?;
            let page = page.tags.unwrap_or_default();
            next = more.filter(|_| !page.is_empty());
            tags.extend(page);
            self.bounded(tags.len())?;
        }
        Ok(tags)
    }

    /// What refers to a digest.
    pub(crate) async fn referrers(
        &self,
        name: &Name,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, Failure> {
        let mut all = Vec::new();
        let mut next = Some(self.url(&format!("{name}/referrers/{subject}"))?);
        while let Some(url) = next {
            let (page, more) = self.page(url).await?;
            let page = Manifest::parse(&page, Some(&MediaType::OCI_INDEX))
                .map_err(|error| self.api.nonsense().because(&error))?;
            next = more.filter(|_| !page.manifests.is_empty());
            all.extend(page.manifests);
            self.bounded(all.len())?;
        }
        Ok(all)
    }

    /// Opens a blob at a byte. Its bytes are not checked here.
    pub(crate) async fn blob(
        &self,
        name: &Name,
        digest: &Digest,
        from: u64,
    ) -> Result<Response, Failure> {
        let path = format!("{name}/blobs/{digest}");
        let answer = self.sent(ranged(self.request(Method::GET, &path).await?, from)).await?;
        let wanted = if from > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if answer.status() != StatusCode::TEMPORARY_REDIRECT {
            return self.expect(answer, &[wanted]).await;
        }
        let url = text_of(&answer, &header::LOCATION).and_then(|text| self.base().join(text).ok());
        let url = url.ok_or_else(|| self.api.nonsense())?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let failed = |text: String| Failure::cannot_tell(format!("{name}: {digest}: {text}"));
        // The URL has a signature in it: nobody prints it.
        let answer = ranged(self.elsewhere.get(url), from).send().await.map_err(|error| {
            failed(format!("{host} does not answer")).because(root(&error.without_url()))
        })?;
        match answer.status() {
            status if status == wanted => Ok(answer),
            status => Err(failed(format!("{host} answered {status}"))),
        }
    }

    async fn page(&self, url: Url) -> Result<(Vec<u8>, Option<Url>), Failure> {
        let answer = self.sent(self.with_token(self.api.http.get(url)).await?).await?;
        let answer = self.expect(answer, &[StatusCode::OK]).await?;
        let next = text_of(&answer, &header::LINK).and_then(next_of);
        let next = next.and_then(|text| self.base().join(text).ok());
        // A list is one plane's: the token goes nowhere else.
        let next = next.filter(|url| url.origin() == self.base().origin());
        Ok((self.api.read(answer).await?, next))
    }

    fn bounded(&self, count: usize) -> Result<(), Failure> {
        match count {
            0..=ENTRIES_MAX => Ok(()),
            _ => Err(self.api.nonsense()),
        }
    }

    fn base(&self) -> &Url {
        &self.api.base
    }

    fn url(&self, path: &str) -> Result<Url, Failure> {
        let mut url = self.base().clone();
        url.set_path(&format!("/v2/{path}"));
        url.set_query(None);
        Ok(url)
    }

    async fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        self.with_token(self.api.http.request(method, self.url(path)?)).await
    }

    async fn with_token(&self, request: RequestBuilder) -> Result<RequestBuilder, Failure> {
        self.api.with_token(request).await
    }

    async fn sent(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|error| self.api.unreachable(error))
    }

    async fn expect(&self, answer: Response, wanted: &[StatusCode]) -> Result<Response, Failure> {
        if wanted.contains(&answer.status()) {
            return Ok(answer);
        }
        Err(self.told(answer).await)
    }

    /// The plane's own reason.
    async fn told(&self, answer: Response) -> Failure {
        let status = answer.status();
        let name = self.api.name();
        let errors: Errors = match self.api.read(answer).await {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(_) => Errors::default(),
        };
        let message = match errors.errors.first() {
            Some(told) => reason(told),
            None => format!("{name} answered {status}"),
        };
        match status {
            StatusCode::UNAUTHORIZED => Failure::no(message).hint(
                "log in with `lockgate login URL`, give a token in LOCKGATE_TOKEN, or use the socket on the plane's own machine: \
                 --data-dir instead of --plane",
            ),
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                Failure::no(message)
            }
            _ => Failure::cannot_tell(message),
        }
    }
}

fn reason(told: &Told) -> String {
    let mut text = output::clean(&told.message);
    if text.is_empty() {
        text = output::clean(&told.code);
    }
    match told.detail["requestId"].as_str() {
        Some(id) => format!("{text} (request {})", output::clean(id)),
        None => text,
    }
}

fn ranged(request: RequestBuilder, from: u64) -> RequestBuilder {
    match from {
        0 => request,
        from => request.header(header::RANGE, format!("bytes={from}-")),
    }
}

fn text_of<'a>(answer: &'a Response, header: &header::HeaderName) -> Option<&'a str> {
    answer.headers().get(header)?.to_str().ok()
}

fn digest_of(answer: &Response) -> Option<Digest> {
    let header = header::HeaderName::from_static("docker-content-digest");
    text_of(answer, &header).and_then(|text| Digest::parse(text).ok())
}

/// The URL of the next page (RFC 8288).
fn next_of(link: &str) -> Option<&str> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    parameters.contains("rel=\"next\"").then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_read_from_its_link() {
        assert_eq!(
            next_of("</v2/a/tags/list?last=b>; rel=\"next\""),
            Some("/v2/a/tags/list?last=b")
        );
        assert_eq!(next_of("</v2/>; rel=\"prev\""), None);
        assert_eq!(next_of("nonsense"), None);
    }

    #[test]
    fn a_reason_has_its_request() {
        let told = Told {
            code: "DENIED".to_owned(),
            message: "v1 is immutable".to_owned(),
            detail: serde_json::json!({ "requestId": "0a1b" }),
        };
        assert_eq!(reason(&told), "v1 is immutable (request 0a1b)");
        let told = Told { code: "DENIED".to_owned(), ..Told::default() };
        assert_eq!(reason(&told), "DENIED");
    }
}
