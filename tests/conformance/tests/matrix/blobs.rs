//! Rows of the API about blobs.

use crate::registry::{Case, Outcome, ensure, location, with};
use bytes::Bytes;
use testkit::client::{Request, Response};

const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

impl Case {
    /// A push was answered: the digest is named, and `Location` gives the bytes.
    async fn pushed(&self, answer: &Response, digest: &str, bytes: &Bytes) -> Outcome {
        let said = answer.header("docker-content-digest");
        ensure(said.is_none_or(|said| said == digest), || {
            format!("Docker-Content-Digest: {said:?}")
        })?;
        let got = self.ask("GET", &location(answer)?, 200).await?;
        self.is_blob(&got, digest, bytes)
    }
}

/// Bytes that do not hash to the digest they are sent as.
fn spoiled(bytes: &Bytes) -> Bytes {
    [bytes, b"oh no".as_slice()].concat().into()
}

pub(crate) async fn blob_push(case: &Case) -> Outcome {
    for (digest, bytes) in &case.shape.blobs {
        case.ask("GET", &case.blob_path(digest), 404).await?;
        case.push_blob_to(&case.name, digest, bytes).await?;
        case.is_blob(&case.ask("GET", &case.blob_path(digest), 200).await?, digest, bytes)?;
        // A second push of the same is no mistake.
        case.push_blob_to(&case.name, digest, bytes).await?;
    }
    Ok(())
}

pub(crate) async fn blob_post_only(case: &Case) -> Outcome {
    for (digest, bytes) in &case.shape.blobs {
        let path = with(&case.uploads(), &format!("digest={digest}"));
        case.put("POST", &path, &[OCTETS], spoiled(bytes), 400).await?;
        case.ask("HEAD", &case.blob_path(digest), 404).await?;
        let answer = case.put("POST", &path, &[OCTETS], bytes.clone(), 201).await?;
        case.pushed(&answer, digest, bytes).await?;
    }
    Ok(())
}

pub(crate) async fn blob_post_put(case: &Case) -> Outcome {
    for (digest, bytes) in &case.shape.blobs {
        for (body, status) in [(spoiled(bytes), 400), (bytes.clone(), 201)] {
            let begun = case.ask("POST", &case.uploads(), 202).await?;
            let end = with(&location(&begun)?, &format!("digest={}", digest.replace(':', "%3A")));
            let answer = case.put("PUT", &end, &[OCTETS], body, status).await?;
            if status == 201 {
                case.pushed(&answer, digest, bytes).await?;
            }
        }
    }
    Ok(())
}

/// Three chunks, each after one that is out of order; the last with PATCH or in the PUT.
pub(crate) async fn blob_chunked(case: &Case) -> Outcome {
    for is_last_put in [false, true] {
        for (digest, bytes) in &case.shape.blobs {
            case.put_in_chunks(digest, bytes, is_last_put).await?;
        }
    }
    Ok(())
}

impl Case {
    async fn put_in_chunks(&self, digest: &str, bytes: &Bytes, is_last_put: bool) -> Outcome {
        let begun = self.ask("POST", &self.uploads(), 202).await?;
        let mut at = location(&begun)?;
        let size = bytes.len() / 3 + 1;
        let mut start = 0;
        while start < bytes.len() {
            let end = (start + size).min(bytes.len());
            let is_last = end == bytes.len();
            if bytes.len() > 3 {
                at = self.out_of_order(&at, digest, bytes, start, is_last_put).await?;
            }
            let (range, chunk) = (format!("{start}-{}", end - 1), bytes.slice(start..end));
            let headers = [OCTETS, ("content-range", range.as_str())];
            if is_last && is_last_put {
                let path = with(&at, &format!("digest={digest}"));
                let answer = self.put("PUT", &path, &headers, chunk, 201).await?;
                return self.pushed(&answer, digest, bytes).await;
            }
            at = location(&self.put("PATCH", &at, &headers, chunk, 202).await?)?;
            start = end;
        }
        let answer = self.ask("PUT", &with(&at, &format!("digest={digest}")), 201).await?;
        self.pushed(&answer, digest, bytes).await
    }

    /// A chunk that does not begin where the upload ends is refused and changes nothing; the state
    /// tells where to go on.
    async fn out_of_order(
        &self,
        at: &str,
        digest: &str,
        bytes: &Bytes,
        held: usize,
        is_put: bool,
    ) -> Result<String, String> {
        let start = held + 1;
        let (range, chunk) =
            (format!("{start}-{}", bytes.len()), Bytes::from(vec![b'x'; bytes.len() + 1 - start]));
        let headers = [OCTETS, ("content-range", range.as_str())];
        match is_put {
            true => {
                self.put("PUT", &with(at, &format!("digest={digest}")), &headers, chunk, 416)
                    .await?
            }
            false => self.put("PATCH", at, &headers, chunk, 416).await?,
        };
        let state = self.ask("GET", at, 204).await?;
        let expected = format!("0-{}", held.saturating_sub(1));
        ensure(state.header("range") == Some(expected.as_str()), || {
            format!("GET {at}: Range {:?}, not {expected}", state.header("range"))
        })?;
        location(&state)
    }
}

pub(crate) async fn blob_stream(case: &Case) -> Outcome {
    for (digest, bytes) in &case.shape.blobs {
        let begun = case.ask("POST", &case.uploads(), 202).await?;
        let at = case.stream("PATCH", &location(&begun)?, bytes, 202).await?;
        let answer = case.ask("PUT", &with(&at, &format!("digest={digest}")), 201).await?;
        case.pushed(&answer, digest, bytes).await?;
        // All of it in the one PUT, without a length.
        let begun = case.ask("POST", &case.uploads(), 202).await?;
        case.stream("PUT", &with(&location(&begun)?, &format!("digest={digest}")), bytes, 201)
            .await?;
    }
    Ok(())
}

