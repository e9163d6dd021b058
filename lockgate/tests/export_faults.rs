//! An export over a bad line: what breaks off goes on, what is wrong is not written, and the token
//! goes to the plane alone.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod common;

use common::{Ran, Setup, ran, text};
use testkit::{Fault, Image, ImageSpec, Match};

/// To the client, a registry is what a plane is.
async fn export(setup: &Setup) -> Ran {
    let (archive, url) = (setup.path("images.tar"), setup.registry.url());
    let words = ["export", "a:1", "-o", text(&archive), "--plane", &url];
    let mut command = setup.command(&words);
    command.env("LOCKGATE_TOKEN", "a-token");
    ran(command).await
}

async fn setup() -> (Setup, Image) {
    let setup = Setup::new().await;
    let image = setup.registry.image("a", "1", ImageSpec::layers([300_000]));
    (setup, image)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    let (setup, image) = setup().await;
    let layer = Match::path(&image.layer_path(0));
    setup.registry.behave(layer.first(2), Fault::Reset(100_000));
    export(&setup).await.expect(0);
    let resumed = setup.registry.count(|seen| seen.header("range").is_some());
    assert!((1..=2).contains(&resumed), "{resumed}");
    let archive = std::fs::read(setup.path("images.tar")).unwrap();
    let path = format!("blobs/{}", image.layers[0].digest.replace(':', "/"));
    let at = archive.windows(path.len()).position(|it| it == path.as_bytes()).unwrap() + 512;
    assert_eq!(testkit::sha256(&archive[at..at + 300_000]), image.layers[0].digest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_followed_without_the_token() {
    let (setup, image) = setup().await;
    let elsewhere = setup.registry.storage_url(&image.layers[0].digest);
    let layer = Match::path(&image.layer_path(0));
    setup.registry.behave(layer, Fault::Redirect(elsewhere));
    export(&setup).await.expect(0);
    let seen = setup.registry.requests();
    let (stored, asked): (Vec<_>, Vec<_>) =
        seen.iter().partition(|seen| seen.path.starts_with("/storage/"));
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].header("authorization"), None);
    assert!(asked.iter().all(|seen| seen.header("authorization") == Some("Bearer a-token")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_what_it_is_named_is_not_written() {
    for (fault, told) in [
        (Fault::FlipByte(1000), "came as sha256:"),
        (Fault::HugeBody(300_001), "longer than its manifest says"),
        (Fault::HugeBody(299_999), "shorter than its manifest says"),
    ] {
        let (setup, image) = setup().await;
        setup.registry.behave(Match::path(&image.layer_path(0)), fault);
        let refused = export(&setup).await.expect(1);
        assert!(refused.stderr.contains(told), "{refused:?}");
        assert!(refused.stderr.contains(&image.layers[0].digest), "{refused:?}");
        assert!(!setup.path("images.tar").exists() && !setup.path("images.tar.partial").exists());
    }
    let (setup, _) = setup().await;
    setup.registry.behave(Match::manifests(), Fault::FlipByte(20));
    export(&setup).await.expect(2);
}
