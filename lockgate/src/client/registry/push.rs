//! Pushes: blobs by upload or mount, manifests by digest with their tags.

use super::{Registry, digest_of, text_of};
use crate::exit::Failure;
use oci::{Digest, MediaType, Name, Tag};
use reqwest::{Body, Method, StatusCode, header};
use url::Url;

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Its bytes were sent.
    Sent,
    /// The plane took it from another name of its own.
    Mounted,
}

impl Registry {
    /// Whether a blob is known to be content of a name. One that may not be read may be there or not:
    /// it can be pushed again, and if that is refused, the reason is told then.
    pub(crate) async fn has_blob(&self, name: &Name, digest: &Digest) -> Result<bool, Failure> {
        let request = self.request(Method::HEAD, &format!("{name}/blobs/{digest}")).await?;
        let answer = self.sent(request).await?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(false),
            // It is there, and lies in an object store.
            StatusCode::TEMPORARY_REDIRECT => Ok(true),
            _ => self.expect(answer, &[StatusCode::OK]).await.map(|_| true),
        }
    }

    /// Pushes a blob: mounts it `from` another name if that can be, else sends what `body` gives.
    pub(crate) async fn push_blob(
        &self,
        name: &Name,
        digest: &Digest,
        from: Option<&Name>,
        (size_bytes, body): (u64, impl AsyncFnOnce() -> Result<Body, Failure>),
    ) -> Result<Pushed, Failure> {
        let mut url = self.url(&format!("{name}/blobs/uploads/"))?;
        if let Some(from) = from {
            let pairs = [("mount", digest.to_string()), ("from", from.to_string())];
            url.query_pairs_mut().extend_pairs(pairs);
        }
        let request = self.with_token(self.api.http.post(url)).await?;
        let answer = self.sent(request.header(header::CONTENT_LENGTH, 0)).await?;
        let wanted = [StatusCode::ACCEPTED, StatusCode::CREATED];
        let answer = self.expect(answer, &wanted).await?;
        if answer.status() == StatusCode::CREATED {
            return Ok(Pushed::Mounted);
        }
        let session = text_of(&answer, &header::LOCATION).and_then(|text| self.session(text));
        let mut url = session.ok_or_else(|| self.api.nonsense())?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let request = self
            .with_token(self.patient.put(url))
            .await?
            .header(header::CONTENT_TYPE, MediaType::OCTET_STREAM.as_str())
            .header(header::CONTENT_LENGTH, size_bytes)
            .body(body().await?);
        let answer = self.sent(request).await?;
        self.expect(answer, &[StatusCode::CREATED]).await?;
        Ok(Pushed::Sent)
    }

    /// Pushes a manifest under its digest, and under a tag if one is given. The digest is in the
    /// path for a tag, too, so that a manifest known by SHA-512 stays known by it.
    pub(crate) async fn push_manifest(
        &self,
        name: &Name,
        digest: &Digest,
        tag: Option<&Tag>,
        (media_type, bytes): (&MediaType, Vec<u8>),
    ) -> Result<(), Failure> {
        let mut url = self.url(&format!("{name}/manifests/{digest}"))?;
        if let Some(tag) = tag {
            url.query_pairs_mut().append_pair("tag", tag.as_str());
        }
        let request = self
            .with_token(self.patient.put(url))
            .await?
            .header(header::CONTENT_TYPE, media_type.as_str())
            .body(bytes);
        let answer = self.sent(request).await?;
        let answer = self.expect(answer, &[StatusCode::CREATED]).await?;
        match digest_of(&answer) {
            Some(told) if told != *digest => {
                let text = format!("{name}: the plane stored {digest} as {told}");
                Err(Failure::cannot_tell(text))
            }
            _ => Ok(()),
        }
    }

    /// Where an upload goes on: at this plane, whatever it says.
    fn session(&self, location: &str) -> Option<Url> {
        let url = self.base().join(location).ok()?;
        (url.origin() == self.base().origin()).then_some(url)
    }
}
