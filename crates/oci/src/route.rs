//! The paths of the distribution API (distribution-spec, "Endpoints") as one enum.
//!
//! Hand-written, because names have any number of segments, which no router's wildcard in the
//! middle of a path can say. Borrows from the path; checks every part.

use crate::{Digest, DigestError, NameError, Reference, ReferenceError, name};

/// What a path below `/v2` names. Whether the method fits is the caller's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'p> {
    /// `/v2/`: is this a registry, and who am I to it.
    Base,
    /// `/v2/_catalog`.
    Catalog,
    /// `/v2/<name>/manifests/<reference>`.
    Manifest(&'p str, Reference),
    /// `/v2/<name>/blobs/<digest>`.
    Blob(&'p str, Digest),
    /// `/v2/<name>/blobs/uploads/`.
    Uploads(&'p str),
    /// `/v2/<name>/blobs/uploads/<session>`.
    Upload(&'p str, &'p str),
    /// `/v2/<name>/tags/list`.
    Tags(&'p str),
    /// `/v2/<name>/referrers/<digest>`.
    Referrers(&'p str, Digest),
}

/// Why a path below `/v2` is none of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No endpoint of the API ends like this.
    #[error("no such endpoint in the distribution API")]
    Unknown,
    /// The name breaks the grammar.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The digest does.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The reference does.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The path has percent-encoding where no legal character needs any.
    #[error("percent-encoding is not allowed here: names, tags and digests need none")]
    Encoded,
}

impl<'p> Route<'p> {
    /// Parses a raw (still encoded) path. `None`: not below `/v2`, so not ours.
    ///
    /// A digest's colon may come as `%3A`, which some clients send; nothing else may be encoded,
    /// so that one artifact has one path.
    pub fn parse(path: &'p str) -> Option<Result<Self, RouteError>> {
        let rest = match path {
            "/v2" | "/v2/" => return Some(Ok(Self::Base)),
            _ => path.strip_prefix("/v2/")?,
        };
        Some(Self::below(rest))
    }

    fn below(rest: &'p str) -> Result<Self, RouteError> {
        if rest == "_catalog" {
            return Ok(Self::Catalog);
        }
        let (head, last) = rest.rsplit_once('/').ok_or(RouteError::Unknown)?;
        if let Some(name) = head.strip_suffix("/manifests") {
            return Ok(Self::Manifest(checked(name)?, Reference::parse(&decoded(last)?)?));
        }
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            let name = checked(name)?;
            return if last.is_empty() {
                Ok(Self::Uploads(name))
            } else {
                Ok(Self::Upload(name, last))
            };
        }
        if let Some(name) = head.strip_suffix("/blobs") {
            if last == "uploads" {
                return Ok(Self::Uploads(checked(name)?));
            }
            return Ok(Self::Blob(checked(name)?, Digest::parse(&decoded(last)?)?));
        }
        if let Some(name) = head.strip_suffix("/referrers") {
            return Ok(Self::Referrers(checked(name)?, Digest::parse(&decoded(last)?)?));
        }
        match (head.strip_suffix("/tags"), last) {
            (Some(name), "list") => Ok(Self::Tags(checked(name)?)),
            _ => Err(RouteError::Unknown),
        }
    }
}

fn checked(name: &str) -> Result<&str, RouteError> {
    if name.contains('%') {
        return Err(RouteError::Encoded);
    }
    name::check(name)?;
    Ok(name)
}

fn decoded(last: &str) -> Result<std::borrow::Cow<'_, str>, RouteError> {
    match last.split_once('%') {
        None => Ok(last.into()),
        Some((algorithm, hex)) => match hex.strip_prefix("3A").or_else(|| hex.strip_prefix("3a")) {
            Some(hex) if !hex.contains('%') => Ok(format!("{algorithm}:{hex}").into()),
            _ => Err(RouteError::Encoded),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tag;

    const D: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn route(path: &str) -> Result<Route<'_>, RouteError> {
        Route::parse(path).expect("below /v2")
    }

    #[test]
    fn every_endpoint_of_the_spec() {
        let digest = Digest::parse(D).unwrap();
        let tag = |text| Reference::Tag(Tag::parse(text).unwrap());
        assert_eq!(route("/v2/"), Ok(Route::Base));
        assert_eq!(route("/v2"), Ok(Route::Base));
        assert_eq!(route("/v2/_catalog"), Ok(Route::Catalog));
        assert_eq!(route("/v2/a/manifests/1"), Ok(Route::Manifest("a", tag("1"))));
        let path = format!("/v2/docker.io/library/alpine/manifests/{D}");
        assert_eq!(
            route(&path),
            Ok(Route::Manifest("docker.io/library/alpine", Reference::Digest(digest)))
        );
        assert_eq!(route(&format!("/v2/a/b/blobs/{D}")), Ok(Route::Blob("a/b", digest)));
        let encoded = format!("/v2/a/b/blobs/{}", D.replace(':', "%3A"));
        assert_eq!(route(&encoded), Ok(Route::Blob("a/b", digest)));
        assert_eq!(route("/v2/a/b/blobs/uploads/"), Ok(Route::Uploads("a/b")));
        assert_eq!(route("/v2/a/b/blobs/uploads"), Ok(Route::Uploads("a/b")));
        assert_eq!(route("/v2/a/b/blobs/uploads/x-1"), Ok(Route::Upload("a/b", "x-1")));
        assert_eq!(route("/v2/a/b/c/tags/list"), Ok(Route::Tags("a/b/c")));
        assert_eq!(route(&format!("/v2/a/referrers/{D}")), Ok(Route::Referrers("a", digest)));
    }

    #[test]
    fn names_may_hold_the_words_of_the_api() {
        assert_eq!(route("/v2/blobs/tags/tags/list"), Ok(Route::Tags("blobs/tags")));
        assert_eq!(
            route("/v2/manifests/manifests/manifests"),
            Ok(Route::Manifest("manifests", Reference::Tag(Tag::parse("manifests").unwrap())))
        );
    }

    #[test]
    fn refuses_tricks() {
        for path in [
            "/v2/manifests/1",
            "/v2//manifests/1",
            "/v2/a/../b/manifests/1",
            "/v2/A/manifests/1",
            "/v2/a%2fb/manifests/1",
            "/v2/a/manifests/%31",
            "/v2/a/manifests/sha256%3a%33",
            "/v2/a/manifests/",
            "/v2/a/blobs/1",
            "/v2/a/tags",
            "/v2/a",
        ] {
            assert!(route(path).is_err(), "{path}");
        }
        assert!(Route::parse("/v1/").is_none());
        assert!(Route::parse("/v2x/").is_none());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(path in "/v2/[a-z0-9/%:._-]{0,60}|\\PC{0,60}") {
            let _ = Route::parse(&path);
        }
    }
}
