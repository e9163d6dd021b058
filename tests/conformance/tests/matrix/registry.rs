//! The distribution API as a client speaks it. Every answer is checked against what a step expects;
//! what differs is told with the request.

use crate::shapes::{Manifest, Shape};
use bytes::Bytes;
use std::net::SocketAddr;
use testkit::client::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Why a case fails.
pub(crate) type Outcome = Result<(), String>;

/// One cell of the matrix: a shape, and names of its own to push it to.
pub(crate) struct Case {
    pub(crate) addr: SocketAddr,
    pub(crate) name: String,
    pub(crate) other: String,
    pub(crate) shape: Shape,
}

/// Fails with `what` unless it holds.
pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}

/// The path of an answer's `Location`.
pub(crate) fn location(answer: &Response) -> Result<String, String> {
    let text = answer.header("location").ok_or("no Location")?;
    let path = text.split_once("://").and_then(|(_, rest)| Some(&rest[rest.find('/')?..]));
    Ok(path.unwrap_or(text).to_owned())
}

/// A path with one more query member.
pub(crate) fn with(path: &str, member: &str) -> String {
    format!("{path}{}{member}", if path.contains('?') { '&' } else { '?' })
}

impl Case {
    pub(crate) async fn send(
        &self,
        request: Request,
        line: &str,
        status: u16,
    ) -> Result<Response, String> {
        let answer = request.send(self.addr).await.map_err(|error| format!("{line}: {error}"))?;
        ensure(answer.status == status && answer.clean_end(), || {
            let (got, reason, text) = (answer.status, &answer.reason, answer.text());
            format!("{line}: expected {status}, got {got} {reason} {:?} {text}", answer.end)
        })?;
        Ok(answer)
    }

    /// A request without a body.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        status: u16,
    ) -> Result<Response, String> {
        let mut request = Request::new(method, path)
            .header("accept", crate::shapes::INDEX)
            .header("accept", crate::shapes::IMAGE);
        if matches!(method, "POST" | "PUT" | "PATCH") {
            request = request.header("content-length", "0");
        }
        self.send(request, &format!("{method} {path}"), status).await
    }

    /// A request with a body, which may be empty.
    pub(crate) async fn put(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        status: u16,
    ) -> Result<Response, String> {
        let mut request = Request::new(method, path);
        if body.is_empty() {
            request = request.header("content-length", "0");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        self.send(request.body(body), &format!("{method} {path} {headers:?}"), status).await
    }

    /// A request whose body comes without a length.
    pub(crate) async fn stream(
        &self,
        method: &str,
        path: &str,
        body: &Bytes,
        status: u16,
    ) -> Result<String, String> {
        let line = format!("{method} {path}, streamed");
        let failed = |error: std::io::Error| format!("{line}: {error}");
        let mut stream = TcpStream::connect(self.addr).await.map_err(failed)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\ncontent-type: application/octet-stream\r\nconnection: close\r\n\r\n",
            self.addr
        );
        stream.write_all(head.as_bytes()).await.map_err(failed)?;
        for chunk in body.chunks(100) {
            stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.map_err(failed)?;
            stream.write_all(chunk).await.map_err(failed)?;
            stream.write_all(b"\r\n").await.map_err(failed)?;
        }
        stream.write_all(b"0\r\n\r\n").await.map_err(failed)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(failed)?;
        ensure(answer.starts_with(&format!("HTTP/1.1 {status} ")), || {
            format!("{line}: expected {status}, got {answer}")
        })?;
        let location = answer.lines().find_map(|held| {
            held.split_once(": ")
                .filter(|(name, _)| name.eq_ignore_ascii_case("location"))
                .map(|(_, value)| value.to_owned())
        });
        location.ok_or(format!("{line}: no Location"))
    }

    pub(crate) fn uploads(&self) -> String {
        format!("/v2/{}/blobs/uploads/", self.name)
    }

    pub(crate) fn blob_path(&self, digest: &str) -> String {
        format!("/v2/{}/blobs/{digest}", self.name)
    }

    pub(crate) fn manifest_path(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.name)
    }

    /// POST, then PUT with all of it.
    pub(crate) async fn push_blob_to(&self, name: &str, digest: &str, bytes: &Bytes) -> Outcome {
        let begun = self.ask("POST", &format!("/v2/{name}/blobs/uploads/"), 202).await?;
        let end = with(&location(&begun)?, &format!("digest={digest}"));
        self.put("PUT", &end, &[("content-type", "application/octet-stream")], bytes.clone(), 201)
            .await?;
        Ok(())
    }

    pub(crate) async fn push_blobs(&self) -> Outcome {
        for (digest, bytes) in &self.shape.blobs {
            self.push_blob_to(&self.name, digest, bytes).await?;
        }
        Ok(())
    }

    pub(crate) async fn put_manifest(
        &self,
        reference: &str,
        manifest: &Manifest,
    ) -> Result<Response, String> {
        let path = self.manifest_path(reference);
        self.put("PUT", &path, &[("content-type", manifest.media_type)], manifest.body.clone(), 201)
            .await
    }

    /// Blobs and manifests, those by digest.
    pub(crate) async fn push(&self) -> Outcome {
        self.push_blobs().await?;
        for manifest in &self.shape.manifests {
            self.put_manifest(&manifest.digest, manifest).await?;
        }
        Ok(())
    }

    /// All of it, and `tag` for the top manifest. By `?tag=`, because a tag alone says sha256.
    pub(crate) async fn push_tagged(&self, tag: &str) -> Outcome {
        self.push().await?;
        let top = self.shape.top();
        self.put_manifest(&format!("{}?tag={tag}", top.digest), top).await?;
        Ok(())
    }

    /// The answer is this blob, whole.
    pub(crate) fn is_blob(&self, answer: &Response, digest: &str, bytes: &Bytes) -> Outcome {
        ensure(answer.body == *bytes, || format!("{digest}: other bytes"))?;
        self.is_of(answer, digest, bytes.len())
    }

    /// The headers are those of this content.
    pub(crate) fn is_of(&self, answer: &Response, digest: &str, size: usize) -> Outcome {
        let said = answer.header("docker-content-digest");
        ensure(said == Some(digest), || format!("Docker-Content-Digest: {said:?}, not {digest}"))?;
        let length = answer.header("content-length");
        ensure(length == Some(size.to_string().as_str()), || {
            format!("{digest}: Content-Length {length:?}, not {size}")
        })
    }

    /// The answer is this manifest, whole or its headers alone.
    pub(crate) fn is_manifest(
        &self,
        answer: &Response,
        manifest: &Manifest,
        is_head: bool,
    ) -> Outcome {
        let expected: &[u8] = if is_head { b"" } else { &manifest.body };
        ensure(answer.body == expected, || format!("{}: other bytes", manifest.digest))?;
        let kind = answer.header("content-type");
        ensure(kind == Some(manifest.media_type), || {
            format!("{}: Content-Type {kind:?}", manifest.digest)
        })?;
        self.is_of(answer, &manifest.digest, manifest.body.len())
    }
}
