//! Reading a request's body: bounded in size and in time.

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use std::time::Duration;

/// Why a request's body is not there.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Answer 413.
    #[error("the request's body is bigger than {max_bytes} bytes")]
    TooLarge {
        /// The bound.
        max_bytes: usize,
    },
    /// Answer 408.
    #[error("the request's body did not arrive within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// Nobody is left to answer.
    #[error("the connection broke in the request's body")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Reads a small body whole: at most `max_bytes`, within `timeout`.
///
/// # Errors
/// When it is bigger, slower, or broken off.
pub async fn read_body(
    body: Incoming,
    max_bytes: usize,
    timeout: Duration,
) -> Result<Bytes, BodyError> {
    let whole = tokio::time::timeout(timeout, Limited::new(body, max_bytes).collect()).await;
    match whole {
        Err(_) => Err(BodyError::TooSlow(timeout)),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { max_bytes }),
        Ok(Err(error)) => Err(BodyError::Broken(error)),
    }
}
