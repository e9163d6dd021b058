//! Tags and referrers, page by page.

use crate::support::*;
use testkit::{FakeRegistry, Fault, ImageSpec, Match, Referrers};
use upstream::FailureKind;

async fn registry() -> (FakeRegistry, testkit::Image) {
    let registry = FakeRegistry::start().await;
    let image = registry.image("a/b", "t0", ImageSpec::layers([100]));
    for index in 1..7 {
        registry.move_tag("a/b", &format!("t{index}"), &image.digest);
    }
    (registry, image)
}

#[tokio::test]
async fn all_pages_of_tags_are_read() {
    let (registry, _) = registry().await;
    registry.set_page_size(2);
    let tags = upstream(&[&registry]).tags(&name("a/b"), WAITING).await.unwrap();
    let tags: Vec<&str> = tags.iter().map(oci::Tag::as_str).collect();
    assert_eq!(tags, ["t0", "t1", "t2", "t3", "t4", "t5", "t6"]);
    assert_eq!(registry.requests().len(), 4);
}

#[tokio::test]
async fn tags_that_nobody_can_ask_for_are_left_out() {
    let (registry, _) = registry().await;
    let body = r#"{"name":"a/b","tags":["good","not good","-bad",""]}"#;
    registry.behave(Match::path_contains("/tags/"), Fault::status(200).body(body));
    let tags = upstream(&[&registry]).tags(&name("a/b"), WAITING).await.unwrap();
    assert_eq!(tags.len(), 1);
    registry.clear();
    let none = Fault::status(200).body(r#"{"name":"a/b","tags":null}"#);
    registry.behave(Match::path_contains("/tags/"), none);
    assert_eq!(upstream(&[&registry]).tags(&name("a/b"), WAITING).await.unwrap(), []);
}

#[tokio::test]
async fn a_list_is_whole_or_not_known() {
    let circle = Fault::header("link", "</v2/a/b/tags/list?last=t1>; rel=\"next\"");
    let elsewhere = Fault::header("link", "<http://127.0.0.1:1/x?last=t1>; rel=\"next\"");
    for fault in [circle, elsewhere, Fault::HugeBody(33 << 20), Fault::html().into()] {
        let (registry, _) = registry().await;
        registry.behave(Match::path_contains("/tags/"), fault.clone());
        let refused = upstream(&[&registry]).tags(&name("a/b"), WAITING).await;
        assert_eq!(kind(refused), FailureKind::Indeterminate, "{fault:?}");
        assert!(registry.requests().len() <= 4);
    }
    let (registry, _) = registry().await;
    registry.set_page_size(2);
    registry.behave(Match::path_contains("/tags/").after(1), Fault::status(500));
    let refused = upstream(&[&registry]).tags(&name("a/b"), WAITING).await;
    assert_eq!(kind(refused), FailureKind::Indeterminate);
    let absent = upstream(&[&registry]).tags(&name("no/such"), WAITING).await;
    assert_ne!(kind(absent), FailureKind::Denied);
}

#[tokio::test]
async fn referrers_come_from_the_api_alone() {
    for how in [Referrers::Api, Referrers::FallbackTag, Referrers::Off] {
        let (registry, image) = registry().await;
        registry.set_referrers(how);
        let signature = registry.referrer("a/b", &image.digest, "application/x.sig", "signed");
        let upstream = upstream(&[&registry]);
        let subject = digest(&image.digest);
        let found = upstream.referrers(&name("a/b"), &subject, WAITING).await.unwrap();
        if how != Referrers::Api {
            assert_eq!(found, []);
        } else {
            assert_eq!(found.len(), 1, "{how:?}");
            assert_eq!(found[0].digest, digest(&signature.digest));
            assert_eq!(found[0].artifact_type.as_deref(), Some("application/x.sig"));
        }
    }
}

#[tokio::test]
async fn a_referrers_api_that_leads_astray_is_none() {
    let astray = Fault::Redirect("https://github.example/-/v2/packages".into());
    for fault in [astray, Fault::status(405).into(), Fault::status(404).body("<html>").into()] {
        let (registry, image) = registry().await;
        registry.set_referrers(Referrers::FallbackTag);
        registry.referrer("a/b", &image.digest, "application/x.sig", "signed");
        registry.behave(Match::path_contains("/referrers/"), fault.clone());
        let upstream = upstream(&[&registry]);
        let found = upstream.referrers(&name("a/b"), &digest(&image.digest), WAITING).await;
        assert_eq!(found.unwrap(), [], "{fault:?}");
    }
}

#[tokio::test]
async fn an_outage_is_not_an_absence_of_referrers() {
    for fault in [Fault::from(Fault::status(500)), Fault::html().into(), Fault::Drop] {
        let (registry, image) = registry().await;
        registry.behave(Match::any(), fault.clone());
        let upstream = upstream(&[&registry]);
        let found = upstream.referrers(&name("a/b"), &digest(&image.digest), WAITING).await;
        assert_eq!(kind(found), FailureKind::Indeterminate, "{fault:?}");
    }
}

#[tokio::test]
async fn repositories_are_listed_to_the_last_page() {
    let (registry, _) = registry().await;
    registry.image("c/d", "1", ImageSpec::layers([10]));
    registry.image("e", "1", ImageSpec::layers([10]));
    registry.set_page_size(1);
    let upstream = upstream(&[&registry]);
    assert_eq!(upstream.names(WAITING).await.unwrap(), [name("a/b"), name("c/d"), name("e")]);
    registry.behave(Match::path_contains("_catalog"), Fault::status(404));
    let refused = upstream.names(WAITING).await.unwrap_err();
    assert!(refused.to_string().contains("_catalog"), "{refused}");
}
