//! The pipeline: seven calls in order, and each takes what the one before made.
//!
//! ```text
//!  ask ─▶ identify ─▶ route ─▶ resolve ─▶ gather ─▶ decide ─▶ serve ─▶ answer
//!            who?      what?    which?     what is   may it?   bytes      │
//!                                          known?                         ▼
//!                                                                  record (Trail)
//! ```
//!
//! | stage | takes → gives | says |
//! |---|---|---|
//! | identify | the connection's peer → `Principal` | anonymous is a principal too |
//! | route | method, path, host, `?ns=` → `Intent` | one parser for all of `/v2` |
//! | resolve | `Intent`, `Leave` → `Target` | tag → digest with a freshness; where a blob is |
//! | gather | `Target` → `Facts` | what the decision needs to know |
//! | decide | all of it → `Permit` or `Denial` | pure; only here is a permit made |
//! | serve | `Permit` → the answer | only here do bytes move |
//! | record | the `Trail` → log line and counters | a drop guard |
//!
//! `Leave` is the proof that access was looked at before an upstream is asked; `Permit` the proof
//! that all was looked at before a byte is served. Neither can be made elsewhere.

mod gather;
mod identify;
mod query;
mod record;
mod resolve;
mod route;
mod serve;

pub(crate) use identify::identify;
pub(crate) use query::Query;
pub(crate) use record::Recorder;
pub use record::{Trail, TrailEnd};
pub(crate) use serve::{BlobSource, Brought, fill};

use crate::answer::Served;
use crate::ask::Ask;
use crate::incoming::Incoming;
use crate::plane::Core;
use crate::refusal::Refusal;
use std::sync::Arc;
use telemetry::Outcome;

/// Answers one request for the distribution API.
pub(crate) async fn handle(
    core: &Arc<Core>,
    ask: &Ask<'_>,
    incoming: Incoming,
    trail: &mut Trail,
) -> Result<Served, Refusal> {
    let view = core.view();
    let served = stages(core, &view, ask, incoming, trail).await;
    match &served {
        Ok(served) => trail.set_cache(served.cache, outcome(served)),
        Err(refusal) => {
            if let Refusal::Denied(denial) = refusal {
                let asked = trail.target().unwrap_or_else(|| ask.path.chars().take(512).collect());
                let request = format!("{:?} {asked}", ask.method);
                let principal = identify(&ask.peer).to_string();
                let now = core.shelf.clock.now();
                core.denials.note(denial, principal, request, view.revision, now);
            }
            trail.set_refusal(refusal);
        }
    }
    served
}

async fn stages(
    core: &Arc<Core>,
    view: &Arc<crate::View>,
    ask: &Ask<'_>,
    incoming: Incoming,
    trail: &mut Trail,
) -> Result<Served, Refusal> {
    let principal = identify(&ask.peer);
    let routed = route::route(view, ask, trail)?;
    let leave = routed.may_ask(view, &principal)?;
    let found = resolve::resolve(core, view, &principal, &routed, leave, trail).await?;
    let facts = gather::gather(&found.target);
    let permit = policy::decide(&view.access, &principal, &found.intent, &facts, &view.revision)?;
    serve::serve(core, view, ask, incoming, routed, found, permit).await
}

fn outcome(served: &Served) -> Outcome {
    use telemetry::CacheStatus;
    match served.cache.status {
        CacheStatus::Hit => Outcome::Hit,
        CacheStatus::Miss => Outcome::Miss,
        CacheStatus::Joined => Outcome::Joined,
        CacheStatus::Stale => Outcome::Stale,
        CacheStatus::Revalidated => Outcome::Revalidated,
        CacheStatus::Uncached => Outcome::Uncached,
        CacheStatus::None => Outcome::Ok,
    }
}
