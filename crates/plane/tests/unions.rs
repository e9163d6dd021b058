//! Lists of virtual repositories, and who may see what of their members: access is judged under the
//! member's own name, and the same bytes at a closed member close nothing elsewhere.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use plane::{Method, Refusal, What};
use std::collections::BTreeSet;
use support::members::{Asked, ELSEWHERE, access, documents, hosted, remote, seen, tags, union};
use support::{Rig, Setup, body, image_manifest, set_of};
use testkit::{FakeRegistry, Fault, ImageSpec, Match};

/// Tags as a client reads them, page by page.
async fn all_pages(rig: &Rig, name: &str, n: usize) -> (Vec<String>, usize) {
    let (mut all, mut pages, mut last) = (Vec::new(), 0, String::new());
    loop {
        let path = format!("/v2/{name}/tags/list?n={n}&last={last}");
        let What::Tags { tags, more_after, .. } = rig.get(&path).await.unwrap().what else {
            panic!("no tags")
        };
        assert!(tags.len() <= n);
        pages += 1;
        all.extend(tags.iter().map(ToString::to_string));
        match more_after {
            Some(tag) => last = tag.to_string(),
            None => return (all, pages),
        }
    }
}

#[tokio::test]
async fn tags_are_the_union_of_all_members_in_pages() {
    let registry = FakeRegistry::start().await;
    registry.set_page_size(1000);
    let image = registry.image("app", "t00000", ImageSpec::layers([10]));
    let mut wanted = BTreeSet::new();
    // 5,000 there, of which every other one is here as well, and 10,000 here.
    for number in 0..5000 {
        let tag = format!("t{:05}", number * 2);
        registry.move_tag("app", &tag, &image.digest);
        wanted.insert(tag);
    }
    let rig = Rig::with(
        &documents(&[
            hosted("own"),
            remote("reg", &registry.url(), ""),
            union("all", &["own", "reg"], ""),
            access(&[("'*'", "'**'")]),
        ]),
        Setup::default(),
    )
    .await;
    rig.push_blob("own/app", b"{}").await.unwrap();
    let manifest = serde_json::to_vec(&image_manifest(b"{}", &[])).unwrap();
    for chunk in (0..10_000).collect::<Vec<u32>>().chunks(64) {
        let texts = chunk.iter().map(|number| format!("t{:05}", number * 4));
        let query: Vec<String> = texts.clone().map(|tag| format!("tag={tag}")).collect();
        wanted.extend(texts);
        let digest = oci::Digest::sha256(&manifest);
        let path = format!("/v2/own/app/manifests/{digest}?{}", query.join("&"));
        let incoming = body(&manifest).with_lines(Some(testkit::OCI_MANIFEST.to_owned()), None);
        rig.send(Method::Put, &path, incoming).await.unwrap();
    }
    let wanted: Vec<String> = wanted.into_iter().collect();
    assert_eq!(wanted.len(), 12_500);
    for (n, pages) in [(1000, 13), (999, 13), (12_500, 2), (10_000, 2)] {
        assert_eq!(all_pages(&rig, "all/app", n).await, (wanted.clone(), pages), "n={n}");
    }
    // Without `n` a page has its most, and says that there is more.
    let What::Tags { tags, more_after, .. } = rig.get("/v2/all/app/tags/list").await.unwrap().what
    else {
        panic!("no tags")
    };
    assert_eq!((tags.len(), more_after.as_ref()), (10_000, tags.last()));
    // What is no tag sorts among them all the same: the rest of each page comes after it.
    for (last, first) in [("t39995~", "t39996"), ("t39996/", "")] {
        let path = format!("/v2/all/app/tags/list?last={last}");
        let What::Tags { tags, .. } = rig.get(&path).await.unwrap().what else { panic!() };
        assert_eq!(tags.first().map(ToString::to_string).unwrap_or_default(), first, "{last}");
    }
    let requests = seen(&registry);
    assert_eq!(requests, ["GET /v2/app/tags/list"; 5], "its list is fetched once, in its pages");
}

