//! Waivers and blocks as people meet them: refused, asked for, let pass, listed; and an upstream that is frozen.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Setup, eventually, text, through};
use serde_json::Value;
use testkit::ImageSpec;

const POLICY: &str = "
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: owners }
spec:
  rules:
    - { name: owner, labels: { require: { owner: '*' } } }
    - { name: no-latest, tags: { deny: [latest] } }
";

/// The id at the end of a refusal.
fn decision_in(body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    let at =
        body.find("lockgate why ").expect("a refusal names its decision") + "lockgate why ".len();
    body[at..at + 26].to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_is_asked_for_let_pass_and_listed() {
    let setup = Setup::new().await;
    setup.write("policy.yaml", POLICY);
    let image = setup.registry.image("open/a", "1", ImageSpec::layers([10]));
    let other = setup.registry.image("open/b", "1", ImageSpec::layers([20]));
    let plane = setup.serve().await;
    let path = through(&image.tag_path());
    let refused = plane.get(&path).await;
    assert_eq!(refused.status, 403);
    let id = decision_in(&refused.body);

    // Without who lets it the document is not put in force.
    let open = setup.ask(&["waiver", "request", &id, "--reason", "SEC-1"]).await.expect(0);
    assert!(open.stderr.contains("--approved-by"), "{open:?}");
    setup.write("waiver.yaml", &open.stdout);
    let wrong = setup.run(&["config", "check", "--resources", text(&setup.resources())]).await;
    let wrong = wrong.expect(1);
    assert!(wrong.stdout.contains("spec.approvedBy"), "{wrong:?}");

    let asked = ["waiver", "request", &id, "--reason", "SEC-1", "--for", "2d"];
    let asked = [&asked[..], &["--requested-by", "shop", "--approved-by", "security"]].concat();
    let document = setup.ask(&asked).await.expect(0).stdout;
    assert!(document.contains("owners/owner") && !document.contains("no-latest"), "{document}");
    assert!(document.contains(&image.digest), "for this artifact alone: {document}");
    setup.write("waiver.yaml", &document);
    eventually("the waiver is in force", async || plane.status(&path).await == 200).await;
    let served = plane.get(&path).await;
    let warning = served.header("warning").unwrap_or_default();
    assert!(warning.contains("waived by"), "{warning}");
    assert_eq!(plane.status(&through(&other.tag_path())).await, 403, "nothing else is waived");

    let listed = setup.ask(&["waiver", "list"]).await.expect(0).stdout;
    assert!(listed.contains("used") && listed.contains("let by security"), "{listed}");
    setup.ask(&["waiver", "list", "--expiring", "1d"]).await.expect(0);
    let ending = setup.ask(&["waiver", "list", "--expiring", "3d", "--json"]).await.expect(1);
    let waiver: Value = serde_json::from_str(&ending.stdout).unwrap();
    assert_eq!((&waiver["requestedBy"], &waiver["hasExpired"]), (&"shop".into(), &false.into()));
    assert!(waiver["uses"].as_u64().unwrap() >= 1, "{waiver}");
    let none = setup.ask(&["waiver", "list", "--unused"]).await.expect(0);
    assert!(none.stdout.is_empty() && none.stderr.contains("no such waiver"), "{none:?}");

    // What was let pass needs no waiver.
    let decision = served.header("lockgate-decision").unwrap().to_owned();
    let nothing = setup.ask(&["waiver", "request", &decision]).await.expect(1);
    assert!(nothing.stderr.contains("was not refused"), "{nothing:?}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_upstream_lets_nothing_new_in_until_it_is_thawed() {
    let setup = Setup::new().await;
    let old = setup.registry.image("open/a", "1", ImageSpec::layers([10]));
    let plane = setup.serve().await;
    assert_eq!(plane.status(&through(&old.tag_path())).await, 200);
    // Seen for the first time in this second, which is the one that the freeze begins with.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let resources = setup.resources();
    let freeze = ["freeze", "up", "--reason", "account taken over", "--owner", "security"];
    let freeze = [&freeze[..], &["--into", text(&resources)]].concat();
    setup.run(&freeze).await.expect(0);
    setup.run(&freeze).await.expect(1).stderr.contains("cannot be written").then_some(()).unwrap();
    let new = setup.registry.image("open/b", "1", ImageSpec::layers([20]));
    let path = through(&new.tag_path());
    eventually("it is frozen", async || plane.status(&path).await == 403).await;
    let refused = plane.get(&path).await;
    let body = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(
        body.contains("denied by freeze-up/block") && body.contains("account taken over"),
        "{body}"
    );
    assert_eq!(plane.status(&through(&old.tag_path())).await, 200, "what was there before");
    let blocked = setup.ask(&["waiver", "request", &decision_in(&refused.body)]).await.expect(1);
    assert!(blocked.stderr.contains("nothing waives a block"), "{blocked:?}");
    std::fs::remove_file(resources.join("freeze-up.yaml")).unwrap();
    eventually("it is thawed", async || plane.status(&path).await == 200).await;
    plane.stop().await;
}
