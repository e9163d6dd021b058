//! What a warm decision costs: the whole pipeline for a manifest that is held, without artifact policies and
//! with twenty rules of which none refuses, in turns in one process. It measures; it judges nothing.
//!
//! Processor time of the thread, so that others on the machine disturb little. `cargo bench -p lockgate-plane`;
//! as a test (`--test`) one short round shows that it runs.

#![expect(clippy::unwrap_used, reason = "a bench that cannot prepare itself fails")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "../tests/support/mod.rs"]
mod support;

use plane::{Method, What};
use rustix::time::{ClockId, clock_gettime};
use support::{Rig, Setup, documents, through};
use testkit::{FakeRegistry, ImageSpec};

const ROUNDS: usize = 15;
const REQUESTS: u32 = 20_000;

/// Twenty rules, typed and CEL.
fn policies() -> String {
    let mut text = String::from(
        "---\napiVersion: lockgate.dev/v1alpha1\nkind: ArtifactPolicy\nmetadata: { name: typed }\nspec:\n  \
         match: { repositories: [\"reg/**\"], purposes: [Deploy] }\n  rules:\n",
    );
    for n in 1..=3 {
        text += &format!(
            "    - {{ name: repositories-{n}, repositories: {{ allow: [\"reg/**\"], deny: [\"reg/evil-{n}/**\"] }} }}\n    \
             - {{ name: upstreams-{n}, upstreams: {{ allow: [up] }} }}\n    \
             - {{ name: tags-{n}, tags: {{ deny: [\"nightly-{n}*\"] }} }}\n    \
             - {{ name: size-{n}, size: {{ max: 100GiB }} }}\n    \
             - {{ name: media-types-{n}, mediaTypes: {{ deny: [\"application/x-evil-{n}\"] }} }}\n"
        );
    }
    text + "---\napiVersion: lockgate.dev/v1alpha1\nkind: ArtifactPolicy\nmetadata: { name: cel }\nspec:\n  rules:\n    \
        - { name: labels, deny: '\"org.evil\" in artifact.labels' }\n    \
        - { name: name, deny: 'artifact.name.startsWith(\"reg/evil\")' }\n    \
        - { name: layers, deny: 'artifact.layerCount > 500' }\n    \
        - { name: size, deny: 'artifact.sizeBytes > 1099511627776' }\n    \
        - { name: tag, deny: 'request.tag.matches(\"^(nightly|snapshot)-\")' }\n"
}

fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Microseconds of processor time that one request takes.
async fn cost(rig: &Rig, path: &str, requests: u32) -> f64 {
    let since = thread_seconds();
    for _ in 0..requests {
        let served = rig.ask(Method::Get, path).await.unwrap();
        assert!(matches!(served.what, What::Manifest(_)), "{path} is no manifest");
    }
    (thread_seconds() - since) * 1e6 / f64::from(requests)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn measure(rounds: usize, requests: u32) {
    let registry = FakeRegistry::start().await;
    let image = registry.image("library/app", "v1", ImageSpec::layers([3000, 10]));
    let fresh = ", freshness: { tagTtl: 1000h }";
    let plain = documents(&registry.url(), fresh);
    let off = Rig::with(&plain, Setup::default()).await;
    let on = Rig::with(&format!("{plain}{}", policies()), Setup::default()).await;
    for (how, path) in
        [("tag", through(&image.tag_path())), ("digest", through(&image.digest_path()))]
    {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for rig in [&off, &on] {
            cost(rig, &path, requests / 10 + 1).await;
        }
        for _ in 0..rounds {
            without.push(cost(&off, &path, requests).await);
            with.push(cost(&on, &path, requests).await);
        }
        let (without, with) = (median(without), median(with));
        println!(
            "manifest by {how}: {without:.2} µs without policies, {with:.2} µs with twenty rules, {:.2} µs more",
            with - without
        );
    }
}

fn main() {
    let is_test = std::env::args().any(|it| it == "--test") || cfg!(debug_assertions);
    let (rounds, requests) = if is_test { (1, 100) } else { (ROUNDS, REQUESTS) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(rounds, requests));
}