#[tokio::test]
async fn a_member_that_cannot_tell_its_tags_fails_the_list() {
    let registry = FakeRegistry::start().await;
    registry.behave(Match::path_contains("/tags/"), Fault::status(500));
    let all = |policy| {
        documents(&[
            hosted("own"),
            remote("reg", &registry.url(), ""),
            union("all", &["own", "reg"], ""),
            policy,
        ])
    };
    let rig = Rig::with(&all(access(&[("'*'", "'**'")])), Setup::default()).await;
    rig.push_image("own/app", "1", "x").await.unwrap();
    let refusal = tags(&rig, "all/app").await.unwrap_err();
    assert!(refusal.to_string().contains("member reg of all cannot tell"), "{refusal}");
    // Whoever may not use it, is not kept from the rest by it.
    let own = access(&[("List", "'own/**'")]);
    rig.plane.apply(set_of(&all(own)), "test").await.unwrap();
    assert_eq!(tags(&rig, "all/app").await.unwrap(), ["1"]);
}

#[tokio::test]
async fn a_member_that_the_asker_may_not_use_is_a_refusal_and_no_reason_to_go_on() {
    let (closed, open) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let secret = closed.image("app", "1", ImageSpec::layers([10]).seed(1));
    let public = open.image("app", "1", ImageSpec::layers([10]).seed(2));
    let other = open.image("app", "2", ImageSpec::layers([10]).seed(3));
    let rig = Rig::with(
        &documents(&[
            remote("closed", &closed.url(), ""),
            remote("open", &open.url(), ""),
            union("all", &["closed", "open"], ", pushTo: own")
                .replace("{ repository: open }", "{ repository: open }, { repository: own }"),
            hosted("own"),
            access(&[("Pull, List, Referrers", "'open/**', 'own/**'")]),
        ]),
        Setup::default(),
    )
    .await;
    for asked in [Asked::GetTag, Asked::HeadTag, Asked::GetDigest, Asked::GetBlob] {
        let refusal = asked.of(&rig, "all/app", &secret).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Denied(_)), "{asked:?}: {refusal:?}");
        assert!(refusal.to_string().contains("closed/app"), "under its own name: {refusal}");
    }
    Asked::GetTag.of(&rig, "open/app", &public).await.unwrap();
    Asked::GetTag.of(&rig, "all/app", &other).await.unwrap();
    assert_eq!(tags(&rig, "all/app").await.unwrap(), ["1", "2"]);
    let refusal = rig.push_blob("all/app", b"x").await.unwrap_err();
    assert!(refusal.to_string().contains("Push on own/app"), "{refusal}");

    // Who may use none of them costs nobody a question.
    closed.forget_requests();
    open.forget_requests();
    let nobody = access(&[("Pull", "'else/**'")]);
    let text = documents(&[
        remote("closed", &closed.url(), ""),
        remote("open", &open.url(), ""),
        union("all", &["closed", "open"], ""),
        nobody,
    ]);
    rig.plane.apply(set_of(&text), "test").await.unwrap();
    for asked in Asked::ALL {
        let refusal = asked.of(&rig, "all/app", &other).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Denied(_)), "{asked:?}: {refusal:?}");
    }
    let elsewhere = rig.ask_as(ELSEWHERE, Method::Get, "/v2/all/app/manifests/2").await;
    assert!(matches!(elsewhere, Err(Refusal::Denied(_))), "{elsewhere:?}");
    assert_eq!((seen(&closed), seen(&open)), (vec![], vec![]));
}

/// Base layers are the same everywhere: that a closed member holds one must not break a pull from an
/// open one.
#[tokio::test]
async fn bytes_that_a_closed_member_holds_too_are_not_closed_elsewhere() {
    let (closed, open) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let image = open.image("app", "1", ImageSpec::layers([5000]).seed(1));
    closed.image("app", "other", ImageSpec::layers([5000]).seed(1));
    let all = |policy, order: &[&str]| {
        documents(&[
            remote("closed", &closed.url(), ""),
            remote("open", &open.url(), ""),
            union("all", order, ""),
            policy,
        ])
    };
    let everybody = || access(&[("'*'", "'**'")]);
    let rig = Rig::with(&all(everybody(), &["open", "closed"]), Setup::default()).await;
    let blob = testkit::blob_path("closed/app", &image.layers[0].digest);
    rig.blob(&blob).await.unwrap();
    for order in [["open", "closed"], ["closed", "open"]] {
        let rule = access(&[("'*'", "'open/**'")]);
        rig.plane.apply(set_of(&all(rule, &order)), "test").await.unwrap();
        if order[0] == "open" {
            Asked::GetTag.of(&rig, "all/app", &image).await.unwrap();
        }
        for asked in [Asked::HeadBlob, Asked::GetBlob] {
            asked.of(&rig, "all/app", &image).await.unwrap();
        }
    }
    let refusal = rig.blob(&blob).await.unwrap_err();
    assert!(refusal.contains("closed/app"), "{refusal}");
}
