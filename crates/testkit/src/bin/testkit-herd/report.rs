//! Waiting for the herd, and what to say about it.

use crate::check::Finding;
use crate::member::{Pulled, Role};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A client under way: its role, its bytes so far, and its outcome to come.
type Task = (Role, Rc<Cell<u64>>, JoinHandle<Outcome>);
type Outcome = Result<Pulled, String>;

/// Waits for all but the slow clients; then lets the slow ones go: the outcomes, and the bytes that
/// each slow client had by then.
pub(crate) async fn collect(tasks: Vec<Task>, deadline: Instant) -> (Vec<Outcome>, Vec<u64>) {
    let (mut outcomes, mut slow) = (Vec::new(), Vec::new());
    for (role, progress, mut task) in tasks {
        if role == Role::Slow {
            slow.push((progress, task));
            continue;
        }
        let outcome = tokio::time::timeout_at(deadline.into(), &mut task).await;
        outcomes.push(match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                task.abort();
                Err(format!("not done in time: {} bytes so far", progress.get()))
            }
        });
    }
    let mut slow_bytes = Vec::new();
    for (progress, task) in slow {
        // One that failed by then failed for good; one that is still reading is fine.
        match task.is_finished() {
            true => outcomes.extend(task.await),
            false => task.abort(),
        }
        slow_bytes.push(progress.get());
    }
    (outcomes, slow_bytes)
}

pub(crate) fn summary(
    outcomes: &[Outcome],
    slow_bytes: &[u64],
    digest: Option<&str>,
    took: Duration,
) -> Value {
    let pulled: Vec<&Pulled> =
        outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    let mut errors: Vec<String> =
        outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).cloned().collect();
    errors.extend(pulled.iter().filter_map(|one| wrong(&one.finding, digest)));
    errors.extend(disagreement(&pulled));
    let count = |kind: fn(&Finding) -> bool| pulled.iter().filter(|one| kind(&one.finding)).count();
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    pulled.iter().for_each(|one| *statuses.entry(one.status).or_default() += 1);
    json!({
        "clients": outcomes.len() + slow_bytes.len(),
        "completed": pulled.len(),
        "error_count": errors.len(),
        "errors": errors.iter().take(10).collect::<Vec<_>>(),
        "statuses": statuses,
        "head_ms": spread(pulled.iter().map(|one| one.head_after)),
        "first_byte_ms": spread(pulled.iter().map(|one| one.first_byte_after)),
        "done_ms": spread(pulled.iter().map(|one| one.done_after)),
        "took_ms": millis(took),
        "bytes_total": pulled.iter().map(|one| one.bytes).sum::<u64>()
            + slow_bytes.iter().sum::<u64>(),
        "sha256_verified": count(|finding| matches!(finding, Finding::Verified { .. })),
        "quick_hashed": count(|finding| matches!(finding, Finding::Quick(_))),
        "compared": count(|finding| matches!(finding, Finding::Compared { .. })),
        "counted": count(|finding| matches!(finding, Finding::Counted)),
        "slow_bytes": slow_bytes,
    })
}

fn wrong(finding: &Finding, digest: Option<&str>) -> Option<String> {
    match (finding, digest) {
        (Finding::Compared { wrong_at: Some(at) }, _) => Some(format!("wrong byte at {at}")),
        (Finding::Verified { digest: got, .. }, Some(wanted)) if got != wanted => {
            Some(format!("the body hashes to {got}"))
        }
        _ => None,
    }
}

/// Whether clients that took the quick hash of a whole body found different ones.
fn disagreement(pulled: &[&Pulled]) -> Option<String> {
    let longest = pulled.iter().map(|one| one.bytes).max()?;
    let whole = pulled.iter().filter(|one| one.bytes == longest);
    let mut hashes: Vec<u64> = whole
        .filter_map(|one| match one.finding {
            Finding::Quick(quick) | Finding::Verified { quick, .. } => Some(quick),
            Finding::Compared { .. } | Finding::Counted => None,
        })
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    (hashes.len() > 1).then(|| format!("clients got {} different bodies", hashes.len()))
}

fn spread(times: impl Iterator<Item = Duration>) -> Value {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    let at = |index: usize| times.get(index).copied().map(millis);
    json!({"min": at(0), "p50": at(times.len() / 2), "max": at(times.len().saturating_sub(1))})
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 1e2
}
