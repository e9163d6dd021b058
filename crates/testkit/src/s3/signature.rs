//! Signatures of requests: AWS Signature Version 4, in headers and in the query of presigned URLs
//! ("Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference).

use super::{Answer, FakeS3};
use crate::digest::sha256;
use crate::wire::Request;
use aws_lc_rs::hmac;

/// Why a request is refused; `None`: it is signed as it should be, and its body is the signed one.
pub(super) fn refusal(request: &Request) -> Option<Answer> {
    let Some(signed) = Signed::of(request) else {
        return Some(Answer::error(403, "AccessDenied"));
    };
    let mut scope = signed.credential.splitn(2, '/');
    if scope.next() != Some(FakeS3::ACCESS_KEY_ID) {
        return Some(Answer::error(403, "InvalidAccessKeyId"));
    }
    let scope = scope.next().unwrap_or_default().to_owned();
    let canonical = signed.canonical(request);
    let text =
        format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", signed.time, digest(canonical.as_bytes()));
    let mut key = format!("AWS4{}", FakeS3::SECRET_ACCESS_KEY).into_bytes();
    for part in scope.split('/') {
        key = mac(&key, part.as_bytes());
    }
    if hex(&mac(&key, text.as_bytes())) != signed.signature {
        return Some(Answer::error(403, "SignatureDoesNotMatch"));
    }
    let is_told = signed.payload == "UNSIGNED-PAYLOAD" || signed.payload == digest(&request.body);
    (!is_told).then(|| Answer::error(400, "XAmzContentSHA256Mismatch"))
}

struct Signed {
    credential: String,
    headers: String,
    signature: String,
    time: String,
    payload: String,
}

impl Signed {
    fn of(request: &Request) -> Option<Self> {
        if let Some(signature) = request.query_value("X-Amz-Signature") {
            return Some(Self {
                credential: request.query_value("X-Amz-Credential")?,
                headers: request.query_value("X-Amz-SignedHeaders")?,
                signature,
                time: request.query_value("X-Amz-Date")?,
                payload: "UNSIGNED-PAYLOAD".to_owned(),
            });
        }
        let fields = request.header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let field = |name: &str| {
            fields.split(',').find_map(|field| field.trim().strip_prefix(name)).map(str::to_owned)
        };
        Some(Self {
            credential: field("Credential=")?,
            headers: field("SignedHeaders=")?,
            signature: field("Signature=")?,
            time: request.header("x-amz-date")?.to_owned(),
            payload: request.header("x-amz-content-sha256")?.to_owned(),
        })
    }

    fn canonical(&self, request: &Request) -> String {
        let mut query: Vec<String> = request
            .query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.starts_with("X-Amz-Signature="))
            .map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") })
            .collect();
        query.sort();
        let mut headers = String::new();
        for name in self.headers.split(';') {
            let value = request.header(name).unwrap_or_default().trim();
            headers.push_str(&format!("{name}:{value}\n"));
        }
        let (method, path, payload) = (&request.method, &request.path, &self.payload);
        format!("{method}\n{path}\n{}\n{headers}\n{}\n{payload}", query.join("&"), self.headers)
    }
}

fn mac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref().to_vec()
}

/// As hex, without the name of the algorithm.
fn digest(bytes: &[u8]) -> String {
    sha256(bytes).split_off("sha256:".len())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
