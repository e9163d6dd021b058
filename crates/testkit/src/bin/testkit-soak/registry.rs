//! The distribution API as the driver uses it. What has no answer is told apart from what was
//! refused: the first is for the worker to find out, the second may be a fault of the registry.

use crate::model::{Blob, Image};
use bytes::Bytes;
use std::time::Duration;
use testkit::client::{Request, Response};
use testkit::sha256;

/// How long a registry that was killed may take to be back.
const BACK_WITHIN: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const ACCEPT: &str =
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";

/// Nobody knows whether it was done.
#[derive(Debug)]
pub(crate) struct Unknown(pub(crate) String);

/// How a blob is brought.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    PostOnly,
    PostPut,
    Chunked,
    /// From this name, if it is there.
    MountElse(usize),
}

/// A registry at `HOST:PORT`.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    addr: String,
    pub(crate) names: Vec<String>,
}

impl Registry {
    pub(crate) fn new(addr: &str, repository: &str) -> Self {
        let names = ["a", "b", "c/d", "e"].map(|last| format!("{repository}/{last}"));
        Self { addr: addr.into(), names: names.into() }
    }

    /// One request. An answer of 429 or of 500 and above says as little as none.
    pub(crate) async fn ask(&self, request: Request) -> Result<Response, Unknown> {
        let sent = request.timeout(ANSWER_WITHIN).send(self.addr.as_str()).await;
        let answer = sent.map_err(|error| Unknown(error.to_string()))?;
        match answer.status {
            429 | 500.. => Err(Unknown(format!("{} {}", answer.status, answer.reason))),
            _ if !answer.clean_end() => Err(Unknown(format!("{} cut off", answer.status))),
            _ => Ok(answer),
        }
    }

    /// A request that changes nothing, until it is answered.
    pub(crate) async fn look(&self, request: Request) -> Result<Response, String> {
        let mut last = String::new();
        for _ in 0..BACK_WITHIN.as_millis() / 100 {
            match self.ask(request.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Unknown(why)) => last = why,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(format!("no answer for {BACK_WITHIN:?}: {last}"))
    }

    pub(crate) async fn manifest(&self, name: &str, reference: &str) -> Result<Response, String> {
        let path = format!("/v2/{name}/manifests/{reference}");
        self.look(Request::get(&path).header("accept", ACCEPT)).await
    }

    pub(crate) async fn blob(&self, name: &str, digest: &str) -> Result<Response, String> {
        self.look(Request::get(&format!("/v2/{name}/blobs/{digest}"))).await
    }

    pub(crate) async fn has_blob(&self, name: &str, digest: &str) -> Result<bool, String> {
        let answer = self.look(Request::head(&format!("/v2/{name}/blobs/{digest}"))).await?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            other => Err(format!("HEAD of blob {digest} of {name}: {other}")),
        }
    }

    pub(crate) async fn put_manifest(
        &self,
        name: &str,
        reference: &str,
        image: &Image,
    ) -> Result<Response, Unknown> {
        let path = format!("/v2/{name}/manifests/{reference}");
        let request = Request::new("PUT", &path).header("content-type", &image.media_type);
        self.ask(request.body(image.body.clone())).await
    }

    pub(crate) async fn delete_manifest(
        &self,
        name: &str,
        reference: &str,
    ) -> Result<Response, Unknown> {
        self.ask(Request::new("DELETE", &format!("/v2/{name}/manifests/{reference}"))).await
    }

