//! From the faults that apply to a request to what is done about it, step by step.

use crate::content::Content;
use crate::faults::{Fault, Gate};
use crate::synthetic::Synthetic;
use crate::wire::{Answer, Request};
use std::time::Duration;

/// What happens in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    Silence,
    Garbage,
    EndlessHeader,
    Close,
    Reset,
}

/// How a body is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Close,
    Reset,
    Stall,
}

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Framing {
    #[default]
    Length,
    Chunked,
    Close,
}

/// How a body is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) framing: Framing,
    pub(crate) cut: Option<(u64, Cut)>,
    pub(crate) bytes_per_second: u64,
    pub(crate) flip: Option<u64>,
    pub(crate) gates: Vec<(u64, Gate)>,
    pub(crate) length_off: i64,
}

impl Shape {
    /// How many bytes may go out after `sent` before something else happens.
    pub(crate) fn room(&self, sent: u64) -> u64 {
        let cut = self.cut.iter().map(|(at, _)| *at);
        let gates = self.gates.iter().map(|(at, _)| *at);
        let next = cut.chain(gates).filter(|at| *at > sent).min();
        next.map_or(u64::MAX, |at| at - sent)
    }

    /// Whether the connection has to end with this answer.
    pub(crate) fn closes(&self) -> bool {
        self.framing == Framing::Close || self.length_off != 0
    }
}

/// Everything the faults of one request ask for.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) delay: Duration,
    pub(crate) holds: Vec<Gate>,
    pub(crate) instead: Option<Instead>,
    pub(crate) canned: Option<Answer>,
    pub(crate) shape: Shape,
    edits: Vec<Fault>,
}

impl Plan {
    /// Sorts `faults` by when they act.
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        let mut plan = Self::default();
        for fault in faults {
            plan.add(fault);
        }
        plan
    }

    fn add(&mut self, fault: Fault) {
        let shape = &mut self.shape;
        match fault {
            Fault::Answer(canned) => self.canned = Some(canned.answer),
            Fault::BlackHole => self.instead = Some(Instead::Silence),
            Fault::Garbage => self.instead = Some(Instead::Garbage),
            Fault::EndlessHeader => self.instead = Some(Instead::EndlessHeader),
            Fault::Drop => self.instead = Some(Instead::Close),
            Fault::ResetAtOnce => self.instead = Some(Instead::Reset),
            Fault::Truncate(at) => shape.cut = Some((at, Cut::Close)),
            Fault::Reset(at) => shape.cut = Some((at, Cut::Reset)),
            Fault::Stall(at) => shape.cut = Some((at, Cut::Stall)),
            Fault::Slow(bytes_per_second) => shape.bytes_per_second = bytes_per_second,
            Fault::FlipByte(at) => shape.flip = Some(at),
            Fault::LengthOff(by) => shape.length_off = by,
            Fault::Chunked => shape.framing = Framing::Chunked,
            Fault::CloseDelimited => shape.framing = Framing::Close,
            Fault::HoldAt(at, gate) => shape.gates.push((at, gate)),
            Fault::Hold(gate) => self.holds.push(gate),
            Fault::Delay(delay) => self.delay += delay,
            edit => self.edits.push(edit),
        }
    }

    /// Changes the request before the registry looks at it.
    pub(crate) fn edit_request(&self, request: &mut Request) {
        for fault in &self.edits {
            match fault {
                Fault::IgnoreRange => request.headers.retain(|(name, _)| name != "range"),
                Fault::OtherRange(by) => {
                    for (_, value) in request.headers.iter_mut().filter(|(name, _)| name == "range")
                    {
                        *value = moved(value, *by);
                    }
                }
                _ => {}
            }
        }
    }

    /// Changes the answer of the registry.
    pub(crate) fn edit_answer(&self, request: &Request, answer: &mut Answer) {
        for fault in &self.edits {
            edit_answer(fault, request, answer);
        }
    }
}

fn edit_answer(fault: &Fault, request: &Request, answer: &mut Answer) {
    match fault {
        Fault::HugeHeader(bytes) => answer.set("x-huge", "h".repeat(*bytes)),
        Fault::SetHeader(name, value) => answer.set(name, value.as_str()),
        Fault::RemoveHeader(name) => answer.remove(name),
        Fault::Redirect(url) => *answer = redirect(url.clone()),
        Fault::RedirectBase(base) => {
            *answer = redirect(format!("{}{}", base.trim_end_matches('/'), target(request)));
        }
        Fault::RedirectLoop => {
            let hop: u64 = request.query_value("hop").and_then(|n| n.parse().ok()).unwrap_or(0);
            *answer = redirect(format!("{}?hop={}", request.path, hop + 1));
        }
        Fault::HugeBody(bytes) => answer.replace(Content::blank(*bytes)),
        Fault::HugeToken(bytes) => {
            answer.replace(format!(r#"{{"token":"{}","expires_in":300}}"#, "t".repeat(*bytes)));
        }
        Fault::OtherContent => {
            let seed = 0x07e5_7bad;
            answer.content = Content::Synthetic(Synthetic::new(answer.content.size_bytes(), seed));
        }
        Fault::ContentRangeOff(by) => change_range(answer, |(first, last, total)| {
            (first.saturating_add_signed(*by), last.saturating_add_signed(*by), total)
        }),
        Fault::TotalOff(by) => change_range(answer, |(first, last, total)| {
            (first, last, total.saturating_add_signed(*by))
        }),
        _ => {}
    }
}

fn redirect(location: String) -> Answer {
    Answer::new(307, "").with("location", location)
}

fn target(request: &Request) -> String {
    match request.query.is_empty() {
        true => request.path.clone(),
        false => format!("{}?{}", request.path, request.query),
    }
}

/// `bytes=a-b` with both ends moved by `by`.
fn moved(range: &str, by: i64) -> String {
    let ends = range.strip_prefix("bytes=").and_then(|text| text.split_once('-'));
    let Some((first, last)) = ends else { return range.to_owned() };
    let end = |text: &str| match text.parse::<u64>() {
        Ok(at) => at.saturating_add_signed(by).to_string(),
        Err(_) => text.to_owned(),
    };
    format!("bytes={}-{}", end(first), end(last))
}

fn change_range(answer: &mut Answer, change: impl Fn((u64, u64, u64)) -> (u64, u64, u64)) {
    let Some(parsed) = answer.header("content-range").and_then(content_range) else { return };
    let (first, last, total) = change(parsed);
    answer.set("content-range", format!("bytes {first}-{last}/{total}"));
}

fn content_range(value: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}
