//! What a `Repository` must fulfil beyond its schema.

use super::Wrong;
use crate::nearest::nearest;
use crate::v1alpha1::{Hosted, Redirect, Remote, RepositorySpec, Virtual};
use crate::{format_duration, format_size};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How long a presigned URL may be good for: shorter, and slow clients fail; longer, and a URL that
/// got away is of use to whoever has it.
const PRESIGN: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(3600);
/// The largest manifest that can be allowed. Manifests are read whole, so this protects memory;
/// below the least of it, ordinary images would be refused.
const MANIFEST_BYTES: RangeInclusive<u64> = 64 << 10..=64 << 20;

pub(super) fn check(name: &str, spec: &RepositorySpec, wrong: &mut Wrong) {
    if spec.path.is_none() && oci::Name::parse(name).is_err() {
        let message = "the name is no repository name; set spec.path to the one clients use";
        wrong.say("metadata.name", message);
    }
    let kinds = [
        ("remote", spec.remote.is_some()),
        ("hosted", spec.hosted.is_some()),
        ("virtual", spec.r#virtual.is_some()),
    ];
    let found: Vec<&str> = kinds.iter().filter(|(_, is_set)| *is_set).map(|(k, _)| *k).collect();
    match found.len() {
        1 => {}
        0 => wrong.say("spec", "exactly one of remote, hosted, virtual is needed"),
        _ => wrong.say(
            "spec",
            format!(
                "exactly one of remote, hosted, virtual is needed; here are {}",
                found.join(" and ")
            ),
        ),
    }
    if let Some(remote) = &spec.remote {
        check_remote(remote, wrong);
    }
    if let Some(hosted) = &spec.hosted {
        check_hosted(hosted, wrong);
    }
    if let Some(union) = &spec.r#virtual {
        check_virtual(union, wrong);
        if !spec.pins.is_empty() {
            wrong.say("spec.pins", "a virtual repository holds nothing; pin it in its members");
        }
    }
}

fn check_remote(remote: &Remote, wrong: &mut Wrong) {
    check_redirect("spec.remote.redirect", remote.redirect.as_ref(), wrong);
    let Some(on_delete) = &remote.on_upstream_delete else { return };
    let ways = [on_delete.keep_for.is_some(), on_delete.refuse.is_some()];
    if ways.iter().filter(|is_set| **is_set).count() != 1 {
        wrong.say("spec.remote.onUpstreamDelete", "exactly one of keepFor, refuse is needed");
    }
    if on_delete.refuse == Some(false) {
        wrong.say(
            "spec.remote.onUpstreamDelete.refuse",
            "only `true` means something; to serve what was, set keepFor",
        );
    }
}

fn check_hosted(hosted: &Hosted, wrong: &mut Wrong) {
    check_redirect("spec.hosted.redirect", hosted.redirect.as_ref(), wrong);
    for (index, rule) in hosted.retention.iter().enumerate() {
        let has_condition =
            rule.keep_last.is_some() || rule.older_than.is_some() || rule.not_pulled_for.is_some();
        if !has_condition {
            wrong.say(
                &format!("spec.hosted.retention[{index}]"),
                "at least one of keepLast, olderThan, notPulledFor is needed; without any, the \
                 rule would remove every tag it covers",
            );
        }
    }
    if let Some(size) = &hosted.max_manifest_size
        && !MANIFEST_BYTES.contains(&size.bytes())
    {
        let (least, most) =
            (format_size(*MANIFEST_BYTES.start()), format_size(*MANIFEST_BYTES.end()));
        let message = format!("{size} is not between {least} and {most}");
        wrong.say("spec.hosted.maxManifestSize", message);
    }
}

fn check_redirect(path: &str, redirect: Option<&Redirect>, wrong: &mut Wrong) {
    let Some(Redirect { presign }) = redirect else { return };
    if !PRESIGN.contains(&presign.get()) {
        let (least, most) = (format_duration(*PRESIGN.start()), format_duration(*PRESIGN.end()));
        let message = format!("{presign} is not between {least} and {most}");
        wrong.say(&format!("{path}.presign"), message);
    }
}

/// What can be said without the other documents; the rest is in [`crate::members`].
fn check_virtual(union: &Virtual, wrong: &mut Wrong) {
    let Some(push_to) = &union.push_to else { return };
    let names: Vec<&str> = union.members.iter().map(|member| member.repository.as_str()).collect();
    let path = "spec.virtual.pushTo";
    match names.iter().filter(|name| **name == push_to.as_str()).count() {
        1 => {}
        0 => {
            let near = nearest(push_to.as_str(), names.iter().copied()).map(str::to_owned);
            let message = format!(
                "`{push_to}` is not among the members: what is pushed there could not be pulled \
                 here"
            );
            wrong.say_near(path, message, near);
        }
        _ => {
            let message = format!("`{push_to}` is a member twice; pushes need one way to it");
            wrong.say(path, message);
        }
    }
}
