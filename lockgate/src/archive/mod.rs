//! Images as a file: an OCI image layout (image-spec `image-layout.md`) in a tar archive.
//!
//! It exists so that `export` and `import` agree on what stands where, and so that other tools
//! (`skopeo`, `crane`, `oras`, `ctr`) read what we write and we what they write.

mod layout;
mod tar;

pub(crate) use layout::{Archive, Root, index_json, write_head};
pub(crate) use tar::Writer;

use oci::Digest;

/// Where a blob or manifest stands in a layout.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// Annotation of an entry: the tag (image-spec `annotations.md`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation of an entry: the whole reference, as containerd imports it.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// Annotation of an entry: the name, for entries that have no tag too.
const NAME: &str = "dev.lockgate.name";
