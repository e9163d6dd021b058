//! What an artifact is made of and says of itself.

use crate::world::*;
use oci::MediaType;
use policy::{
    ArtifactKind, BaseImage, Check, Evidence, Fact, NamePattern, Outcome, Pairs, RuleOutcome,
};

const LICENCES: &str = "org.opencontainers.image.licenses";
const BASE: &str = "org.opencontainers.image.base.name";

fn image() -> World {
    World::by_digest()
}

fn labelled(key: &str, value: &str) -> World {
    image().config(|config| {
        config.labels.insert(key.to_owned(), value.to_owned());
    })
}

fn annotated(key: &str, value: &str) -> World {
    image().manifest(|manifest| {
        manifest.annotations.insert(key.to_owned(), value.to_owned());
    })
}

fn rules(require: &[(&str, &str)], deny: &[(&str, &str)]) -> Pairs {
    let all = |list: &[(&str, &str)]| {
        list.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect()
    };
    Pairs { require: all(require), deny: all(deny) }
}

#[test]
fn what_is_of_images_is_left_to_the_images_of_an_index() {
    let base = BaseImage { allow: vec![name("x/**")] };
    for check in [
        Check::Platforms(vec![text("windows/*")]),
        Check::Size { max_bytes: 1 },
        Check::Labels(rules(&[("owner", "*")], &[])),
        Check::BaseImage(base),
        Check::Licences(texts(&["MIT"], &[])),
    ] {
        let index = image().kind(ArtifactKind::Index);
        says(&index.judge(check.clone()), &Outcome::NotApplicable, "", "");
        let of_image = image().judge(check).outcome;
        assert!(matches!(of_image, Outcome::Refuses | Outcome::Unknown), "{of_image:?}");
    }
}

#[test]
fn platforms_with_and_without_their_variant() {
    let check = |allow: &[&str]| Check::Platforms(allow.iter().map(|it| text(it)).collect());
    for allowed in ["linux/arm64", "linux/arm64/v8", "linux/*", "*/arm64"] {
        says(&image().judge(check(&["windows/amd64", allowed])), &Outcome::Pass, "", "");
    }
    let found = image().judge(check(&["linux/amd64", "linux/arm64/v9"]));
    says(
        &found,
        &Outcome::Refuses,
        "its platform is linux/arm64/v8",
        "use an image for linux/amd64, linux/arm64/v9",
    );
    let silent = image().config(|config| config.platform = None);
    says(&silent.judge(check(&["*/*"])), &Outcome::Unknown, "does not say its platform", "build");
    let odd = image().with(|facts| facts.config = Fact::unknown("it is no JSON"));
    says(&odd.judge(check(&["*/*"])), &Outcome::Unknown, "it is no JSON", "");
    let down = image().with(|facts| facts.config = Fact::failed("connection refused"));
    says(&down.judge(check(&["*/*"])), &FAILED, "connection refused", "");
}

#[test]
fn size_up_to_and_including_the_bound() {
    let check = |max_bytes| Check::Size { max_bytes };
    says(&image().judge(check(1000)), &Outcome::Pass, "", "");
    says(&image().judge(check(999)), &Outcome::Refuses, "1000B, more than 999B", "smaller");
    let unread = image().with(|facts| facts.manifest = None);
    says(&unread.judge(check(1)), &Outcome::Unknown, "the manifest cannot be read", "");
}

#[test]
fn media_types_of_the_manifest_and_each_part() {
    let check = |allow: &[&str], deny: &[&str]| Check::MediaTypes(texts(allow, deny));
    let oci = "application/vnd.oci.image.**";
    says(&image().judge(check(&[oci], &["**foreign**"])), &Outcome::Pass, "", "");
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let with_foreign = image().manifest(|manifest| {
        manifest.part_types.push(MediaType::parse(foreign).unwrap());
    });
    let reason = format!("media type {foreign} is not allowed");
    says(&with_foreign.judge(check(&[oci], &[])), &Outcome::Refuses, &reason, "without it");
    let denied = check(&[], &["application/*.foreign.*"]);
    says(&with_foreign.judge(denied), &Outcome::Refuses, &reason, "without it");
    let of_index = image().kind(ArtifactKind::Index).judge(check(&["text/*"], &[]));
    assert_eq!(of_index.outcome, Outcome::Refuses, "an index has a media type of its own");
}

#[test]
fn labels_that_have_to_be_and_must_not_be() {
    let check = |require: &[(&str, &str)], deny: &[(&str, &str)]| {
        image().judge(Check::Labels(rules(require, deny)))
    };
    says(&check(&[("team", "sh*")], &[("stage", "alpha")]), &Outcome::Pass, "", "");
    let found = check(&[("owner", "*")], &[]);
    says(&found, &Outcome::Refuses, "it has no label owner", "set the label owner");
    let found = check(&[("team", "bank")], &[]);
    says(&found, &Outcome::Refuses, "label team is \"shop\"", "set it to fit bank");
    let found = check(&[("team", "*")], &[("stage", "{alpha,beta}")]);
    says(&found, &Outcome::Refuses, "label stage is \"beta\", which is not", "without it");
    let down = image().with(|facts| facts.config = Fact::failed("timeout"));
    says(&down.judge(Check::Labels(rules(&[("a", "*")], &[]))), &FAILED, "timeout", "");
}

