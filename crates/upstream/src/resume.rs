//! Opening a blob, from its beginning or from somewhere inside: which answers continue what is
//! already held, and which are about something else.

use crate::classify;
use crate::endpoint::Endpoint;
use crate::failover::Tour;
use crate::failure::Failure;
use crate::limits::Slot;
use crate::origin;
use crate::request::{self, Answer, Ask};
use crate::settings::Class;
use crate::transfer::Validators;
use crate::upstream::Shared;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG};
use oci::Digest;
use std::sync::Arc;

/// A longer `ETag` is not compared.
const ETAG_BYTES_MAX: usize = 1024;

/// Which blob.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) repository: String,
    pub(crate) digest: Digest,
    pub(crate) class: Class,
}

/// What is held of a blob, and what was said of it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) offset_bytes: u64,
    pub(crate) validators: Validators,
    /// The origin that gave the `ETag`, if that is known. Others have their own for the same blob
    /// (RFC 9110 §8.8.3: it tells apart what one resource was and is).
    pub(crate) etag_by: Option<String>,
}

/// A body that continues at the wanted offset, after `skip_bytes` of it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) response: reqwest::Response,
    pub(crate) slot: Slot,
    pub(crate) validators: Validators,
    pub(crate) skip_bytes: u64,
    /// The origin that sends it.
    pub(crate) sent_by: String,
}

/// What the head of an answer means for a transfer.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It continues; so many bytes have to be skipped.
    Continues { validators: Validators, skip_bytes: u64 },
    /// It is about other bytes than those that are held.
    Changed(String),
    /// It makes no sense.
    Lies(String),
}

/// Opens a blob behind what is held, beginning with the endpoint at `first`.
pub(crate) async fn open(
    shared: &Shared,
    target: &Target,
    held: &Held,
    first: usize,
    slot: Option<Slot>,
) -> Result<Opened, Failure> {
    let slot = match slot {
        Some(slot) => slot,
        None => shared.transfer_slot(target.class).await?,
    };
    let ask = Ask::get(&target.repository, format!("blobs/{}", target.digest), target.class);
    let ask = Ask { range_from: Some(held.offset_bytes), ..ask };
    let mut tour = Tour::new(shared, &ask, first);
    loop {
        let visit = tour.next().await?;
        match open_at(shared, &visit.endpoint, &ask, held).await {
            Ok((answer, validators, skip_bytes)) => {
                let endpoint = tour.found(visit, answer.latency);
                let response = answer.response;
                let sent_by = origin::shown(response.url());
                return Ok(Opened { endpoint, response, slot, validators, skip_bytes, sent_by });
            }
            Err(failure) => tour.failed(visit, failure)?,
        }
    }
}

async fn open_at(
    shared: &Shared,
    endpoint: &Endpoint,
    ask: &Ask,
    held: &Held,
) -> Result<(Answer, Validators, u64), Failure> {
    let offset = held.offset_bytes;
    let mut answer = request::exchange(shared, endpoint, ask).await?;
    if offset > 0 && refuses_ranges(answer.status()) {
        // Some storage answers 400 to ranges it serves whole (registry.k8s.io#333).
        let whole = Ask { range_from: None, ..ask.clone() };
        answer = request::exchange(shared, endpoint, &whole).await?;
    }
    if !matches!(answer.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Err(classify::failure(&shared.settings, endpoint, ask, answer).await);
    }
    classify::check_untouched(endpoint, ask, &answer)?;
    let text = |what: &str| format!("{}: {}: {what}", endpoint.label(), ask.label());
    let mut known = held.validators.clone();
    let sent_by = origin::shown(answer.response.url());
    if held.etag_by.as_ref().is_some_and(|giver| *giver != sent_by) {
        known.etag = None;
    }
    match judge(&answer, offset, &known) {
        Verdict::Continues { validators, skip_bytes } => Ok((answer, validators, skip_bytes)),
        Verdict::Changed(what) => Err(Failure::changed(text(&what))),
        Verdict::Lies(what) => Err(Failure::indeterminate(text(&what)).blameless()),
    }
}

fn refuses_ranges(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_IMPLEMENTED
    )
}

fn judge(answer: &Answer, offset: u64, known: &Validators) -> Verdict {
    let length = answer.header(CONTENT_LENGTH).and_then(|text| text.trim().parse().ok());
    let etag = answer.header(ETAG).filter(|etag| etag.len() <= ETAG_BYTES_MAX);
    let head = Head {
        is_partial: answer.status() == StatusCode::PARTIAL_CONTENT,
        length,
        range: answer.header(CONTENT_RANGE),
        etag,
    };
    head.judge(offset, known)
}

/// What of an answer's head matters here.
#[derive(Clone, Copy, Debug)]
struct Head<'a> {
    is_partial: bool,
    length: Option<u64>,
    range: Option<&'a str>,
    etag: Option<&'a str>,
}

