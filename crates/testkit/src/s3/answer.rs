//! What the bucket answers when nothing goes wrong.

use super::{Answer, FakeS3, PAGE_KEYS, State, Upload};
use crate::digest::sha256;
use crate::wire::Request;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;

/// One time for all objects: no test depends on when.
const MODIFIED: &str = "Wed, 12 Oct 2022 17:50:00 GMT";
const MODIFIED_IN_LISTS: &str = "2022-10-12T17:50:00.000Z";

/// Carries a request out.
pub(super) fn to(request: &Request, state: &mut State) -> Answer {
    let path = decode(request.path.trim_start_matches('/'));
    let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
    if bucket != FakeS3::BUCKET || state.is_gone {
        let answer = Answer::error(404, "NoSuchBucket");
        return if request.method == "HEAD" { Answer::new(answer.status) } else { answer };
    }
    let upload_id = request.query_value("uploadId");
    match (request.method.as_str(), upload_id) {
        ("GET", None) if key.is_empty() => list(request, state),
        ("GET" | "HEAD", None) => get(request, key, state),
        ("PUT", None) => match request.header("x-amz-copy-source").map(decode) {
            Some(source) => copy(&source, key, state),
            None => put(key, request.body.clone(), state),
        },
        ("DELETE", None) => {
            state.objects.remove(key);
            Answer::new(204)
        }
        ("POST", None) => begin(key, state),
        ("PUT", Some(id)) => put_part(request, &id, state),
        ("POST", Some(id)) => complete(request, &id, state),
        ("DELETE", Some(id)) => match state.uploads.remove(&id) {
            Some(_) => Answer::new(204),
            None => Answer::error(404, "NoSuchUpload"),
        },
        _ => Answer::error(405, "MethodNotAllowed"),
    }
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &sha256(bytes)[7..39])
}

fn put(key: &str, bytes: Bytes, state: &mut State) -> Answer {
    let mut answer = Answer::new(200);
    answer.headers.push(("etag", etag(&bytes)));
    state.objects.insert(key.to_owned(), bytes);
    answer
}

/// `CopyObject`.
fn copy(source: &str, key: &str, state: &mut State) -> Answer {
    let source = source.trim_start_matches('/').split_once('/').map_or("", |(_, source)| source);
    let Some(object) = state.objects.get(source).cloned() else {
        return Answer::error(404, "NoSuchKey");
    };
    let tag = etag(&object);
    state.objects.insert(key.to_owned(), object);
    Answer::xml(
        200,
        format!(
            "<CopyObjectResult><ETag>{tag}</ETag>\
             <LastModified>{MODIFIED_IN_LISTS}</LastModified></CopyObjectResult>"
        ),
    )
}

fn get(request: &Request, key: &str, state: &State) -> Answer {
    let Some(object) = state.objects.get(key) else {
        return match request.method.as_str() {
            "HEAD" => Answer::new(404),
            _ => Answer::error(404, "NoSuchKey"),
        };
    };
    let mut answer = Answer::new(200);
    answer.headers.push(("etag", etag(object)));
    answer.headers.push(("last-modified", MODIFIED.to_owned()));
    answer.body = object.clone();
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    if let Some((start, end)) = range.and_then(|range| range.split_once('-')) {
        let start = start.parse::<usize>().unwrap_or_default();
        if start >= object.len() {
            return Answer::error(416, "InvalidRange");
        }
        let end = end.parse::<usize>().map_or(object.len(), |end| (end + 1).min(object.len()));
        answer.status = 206;
        let total = object.len();
        answer.headers.push(("content-range", format!("bytes {start}-{}/{total}", end - 1)));
        answer.body = object.slice(start..end);
    }
    answer
}

fn begin(key: &str, state: &mut State) -> Answer {
    state.uploads_begun += 1;
    let id = format!("upload-{}", state.uploads_begun);
    let upload = Upload { key: key.to_owned(), parts: BTreeMap::new() };
    state.uploads.insert(id.clone(), upload);
    Answer::xml(
        200,
        format!(
            "<InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{key}</Key>\
             <UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
            FakeS3::BUCKET
        ),
    )
}

fn put_part(request: &Request, id: &str, state: &mut State) -> Answer {
    let number = request.query_value("partNumber").and_then(|number| number.parse().ok());
    let (Some(upload), Some(number)) = (state.uploads.get_mut(id), number) else {
        return Answer::error(404, "NoSuchUpload");
    };
    let mut answer = Answer::new(200);
    answer.headers.push(("etag", etag(&request.body)));
    upload.parts.insert(number, request.body.clone());
    answer
}

/// All parts have to be named, in order, by the tags they were answered with.
fn complete(request: &Request, id: &str, state: &mut State) -> Answer {
    let Some(upload) = state.uploads.get(id) else {
        return Answer::error(404, "NoSuchUpload");
    };
    let text = String::from_utf8_lossy(&request.body).replace("&quot;", "\"");
    let numbers = texts(&text, "PartNumber");
    let tags = texts(&text, "ETag");
    let mut whole = BytesMut::new();
    for (number, tag) in numbers.iter().zip(&tags) {
        let part = number.parse().ok().and_then(|number: u32| upload.parts.get(&number));
        match part {
            Some(part) if etag(part) == *tag => whole.extend_from_slice(part),
            _ => return Answer::error(400, "InvalidPart"),
        }
    }
    if numbers.len() != upload.parts.len() || !numbers.is_sorted_by_key(|n| n.parse::<u32>().ok()) {
        return Answer::error(400, "InvalidPartOrder");
    }
    let (key, whole) = (upload.key.clone(), whole.freeze());
    let tag = etag(&whole);
    state.uploads.remove(id);
    state.objects.insert(key.clone(), whole);
    Answer::xml(
        200,
        format!(
            "<CompleteMultipartUploadResult><Bucket>{}</Bucket><Key>{key}</Key>\
             <ETag>{tag}</ETag></CompleteMultipartUploadResult>",
            FakeS3::BUCKET
        ),
    )
}

/// The texts of all elements of a name.
fn texts(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let after = xml.split(&open).skip(1);
    after.filter_map(|rest| rest.split_once(&close)).map(|(text, _)| text.to_owned()).collect()
}

/// `ListObjectsV2`.
fn list(request: &Request, state: &State) -> Answer {
    let value = |name| request.query_value(name).unwrap_or_default();
    let (prefix, token) = (value("prefix"), value("continuation-token"));
    let matching = state.objects.iter().filter(|(key, _)| key.starts_with(&prefix));
    let mut rest = matching.skip_while(|(key, _)| !token.is_empty() && **key <= token);
    let page: Vec<_> = rest.by_ref().take(PAGE_KEYS).collect();
    let more = rest.next().is_some();
    let mut xml = format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>");
    if let (true, Some((last, _))) = (more, page.last()) {
        xml.push_str(&format!("<NextContinuationToken>{last}</NextContinuationToken>"));
    }
    for (key, object) in page {
        xml.push_str(&format!(
            "<Contents><Key>{key}</Key><LastModified>{MODIFIED_IN_LISTS}</LastModified>\
             <ETag>{}</ETag><Size>{}</Size></Contents>",
            etag(object),
            object.len()
        ));
    }
    xml.push_str("</ListBucketResult>");
    Answer::xml(200, xml)
}

/// A path without its percent signs.
fn decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let code = more.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
