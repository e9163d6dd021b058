//! What an object store that says no means by it, in words that help.

use super::ObjectPlace;
use crate::error::Error;
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error as StdError;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest part of an answer that is searched for the store's code.
const ANSWER_MAX_BYTES: usize = 16 << 10;

/// Why an object store did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It does not know the keys, or they do not fit.
    WrongKeys,
    /// It knows who asks but does not let them do this.
    Forbidden,
    /// There is no such bucket or container.
    NoBucket,
    /// There is no such object, or no such upload.
    Absent,
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time.
    TooSlow,
    /// It is overloaded or out of order.
    Unwell,
    /// Anything else; the source says what.
    Other,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongKeys => "the object store does not accept the keys",
            Self::Forbidden => "the object store does not let these keys do that",
            Self::NoBucket => "there is no such bucket",
            Self::Absent => "it is not there",
            Self::Unreachable => "the object store cannot be reached",
            Self::TooSlow => "the object store did not answer in time",
            Self::Unwell => "the object store is out of order or overloaded",
            Self::Other => "the object store says no",
        })
    }
}

impl Trouble {
    /// Whether the same may work a moment later.
    pub(crate) fn may_pass(self) -> bool {
        matches!(self, Self::Unreachable | Self::TooSlow | Self::Unwell)
    }

    /// The client tells kinds of failures by variants, HTTP's by a type, and what the store said by
    /// text alone, so all three are looked at.
    fn of(error: &object_store::Error) -> Self {
        use object_store::Error as E;
        let text = text(error);
        let says = |codes: &[&str]| codes.iter().any(|code| text.contains(code));
        if says(&["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"]) {
            return Self::NoBucket;
        }
        if says(&[
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "AuthenticationFailed",
            "invalid_grant",
        ]) {
            return Self::WrongKeys;
        }
        match error {
            E::NotFound { .. } => return Self::Absent,
            E::Unauthenticated { .. } => return Self::WrongKeys,
            E::PermissionDenied { .. } => return Self::Forbidden,
            _ => {}
        }
        match http_kind(error) {
            Some(HttpErrorKind::Timeout) => return Self::TooSlow,
            Some(
                HttpErrorKind::Connect
                | HttpErrorKind::Request
                | HttpErrorKind::Interrupted
                | HttpErrorKind::Decode,
            ) => return Self::Unreachable,
            _ => {}
        }
        if says(&["code: 5", "code: 429", "InternalError", "SlowDown", "ServiceUnavailable"]) {
            return Self::Unwell;
        }
        Self::Other
    }
}

fn chain(error: &object_store::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let first: &(dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |error: &&(dyn StdError + 'static)| (*error).source())
}

fn http_kind(error: &object_store::Error) -> Option<HttpErrorKind> {
    chain(error).find_map(|error| error.downcast_ref::<HttpError>()).map(HttpError::kind)
}

/// What it says; the text of the store's answer is in it.
fn text(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut end = text.len().min(ANSWER_MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

impl ObjectPlace {
    /// A request that must be answered soon. For a moment after one that found nobody there, none is
    /// made: whoever asks waits in a thread, and many who wait leave none for those who need not.
    pub(super) async fn soon<T>(
        &self,
        action: &'static str,
        name: &Path,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        let failed = *self.failed.lock();
        if let Some((at, trouble)) = failed
            && at.elapsed() < self.waits.rest
        {
            let (path, source) = (name.to_owned(), "so it was a moment ago".into());
            return Err(Error::Remote { action, path, trouble, source });
        }
        let answer = self.within(self.waits.small, action, name, request).await;
        *self.failed.lock() = match &answer {
            Err(Error::Remote {
                trouble: trouble @ (Trouble::Unreachable | Trouble::TooSlow),
                ..
            }) => Some((Instant::now(), *trouble)),
            _ => None,
        };
        answer
    }

    pub(super) async fn within<T>(
        &self,
        time: Duration,
        action: &'static str,
        name: &Path,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(time, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(remote(action, name, error)),
            Err(elapsed) => Err(Error::Remote {
                action,
                path: name.to_owned(),
                trouble: Trouble::TooSlow,
                source: Box::new(elapsed),
            }),
        }
    }
}

pub(super) fn remote(action: &'static str, name: &Path, error: object_store::Error) -> Error {
    let trouble = Trouble::of(&error);
    Error::Remote { action, path: name.to_owned(), trouble, source: Box::new(error) }
}