#[test]
fn annotations_are_the_manifests_and_also_of_an_index() {
    let check = || Check::Annotations(rules(&[("ticket", "OPS-*")], &[]));
    says(&annotated("ticket", "OPS-7").judge(check()), &Outcome::Pass, "", "");
    let found = labelled("ticket", "OPS-7").kind(ArtifactKind::Index).judge(check());
    says(&found, &Outcome::Refuses, "it has no annotation ticket", "set the annotation ticket");
    let found = annotated("ticket", &"x\n".repeat(99)).judge(check());
    assert!(found.reason.len() < 120 && !found.reason.contains('\n'), "{found:?}");
}

#[test]
fn base_images_by_annotation_or_label_without_tag_and_digest() {
    let check = || Check::BaseImage(BaseImage { allow: vec![name("registry.corp:5000/base/*")] });
    let good = "registry.corp:5000/base/debian";
    for written in
        [good.to_owned(), format!("{good}:12"), format!("{good}:12@sha256:{}", "0".repeat(64))]
    {
        says(&annotated(BASE, &written).judge(check()), &Outcome::Pass, "", "");
        says(&labelled(BASE, &written).judge(check()), &Outcome::Pass, "", "");
    }
    let found = labelled(BASE, "docker.io/library/alpine:3").judge(check());
    says(
        &found,
        &Outcome::Refuses,
        "it is made from docker.io/library/alpine",
        "build it from registry.corp:5000/base/*",
    );
    let found = image().judge(check());
    says(&found, &Outcome::Unknown, "does not say what it is made from", "set the annotation");
    let refused = annotated(BASE, "not a name").judge(check());
    assert_eq!(refused.outcome, Outcome::Refuses, "{refused:?}");
}

fn licences(written: &str, allow: &[&str], deny: &[&str]) -> RuleOutcome {
    let check = || Check::Licences(texts(allow, deny));
    let by_label = labelled(LICENCES, written).judge(check());
    // The manifest's word is enough where the config cannot be read.
    let down = annotated(LICENCES, written).with(|facts| facts.config = Fact::failed("down"));
    assert_eq!(by_label, down.judge(check()));
    by_label
}

#[test]
fn licences_one_by_one() {
    says(&licences("MIT", &["MIT", "Apache-2.0"], &[]), &Outcome::Pass, "", "");
    let both = &["MIT", "Apache-*"];
    for written in
        ["MIT OR Apache-2.0", "(MIT AND Apache-2.0)", "MIT/Apache-2.0", "MIT, Apache-2.0"]
    {
        says(&licences(written, both, &["GPL-*"]), &Outcome::Pass, "", "");
        let found = licences(written, &["MIT"], &[]);
        says(&found, &Outcome::Refuses, "licence Apache-2.0 is not allowed", "another licence");
    }
    let found = licences("MIT AND GPL-3.0-only", &[], &["GPL-*"]);
    says(&found, &Outcome::Refuses, "licence GPL-3.0-only", "another licence");
    let found = image().judge(Check::Licences(texts(&["*"], &[])));
    says(&found, &Outcome::Unknown, "names no licence", "set the label");
    let down = image().with(|facts| facts.config = Fact::failed("down"));
    says(&down.judge(Check::Licences(texts(&["*"], &[]))), &FAILED, "down", "");
}

#[test]
fn no_licence_hides_behind_many() {
    let many = "MIT ".repeat(64);
    says(&licences(&many, &[], &["GPL-*"]), &Outcome::Pass, "", "");
    let found = licences(&(many + "GPL-3.0-only"), &[], &["GPL-*"]);
    says(&found, &Outcome::Unknown, "more than 64 licences", "shorten");
}

#[test]
fn evidence_is_unknown_in_this_version() {
    for (evidence, what) in [
        (Evidence::Signatures, "signatures are not verified by this version"),
        (Evidence::Provenance, "provenance is not verified"),
        (Evidence::Sbom, "SBOMs are not verified"),
        (Evidence::Vulnerabilities, "vulnerabilities are not verified"),
    ] {
        let found = image().judge(Check::Evidence(evidence));
        says(&found, &Outcome::Unknown, what, "onUnknown");
    }
}

#[test]
fn long_lists_are_told_in_part() {
    let allow: Vec<NamePattern> = (0..9).map(|n| name(&format!("r{n}/**"))).collect();
    let found = image().judge(Check::Repositories(policy::Lists { allow, deny: Vec::new() }));
    says(&found, &Outcome::Refuses, "", "use r0/**, r1/**, r2/**, r3/** and 5 more");
}
