//! Decisions and what would be decided.

use super::{Named, count, digest, flag, list_of, named, object, or_null, partly, text, time};
use serde_json::json;

pub(super) fn schemas() -> Vec<Named> {
    vec![
        (
            "Decision",
            object(&[
                ("id", text()),
                ("at", time()),
                ("principal", text()),
                ("principalKey", text()),
                ("environment", text()),
                ("purpose", text()),
                ("request", text()),
                ("verdict", text()),
                ("policy", text()),
                ("rule", text()),
                ("message", text()),
                ("revision", digest()),
                ("outcomes", list_of(named("RuleOutcome"))),
                ("facts", json!({ "description": "What the rules were judged on; may be null" })),
                ("waivers", list_of(text())),
            ]),
        ),
        (
            "RuleOutcome",
            partly(
                &[
                    ("policy", text()),
                    ("rule", text()),
                    ("outcome", text()),
                    ("effect", text()),
                    ("reason", text()),
                    ("remedy", text()),
                    ("softened", text()),
                    ("isBlock", flag()),
                ],
                &["policy", "rule", "outcome", "effect", "reason", "remedy"],
            ),
        ),
        (
            "Waiver",
            object(&[
                ("name", text()),
                ("rules", list_of(text())),
                ("vulnerabilities", list_of(text())),
                ("digests", list_of(digest())),
                ("repositories", list_of(text())),
                ("environments", list_of(text())),
                ("reason", text()),
                ("requestedBy", text()),
                ("approvedBy", text()),
                ("expires", time()),
                ("hasExpired", flag()),
                ("uses", count()),
                ("lastUsed", or_null(time())),
            ]),
        ),
        (
            "CheckRequest",
            partly(
                &[
                    ("references", list_of(text())),
                    ("as", text()),
                    ("groups", list_of(text())),
                    ("cluster", text()),
                    ("environment", text()),
                    ("purpose", text()),
                    ("action", text()),
                ],
                &["references"],
            ),
        ),
        ("CheckReport", object(&[("results", list_of(named("CheckResult")))])),
        (
            "CheckResult",
            partly(
                &[
                    ("reference", text()),
                    ("name", text()),
                    ("digest", digest()),
                    ("platform", text()),
                    ("verdict", text()),
                    ("message", text()),
                    ("decision", named("Decision")),
                    ("children", list_of(named("CheckResult"))),
                ],
                &["reference", "name", "verdict", "message"],
            ),
        ),
    ]
}
