//! Faults by name, for a registry that is told over HTTP what to do wrong.
//!
//! An order is a JSON object: `fault` names what goes wrong, `value` is its number or text if it has
//! one. `on` says for which requests: `any` (default), `blobs`, `manifests`, `token`, `ping`, or a part
//! of the path; `method` and `range` (true or false) narrow it; `first`, `nth` and `after` count. For example
//! `{"fault": "truncate", "value": 1000, "on": "blobs", "first": 1}`.

use crate::faults::{Fault, Match};
use serde_json::Value;
use std::time::Duration;

/// What goes wrong, and when.
pub(crate) fn parse(order: &Value) -> Result<(Match, Fault), String> {
    const KEYS: [&str; 8] = ["fault", "value", "on", "method", "range", "first", "nth", "after"];
    let fields = order.as_object().ok_or("a fault must be an object")?;
    if let Some(unknown) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("unknown `{unknown}` in a fault; there are {KEYS:?}"));
    }
    let name = order["fault"].as_str().ok_or("a fault needs its name in `fault`")?;
    Ok((matching(order)?, fault(name, &order["value"])?))
}

fn matching(order: &Value) -> Result<Match, String> {
    let mut matching = match order["on"].as_str() {
        None | Some("any") => Match::any(),
        Some("blobs") => Match::blobs(),
        Some("manifests") => Match::manifests(),
        Some("token") => Match::token(),
        Some("ping") => Match::ping(),
        Some(part) => Match::path_contains(part),
    };
    if let Some(method) = order["method"].as_str() {
        matching = matching.method(method);
    }
    match order["range"].as_bool() {
        Some(true) => matching = matching.with_range(),
        Some(false) => matching = matching.without_range(),
        None => {}
    }
    for (key, turn) in [
        ("first", Match::first as fn(Match, u64) -> Match),
        ("nth", Match::nth),
        ("after", Match::after),
    ] {
        if let Some(count) = optional_count(&order[key], key)? {
            matching = turn(matching, count);
        }
    }
    Ok(matching)
}

fn fault(name: &str, value: &Value) -> Result<Fault, String> {
    let count = || optional_count(value, name)?.ok_or(format!("`{name}` needs a number"));
    let by = || value.as_i64().ok_or(format!("`{name}` needs a number"));
    let text = || value.as_str().map(str::to_owned).ok_or(format!("`{name}` needs a text"));
    let size = || count().and_then(|bytes| usize::try_from(bytes).map_err(|e| e.to_string()));
    Ok(match name {
        "status" => status(count()?)?,
        "html" => Fault::html().into(),
        "blackhole" => Fault::BlackHole,
        "garbage" => Fault::Garbage,
        "endless-header" => Fault::EndlessHeader,
        "huge-header" => Fault::HugeHeader(size()?),
        "drop" => Fault::Drop,
        "reset-at-once" => Fault::ResetAtOnce,
        "truncate" => Fault::Truncate(count()?),
        "reset" => Fault::Reset(count()?),
        "stall" => Fault::Stall(count()?),
        "slow" => Fault::Slow(count()?),
        "flip" => Fault::FlipByte(count()?),
        "other-content" => Fault::OtherContent,
        "length-off" => Fault::LengthOff(by()?),
        "chunked" => Fault::Chunked,
        "close-delimited" => Fault::CloseDelimited,
        "ignore-range" => Fault::IgnoreRange,
        "other-range" => Fault::OtherRange(by()?),
        "content-range-off" => Fault::ContentRangeOff(by()?),
        "total-off" => Fault::TotalOff(by()?),
        "without-digest" => Fault::without_digest(),
        "lying-digest" => Fault::lying_digest(),
        "etag" => Fault::etag(&text()?),
        "redirect" => Fault::Redirect(text()?),
        "redirect-base" => Fault::RedirectBase(text()?),
        "redirect-loop" => Fault::RedirectLoop,
        "huge-body" => Fault::HugeBody(count()?),
        "huge-token" => Fault::HugeToken(size()?),
        "delay-ms" => Fault::Delay(Duration::from_millis(count()?)),
        _ => return Err(format!("unknown fault `{name}`")),
    })
}

fn status(code: u64) -> Result<Fault, String> {
    let code = u16::try_from(code).ok().filter(|code| (200..600).contains(code));
    let code = code.ok_or("a status lies between 200 and 599")?;
    Ok(if code == 429 { Fault::too_many_requests(30) } else { Fault::status(code) }.into())
}

fn optional_count(value: &Value, key: &str) -> Result<Option<u64>, String> {
    match value {
        Value::Null => Ok(None),
        value => value.as_u64().map(Some).ok_or(format!("`{key}` must be a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_order_says_what_and_when() {
        let (_, fault) = parse(&json!({"fault": "truncate", "value": 7, "first": 1})).unwrap();
        assert!(matches!(fault, Fault::Truncate(7)));
        let (_, fault) = parse(&json!({"fault": "length-off", "value": -7})).unwrap();
        assert!(matches!(fault, Fault::LengthOff(-7)));
        let (_, fault) = parse(&json!({"fault": "redirect", "value": "http://x/"})).unwrap();
        assert!(matches!(fault, Fault::Redirect(url) if url == "http://x/"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for order in [
            json!("truncate"),
            json!({"value": 1}),
            json!({"fault": "sideways"}),
            json!({"fault": "truncate"}),
            json!({"fault": "truncate", "value": -1}),
            json!({"fault": "redirect", "value": 1}),
            json!({"fault": "status", "value": 99}),
            json!({"fault": "drop", "first": "one"}),
            json!({"fault": "drop", "onn": "blobs"}),
        ] {
            assert!(parse(&order).is_err(), "{order}");
        }
    }
}
