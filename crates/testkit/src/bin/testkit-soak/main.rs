//! Pushes, moves, deletes and pulls against a hosted repository for a while, by many clients at once,
//! and knows what must be there: for soak tests in which the registry is collecting and is killed.
//!
//! ```text
//! testkit-soak --addr HOST:PORT --repository NAME --model FILE
//!              [--seconds N --seed N --workers N --tags N]     works, then looks whether anything is lost
//!              [--verify]                                      looks again, after a restart or a collection
//!              [--gone]                                        and whether everything else is gone
//! ```
//!
//! A request without an answer, or with one of 5xx, may or may not have been done: the driver waits
//! for the registry to be back and finds out. An answer that was given holds for ever: that is the
//! test. Each tag is moved by one worker alone, so its right content is always known. Prints one line
//! of JSON; exits 1 if something reachable was lost or something else stayed, and 2 if it cannot tell.

mod chance;
mod check;
mod model;
mod registry;
mod worker;

use model::Model;
use registry::Registry;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use testkit::flags::Flags;
use worker::Worker;

const VALUED: &[&str] = &["addr", "repository", "model", "seconds", "seed", "workers", "tags"];
const BARE: &[&str] = &["verify", "gone"];
const SHOWN: usize = 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "testkit-soak: {message}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<bool, String> {
    let flags = Flags::parse(std::env::args().skip(1), VALUED, BARE)?;
    let addr = flags.text("addr").ok_or("`--addr` is needed")?;
    let registry = Registry::new(addr, flags.text("repository").unwrap_or("soak"));
    let path = flags.text("model").ok_or("`--model` is needed")?;
    let (model, done, mut wrong) = match flags.has("verify") || flags.has("gone") {
        true => (read(path)?, BTreeMap::new(), Vec::new()),
        false => work(&flags, &registry).await?,
    };
    write(path, &model)?;
    let lost = check::lost(&registry, &model).await?;
    let left = match flags.has("gone") {
        true => check::left(&registry, &model).await?,
        false => Vec::new(),
    };
    wrong.extend(lost);
    let alive = model.reachable(model.evidence.iter().filter(|held| held.certain));
    let count = |sets: &BTreeMap<String, _>| {
        sets.values().map(std::collections::BTreeSet::len).sum::<usize>()
    };
    let summary = json!({
        "done": done,
        "reachable_manifests": count(&alive.manifests),
        "sent_manifests": model.manifests.len(),
        "sent_blobs": model.blobs.len(),
        "wrong_count": wrong.len(), "wrong": wrong.iter().take(SHOWN).collect::<Vec<_>>(),
        "left_count": left.len(), "left": left.iter().take(SHOWN).collect::<Vec<_>>(),
    });
    writeln!(std::io::stdout(), "{summary}").map_err(|error| error.to_string())?;
    Ok(wrong.is_empty() && left.is_empty())
}

type Work = (Model, BTreeMap<&'static str, u64>, Vec<String>);

/// All workers until the time is over; a worker that met something wrong stops, the others go on.
async fn work(flags: &Flags, registry: &Registry) -> Result<Work, String> {
    let seed: u64 = flags.value("seed")?.unwrap_or(1);
    let tags = flags.value("tags")?.unwrap_or(5);
    let until = Instant::now() + Duration::from_secs(flags.value("seconds")?.unwrap_or(30));
    let tasks: Vec<_> = (0..flags.value("workers")?.unwrap_or(6))
        .map(|id| {
            let mut worker = Worker::new(id, tags, registry.clone(), seed);
            tokio::spawn(async move {
                let outcome = worker.run(until).await;
                (worker, outcome)
            })
        })
        .collect();
    let (mut model, mut done, mut wrong) = (Model::default(), BTreeMap::new(), Vec::new());
    for task in tasks {
        let (worker, outcome) = task.await.map_err(|error| error.to_string())?;
        model.join(worker.model);
        worker.done.into_iter().for_each(|(what, times)| *done.entry(what).or_default() += times);
        wrong.extend(outcome.err());
    }
    Ok((model, done, wrong))
}

fn read(path: &str) -> Result<Model, String> {
    let text = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("{path}: {error}"))
}

fn write(path: &str, model: &Model) -> Result<(), String> {
    let text = serde_json::to_vec(model).map_err(|error| error.to_string())?;
    std::fs::write(path, text).map_err(|error| format!("{path}: {error}"))
}
