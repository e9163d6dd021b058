//! Many clients that GET one URL at once, and check what they get.
//!
//! ```text
//! testkit-herd --url http://HOST:PORT/PATH --clients N [--header 'name: value']…
//!              [--digest sha256:…] [--verify-count N] [--length-only]
//!              [--seed N --size SIZE [--range]] [--slow N [--slow-rate SIZE]] [--leave N]
//!              [--stagger-ms N] [--timeout-s N]
//! ```
//!
//! How a client checks: with `--seed` (and `--size`; both are told by `testkit-registry`) it compares
//! every byte with the synthetic blob; otherwise the first `--verify-count` (default 4) clients take
//! the SHA-256 and compare it with `--digest`, and the rest take a cheap 64-bit hash that must agree
//! with that of the verified ones. With `--length-only`, those that do not verify drop the bytes in
//! the kernel and count them. With `--range`, each client asks for its own N-th of the blob. Slow
//! clients read at `--slow-rate` and are let go once the others are done; those that `--leave` do so
//! after 1 MiB. One thread serves all of it. The result is one line of JSON.

mod check;
mod member;
mod report;

use check::Expected;
use member::{Member, Plan, Role};
use std::cell::RefCell;
use std::io::Write;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};
use testkit::flags::{Flags, size_bytes};

const VALUED: &[&str] = &[
    "url",
    "clients",
    "header",
    "digest",
    "verify-count",
    "seed",
    "size",
    "slow",
    "slow-rate",
    "leave",
    "stagger-ms",
    "timeout-s",
];
const BARE: &[&str] = &["length-only", "range", "verify"];
const BUFFER_BYTES: usize = 1 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "testkit-herd: {message}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<bool, String> {
    let flags = Flags::parse(std::env::args().skip(1), VALUED, BARE)?;
    let plan = Rc::new(plan(&flags)?);
    let clients: usize = flags.value("clients")?.unwrap_or(1);
    let slow: usize = flags.value("slow")?.unwrap_or(0);
    let leave: usize = flags.value("leave")?.unwrap_or(0);
    if slow + leave >= clients {
        return Err(format!(
            "of {clients} clients, {slow} are slow and {leave} leave; none is left"
        ));
    }
    let stagger = Duration::from_millis(flags.value("stagger-ms")?.unwrap_or(0));
    let timeout = Duration::from_secs(flags.value("timeout-s")?.unwrap_or(600));
    let buffer = Rc::new(RefCell::new(vec![0; BUFFER_BYTES]));
    let started = Instant::now();
    let local = tokio::task::LocalSet::new();
    let mut tasks = Vec::new();
    for index in 0..clients {
        // The slow and the leaving are spread over the herd, not all at its start.
        let role = match (index * 7919) % clients {
            place if place < slow => Role::Slow,
            place if place < slow + leave => Role::Leaving,
            _ => Role::Steady,
        };
        let member = Member::new(index, clients, role, plan.clone(), started);
        let progress = member.progress.clone();
        let start_at = started + stagger * index as u32;
        let buffer = buffer.clone();
        let task = local.spawn_local(async move {
            tokio::time::sleep_until(start_at.into()).await;
            member.pull(&buffer).await
        });
        tasks.push((role, progress, task));
    }
    let (outcomes, slow) = local.run_until(report::collect(tasks, started + timeout)).await;
    let took = started.elapsed();
    let summary = report::summary(&outcomes, &slow, plan.digest.as_deref(), took);
    writeln!(std::io::stdout(), "{summary}").map_err(|error| error.to_string())?;
    Ok(summary["error_count"] == 0)
}

fn plan(flags: &Flags) -> Result<Plan, String> {
    let url = flags.text("url").ok_or("`--url` is needed")?;
    let rest = url.strip_prefix("http://").ok_or("only http:// URLs are served here")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let size = flags.text("size").map(size_bytes).transpose()?;
    let expected = match (flags.value::<u64>("seed")?, size) {
        (Some(seed), Some(size)) => Expected::Synthetic { seed, size },
        (None, _) if flags.has("length-only") => Expected::Length,
        (None, _) => Expected::Alike,
        (Some(_), None) => return Err("`--seed` needs `--size`".into()),
    };
    let range_size = match (flags.has("range"), size) {
        (true, None) => return Err("`--range` needs `--size`".into()),
        (true, size) => size,
        (false, _) => None,
    };
    let verify_count = match (&expected, flags.text("digest")) {
        (Expected::Synthetic { .. }, _) | (_, None) => 0,
        _ => flags.value("verify-count")?.unwrap_or(4),
    };
    Ok(Plan {
        host: host.to_owned(),
        path: if path.is_empty() { "/".into() } else { path.to_owned() },
        headers: flags.all("header").to_vec(),
        digest: flags.text("digest").map(str::to_owned),
        expected,
        range_size,
        verify_count,
        slow_rate: flags.text("slow-rate").map_or(Ok(64 << 10), size_bytes)?,
    })
}
