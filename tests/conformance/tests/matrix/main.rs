//! 28 rows of the API by 15 shapes of data: 420 cases. A test is a row; what fails is told by the name
//! of the case, `row × shape`, and each case has a name in the registry for itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blobs;
mod manifests;
mod registry;
mod shapes;
mod world;

use registry::{Case, Outcome};
use std::collections::BTreeSet;
use world::World;

/// Every row, by the name of its test.
const ROWS: [&str; 28] = [
    "ping",
    "tag_list",
    "tag_delete",
    "tag_delete_atomic",
    "blob_cancel",
    "blob_push",
    "blob_post_only",
    "blob_post_put",
    "blob_chunked",
    "blob_stream",
    "blob_mount",
    "blob_mount_anonymous",
    "blob_get",
    "blob_get_range",
    "blob_head",
    "blob_delete",
    "blob_delete_atomic",
    "manifest_put_digest",
    "manifest_put_tag",
    "manifest_put_tag_param",
    "manifest_put_subject",
    "manifest_get_digest",
    "manifest_get_tag",
    "manifest_head_digest",
    "manifest_head_tag",
    "manifest_delete",
    "manifest_delete_atomic",
    "referrers",
];

/// Runs one row over all shapes, each case on its own names.
async fn every_shape(row: &str, run: impl AsyncFn(&Case) -> Outcome) {
    let world = World::start().await;
    let mut failed = Vec::new();
    for (number, name) in shapes::NAMES.into_iter().enumerate() {
        let repository = if name == "sparse" { "sparse" } else { "team" };
        let case = Case {
            addr: world.addr,
            name: format!("{repository}/{name}/one"),
            other: format!("{repository}/{name}/other"),
            shape: shapes::shape(name, number as u64 + 1),
        };
        if let Err(why) = run(&case).await {
            failed.push(format!("{row} × {}: {why}", case.shape.name));
        }
    }
    assert!(failed.is_empty(), "\n  {}\n", failed.join("\n  "));
}

#[test]
fn the_matrix_is_whole() {
    let source = include_str!("main.rs");
    let named: BTreeSet<&str> = ROWS.into_iter().collect();
    assert_eq!(named.len() * shapes::NAMES.len(), 420);
    for row in ROWS {
        assert!(source.contains(&format!("async fn {row}()")), "no test is named {row}");
    }
    for name in shapes::NAMES {
        let shape = shapes::shape(name, 1);
        assert!(!shape.manifests.is_empty() && !shape.blobs.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn ping() {
    every_shape("ping", manifests::ping).await;
}

#[tokio::test]
async fn tag_list() {
    every_shape("tag_list", manifests::tag_list).await;
}

#[tokio::test]
async fn tag_delete() {
    every_shape("tag_delete", manifests::tag_delete).await;
}

#[tokio::test]
async fn tag_delete_atomic() {
    every_shape("tag_delete_atomic", manifests::tag_delete_atomic).await;
}

#[tokio::test]
async fn blob_cancel() {
    every_shape("blob_cancel", blobs::blob_cancel).await;
}

#[tokio::test]
async fn blob_push() {
    every_shape("blob_push", blobs::blob_push).await;
}

#[tokio::test]
async fn blob_post_only() {
    every_shape("blob_post_only", blobs::blob_post_only).await;
}

#[tokio::test]
async fn blob_post_put() {
    every_shape("blob_post_put", blobs::blob_post_put).await;
}

#[tokio::test]
async fn blob_chunked() {
    every_shape("blob_chunked", blobs::blob_chunked).await;
}

#[tokio::test]
async fn blob_stream() {
    every_shape("blob_stream", blobs::blob_stream).await;
}

#[tokio::test]
async fn blob_mount() {
    every_shape("blob_mount", blobs::blob_mount).await;
}

#[tokio::test]
async fn blob_mount_anonymous() {
    every_shape("blob_mount_anonymous", blobs::blob_mount_anonymous).await;
}

#[tokio::test]
async fn blob_get() {
    every_shape("blob_get", blobs::blob_get).await;
}

#[tokio::test]
async fn blob_get_range() {
    every_shape("blob_get_range", blobs::blob_get_range).await;
}

#[tokio::test]
async fn blob_head() {
    every_shape("blob_head", blobs::blob_head).await;
}

#[tokio::test]
async fn blob_delete() {
    every_shape("blob_delete", blobs::blob_delete).await;
}

#[tokio::test]
async fn blob_delete_atomic() {
    every_shape("blob_delete_atomic", blobs::blob_delete_atomic).await;
}

#[tokio::test]
async fn manifest_put_digest() {
    every_shape("manifest_put_digest", manifests::manifest_put_digest).await;
}

#[tokio::test]
async fn manifest_put_tag() {
    every_shape("manifest_put_tag", manifests::manifest_put_tag).await;
}

#[tokio::test]
async fn manifest_put_tag_param() {
    every_shape("manifest_put_tag_param", manifests::manifest_put_tag_param).await;
}

#[tokio::test]
async fn manifest_put_subject() {
    every_shape("manifest_put_subject", manifests::manifest_put_subject).await;
}

#[tokio::test]
async fn manifest_get_digest() {
    every_shape("manifest_get_digest", manifests::manifest_get_digest).await;
}

#[tokio::test]
async fn manifest_get_tag() {
    every_shape("manifest_get_tag", manifests::manifest_get_tag).await;
}

#[tokio::test]
async fn manifest_head_digest() {
    every_shape("manifest_head_digest", manifests::manifest_head_digest).await;
}

#[tokio::test]
async fn manifest_head_tag() {
    every_shape("manifest_head_tag", manifests::manifest_head_tag).await;
}

#[tokio::test]
async fn manifest_delete() {
    every_shape("manifest_delete", manifests::manifest_delete).await;
}

#[tokio::test]
async fn manifest_delete_atomic() {
    every_shape("manifest_delete_atomic", manifests::manifest_delete_atomic).await;
}

#[tokio::test]
async fn referrers() {
    every_shape("referrers", manifests::referrers).await;
}