pub(crate) async fn blob_cancel(case: &Case) -> Outcome {
    for (digest, bytes) in &case.shape.blobs {
        let at = location(&case.ask("POST", &case.uploads(), 202).await?)?;
        case.ask("DELETE", &at, 204).await?;
        case.ask("GET", &at, 404).await?;
        case.put("PUT", &with(&at, &format!("digest={digest}")), &[OCTETS], bytes.clone(), 404)
            .await?;
    }
    Ok(())
}

pub(crate) async fn blob_mount(case: &Case) -> Outcome {
    for (digest, bytes) in &case.shape.blobs {
        let path = with(&case.uploads(), &format!("mount={digest}&from={}", case.other));
        // Nothing to mount: an upload begins, and can be gone on with.
        let begun = case.ask("POST", &path, 202).await?;
        case.ask("DELETE", &location(&begun)?, 204).await?;
        case.push_blob_to(&case.other, digest, bytes).await?;
        let answer = case.ask("POST", &path, 201).await?;
        case.pushed(&answer, digest, bytes).await?;
        // Each name has it for itself.
        case.ask("DELETE", &case.blob_path(digest), 202).await?;
        case.ask("HEAD", &case.blob_path(digest), 404).await?;
        case.ask("HEAD", &format!("/v2/{}/blobs/{digest}", case.other), 200).await?;
    }
    Ok(())
}

pub(crate) async fn blob_mount_anonymous(case: &Case) -> Outcome {
    for (digest, bytes) in &case.shape.blobs {
        case.push_blob_to(&case.other, digest, bytes).await?;
        let answer =
            case.ask("POST", &with(&case.uploads(), &format!("mount={digest}")), 201).await?;
        case.pushed(&answer, digest, bytes).await?;
        case.ask("DELETE", &format!("/v2/{}/blobs/{digest}", case.other), 202).await?;
        case.ask("HEAD", &case.blob_path(digest), 200).await?;
    }
    Ok(())
}

pub(crate) async fn blob_get(case: &Case) -> Outcome {
    case.push_blobs().await?;
    for (digest, bytes) in &case.shape.blobs {
        case.is_blob(&case.ask("GET", &case.blob_path(digest), 200).await?, digest, bytes)?;
    }
    Ok(())
}

pub(crate) async fn blob_get_range(case: &Case) -> Outcome {
    case.push_blobs().await?;
    for (digest, bytes) in &case.shape.blobs {
        let size = bytes.len();
        let path = case.blob_path(digest);
        let asked = |range: String| {
            (Request::get(&path).header("range", &range), format!("GET {path} {range}"))
        };
        if size > 8 {
            let (middle, end) = (size / 2, size - 1);
            for (range, from, to) in [
                (format!("bytes=1-{middle}"), 1, middle),
                (format!("bytes={middle}-"), middle, end),
                ("bytes=-3".to_owned(), size - 3, end),
                (format!("bytes=2-{}", size + 500), 2, end),
            ] {
                let (request, line) = asked(range);
                let part = case.send(request, &line, 206).await?;
                ensure(part.body == bytes[from..=to], || format!("{line}: other bytes"))?;
                let expected = format!("bytes {from}-{to}/{size}");
                let said = part.header("content-range");
                ensure(said == Some(expected.as_str()), || {
                    format!("{line}: Content-Range {said:?}")
                })?;
            }
        }
        for range in ["bytes=500-0".to_owned(), format!("bytes={}-{}", size + 1, size + 9)] {
            let (request, line) = asked(range);
            // Of nothing, no range can be asked; all of it may be given.
            if size > 0 {
                case.send(request, &line, 416).await?;
            }
        }
    }
    Ok(())
}

pub(crate) async fn blob_head(case: &Case) -> Outcome {
    for (digest, bytes) in &case.shape.blobs {
        case.ask("HEAD", &case.blob_path(digest), 404).await?;
        case.push_blob_to(&case.name, digest, bytes).await?;
        let answer = case.ask("HEAD", &case.blob_path(digest), 200).await?;
        ensure(answer.body.is_empty(), || format!("HEAD of {digest} has a body"))?;
        case.is_of(&answer, digest, bytes.len())?;
    }
    Ok(())
}

pub(crate) async fn blob_delete(case: &Case) -> Outcome {
    case.push_blobs().await?;
    for (digest, bytes) in &case.shape.blobs {
        case.ask("DELETE", &case.blob_path(digest), 202).await?;
        case.ask("DELETE", &case.blob_path(digest), 404).await?;
        // It can come back.
        case.push_blob_to(&case.name, digest, bytes).await?;
        case.is_blob(&case.ask("GET", &case.blob_path(digest), 200).await?, digest, bytes)?;
    }
    Ok(())
}

pub(crate) async fn blob_delete_atomic(case: &Case) -> Outcome {
    case.push_blobs().await?;
    for (digest, _) in &case.shape.blobs {
        case.ask("HEAD", &case.blob_path(digest), 200).await?;
        case.ask("DELETE", &case.blob_path(digest), 202).await?;
        case.ask("HEAD", &case.blob_path(digest), 404).await?;
        case.ask("GET", &case.blob_path(digest), 404).await?;
    }
    Ok(())
}
