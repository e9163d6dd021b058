//! A registry of synthetic images as a process, for fault suites and benchmarks driven by a shell.
//!
//! ```text
//! testkit-registry [--listen ADDR] [--blob SIZE]… [--image SIZE,SIZE,…]… [--seed N]
//!                  [--bandwidth SIZE_PER_SECOND] [--latency-ms N] [--access-log FILE]
//!                  [--auth bearer] [--rate-limit N]
//! ```
//!
//! Each `--blob` is an image of one layer, `synthetic/blob-<n>:latest`; each `--image` one of several
//! layers, `synthetic/image-<n>:latest`. What is served is told as one line of JSON on stdout once it
//! listens; `/_control` and `/_stats` are those of [`testkit::control`].

use serde_json::json;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use testkit::flags::{Flags, size_bytes};
use testkit::{Auth, FakeRegistry, Image, ImageSpec, RateLimit};

const VALUED: &[&str] = &[
    "listen",
    "blob",
    "image",
    "seed",
    "bandwidth",
    "latency-ms",
    "access-log",
    "auth",
    "rate-limit",
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "testkit-registry: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), String> {
    let flags = Flags::parse(std::env::args().skip(1), VALUED, &[])?;
    let mut builder = FakeRegistry::builder().control().log_limit(10_000);
    if let Some(addr) = flags.value("listen")? {
        builder = builder.listen(addr);
    }
    if let Some(rate) = flags.text("bandwidth") {
        builder = builder.bandwidth(size_bytes(rate)?);
    }
    if let Some(latency) = flags.value("latency-ms")? {
        builder = builder.latency(Duration::from_millis(latency));
    }
    if let Some(path) = flags.text("access-log") {
        let file = std::fs::File::create(path).map_err(|error| format!("{path}: {error}"))?;
        builder = builder.access_log(file);
    }
    match flags.text("auth") {
        None => {}
        Some("bearer") => builder = builder.auth(Auth::bearer()),
        Some(other) => return Err(format!("unknown `--auth {other}`; there is `bearer`")),
    }
    let registry = builder.start().await;
    registry.set_rate_limit(flags.value("rate-limit")?.map(RateLimit::new));
    let images = publish(&registry, &flags)?;
    let line = json!({"url": registry.url(), "host": registry.host(), "images": images});
    writeln!(std::io::stdout(), "{line}").map_err(|error| error.to_string())?;
    std::future::pending::<()>().await;
    Ok(())
}

fn publish(registry: &FakeRegistry, flags: &Flags) -> Result<Vec<serde_json::Value>, String> {
    let seed: u64 = flags.value("seed")?.unwrap_or(1);
    let blobs = flags.all("blob").iter().enumerate();
    let images = flags.all("image").iter().enumerate();
    let named = blobs
        .map(|(index, sizes)| (format!("synthetic/blob-{}", index + 1), sizes))
        .chain(images.map(|(index, sizes)| (format!("synthetic/image-{}", index + 1), sizes)));
    let mut published = Vec::new();
    for (index, (name, sizes)) in named.enumerate() {
        let sizes: Vec<u64> = sizes.split(',').map(size_bytes).collect::<Result<_, _>>()?;
        let spec = ImageSpec::layers(sizes).seed(seed.wrapping_add(index as u64));
        published.push(describe(&registry.image(&name, "latest", spec)));
    }
    Ok(published)
}

fn describe(image: &Image) -> serde_json::Value {
    let layers = image.layers.iter().enumerate().map(|(index, layer)| {
        json!({
            "digest": layer.digest,
            "size": layer.size_bytes,
            "seed": image.layer_seeds[index],
            "path": image.layer_path(index),
        })
    });
    json!({
        "name": image.name,
        "tag": image.tag,
        "digest": image.digest,
        "size": image.manifest.len(),
        "config": {"digest": image.config.digest, "size": image.config.size_bytes},
        "layers": layers.collect::<Vec<_>>(),
    })
}
