//! Blobs: whole, from somewhere inside, and over every kind of break.

use crate::support::*;
use std::time::Duration;
use testkit::{FakeRegistry, Fault, Gate, ImageSpec, Match};
use upstream::{Circuit, FailureKind, Resume, Validators};

const SIZE: u64 = 300_000;

async fn registry() -> (FakeRegistry, String) {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "1", ImageSpec::layers([SIZE]));
    let layer = image.layers[0].digest.clone();
    (registry, layer)
}

fn from(offset_bytes: u64, total_bytes: Option<u64>) -> Resume {
    Resume { offset_bytes, validators: Some(Validators { total_bytes, etag: None }) }
}

#[tokio::test]
async fn a_blob_comes_whole_and_says_what_it_is() {
    let (registry, layer) = registry().await;
    let upstream = upstream(&[&registry]);
    let start = Resume::default();
    let mut transfer = upstream.blob(&name("a/b"), &digest(&layer), start, WAITING).await.unwrap();
    assert_eq!((transfer.total_bytes(), transfer.offset_bytes()), (Some(SIZE), 0));
    assert!(transfer.validators().etag.is_some());
    assert_eq!(transfer.endpoint(), registry.url());
    assert!(is(&drain(&mut transfer).await.unwrap(), &layer));
    assert_eq!(transfer.offset_bytes(), SIZE);
    assert_eq!(transfer.next().await.unwrap(), None);
    let head = upstream.head_blob(&name("a/b"), &digest(&layer), WAITING).await.unwrap();
    assert_eq!(head.size_bytes, Some(SIZE));
}

#[tokio::test]
async fn every_break_goes_on_where_it_was() {
    let at = 100_000;
    for fault in [Fault::Truncate(at), Fault::Reset(at), Fault::Stall(at), Fault::Truncate(0)] {
        let (registry, layer) = registry().await;
        registry.behave(Match::blobs().first(2), fault.clone());
        let mut quick = settings(&[&registry]);
        quick.timeouts.stall = Duration::from_millis(300);
        let bytes = blob(&build(quick), "a/b", &layer).await.unwrap();
        assert!(is(&bytes, &layer), "{fault:?}");
        let ranges = registry.count(|seen| seen.header("range").is_some());
        assert_eq!(registry.requests().len(), 3, "{fault:?}");
        // A reset may take bytes with it that were already sent.
        if !matches!(fault, Fault::Reset(_)) {
            assert_eq!(registry.bytes_sent_for(&layer), SIZE, "nothing came twice: {fault:?}");
            assert_eq!(ranges, if matches!(fault, Fault::Truncate(0)) { 0 } else { 2 });
        }
    }
}

#[tokio::test]
async fn chunked_and_slow_bodies_are_bodies() {
    for framing in [Fault::Chunked, Fault::CloseDelimited, Fault::Slow(2_000_000)] {
        let (registry, layer) = registry().await;
        registry.behave(Match::blobs(), framing.clone());
        let bytes = blob(&upstream(&[&registry]), "a/b", &layer).await.unwrap();
        assert!(is(&bytes, &layer), "{framing:?}");
    }
    let (registry, layer) = registry().await;
    registry.behave(Match::blobs(), Fault::Chunked);
    registry.behave(Match::blobs().first(1), Fault::Truncate(90_000));
    let bytes = blob(&upstream(&[&registry]), "a/b", &layer).await.unwrap();
    assert!(is(&bytes, &layer), "a chunked body that breaks off is no end");
}

