//! Moving in by the command line: what another registry has, and what the cache has.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod common;

use common::Setup;
use testkit::{FakeRegistry, ImageSpec};

const HOSTED: &str = "apiVersion: lockgate.dev/v1alpha1\nkind: Repository\n\
    metadata: { name: team }\nspec: { path: team, hosted: {} }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_run_again_and_tells_what_differs() {
    let setup = Setup::new().await;
    setup.write("team.yaml", HOSTED);
    let old = FakeRegistry::start().await;
    let image = old.image("apps/web", "1", ImageSpec::layers([3000]));
    let served = setup.serve().await;
    let url = old.url();
    let words = ["copy", "--from", &url, "apps/**", "--to", "team"];
    let copied = setup.ask(&words).await.expect(0);
    assert!(copied.stderr.contains("0 same, 1 copied"), "{copied:?}");
    let again = setup.ask(&words).await.expect(0);
    assert!(again.stderr.contains("1 same, 0 copied"), "{again:?}");
    let other = old.image("apps/web", "1", ImageSpec::layers([3000]).seed(2));
    let told = setup.ask(&words).await.expect(1);
    assert!(told.stdout.starts_with("differs  apps/web:1  here "), "{told:?}");
    assert!(told.stdout.contains(&image.digest) && told.stdout.contains(&other.digest), "{told:?}");
    served.stop().await;
}
