//! Virtual repositories: one name over several, asked in their order. Only "not there, for certain"
//! moves on, claimed names stay with whoever claims them, and pushes land where they are found.
#![allow(clippy::unwrap_used, reason = "what cannot be had is a failed test")]

mod support;

use plane::{Incoming, JobState, Method, PrefetchRequest, Refusal};
use support::members::{Asked, access, documents, hosted, remote, seen, tags, union};
use support::{LOOPBACK, Rig, Setup, set_of};
use testkit::{FakeRegistry, Fault, Image, ImageSpec, Match};

const EVERYTHING: &[(&str, &str)] = &[("'*'", "'**'")];

async fn plane(all: &[String]) -> Rig {
    Rig::with(&documents(all), Setup::default()).await
}

/// Two registries, of which the second alone has an image; both behind `all`, in order.
async fn two(spec: &str) -> (FakeRegistry, FakeRegistry, Image, Rig) {
    let (first, second) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let image = second.image("team/app", "1", ImageSpec::layers([1000, 5000]));
    let rig = plane(&[
        remote("first", &first.url(), spec),
        remote("second", &second.url(), ""),
        union("all", &["first", "second"], ""),
        access(EVERYTHING),
    ])
    .await;
    (first, second, image, rig)
}

#[tokio::test]
async fn what_the_first_has_not_for_certain_comes_from_the_second() {
    for asked in Asked::ALL {
        let (_first, _second, image, rig) = two("").await;
        asked.of(&rig, "all/team/app", &image).await.unwrap();
    }
    // And what nobody has is absent, with the names of all who said so.
    let (_first, _second, mut image, rig) = two("").await;
    image.tag = Some("no".to_owned());
    let refusal = Asked::GetTag.of(&rig, "all/team/app", &image).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Absent { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("no member of all has it (first, second)"), "{refusal}");
    let refusal = tags(&rig, "all/no/such").await.unwrap_err();
    assert!(matches!(refusal, Refusal::Absent { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("no member of all has it (first, second)"), "{refusal}");
}

/// One table for all kinds of requests: they must agree.
#[tokio::test]
async fn whoever_refuses_or_cannot_tell_ends_the_search_and_is_named() {
    type IsRight = fn(&Refusal) -> bool;
    let faults: [(&str, Fault, IsRight); 6] = [
        ("503", Fault::status(503).into(), |it| matches!(it, Refusal::Indeterminate { .. })),
        ("hangs", Fault::BlackHole, |it| matches!(it, Refusal::Indeterminate { .. })),
        ("drops", Fault::Drop, |it| matches!(it, Refusal::Indeterminate { .. })),
        ("a page", Fault::html().into(), |it| matches!(it, Refusal::Indeterminate { .. })),
        ("401", Fault::status(401).into(), |it| matches!(it, Refusal::UpstreamDenied(_))),
        ("429", Fault::too_many_requests(7).into(), |it| {
            matches!(it, Refusal::Indeterminate { is_rate_limit: true, retry_after: Some(_), .. })
        }),
    ];
    for (fault, how, is_right) in faults {
        let (first, second, image, rig) = two("").await;
        first.behave(Match::any(), how);
        for asked in Asked::ALL {
            let refused = asked.of(&rig, "all/team/app", &image).await;
            let refusal = match refused {
                Err(refusal) => refusal,
                Ok(served) => panic!("{fault}, {asked:?}: {served:?}"),
            };
            assert!(is_right(&refusal), "{fault}, {asked:?}: {refusal:?}");
            let text = refusal.to_string();
            assert!(text.contains("member first of all"), "{fault}, {asked:?}: {text}");
            assert!(text.contains("upstream first"), "{fault}, {asked:?}: {text}");
            if Asked::THINGS.contains(&asked) {
                assert_eq!(seen(&second), [""; 0], "{fault}, {asked:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_was_deleted_at_the_first_comes_from_the_second() {
    let (first, second, image, rig) = two(", onUpstreamDelete: { refuse: true }").await;
    let own = first.image("team/app", "1", ImageSpec::layers([700]).seed(1));
    Asked::GetTag.of(&rig, "all/team/app", &own).await.unwrap();
    assert_eq!(seen(&second), [""; 0]);
    first.delete_repository("team/app");
    rig.clock.advance(std::time::Duration::from_secs(7200));
    for asked in Asked::ALL {
        asked.of(&rig, "all/team/app", &image).await.unwrap();
    }
}

#[tokio::test]
async fn an_image_of_the_second_costs_the_first_one_question() {
    let (first, second, image, rig) = two(", freshness: { absentTtl: 1h }").await;
    let pull = async || {
        for asked in [Asked::HeadTag, Asked::GetTag, Asked::GetDigest] {
            asked.of(&rig, "all/team/app", &image).await.unwrap();
        }
        // Clients take longer to read a manifest than the catalog to note it.
        let (name, layer) = ("second/team/app".parse().unwrap(), image.layers[0].digest.parse());
        let layer = layer.unwrap();
        rig.eventually("the manifest is noted", async |rig| {
            !rig.catalog.listed_by(&name, &layer, 1).unwrap().is_empty()
        })
        .await;
        for layer in image.layers.iter().chain([&image.config]) {
            let path = testkit::blob_path("all/team/app", &layer.digest);
            assert_eq!(rig.blob(&path).await.unwrap().0.len() as u64, layer.size_bytes);
        }
    };
    pull().await;
    assert_eq!(seen(&first), ["GET /v2/team/app/manifests/1"]);
    rig.eventually("all is stored", async |rig| {
        let all = image.layers.iter().chain([&image.config]);
        all.clone().all(|it| rig.store.blob(&it.digest.parse().unwrap()).unwrap().is_some())
    })
    .await;
    first.forget_requests();
    second.forget_requests();
    pull().await;
    assert_eq!((seen(&first), seen(&second)), (vec![], vec![]), "what is held is asked of nobody");
}

#[tokio::test]
async fn a_claimed_name_is_asked_of_its_claimer_alone() {
    let (private, public) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let image = public.image("mycorp/app", "1", ImageSpec::layers([1000]));
    let other = public.image("else/app", "1", ImageSpec::layers([1000]).seed(3));
    let claimed = "private, claims: ['mycorp/**']";
    for (order, inner) in [
        // The order says nothing about claims, and neither does the depth.
        (vec!["public", claimed], vec!["private"]),
        (vec![claimed, "public"], vec!["private"]),
        (vec!["public", "inner"], vec![claimed, "public"]),
        (vec!["public", "inner, claims: ['mycorp/**']"], vec!["private"]),
    ] {
        private.clear();
        let rig = plane(&[
            remote("private", &private.url(), ""),
            remote("public", &public.url(), ""),
            union("inner", &inner, ""),
            union("all", &order, ""),
            access(EVERYTHING),
        ])
        .await;
        public.forget_requests();
        for asked in Asked::ALL {
            match asked.of(&rig, "all/mycorp/app", &image).await {
                Err(refusal) => assert!(matches!(refusal, Refusal::Absent { .. }), "{refusal:?}"),
                Ok(served) => assert_eq!(asked, Asked::Referrers, "{served:?}"),
            }
        }
        assert_eq!(seen(&public), [""; 0], "{order:?}");
        Asked::GetTag.of(&rig, "all/else/app", &other).await.unwrap();
        public.forget_requests();
        private.behave(Match::any(), Fault::status(503));
        let rig = plane(&[
            remote("private", &private.url(), ""),
            remote("public", &public.url(), ""),
            union("inner", &inner, ""),
            union("all", &order, ""),
            access(EVERYTHING),
        ])
        .await;
        for asked in Asked::ALL {
            let refusal = asked.of(&rig, "all/mycorp/app", &image).await.unwrap_err();
            assert!(matches!(refusal, Refusal::Indeterminate { .. }), "{asked:?}: {refusal:?}");
        }
        assert_eq!(seen(&public), [""; 0], "{order:?}");
    }
}

#[tokio::test]
async fn members_are_asked_for_their_names_only_and_by_their_own_words() {
    let (hub, mirror) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let official = hub.image("library/nginx", "1", ImageSpec::layers([100]));
    let rewritten = mirror.image("team/app", "1", ImageSpec::layers([100]).seed(1));
    let hub_documents =
        remote("hub", &hub.url(), "").replace("  boundary", "  profile: DockerHub\n  boundary");
    let rig = plane(&[
        hub_documents,
        remote("mirror", &mirror.url(), ""),
        union(
            "all",
            &[
                "hub, include: ['library/**'], exclude: ['library/evil', '**/internal']",
                "mirror, rewrite: { from: 'm/(.*)/(.*)', to: '$1/$2' }",
            ],
            "",
        ),
        access(EVERYTHING),
    ])
    .await;
    // The `library/` that nobody writes is part of the name below the member.
    Asked::GetTag.of(&rig, "all/nginx", &official).await.unwrap();
    Asked::GetTag.of(&rig, "all/library/nginx", &official).await.unwrap();
    Asked::GetTag.of(&rig, "all/m/team/app", &rewritten).await.unwrap();
    hub.forget_requests();
    mirror.forget_requests();
    for name in ["evil", "library/evil", "x/internal", "team/app", "xm/team/app", "m/app"] {
        for asked in Asked::ALL {
            let refusal = asked.of(&rig, &format!("all/{name}"), &official).await.unwrap_err();
            assert!(matches!(refusal, Refusal::NoRepository(_)), "{name}: {refusal:?}");
            assert!(refusal.to_string().contains("repository all"), "{refusal}");
        }
    }
    assert_eq!((seen(&hub), seen(&mirror)), (vec![], vec![]));
}

#[tokio::test]
async fn what_two_ways_lead_to_is_asked_once_and_a_circle_is_refused() {
    let registry = FakeRegistry::start().await;
    let all = |inner: &str| {
        documents(&[
            remote("reg", &registry.url(), ", freshness: { absentTtl: 0s }"),
            union("one", &["reg"], ""),
            union("two", &["reg", inner], ""),
            union("all", &["one", "two", "reg"], ""),
            access(EVERYTHING),
        ])
    };
    let rig = Rig::with(&all("one"), Setup::default()).await;
    let refusal = rig.get("/v2/all/team/app/manifests/1").await.unwrap_err();
    assert!(matches!(refusal, Refusal::Absent { .. }), "{refusal:?}");
    assert_eq!(seen(&registry), ["GET /v2/team/app/manifests/1"]);
    let problems = set_of(&all("all")).unwrap_err().to_string();
    assert!(problems.contains("the members lead in a circle: all → two → all"), "{problems}");
}

#[tokio::test]
async fn a_push_by_the_virtual_name_wins_at_once() {
    let registry = FakeRegistry::start().await;
    let theirs = registry.image("team/app", "1", ImageSpec::layers([1000]));
    let rig = plane(&[
        hosted("own"),
        remote("reg", &registry.url(), ", freshness: { absentTtl: 1h }"),
        union("all", &["own", "reg"], ", pushTo: own"),
        access(EVERYTHING),
    ])
    .await;
    // Found absent in the hosted member, and of the other in every cache there is. HEAD of a blob is
    // another question from whoever may push (tests/derived.rs).
    for asked in Asked::ALL.into_iter().filter(|asked| *asked != Asked::HeadBlob) {
        asked.of(&rig, "all/team/app", &theirs).await.unwrap();
    }
    let absent = rig.get("/v2/all/team/app/manifests/2").await.unwrap_err();
    assert!(matches!(absent, Refusal::Absent { .. }), "{absent:?}");
    registry.forget_requests();
    for tag in ["1", "2"] {
        let ours = rig.push_image("all/team/app", tag, tag).await.unwrap();
        let path = |name: &str, reference: &str| format!("/v2/{name}/manifests/{reference}");
        for name in ["all/team/app", "own/team/app"] {
            let (bytes, _) = rig.manifest(&path(name, tag)).await.unwrap();
            assert_eq!(oci::Digest::sha256(&bytes), ours, "{name}:{tag}");
            rig.manifest(&path(name, &ours.to_string())).await.unwrap();
        }
        let layer = oci::Digest::sha256(format!("the layer of {tag}").as_bytes());
        rig.blob(&format!("/v2/all/team/app/blobs/{layer}")).await.unwrap();
    }
    assert_eq!(tags(&rig, "all/team/app").await.unwrap(), ["1", "2"]);
    assert_eq!(seen(&registry), [""; 0], "neither a push nor what is held asks anybody");

    // What is deleted by it is the target's, and the other shows again.
    rig.ask(Method::Delete, "/v2/all/team/app/manifests/1").await.unwrap();
    Asked::GetTag.of(&rig, "all/team/app", &theirs).await.unwrap();
}

#[tokio::test]
async fn what_a_later_member_holds_is_asked_of_nobody_by_its_digest() {
    let registry = FakeRegistry::start().await;
    let rig = plane(&[
        remote("reg", &registry.url(), ""),
        hosted("own"),
        union("all", &["reg", "own"], ", pushTo: own"),
        access(EVERYTHING),
    ])
    .await;
    let digest = rig.push_image("all/team/app", "1", "x").await.unwrap();
    let layer = oci::Digest::sha256(b"the layer of x");
    for method in [Method::Head, Method::Get] {
        for thing in [format!("manifests/{digest}"), format!("blobs/{layer}")] {
            rig.ask(method, &format!("/v2/all/team/app/{thing}")).await.unwrap();
        }
    }
    assert_eq!(seen(&registry), [""; 0]);
    // What a tag means is asked in order.
    rig.manifest("/v2/all/team/app/manifests/1").await.unwrap();
    assert_eq!(seen(&registry), ["GET /v2/team/app/manifests/1"]);
    registry.behave(Match::any(), Fault::status(503));
    rig.manifest(&format!("/v2/all/team/app/manifests/{digest}")).await.unwrap();
    let refusal = rig.get("/v2/all/team/app/manifests/2").await.unwrap_err();
    assert!(matches!(refusal, Refusal::Indeterminate { .. }), "{refusal:?}");
}

#[tokio::test]
async fn a_push_that_nobody_would_find_is_refused_with_the_reason() {
    let registry = FakeRegistry::start().await;
    let rig = plane(&[
        hosted("own"),
        remote("reg", &registry.url(), ""),
        union("inner", &["reg, claims: ['deep/**']"], ""),
        union(
            "all",
            &["own, exclude: ['no/**']", "reg, claims: ['theirs/**']", "inner"],
            ", pushTo: own",
        ),
        union("none", &["own"], ""),
        access(EVERYTHING),
    ])
    .await;
    for (name, reason) in [
        ("all/theirs/app", "claimed by member reg"),
        ("all/deep/app", "claimed by member reg"),
        ("all/no/app", "no member of the virtual Repository all takes pushes"),
        ("none/app", "no member of the virtual Repository none takes pushes"),
    ] {
        let refusal = rig.push_blob(name, b"x").await.unwrap_err();
        assert!(matches!(refusal, Refusal::Denied(_)), "{name}: {refusal:?}");
        assert!(refusal.to_string().contains(reason), "{name}: {refusal}");
        let delete = format!("/v2/{name}/manifests/1");
        let refusal = rig.ask(Method::Delete, &delete).await.unwrap_err();
        assert!(refusal.to_string().contains(reason), "{name}: {refusal}");
    }
    rig.push_blob("all/mine/app", b"x").await.unwrap();
    assert_eq!(seen(&registry), [""; 0]);
}

#[tokio::test]
async fn a_plane_stands_for_docker_hub_with_a_virtual_repository() {
    let hub = FakeRegistry::start().await;
    let official = hub.image("library/nginx", "1", ImageSpec::layers([100]));
    let mut mirror = union("mirror", &["own, claims: ['mycorp/**']", "docker.io"], ", pushTo: own");
    mirror = mirror.replace("spec: {", "spec: { hosts: [docker.io, hub.corp],");
    let rig = plane(&[
        // The built-in repository gives its hosts away.
        remote("docker.io", &hub.url(), "")
            .replace("  boundary", "  profile: DockerHub\n  boundary"),
        hosted("own"),
        mirror,
        access(EVERYTHING),
    ])
    .await;
    let ours = rig.push_image("own/mycorp/app", "1", "x").await.unwrap();
    for path in ["library/nginx", "docker.io/library/nginx"] {
        let path = format!("/v2/{path}/manifests/1?ns=docker.io");
        let served = rig.get(&path).await.unwrap();
        assert_eq!(served.namespace.as_deref(), Some("docker.io"), "{path}");
    }
    let (bytes, _) = rig.manifest("/v2/mycorp/app/manifests/1?ns=docker.io").await.unwrap();
    assert_eq!(oci::Digest::sha256(&bytes), ours);
    for (host, path) in [
        ("hub.corp", "/v2/library/nginx/manifests/1"),
        ("HUB.corp:443", "/v2/nginx/manifests/1"),
        ("plane:5050", "/v2/hub.corp/nginx/manifests/1"),
    ] {
        let asked = rig.send_to(host, LOOPBACK, Method::Get, path, Incoming::none()).await;
        asked.unwrap_or_else(|refusal| panic!("{host}{path}: {refusal}"));
    }
    assert_eq!(seen(&hub), [format!("GET {}", official.tag_path())]);
}

#[tokio::test]
async fn a_prefetch_goes_where_a_pull_would() {
    let (first, _second, image, rig) = two("").await;
    let ask = async |references: &[&str]| {
        let references = references.iter().map(|it| (*it).to_owned()).collect();
        let request = PrefetchRequest { references, platforms: Vec::new() };
        let job = rig.plane.prefetch(request).await.unwrap();
        let mut changes = rig.plane.job(&job.id).unwrap();
        changes.wait_for(|view| view.state.is_final()).await.unwrap().clone()
    };
    let view = ask(&["all/team/app:1"]).await;
    assert_eq!(view.state, JobState::Done, "{view:?}");
    assert_eq!(view.done_bytes, 6000 + image.config.size_bytes);
    // One that cannot tell ends this search, too.
    first.behave(Match::any(), Fault::status(503));
    rig.clock.advance(std::time::Duration::from_secs(60));
    let view = ask(&["all/team/other:1"]).await;
    assert_eq!(view.state, JobState::Failed, "{view:?}");
    assert!(view.items[0].problem.as_deref().unwrap().contains("upstream first"), "{view:?}");
}
