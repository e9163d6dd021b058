//! Storage and upstreams are swapped by editing resources, without a dropped request or a changed
//! name; and what the old upstream lacked, the new one is asked for.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use plane::Refusal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::members::{Asked, access, documents, hosted, referrers, remote, seen, tags, union};
use support::{Rig, Setup, set_of};
use testkit::{FakeRegistry, Fault, ImageSpec, Match};

const LASTING: &str = ", freshness: { absentTtl: 1h, tagTtl: 1h }";

fn everything() -> String {
    access(&[("'*'", "'**'")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_members_and_upstreams_are_swapped() {
    let (one, two) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let images: Vec<_> = [&one, &two]
        .map(|registry| {
            let spec = || ImageSpec::layers([3000]);
            (0..8).map(|n| registry.image("app", n.to_string().as_str(), spec())).collect()
        })
        .into_iter()
        .collect::<Vec<Vec<_>>>();
    assert_eq!(images[0][3].digest, images[1][3].digest, "the same, mirrored");
    let sets: Vec<String> = vec![
        documents(&[
            hosted("own"),
            remote("reg", &one.url(), ""),
            union("all", &["own", "reg"], ""),
            everything(),
        ]),
        documents(&[
            hosted("own"),
            remote("reg", &two.url(), ""),
            union("all", &["reg, claims: ['app']", "own"], ""),
            everything(),
        ]),
        documents(&[
            hosted("own"),
            remote("reg", &two.url(), ", freshness: { tagTtl: 0s, staleWhileRevalidate: 0s }"),
            union("inner", &["reg"], ""),
            union("all", &["own, exclude: ['app']", "inner"], ""),
            everything(),
        ]),
    ];
    let rig = Arc::new(Rig::with(&sets[0], Setup::default()).await);
    let (stop, asked_so_far) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (rig, images, stop) = (rig.clone(), images[0].clone(), stop.clone());
            let asked_so_far = asked_so_far.clone();
            tokio::spawn(async move {
                for round in client.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let image = &images[round % images.len()];
                    let asked = Asked::ALL[round / 3 % Asked::ALL.len()];
                    let served = asked.of(&rig, "all/app", image).await;
                    assert!(served.is_ok(), "{asked:?} in round {round}: {served:?}");
                    asked_so_far.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 1..40 {
        let before = asked_so_far.load(Ordering::Relaxed);
        let applied = rig.plane.apply(set_of(&sets[round % sets.len()]), "test").await;
        assert!(applied.unwrap().changed);
        rig.eventually("some requests", async |_| {
            asked_so_far.load(Ordering::Relaxed) > before + 12
                || clients.iter().any(tokio::task::JoinHandle::is_finished)
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(!seen(&one).is_empty() && !seen(&two).is_empty());
}

#[tokio::test]
async fn what_the_old_upstream_lacked_the_new_one_is_asked_for() {
    let (old, new) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let stays = old.image("app", "stays", ImageSpec::layers([100]).seed(1));
    let image = new.image("app", "1", ImageSpec::layers([100]).seed(2));
    let attached = new.referrer("app", &image.digest, "application/x.sbom", "{}").digest;
    let set = |url: &str, spec: &str| {
        documents(&[remote("reg", url, spec), union("all", &["reg"], ""), everything()])
    };
    let rig = Rig::with(&set(&old.url(), LASTING), Setup::default()).await;
    Asked::GetTag.of(&rig, "all/app", &stays).await.unwrap();
    for asked in Asked::THINGS {
        let refusal = asked.of(&rig, "all/app", &image).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Absent { .. }), "{asked:?}: {refusal:?}");
    }
    assert_eq!(tags(&rig, "all/app").await.unwrap(), ["stays"]);
    assert!(referrers(&rig, "all/app", &image.digest, "").await.unwrap().is_empty());
    old.forget_requests();

    // Another revision in which the upstream is the same: what is known still counts.
    let same = set(&old.url(), ", freshness: { absentTtl: 1h, tagTtl: 2h }");
    rig.plane.apply(set_of(&same), "test").await.unwrap();
    for asked in Asked::THINGS {
        asked.of(&rig, "all/app", &image).await.unwrap_err();
    }
    tags(&rig, "all/app").await.unwrap();
    assert_eq!(seen(&old).len(), 0, "{:?}", seen(&old));

    rig.plane.apply(set_of(&set(&new.url(), LASTING)), "test").await.unwrap();
    for asked in Asked::ALL {
        asked.of(&rig, "all/app", &image).await.unwrap();
    }
    assert_eq!(tags(&rig, "all/app").await.unwrap(), ["1"]);
    assert_eq!(referrers(&rig, "all/app", &image.digest, "").await.unwrap(), [attached]);
    // What was cached is served as long as it counts.
    Asked::GetTag.of(&rig, "all/app", &stays).await.unwrap();
    assert_eq!(seen(&old), [""; 0]);
}

#[tokio::test]
async fn what_the_old_upstream_deleted_the_new_one_is_asked_for() {
    let (old, new) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let image = old.image("app", "1", ImageSpec::layers([100]).seed(1));
    new.image("app", "1", ImageSpec::layers([100]).seed(1));
    let spec = ", onUpstreamDelete: { refuse: true }, freshness: { absentTtl: 1h }";
    let set = |url: &str| documents(&[remote("reg", url, spec), everything()]);
    let rig = Rig::with(&set(&old.url()), Setup::default()).await;
    Asked::GetTag.of(&rig, "reg/app", &image).await.unwrap();
    old.delete_tag("app", "1");
    rig.clock.advance(Duration::from_secs(7200));
    for _ in 0..2 {
        let refusal = Asked::GetTag.of(&rig, "reg/app", &image).await.unwrap_err();
        assert!(refusal.to_string().contains("deleted reg/app:1"), "{refusal}");
    }
    let heads = old.count(|seen| seen.method == "HEAD");
    assert_eq!(heads, 1, "that it is gone is remembered");
    rig.plane.apply(set_of(&set(&new.url())), "test").await.unwrap();
    Asked::GetTag.of(&rig, "reg/app", &image).await.unwrap();
    assert_eq!(old.count(|seen| seen.method == "HEAD"), heads);
}

/// Who asks the new upstream does not wait for the old one, nor hears its word.
#[tokio::test]
async fn a_request_after_the_swap_waits_for_nobody_before_it() {
    let (old, new) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let image = new.image("app", "1", ImageSpec::layers([100]).seed(1));
    let set = |url: &str| documents(&[remote("reg", url, LASTING), everything()]);
    let rig = Arc::new(Rig::with(&set(&old.url()), Setup::default()).await);
    let held = old.behave(Match::any(), Fault::BlackHole);
    let before: Vec<_> = [Asked::GetTag, Asked::GetDigest, Asked::Tags, Asked::Referrers]
        .map(|asked| {
            let (rig, image) = (rig.clone(), image.clone());
            tokio::spawn(async move { asked.of(&rig, "reg/app", &image).await.is_err() })
        })
        .into_iter()
        .collect();
    old.eventually("all hang", |_| held.hits() >= 4).await;
    rig.plane.apply(set_of(&set(&new.url())), "test").await.unwrap();
    for asked in Asked::ALL {
        asked.of(&rig, "reg/app", &image).await.unwrap();
    }
    for request in before {
        assert!(request.await.unwrap(), "it was asked of the old one, which says nothing");
    }
    for asked in Asked::ALL {
        asked.of(&rig, "reg/app", &image).await.unwrap();
    }
}
