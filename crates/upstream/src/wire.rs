//! HTTP as it comes from the network: heads and bodies in bounded time and size, and what went wrong
//! in words that hold no URL.

use crate::client::last;
use crate::endpoint::Endpoint;
use crate::failure::{Failure, redacted};
use crate::guard;
use crate::health::RETRY_AFTER_MAX;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::RETRY_AFTER;
use std::time::Duration;

/// A longer unwanted body costs more than a new connection.
const DRAIN_BYTES_MAX: usize = 64 << 10;

/// Longest wait for an unwanted body.
const DRAIN_MAX: Duration = Duration::from_millis(250);

/// The head of an answer, in bounded time.
pub(crate) async fn head_of(
    endpoint: &Endpoint,
    request: reqwest::RequestBuilder,
    patience: Duration,
) -> Result<reqwest::Response, Failure> {
    let label = endpoint.label();
    match tokio::time::timeout(patience, request.send()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(transport_failure(&label, &error)),
        Err(_) => {
            let waited = patience.as_millis();
            Err(Failure::indeterminate(format!("{label}: no answer in {waited} ms")))
        }
    }
}

/// What a failed exchange says, without its URL, whose query may be secret.
pub(crate) fn transport_failure(label: &str, error: &reqwest::Error) -> Failure {
    if let Some(refused) = cause::<guard::PrivateAddress>(error) {
        return Failure::indeterminate(format!("{label}: {refused}")).blameless();
    }
    let text = redacted(&last(error), 160);
    if cause::<rustls::Error>(error).is_some() {
        return Failure::indeterminate(format!("{label}: TLS: {text}"));
    }
    if error.is_timeout() {
        return Failure::indeterminate(format!("{label}: no connection in time"));
    }
    if error.is_connect() {
        return Failure::transient(format!("{label}: cannot be reached: {text}"));
    }
    Failure::transient(format!("{label}: no HTTP answer: {text}"))
}

/// The cause of the given kind somewhere behind an error. I/O errors hide what they wrap from
/// `source`, so they are opened.
pub(crate) fn cause<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<E>() {
            return Some(found);
        }
        let wrapped = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => current.source(),
        };
    }
    None
}

/// `Retry-After` in seconds or as a date (RFC 9110 §10.2.3), bounded.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            let left = at.as_second() - jiff::Timestamp::now().as_second();
            Duration::from_secs(u64::try_from(left).unwrap_or(0))
        }
    };
    Some(wait.clamp(Duration::from_secs(1), RETRY_AFTER_MAX))
}

/// Reads a small body that nobody wants, so that its connection can be used again.
pub(crate) async fn drain(response: reqwest::Response) {
    if response.content_length().is_some_and(|length| length <= DRAIN_BYTES_MAX as u64) {
        let _ = read_whole(response, DRAIN_BYTES_MAX, DRAIN_MAX).await;
    }
}

/// A whole body of at most `bytes_max`, in at most `patience`; the error is one line.
pub(crate) async fn read_whole(
    mut response: reqwest::Response,
    bytes_max: usize,
    patience: Duration,
) -> Result<Bytes, String> {
    let too_long = || format!("the answer is longer than {bytes_max} bytes");
    let announced = response.content_length();
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_long());
    }
    let read =
        async {
            let mut body = BytesMut::new();
            while let Some(piece) = response.chunk().await.map_err(|error| {
                format!("the answer broke off: {}", redacted(&last(&error), 160))
            })? {
                if body.len() + piece.len() > bytes_max {
                    return Err(too_long());
                }
                body.extend_from_slice(&piece);
            }
            Ok(body.freeze())
        };
    match tokio::time::timeout(patience, read).await {
        Ok(read) => read,
        Err(_) => Err(format!("the answer was not whole after {patience:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        let told = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(told("120"), Some(Duration::from_secs(120)));
        assert_eq!(told("0"), Some(Duration::from_secs(1)));
        assert_eq!(told("99999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(told("Fri, 31 Dec 2100 23:59:59 GMT"), Some(RETRY_AFTER_MAX));
        assert_eq!(told("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(1)));
        assert_eq!(told("soon"), None);
        assert_eq!(told("-5"), None);
    }
}