impl Head<'_> {
    fn judge(&self, offset: u64, known: &Validators) -> Verdict {
        let total = match self.is_partial {
            false => self.length,
            true => match self.partial_total(offset) {
                Ok(total) => total,
                Err(lie) => return Verdict::Lies(lie),
            },
        };
        if let (Some(before), Some(now)) = (known.total_bytes, total)
            && before != now
        {
            return Verdict::Changed(format!("it has {now} bytes now, and had {before}"));
        }
        if let (Some(before), Some(now)) = (known.etag.as_deref(), self.etag)
            && before != now
            && offset > 0
        {
            return Verdict::Changed("its ETag is another than before".to_owned());
        }
        if total.is_some_and(|total| total < offset) {
            return Verdict::Changed(format!("it is shorter than the {offset} bytes held"));
        }
        let validators = Validators {
            total_bytes: total.or(known.total_bytes),
            etag: self.etag.map(str::to_owned).or_else(|| known.etag.clone()),
        };
        Verdict::Continues { validators, skip_bytes: if self.is_partial { 0 } else { offset } }
    }

    /// The total of a 206 that begins exactly at `offset`.
    fn partial_total(&self, offset: u64) -> Result<Option<u64>, String> {
        if offset == 0 {
            return Err("it sends a part although the whole was asked for".to_owned());
        }
        let range = self.range.and_then(content_range);
        let (first, last, total) = range.ok_or("it sends a part without saying which")?;
        if first != offset {
            return Err(format!("it sends a part from byte {first}, asked for {offset}"));
        }
        let is_sensible = last >= first && total.is_none_or(|total| last < total);
        let has_length =
            self.length.is_none_or(|length| last.checked_sub(first) == length.checked_sub(1));
        match is_sensible && has_length {
            true => Ok(total),
            false => Err("the part it sends contradicts itself".to_owned()),
        }
    }
}

/// `bytes first-last/total`, where the total may be `*` (RFC 9110 §14.4).
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (unit, rest) = text.trim().split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(total: Option<u64>, etag: Option<&str>) -> Validators {
        Validators { total_bytes: total, etag: etag.map(str::to_owned) }
    }

    fn part(range: &str, length: Option<u64>) -> Head<'_> {
        Head { is_partial: true, length, range: Some(range), etag: None }
    }

    fn whole(length: Option<u64>) -> Head<'static> {
        Head { is_partial: false, length, range: None, etag: None }
    }

    fn continues(head: Head<'_>, offset: u64, known: &Validators) -> Option<(Option<u64>, u64)> {
        match head.judge(offset, known) {
            Verdict::Continues { validators, skip_bytes } => {
                Some((validators.total_bytes, skip_bytes))
            }
            Verdict::Changed(_) | Verdict::Lies(_) => None,
        }
    }

    #[test]
    fn only_the_very_range_asked_for_goes_on() {
        let held = known(Some(100), None);
        assert_eq!(continues(part("bytes 40-99/100", Some(60)), 40, &held), Some((Some(100), 0)));
        assert_eq!(continues(part("bytes 40-59/100", Some(20)), 40, &held), Some((Some(100), 0)));
        assert_eq!(continues(part("bytes 40-99/*", None), 40, &held), Some((Some(100), 0)));
        for lie in [
            "bytes 41-99/100",
            "bytes 0-99/100",
            "bytes 40-100/100",
            "bytes 40-39/100",
            "bytes */100",
            "chunks 40-99/100",
            "bytes 40-98/100",
            "nonsense",
            "",
        ] {
            let verdict = part(lie, Some(60)).judge(40, &held);
            assert!(matches!(verdict, Verdict::Lies(_)), "{lie}: {verdict:?}");
        }
        assert!(matches!(
            part("bytes 0-9/10", None).judge(0, &known(None, None)),
            Verdict::Lies(_)
        ));
    }

    #[test]
    fn another_total_or_etag_is_another_blob() {
        let held = known(Some(100), Some("\"a\""));
        let changed = |head: Head<'_>| matches!(head.judge(40, &held), Verdict::Changed(_));
        assert!(changed(part("bytes 40-100/101", Some(61))));
        assert!(changed(whole(Some(99))));
        assert!(changed(Head { etag: Some("\"b\""), ..part("bytes 40-99/100", Some(60)) }));
        assert!(!changed(Head { etag: Some("\"a\""), ..part("bytes 40-99/100", Some(60)) }));
        assert!(!changed(part("bytes 40-99/100", Some(60))));
        let unknown = known(None, None);
        assert!(matches!(whole(Some(39)).judge(40, &unknown), Verdict::Changed(_)));
    }

    #[test]
    fn a_whole_answer_to_a_range_is_skipped_up_to_what_is_held() {
        assert_eq!(continues(whole(Some(100)), 40, &known(Some(100), None)), Some((Some(100), 40)));
        assert_eq!(continues(whole(None), 40, &known(None, None)), Some((None, 40)));
        assert_eq!(continues(whole(Some(5)), 0, &known(None, None)), Some((Some(5), 0)));
    }

    proptest::proptest! {
        #[test]
        fn ranges_are_read_back(first in 0..u64::MAX, last in 0..u64::MAX, total in 0..u64::MAX) {
            let text = format!("bytes {first}-{last}/{total}");
            proptest::prop_assert_eq!(content_range(&text), Some((first, last, Some(total))));
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}|bytes [0-9*/ -]{0,30}", offset in 0..200u64) {
            let _ = part(&text, Some(10)).judge(offset, &known(Some(100), None));
        }
    }
}
