//! Media types of manifests, and the list we ask upstreams for.

use smol_str::SmolStr;
use std::fmt;

/// A media type as it stands in a descriptor or a `Content-Type`, parameters cut off.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MediaType(SmolStr);

/// Why a text is not a media type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a media type has the form type/subtype (RFC 6838) and at most 255 characters")]
pub struct MediaTypeError;

impl MediaType {
    /// OCI image manifest.
    pub const OCI_MANIFEST: Self =
        Self(SmolStr::new_static("application/vnd.oci.image.manifest.v1+json"));
    /// OCI image index.
    pub const OCI_INDEX: Self =
        Self(SmolStr::new_static("application/vnd.oci.image.index.v1+json"));
    /// Docker image manifest, schema 2.
    pub const DOCKER_MANIFEST: Self =
        Self(SmolStr::new_static("application/vnd.docker.distribution.manifest.v2+json"));
    /// Docker manifest list.
    pub const DOCKER_LIST: Self =
        Self(SmolStr::new_static("application/vnd.docker.distribution.manifest.list.v2+json"));
    /// OCI artifact manifest: of a release candidate of image-spec 1.1, and still met.
    pub const OCI_ARTIFACT: Self =
        Self(SmolStr::new_static("application/vnd.oci.artifact.manifest.v1+json"));
    /// What a blob is when nobody says better.
    pub const OCTET_STREAM: Self = Self(SmolStr::new_static("application/octet-stream"));

    /// Parses `type/subtype`, lower-cased, with parameters (`;charset=…`) cut off.
    pub fn parse(text: &str) -> Result<Self, MediaTypeError> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        let token = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        match essence.split_once('/') {
            Some((kind, sub)) if token(kind) && token(sub) && essence.len() <= 255 => {
                Ok(Self(SmolStr::new(essence.to_ascii_lowercase())))
            }
            _ => Err(MediaTypeError),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names a list of manifests.
    pub fn is_index(&self) -> bool {
        *self == Self::OCI_INDEX || *self == Self::DOCKER_LIST
    }

    /// Whether it names a Docker manifest of schema 1, signed or not.
    pub fn is_schema1(&self) -> bool {
        matches!(
            self.as_str(),
            "application/vnd.docker.distribution.manifest.v1+json"
                | "application/vnd.docker.distribution.manifest.v1+prettyjws"
        )
    }

    /// Whether it names a layer that its owner lets nobody distribute, so that registries need not
    /// have it (image-spec `layer.md`; Docker calls it foreign).
    pub fn is_nondistributable(&self) -> bool {
        let text = self.as_str();
        text.starts_with("application/vnd.oci.image.layer.nondistributable.")
            || text.starts_with("application/vnd.docker.image.rootfs.foreign.")
    }

    /// Whether it names any manifest this crate reads.
    pub fn is_manifest(&self) -> bool {
        self.is_index() || *self == Self::OCI_MANIFEST || *self == Self::DOCKER_MANIFEST
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Every manifest type there is, in one `Accept` value: sent upstream whatever a client accepts,
/// so that what comes back never depends on who asked first.
pub const ACCEPTED_MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
application/vnd.docker.distribution.manifest.list.v2+json, \
application/vnd.oci.image.manifest.v1+json, \
application/vnd.docker.distribution.manifest.v2+json, \
application/vnd.oci.artifact.manifest.v1+json, \
application/vnd.docker.distribution.manifest.v1+prettyjws, \
application/vnd.docker.distribution.manifest.v1+json, */*;q=0.1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_parameters_and_refuses_nonsense() {
        let parsed = MediaType::parse("application/vnd.oci.image.index.v1+json; charset=utf-8");
        assert_eq!(parsed.unwrap(), MediaType::OCI_INDEX);
        for bad in ["", "json", "a/", "/b", "a/b c", "a/b\r\nx: y", "text/ü"] {
            assert!(MediaType::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn knows_what_registries_may_lack_or_refuse() {
        let of = |text: &str| MediaType::parse(text).unwrap();
        assert!(
            of("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
                .is_nondistributable()
        );
        assert!(
            of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip").is_nondistributable()
        );
        assert!(!of("application/vnd.oci.image.layer.v1.tar+gzip").is_nondistributable());
        assert!(of("application/vnd.docker.distribution.manifest.v1+prettyjws").is_schema1());
        assert!(!MediaType::DOCKER_MANIFEST.is_schema1());
        assert!(!MediaType::OCI_ARTIFACT.is_manifest(), "read leniently, as any unknown type");
    }
}
