//! What documents that outrank rules must fulfil beyond their schema: an exception is for something, and a
//! block is about something.

use super::Wrong;
use crate::v1alpha1::{BlockSpec, WaiverSpec};

pub(super) fn check_waiver(spec: &WaiverSpec, wrong: &mut Wrong) {
    let scope = &spec.scope;
    if scope.rules.is_empty() && scope.vulnerabilities.is_empty() {
        wrong.say("spec.scope", "say what is waived: rules as policy/rule, or vulnerabilities");
    }
    if scope.digests.is_empty() && scope.repositories.is_empty() {
        wrong.say("spec.scope", "say for what it is waived: digests or repositories");
    }
    for (index, rule) in scope.rules.iter().enumerate() {
        if !rule.as_str().contains('/') && rule.as_str() != "**" {
            wrong.say(
                &format!("spec.scope.rules[{index}]"),
                format!("write policy/rule; `{}/*` are all rules of a policy", rule.as_str()),
            );
        }
    }
    let is_same = |a: &str, b: &str| a.trim().eq_ignore_ascii_case(b.trim());
    if is_same(spec.requested_by.as_str(), spec.approved_by.as_str()) {
        wrong.say("spec.approvedBy", "nobody approves what they asked for; name another one");
    }
}

pub(super) fn check_block(spec: &BlockSpec, wrong: &mut Wrong) {
    let matches = &spec.r#match;
    let is_empty = matches.digests.is_empty()
        && matches.repositories.is_empty()
        && matches.tags.is_empty()
        && matches.upstreams.is_empty()
        && matches.first_seen_since.is_none();
    if is_empty {
        let text = "a block of everything would stop every cluster: say what is blocked; all of a \
                    plane is repositories: [\"**\"]";
        wrong.say("spec.match", text);
    }
}