#[tokio::test]
async fn a_registry_without_ranges_is_read_again_and_skipped() {
    for refusal in [Fault::IgnoreRange, Fault::status(400).into(), Fault::status(416).into()] {
        let (registry, layer) = registry().await;
        registry.behave(Match::blobs().first(1), Fault::Truncate(100_000));
        registry.behave(Match::blobs().with_range(), refusal.clone());
        let bytes = blob(&upstream(&[&registry]), "a/b", &layer).await.unwrap();
        assert!(is(&bytes, &layer), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_range_that_lies_is_not_taken() {
    for (lie, outcome) in [
        (Fault::ContentRangeOff(5), FailureKind::Indeterminate),
        (Fault::OtherRange(5), FailureKind::Indeterminate),
        (Fault::RemoveHeader("content-range".into()), FailureKind::Indeterminate),
        (Fault::TotalOff(7), FailureKind::Changed),
        (Fault::etag("\"other\""), FailureKind::Changed),
    ] {
        let (registry, layer) = registry().await;
        registry.behave(Match::blobs().without_range(), Fault::Truncate(100_000));
        registry.behave(Match::blobs().with_range(), lie.clone());
        let upstream = upstream(&[&registry]);
        let start = Resume::default();
        let mut transfer =
            upstream.blob(&name("a/b"), &digest(&layer), start, WAITING).await.unwrap();
        let result = drain(&mut transfer).await;
        assert_eq!(kind(result), outcome, "{lie:?}");
        assert_eq!(transfer.offset_bytes(), 100_000, "no byte of the lie was given: {lie:?}");
        assert_eq!(kind(transfer.next().await), outcome, "the end is the same again");
    }
}

#[tokio::test]
async fn a_wrong_length_is_never_a_clean_end() {
    let (registry, layer) = registry().await;
    registry.behave(Match::blobs(), Fault::LengthOff(1000));
    assert!(blob(&upstream(&[&registry]), "a/b", &layer).await.is_err());
    // More bytes than were announced at first are not given on either.
    let (registry, layer) = self::registry().await;
    let upstream = upstream(&[&registry]);
    let known = from(100_000, Some(SIZE - 1));
    let changed = upstream.blob(&name("a/b"), &digest(&layer), known, WAITING).await;
    assert_eq!(kind(changed), FailureKind::Changed);
}

#[tokio::test]
async fn what_is_held_is_not_fetched_again() {
    let (registry, layer) = registry().await;
    let upstream = upstream(&[&registry]);
    let whole = blob(&upstream, "a/b", &layer).await.unwrap();
    registry.forget_requests();
    let known = from(200_000, Some(SIZE));
    let mut rest = upstream.blob(&name("a/b"), &digest(&layer), known, WAITING).await.unwrap();
    assert_eq!((rest.offset_bytes(), rest.total_bytes()), (200_000, Some(SIZE)));
    assert_eq!(drain(&mut rest).await.unwrap(), whole[200_000..]);
    assert_eq!(registry.bytes_sent_for(&layer), SIZE - 200_000);
    registry.forget_requests();
    let known = from(SIZE, Some(SIZE));
    let mut rest = upstream.blob(&name("a/b"), &digest(&layer), known, WAITING).await.unwrap();
    assert_eq!(rest.next().await.unwrap(), None);
    assert_eq!(registry.requests().len(), 0);
}

#[tokio::test]
async fn a_transfer_survives_impatient_callers() {
    let (registry, layer) = registry().await;
    registry.behave(Match::blobs(), Fault::Slow(1_000_000));
    registry.behave(Match::blobs().first(2), Fault::Truncate(70_000));
    let upstream = upstream(&[&registry]);
    let start = Resume::default();
    let mut transfer = upstream.blob(&name("a/b"), &digest(&layer), start, WAITING).await.unwrap();
    let mut bytes = Vec::new();
    let mut dropped = 0;
    loop {
        match tokio::time::timeout(Duration::from_millis(1), transfer.next()).await {
            Ok(piece) => match piece.unwrap() {
                Some(piece) => bytes.extend_from_slice(&piece),
                None => break,
            },
            Err(_) => dropped += 1,
        }
    }
    assert!(dropped > 10 && is(&bytes, &layer), "{dropped}");
    assert_eq!(registry.requests().len(), 3, "no attempt was begun anew");
}

#[tokio::test]
async fn a_stall_is_noticed_by_impatient_callers_too() {
    let (registry, layer) = registry().await;
    registry.behave(Match::blobs().first(1), Fault::Stall(1000));
    let mut quick = settings(&[&registry]);
    quick.timeouts.stall = Duration::from_millis(200);
    let upstream = build(quick);
    let start = Resume::default();
    let mut transfer = upstream.blob(&name("a/b"), &digest(&layer), start, WAITING).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(20), transfer.next()).await {
            Ok(Ok(Some(piece))) => bytes.extend_from_slice(&piece),
            Ok(end) => break assert_eq!(end.unwrap(), None),
            Err(_) => {}
        }
    }
    assert!(is(&bytes, &layer));
}

#[tokio::test]
async fn a_slow_reader_is_no_stall() {
    let (registry, layer) = registry().await;
    let mut quick = settings(&[&registry]);
    quick.timeouts.stall = Duration::from_millis(100);
    let upstream = build(quick);
    let start = Resume::default();
    let mut transfer = upstream.blob(&name("a/b"), &digest(&layer), start, WAITING).await.unwrap();
    let mut bytes = transfer.next().await.unwrap().unwrap().to_vec();
    tokio::time::sleep(Duration::from_millis(300)).await;
    bytes.extend(drain(&mut transfer).await.unwrap());
    assert!(is(&bytes, &layer));
    assert_eq!(registry.requests().len(), 1);
}

#[tokio::test]
async fn a_blob_that_always_breaks_is_given_up() {
    let (registry, layer) = registry().await;
    registry.behave(Match::blobs(), Fault::Truncate(10));
    let result = blob(&upstream(&[&registry]), "a/b", &layer).await;
    assert!(result.clone().unwrap_err().reason().contains("broke off"));
    assert_eq!(kind(result), FailureKind::Indeterminate);
    assert!(registry.requests().len() <= 5, "{}", registry.requests().len());
}

#[tokio::test]
async fn the_first_bytes_come_before_the_last_are_sent() {
    let (registry, layer) = registry().await;
    let gate = Gate::new();
    registry.behave(Match::blobs(), Fault::HoldAt(1000, gate.clone()));
    let upstream = upstream(&[&registry]);
    let start = Resume::default();
    let mut transfer = upstream.blob(&name("a/b"), &digest(&layer), start, WAITING).await.unwrap();
    let mut bytes = Vec::new();
    while bytes.len() < 1000 {
        bytes.extend_from_slice(&transfer.next().await.unwrap().unwrap());
    }
    gate.open();
    bytes.extend(drain(&mut transfer).await.unwrap());
    assert!(is(&bytes, &layer));
}

#[tokio::test]
async fn a_blob_that_is_not_there_is_absent() {
    let (registry, _) = registry().await;
    let upstream = upstream(&[&registry]);
    let other = testkit::sha256(b"not there");
    assert_eq!(kind(blob(&upstream, "a/b", &other).await), FailureKind::Absent);
    let head = upstream.head_blob(&name("a/b"), &digest(&other), WAITING).await;
    assert_eq!(kind(head), FailureKind::Absent);
    assert_eq!(upstream.health()[0].circuit, Circuit::Closed);
}
