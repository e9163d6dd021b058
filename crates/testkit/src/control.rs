//! `/_control` and `/_stats`: steering a registry that runs as a process of its own.
//!
//! `POST /_control` takes a JSON object. `mode` is one of `ok`, `blackhole`, `garbage`, `stall`,
//! `drop`, `reset` or a status such as `429`; `faults` is a list of single faults with the requests
//! they are for, such as `{"fault": "truncate", "value": 1000, "on": "blobs", "first": 1}`. Either
//! ends what was set before. `bandwidth` (bytes per second) and `latency_ms` change the line. What is
//! left out stays as it is. `GET /_stats` tells requests and bytes for each path, and how often each
//! fault was applied; `DELETE /_stats` forgets the requests.

use crate::faults::{Fault, Match};
use crate::orders;
use crate::registry::Shared;
use crate::wire::{Answer, Request};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How many bytes of a body go out before mode `stall` stops it.
const STALL_AFTER_BYTES: u64 = 64 << 10;

/// A state of the whole server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Behaves.
    Ok,
    /// Accepts and never answers; transfers under way stop too.
    BlackHole,
    /// Answers bytes that are not HTTP.
    Garbage,
    /// Stops every body after 64 KiB.
    Stall,
    /// Closes instead of answering.
    Drop,
    /// Resets instead of answering.
    Reset,
    /// Answers this status to everything.
    Status(u16),
}

impl Mode {
    /// Reads the name of a mode, as `/_control` takes it.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ok" => Self::Ok,
            "blackhole" => Self::BlackHole,
            "garbage" => Self::Garbage,
            "stall" => Self::Stall,
            "drop" => Self::Drop,
            "reset" => Self::Reset,
            status => Self::Status(status.parse().ok().filter(|code| (200..600).contains(code))?),
        })
    }

    fn fault(self) -> Option<Fault> {
        match self {
            Self::Ok | Self::BlackHole => None,
            Self::Garbage => Some(Fault::Garbage),
            Self::Stall => Some(Fault::Stall(STALL_AFTER_BYTES)),
            Self::Drop => Some(Fault::Drop),
            Self::Reset => Some(Fault::ResetAtOnce),
            Self::Status(429) => Some(Fault::too_many_requests(30).into()),
            Self::Status(401) => Some(
                Fault::status(401).header("www-authenticate", "Basic realm=\"testkit\"").into(),
            ),
            Self::Status(code) => Some(Fault::status(code).into()),
        }
    }
}

/// Puts the server into `mode`; forgets the faults set before.
pub(crate) fn enter(shared: &Shared, mode: Mode) {
    shared.faults.clear();
    if let Some(fault) = mode.fault() {
        shared.faults.add(Match::any(), fault);
    }
    shared.paused.send_replace(mode == Mode::BlackHole);
}

pub(crate) fn answer(shared: &Shared, request: &Request) -> Answer {
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/_control") => match control(shared, &request.body) {
            Ok(()) => Answer::json(200, &json!({"ok": true})),
            Err(message) => Answer::json(400, &json!({"error": message})),
        },
        ("GET", "/_stats") => Answer::json(200, &stats(shared)),
        ("DELETE", "/_stats") => {
            shared.log.clear();
            Answer::json(200, &json!({"ok": true}))
        }
        _ => Answer::json(404, &json!({"error": "POST /_control, GET or DELETE /_stats"})),
    }
}

fn control(shared: &Shared, body: &[u8]) -> Result<(), String> {
    let asked: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let number = |key: &str| match &asked[key] {
        Value::Null => Ok(None),
        value => value.as_u64().map(Some).ok_or(format!("`{key}` must be a number")),
    };
    let (bandwidth, latency) = (number("bandwidth")?, number("latency_ms")?);
    let mode = match &asked["mode"] {
        Value::Null => None,
        value => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some(Mode::parse(&text).ok_or(format!("unknown mode `{text}`"))?)
        }
    };
    let faults = match &asked["faults"] {
        Value::Null => None,
        Value::Array(orders) => {
            Some(orders.iter().map(orders::parse).collect::<Result<Vec<_>, _>>()?)
        }
        _ => return Err("`faults` must be a list".into()),
    };
    if mode.is_some() || faults.is_some() {
        enter(shared, mode.unwrap_or(Mode::Ok));
    }
    for (matching, fault) in faults.unwrap_or_default() {
        shared.faults.add(matching, fault);
    }
    if let Some(rate) = bandwidth {
        shared.bandwidth.set(rate);
    }
    if let Some(latency) = latency {
        *shared.latency.lock() = Duration::from_millis(latency);
    }
    Ok(())
}

fn stats(shared: &Shared) -> Value {
    let mut totals = shared.log.totals();
    totals.retain(|path, _| !path.starts_with("/_"));
    let requests: u64 = totals.values().flat_map(|total| total.requests.values()).sum();
    let bytes: u64 = totals.values().map(|total| total.bytes).sum();
    let unfinished =
        shared.log.requests().iter().filter(|seen| !seen.finished && !is_ours(&seen.path)).count();
    json!({
        "requests": requests,
        "bytes": bytes,
        "unfinished": unfinished,
        "tokens_issued": shared.auth.lock().tokens_issued(),
        "open_connections": shared.open.load(Ordering::Relaxed),
        "connections_accepted": shared.accepted.load(Ordering::Relaxed),
        "fault_hits": shared.faults.hits(),
        "paths": totals,
    })
}

fn is_ours(path: &str) -> bool {
    path.starts_with("/_")
}
