//! `lockgate doctor` on a healthy and on a sick set-up.

mod common;

use common::{Setup, eventually, text, upstream};
use jiff::{SignedDuration, Timestamp};
use testkit::{Auth, FakeRegistry, Fault, Match, TestCa};

/// The findings with this state: check and text.
fn findings(stdout: &str, state: &str) -> Vec<String> {
    let all: Vec<serde_json::Value> = serde_json::from_str(stdout).expect("JSON");
    let of_state = all.iter().filter(|finding| finding["state"] == state);
    of_state
        .map(|finding| {
            let word = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
            assert_eq!(
                state == "Right",
                word("remedy").is_empty(),
                "every trouble has a remedy: {finding}"
            );
            format!("{}: {}", word("check"), word("text"))
        })
        .collect()
}

/// Has the registry tell a time (RFC 9110 §6.6.1) that is so far from ours.
fn tell_time(registry: &FakeRegistry, off: SignedDuration) {
    let time = (Timestamp::now() + off).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    registry.behave(Match::any(), Fault::header("date", &time));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_well_with_and_without_a_plane() {
    let setup = Setup::new().await;
    tell_time(&setup.registry, SignedDuration::ZERO);
    let resources = setup.resources();
    let words = [
        "doctor",
        "--json",
        "--resources",
        text(&resources),
        "--set",
        "cache.highWatermark=100%",
        "--set",
        "cache.reserve=1MiB",
    ];
    for is_running in [false, true] {
        let served = if is_running { Some(setup.serve().await) } else { None };
        let mut words = words.to_vec();
        let listen = served
            .as_ref()
            .map(|served| format!("listeners=[{{ address: '{}' }}]", served.address));
        words.extend(listen.iter().flat_map(|listen| ["--set", listen.as_str()]));
        let ran = setup.ask(&words).await.expect(0);
        let right = findings(&ran.stdout, "Right").join("\n");
        let mut wanted = vec![
            "settings:",
            "resources:",
            "data:",
            "disk:",
            "upstream: up at http://127.0.0.1",
            "clock: agrees",
        ];
        if is_running {
            wanted.extend(["plane:", "catalog: takes writes", "status line:", "in use by process"]);
        }
        for check in wanted {
            assert!(right.contains(check), "{check} in {right}");
        }
        if let Some(served) = served {
            served.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_trouble_is_found_at_once() {
    let setup = Setup::new().await;
    tell_time(&setup.registry, SignedDuration::from_mins(-10));
    let ca = TestCa::new();
    let expired = ca.expired_server(&["127.0.0.1"]);
    let (cert, key) = (setup.path("cert.pem"), setup.path("key.pem"));
    std::fs::write(&cert, &expired.cert_pem).unwrap();
    std::fs::write(&key, &expired.key_pem).unwrap();
    let gone = FakeRegistry::start().await;
    let dead = gone.url();
    gone.stop().await;
    setup.write("dead.yaml", &upstream("dead", &dead));
    // Something that answers, but is no plane, and does not refuse what a plane would.
    let file = setup.path("lockgate.yaml");
    std::fs::write(
        &file,
        format!(
            "listeners:\n- address: 127.0.0.1:1\n  tls: {{ certFile: '{}', keyFile: '{}' }}\n  publicUrls: ['{}']\n",
            cert.display(),
            key.display(),
            setup.registry.url()
        ),
    )
    .unwrap();
    std::fs::create_dir(setup.data()).unwrap();
    std::fs::write(setup.path("data/catalog.sqlite"), "no database at all").unwrap();
    let resources = setup.resources();
    let ran = setup
        .ask(&["doctor", "--json", "--resources", text(&resources), "--config", text(&file)])
        .await
        .expect(1);
    let wrong = findings(&ran.stdout, "Wrong").join("\n");
    for check in [
        "certificate:",
        "expired",
        "upstream: dead: ",
        "catalog:",
        "status line:",
        "s ahead of that of",
    ] {
        assert!(wrong.contains(check), "{check} in {wrong}");
    }
    assert!(findings(&ran.stdout, "Right").iter().any(|line| line.starts_with("upstream: up at")));

    setup.write("bad.yaml", "kind: x\n");
    std::fs::write(&file, "wokers: 1\n").unwrap();
    let ran = setup
        .ask(&["doctor", "--resources", text(&resources), "--config", text(&file)])
        .await
        .expect(1);
    assert!(ran.stdout.contains("✗ settings"), "{ran:?}");
    assert!(ran.stdout.contains("did you mean `workers`?"), "{ran:?}");
    assert!(ran.stdout.contains("✗ resources") && ran.stdout.contains("bad.yaml:1:"), "{ran:?}");
    assert!(!ran.stdout.contains('\u{1b}'), "no colours in a pipe");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_told_is_not_called_right() {
    let setup = Setup::new().await;
    let url = setup.registry.url();
    setup.registry.stop().await;
    let ran = setup.run(&["doctor", "--json", "--plane", &url]).await.expect(1);
    assert!(
        findings(&ran.stdout, "Unknown").iter().any(|line| line.starts_with("plane:")),
        "{ran:?}"
    );
    assert!(
        findings(&ran.stdout, "Wrong").iter().any(|line| line.starts_with("status line:")),
        "{ran:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_plane_tells_what_it_has_in_force() {
    let setup = Setup::new().await;
    let shut = FakeRegistry::builder().auth(Auth::basic("me", "right")).start().await;
    tell_time(&setup.registry, SignedDuration::ZERO);
    let password = setup.path("password");
    std::fs::write(&password, "wrong").unwrap();
    let credentials = format!(
        "  credentials: [{{ prefix: '', basic: {{ username: me, passwordFile: '{}' }} }}]\n",
        password.display()
    );
    setup.write("shut.yaml", &(upstream("shut", &shut.url()) + &credentials));
    let served = setup.serve().await;
    // Nothing but where it is: no settings, no resources.
    let ran = setup.ask(&["doctor", "--json"]).await.expect(1);
    let right = findings(&ran.stdout, "Right").join("\n");
    assert!(right.contains("documents in force, from directory"), "{right}");
    assert!(right.contains("upstream: up at http://127.0.0.1"), "{right}");
    let warnings = findings(&ran.stdout, "Warning").join("\n");
    assert!(warnings.contains("no settings given: listeners of the running plane"), "{warnings}");
    let wrong = findings(&ran.stdout, "Wrong");
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].starts_with("upstream: shut"), "{wrong:?}");
    assert!(wrong[0].contains("the credential is not accepted"), "{wrong:?}");

    std::fs::write(&password, "right").unwrap();
    // A file is looked at again after a moment.
    eventually("the other password is taken", async || {
        let ran = setup.ask(&["doctor", "--json"]).await;
        findings(&ran.stdout, "Right").join("\n").contains("upstream: shut at")
    })
    .await;
    std::fs::remove_file(&password).unwrap();
    // Wrong settings do not hide the plane.
    let ran = setup.ask(&["doctor", "--json", "--set", "cache.maxByte=1"]).await.expect(1);
    assert!(findings(&ran.stdout, "Wrong").join("\n").contains("settings: --set"), "{ran:?}");
    assert!(findings(&ran.stdout, "Right").join("\n").contains("plane: "), "{ran:?}");
    // Files that are wrong now do not hide what is in force.
    setup.write("bad.yaml", "kind: x\n");
    let resources = setup.resources();
    let ran = setup.ask(&["doctor", "--json", "--resources", text(&resources)]).await.expect(1);
    let wrong = findings(&ran.stdout, "Wrong").join("\n");
    assert!(wrong.contains("credential: file "), "{wrong}");
    assert!(wrong.contains("of upstream shut: No such file"), "{wrong}");
    assert!(wrong.contains("resources: ") && wrong.contains("bad.yaml:1:"), "{wrong}");
    assert!(findings(&ran.stdout, "Right").join("\n").contains("upstream: up at"), "{ran:?}");
    served.stop().await;
}
