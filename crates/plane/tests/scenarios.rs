//! Every scenario of `tests/scenarios`, played; and what a scenario that is written wrongly is told.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare itself fails")]

use plane::{ScenarioError, ScenarioReport, play_scenario};
use std::path::{Path, PathBuf};

/// As many as there should be at least.
const SCENARIOS_MIN: usize = 60;

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|it| it == "yaml") {
            found.push(path);
        }
    }
}

async fn play(file: &str, text: &str) -> Result<ScenarioReport, ScenarioError> {
    let scratch = tempfile::tempdir().unwrap();
    play_scenario(file, text, scratch.path()).await
}

#[tokio::test]
async fn every_scenario_goes_as_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let mut all = Vec::new();
    files(&root, &mut all);
    all.sort();
    assert!(all.len() >= SCENARIOS_MIN, "there are only {} scenarios", all.len());
    let (mut wrong, mut cases) = (Vec::new(), 0);
    for path in &all {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        match play(&name, &std::fs::read_to_string(path).unwrap()).await {
            Ok(report) => {
                cases += report.cases.len();
                for case in report.cases.iter().filter(|case| !case.is_as_expected()) {
                    let (it, message) = (&case.it, &case.message);
                    wrong.push(format!("{name}: {it}: {:?}: {message}", case.differences));
                }
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} cases:\n{}", wrong.len(), wrong.join("\n"));
}

const HEAD: &str =
    "about: a test\nresources: ''\nartifacts:\n  - { id: app, name: docker.io/a/b, tags: [v1] }\n";

#[tokio::test]
async fn what_does_not_go_as_it_says_is_told() {
    let text = format!(
        "{HEAD}cases:\n  - {{ it: lies, pull: \"docker.io/a/b:v1\", expect: deny, says: [no] }}\n"
    );
    let report = play("lies.yaml", &text).await.unwrap();
    assert_eq!(report.cases[0].differences, ["expected deny, got allow", "does not say \"no\""]);
    let text = format!(
        "{HEAD}cases:\n  - {{ it: lies, list: docker.io/a/b, expect: allow, saysNot: [v1] }}\n"
    );
    let report = play("lies.yaml", &text).await.unwrap();
    assert_eq!(report.cases[0].differences, ["says \"v1\""]);
}

#[tokio::test]
async fn mistakes_are_told_with_their_place() {
    for (cases, told) in [
        ("[{ it: a, pul: x, expect: deny }]", "pull"),
        ("[{ it: a, expect: deny }]", "exactly one of"),
        ("[{ it: a, pull: x, head: y, expect: deny }]", "exactly one of"),
        ("[{ it: a, pull: x, expect: deny }]", "name:tag"),
        ("[{ it: a, pull: \"docker.io/a/b@web\", expect: deny }]", "there are: app"),
        ("[{ it: a, pull: \"docker.io/a/b@app/linux/arm64\", expect: deny }]", "linux/arm64"),
        ("[{ it: a, push: \"docker.io/a/b:v2\", expect: deny }]", "artifact"),
        ("[{ it: a, as: somebody, pull: \"docker.io/a/b:v1\", expect: deny }]", "names nobody"),
        ("[{ it: a, address: here, pull: \"docker.io/a/b:v1\", expect: deny }]", "address"),
        ("[{ it: a, pull: \"docker.io/a/b:v1\", expect: denied }]", "deny"),
        ("[]", "cases"),
    ] {
        let error = play("wrong.yaml", &format!("{HEAD}cases: {cases}\n")).await.unwrap_err();
        assert!(error.to_string().contains(told), "{cases}: {error}");
    }
    let text = "about: x\nresources: |\n  apiVersion: lockgate.dev/v1alpha1\n  kind: Nothing\n  \
                metadata: { name: x }\ncases: [{ it: a, list: docker.io/a/b, expect: allow }]\n";
    let error = play("wrong.yaml", text).await.unwrap_err().to_string();
    assert!(error.contains("wrong.yaml, resources:2"), "{error}");
}
