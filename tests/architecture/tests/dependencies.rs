//! Which crate may use which: the dependency rule of ARCHITECTURE.md, held against `cargo metadata`.

use architecture::{none, root};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// The crates, and which of the others each may use. `telemetry` is a leaf that most may use
/// (docs/adr/0001); `edge` names the words that `plane` speaks in (docs/adr/0003).
const MAY_USE: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("telemetry", &[]),
    ("resources", &["oci"]),
    ("policy", &["oci"]),
    ("blobs", &["oci", "telemetry"]),
    ("upstream", &["oci", "telemetry"]),
    ("catalog", &["oci", "policy", "telemetry"]),
    ("identity", &["policy", "telemetry"]),
    (
        "plane",
        &["oci", "telemetry", "resources", "policy", "identity", "blobs", "upstream", "catalog"],
    ),
    ("edge", &["oci", "telemetry", "policy", "plane"]),
    ("testkit", &[]),
    ("architecture", &[]),
    // Only in its tests: it puts a whole plane together.
    ("conformance", &["edge", "resources", "blobs", "catalog"]),
];

/// The composition root, which may use all of them.
const ROOT: &str = "lockgate";

/// For tests alone.
const TESTKIT: &str = "testkit";

/// Foreign crates that hide behind a few of ours: who may use each, and why nobody else.
const ONLY: &[(&[&str], &[&str], &str)] = &[
    (
        &["reqwest"],
        &["upstream", "identity", "lockgate"],
        "only `upstream` opens connections to registries (`identity` has keys of issuers, `lockgate` asks its own API); call upstream::Upstream",
    ),
    (
        &["rusqlite", "libsqlite3-sys"],
        &["catalog"],
        "only `catalog` speaks SQL; add a verb or a read to it",
    ),
    (
        &["hyper", "hyper-util", "axum", "tower"],
        &["edge", "lockgate"],
        "only `edge` names HTTP server types; give it a value and let it make the answer",
    ),
    (&["memmap2", "object_store"], &["blobs"], "only `blobs` touches artifact bytes at rest"),
    (
        &["prometheus-client", "tracing-subscriber"],
        &["telemetry"],
        "metrics and log output are made in `telemetry`",
    ),
    (&["clap"], &["lockgate"], "only `lockgate` has a command line"),
];

/// Crates that do no I/O and wait for nothing, and what therefore must not be found in them.
const PURE: &[&str] = &["oci", "policy", "resources"];
const IMPURE: &[&str] =
    &["tokio", "tokio-util", "futures-util", "hyper", "reqwest", "rusqlite", "tracing"];

/// Names that say nothing of what a crate hides.
const EMPTY_NAMES: &[&str] =
    &["common", "core", "util", "utils", "helpers", "misc", "shared", "base"];

#[derive(Debug)]
struct Crate {
    /// Without `lockgate-`.
    name: String,
    /// Names as in the registry, ours without `lockgate-`; and whether for tests alone.
    uses: Vec<(String, bool)>,
}

fn short(name: &str) -> &str {
    name.strip_prefix("lockgate-").unwrap_or(name)
}

fn crates() -> Vec<Crate> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages
        .iter()
        .map(|package| {
            let uses = package["dependencies"].as_array().expect("a list of dependencies");
            let uses = uses.iter().map(|used| {
                let name = short(used["name"].as_str().unwrap_or_default()).to_owned();
                (name, used["kind"] == "dev")
            });
            Crate {
                name: short(package["name"].as_str().unwrap_or_default()).to_owned(),
                uses: uses.collect(),
            }
        })
        .collect()
}

/// All that may be reached from `name` by the table.
fn reach(name: &str) -> BTreeSet<&'static str> {
    let table: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let mut waiting: Vec<&str> = table.get(name).copied().unwrap_or_default().to_vec();
    let mut reached = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if let Some((name, next)) = MAY_USE.iter().find(|(known, _)| *known == name)
            && reached.insert(*name)
        {
            waiting.extend(*next);
        }
    }
    reached
}

#[test]
fn crates_use_only_what_the_rule_allows() {
    let all = crates();
    let ours: BTreeSet<&str> = all.iter().map(|found| found.name.as_str()).collect();
    let mut problems = Vec::new();
    for found in all.iter().filter(|found| found.name != ROOT) {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == found.name) else {
            problems.push(format!("{}: no line of the table names it", found.name));
            continue;
        };
        // A test may put together what the crate itself only sees through others.
        let in_tests = reach(&found.name);
        for (used, is_test) in found.uses.iter().filter(|(used, _)| ours.contains(used.as_str())) {
            let used = used.as_str();
            let fits = if *is_test {
                used == TESTKIT || allowed.contains(&used) || in_tests.contains(used)
            } else {
                allowed.contains(&used)
            };
            if !fits {
                let place = if *is_test { " in tests" } else { "" };
                problems.push(format!("{} uses {used}{place}", found.name));
            }
        }
    }
    none(
        &problems,
        "Move the code to the crate that may, or pass a value in. A new crate, or a new arrow, needs \
         an ADR and a line in MAY_USE (tests/architecture/tests/dependencies.rs).",
    );
}

#[test]
fn the_rule_has_no_circles_and_no_dead_lines() {
    let all = crates();
    for (name, _) in MAY_USE {
        assert!(!reach(name).contains(name), "{name} may use itself, through others");
        assert!(
            all.iter().any(|found| found.name == *name),
            "no crate is named {name} any more: take its line out of MAY_USE"
        );
    }
}

#[test]
fn test_helpers_stay_in_tests() {
    let problems: Vec<String> = crates()
        .iter()
        .filter(|found| found.uses.iter().any(|(used, is_test)| used == TESTKIT && !is_test))
        .map(|found| format!("{} uses {TESTKIT} outside its tests", found.name))
        .collect();
    none(&problems, "Put `testkit.workspace = true` under [dev-dependencies].");
}

#[test]
fn foreign_crates_stay_behind_their_one_door() {
    let mut problems = Vec::new();
    for found in crates() {
        for (used, is_test) in &found.uses {
            let door = ONLY.iter().find(|(guarded, _, _)| guarded.contains(&used.as_str()));
            let Some((_, allowed, why)) = door else { continue };
            // A client in a test is a client, not a second door.
            let is_test_client = *is_test && used == "reqwest";
            if !allowed.contains(&found.name.as_str()) && !is_test_client {
                problems.push(format!("{} uses {used}: {why}", found.name));
            }
        }
    }
    none(&problems, "If a second door is right, write an ADR and change ONLY.");
}

#[test]
fn pure_crates_stay_pure() {
    let mut problems = Vec::new();
    for found in crates().iter().filter(|found| PURE.contains(&found.name.as_str())) {
        for (used, _) in found.uses.iter().filter(|(used, _)| IMPURE.contains(&used.as_str())) {
            problems.push(format!("{} uses {used}", found.name));
        }
    }
    none(
        &problems,
        "These crates are functions of their arguments. Do the I/O in the caller and pass in what it \
         found.",
    );
}

#[test]
fn every_crate_hides_something() {
    let problems: Vec<String> = crates()
        .iter()
        .filter(|found| EMPTY_NAMES.contains(&found.name.as_str()))
        .map(|found| found.name.clone())
        .collect();
    none(&problems, "Name a crate by what it hides, or put its code where it is used.");
}
