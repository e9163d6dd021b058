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
//! | identify | credentials → `Caller` | anonymous is a principal too; the setting is settled |
//! | route | method, path, host, `?ns=` → `Intent` | one parser for all of `/v2` |
//! | resolve | `Intent`, `Leave` → `Target` | tag → digest with a freshness; where a blob is |
//! | gather | `Target` → `Gathered` | only the facts that a matching rule needs |
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

pub(crate) use identify::{identify, principal};
pub(crate) use query::Query;
pub(crate) use record::Recorder;
pub use record::{Trail, TrailEnd};
pub(crate) use serve::{BlobSource, Brought, fill};

use crate::answer::Served;
use crate::ask::Ask;
use crate::candidates::Asking;
use crate::govern::Judged;
use crate::incoming::Incoming;
use crate::plane::Core;
use crate::refusal::Refusal;
use policy::Caller;
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
    let caller = match identify(core, &view, ask).await {
        Ok(caller) => caller,
        Err(refusal) => {
            trail.set_refusal(&refusal);
            return Err(refusal);
        }
    };
    answer(core, &view, &caller, ask, incoming, trail).await
}

/// The stages after the first, for a caller who is known.
pub(crate) async fn answer(
    core: &Arc<Core>,
    view: &Arc<crate::View>,
    caller: &Caller,
    ask: &Ask<'_>,
    incoming: Incoming,
    trail: &mut Trail,
) -> Result<Served, Refusal> {
    trail.set_caller(caller);
    let mut judged = None;
    let work = stages(core, view, caller, ask, incoming, trail, &mut judged);
    let mut served = work.await;
    match &mut served {
        Ok(served) => trail.set_cache(served.cache, outcome(served)),
        Err(refusal) => {
            let asked = trail.target().unwrap_or_else(|| ask.path.chars().take(512).collect());
            let request = format!("{} {asked}", ask.method.as_str());
            let now = core.shelf.clock.now();
            core.decisions.note_refusal(refusal, caller, request, view, judged, now);
            refusal.ask_for_login(view, caller);
            trail.set_refusal(refusal);
        }
    }
    served
}

async fn stages(
    core: &Arc<Core>,
    view: &Arc<crate::View>,
    caller: &Caller,
    ask: &Ask<'_>,
    incoming: Incoming,
    trail: &mut Trail,
    judged: &mut Option<Arc<Judged>>,
) -> Result<Served, Refusal> {
    let now = core.shelf.clock.now();
    let asking = Asking { governance: &view.governance, caller, now };
    let routed = route::route(view, ask, trail)?;
    let leave = routed.may_ask(asking)?;
    let found = resolve::resolve(core, view, asking, &routed, leave, trail).await?;
    let known = gather::gather(core, asking, &found, routed.is_head).await?;
    judged.clone_from(&known.judged);
    let (intent, facts) = (&found.intent, &known.facts);
    let permit = policy::decide(asking.governance, caller, intent, facts, known.evaluation())?;
    trail.set_decision(permit.id());
    if let Some(evaluation) = permit.evaluation().filter(|it| it.warns()) {
        core.waiver_uses.note(evaluation.waivers(), now);
    }
    core.decisions.note_permit(&permit, known.judged.as_ref(), ask.method, now);
    let decided = serve::Decided { routed, found, known, permit };
    serve::serve(core, view, ask, incoming, decided).await
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