    /// Brings a blob that is not there.
    pub(crate) async fn put_blob(
        &self,
        name: &str,
        blob: &Blob,
        way: Way,
    ) -> Result<Response, Unknown> {
        let uploads = format!("/v2/{name}/blobs/uploads/");
        let bytes = blob.content.bytes();
        let query = match way {
            Way::PostOnly => format!("?digest={}", blob.digest),
            Way::MountElse(from) => {
                format!("?mount={}&from={}", blob.digest, self.names[from % self.names.len()])
            }
            Way::PostPut | Way::Chunked => String::new(),
        };
        let body = if matches!(way, Way::PostOnly) { bytes.clone() } else { Bytes::new() };
        let mut begin = Request::new("POST", &format!("{uploads}{query}")).body(body.clone());
        if body.is_empty() {
            begin = begin.header("content-length", "0");
        }
        let begun = self.ask(begin).await?;
        if begun.status != 202 {
            return Ok(begun);
        }
        let mut location = location(&begun)?;
        let mut rest = bytes;
        if matches!(way, Way::Chunked) && rest.len() > 2 {
            let chunk = rest.split_to(rest.len() / 2);
            let range = format!("0-{}", chunk.len() - 1);
            let sent = Request::new("PATCH", &location).header("content-range", &range).body(chunk);
            let sent = self.ask(sent).await?;
            if sent.status != 202 {
                return Ok(sent);
            }
            location = self::location(&sent)?;
        }
        let joined = if location.contains('?') { '&' } else { '?' };
        let mut end = Request::new("PUT", &format!("{location}{joined}digest={}", blob.digest));
        end = match rest.is_empty() {
            true => end.header("content-length", "0"),
            false => end.body(rest),
        };
        self.ask(end).await
    }

    /// Begins an upload, sends some of it, and never comes back.
    pub(crate) async fn abandon(&self, name: &str, blob: &Blob) -> Result<(), Unknown> {
        let begin = Request::new("POST", &format!("/v2/{name}/blobs/uploads/"));
        let begun = self.ask(begin.header("content-length", "0")).await?;
        let bytes = blob.content.bytes();
        let some = bytes.slice(..bytes.len() / 2 + 1);
        self.ask(Request::new("PATCH", &location(&begun)?).body(some)).await.map(drop)
    }

    /// Every tag of a name.
    pub(crate) async fn tags(&self, name: &str) -> Result<Vec<String>, String> {
        let answer = self.look(Request::get(&format!("/v2/{name}/tags/list?n=1000"))).await?;
        match answer.status {
            404 => Ok(Vec::new()),
            200 => Ok(strings(&answer.json()["tags"])),
            other => Err(format!("tags of {name}: {other}")),
        }
    }

    /// Digests of what refers to `subject`.
    pub(crate) async fn referrers(&self, name: &str, subject: &str) -> Result<Vec<String>, String> {
        let answer = self.look(Request::get(&format!("/v2/{name}/referrers/{subject}"))).await?;
        let listed = answer.json()["manifests"].as_array().cloned().unwrap_or_default();
        Ok(listed.iter().filter_map(|one| Some(one["digest"].as_str()?.to_owned())).collect())
    }

    /// Reads an image and all it names, and says what is not as it was sent.
    pub(crate) async fn whole(&self, name: &str, image: &Image) -> Result<(), String> {
        let answer = self.manifest(name, &image.digest).await?;
        if answer.status != 200 || answer.body != image.body.as_bytes() {
            let (status, text) = (answer.status, answer.text());
            return Err(format!("manifest {} of {name}: {status} {text}", image.digest));
        }
        for blob in &image.blobs {
            let answer = self.blob(name, &blob.digest).await?;
            if answer.status != 200 || sha256(&answer.body) != blob.digest {
                let (status, got) = (answer.status, answer.body.len());
                let wanted = blob.size;
                return Err(format!(
                    "blob {} of {name}: {status}, {got} of {wanted} bytes",
                    blob.digest
                ));
            }
        }
        for child in &image.children {
            Box::pin(self.whole(name, child)).await?;
        }
        Ok(())
    }
}

/// The path of `Location`, whether it came with a host or not.
fn location(answer: &Response) -> Result<String, Unknown> {
    let text = answer.header("location").unwrap_or_default();
    let path = text
        .split_once("://")
        .map_or(text, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    match path.starts_with('/') {
        true => Ok(path.to_owned()),
        false => Err(Unknown(format!("{} without a usable Location: {text:?}", answer.status))),
    }
}

fn strings(list: &serde_json::Value) -> Vec<String> {
    let list = list.as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|one| Some(one.as_str()?.to_owned())).collect()
}
