//! Who asks: challenges, headers that may stand once, certificates, and what an answer says of a decision.

#![allow(clippy::unwrap_used)]

mod common;

use common::people::{PASSWORD, People, basic};
use common::plain;
use common::world::{ALLOW_ALL, World};
use edge::server::{ListenerSettings, PublicBase, TlsFiles};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use testkit::client::{Request, Response};
use testkit::{FakeRegistry, ImageSpec, TestCa};

async fn start(people: &People) -> World {
    World::with(FakeRegistry::builder(), plain(), &people.documents()).await
}

/// A token of somebody's, or with no password, nobody's.
async fn token(world: &World, name: &str, password: &str) -> String {
    let request = Request::get("/token").header("authorization", &basic(name, password));
    let answer = world.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.reason);
    format!("Bearer {}", answer.json()["token"].as_str().unwrap())
}

async fn ask(world: &World, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = Request::new(method, path);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    request.send(world.addr()).await.unwrap()
}

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[tokio::test]
async fn every_route_challenges_whoever_shows_nothing() {
    let people = People::new();
    let world = start(&people).await;
    let base = format!("Bearer realm=\"http://{}/token\",service=\"lockgate\"", world.addr());
    let (nobody, shown) = (token(&world, "", "").await, [("authorization", "Bearer x.y.z")]);
    let manifest = format!("/v2/reg.example/a/manifests/{DIGEST}");
    let blob = format!("/v2/reg.example/a/blobs/{DIGEST}");
    let referrers = format!("/v2/reg.example/a/referrers/{DIGEST}");
    let mount = format!("/v2/reg.example/a/blobs/uploads/?mount={DIGEST}&from=reg.example/b");
    let (pull, push) = ("repository:reg.example/a:pull", "repository:reg.example/a:pull,push");
    for (method, path, scope) in [
        ("GET", "/v2/", None),
        ("HEAD", "/v2/", None),
        ("GET", "/v2/_catalog", Some("registry:catalog:*")),
        ("GET", "/v2/reg.example/a/manifests/1", Some(pull)),
        ("HEAD", manifest.as_str(), Some(pull)),
        ("PUT", "/v2/reg.example/a/manifests/1", Some(push)),
        ("DELETE", manifest.as_str(), Some("repository:reg.example/a:delete")),
        ("GET", blob.as_str(), Some(pull)),
        ("HEAD", blob.as_str(), Some(pull)),
        ("DELETE", blob.as_str(), Some("repository:reg.example/a:delete")),
        ("GET", "/v2/reg.example/a/tags/list", Some(pull)),
        ("GET", referrers.as_str(), Some(pull)),
        ("POST", "/v2/reg.example/a/blobs/uploads/", Some(push)),
        ("POST", mount.as_str(), Some(push)),
    ] {
        let scope = scope.map_or_else(String::new, |scope| format!(",scope=\"{scope}\""));
        let answer = ask(&world, method, path, &[]).await;
        let challenge = format!("{base}{scope}");
        assert_eq!(answer.status, 401, "{method} {path} {}", answer.reason);
        assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()), "{method} {path}");
        assert_eq!(answer.header("docker-distribution-api-version"), Some("registry/2.0"));
        if method != "HEAD" {
            assert_eq!(answer.json()["errors"][0]["code"], "UNAUTHORIZED");
            assert_eq!(answer.json()["errors"][0]["message"], answer.reason.as_str());
        }

        let answer = ask(&world, method, path, &shown).await;
        let wrong = format!("{challenge},error=\"invalid_token\"");
        assert_eq!(answer.status, 401, "{method} {path} {}", answer.reason);
        assert_eq!(answer.header("www-authenticate"), Some(wrong.as_str()), "{method} {path}");

        // Nobody in particular may come in, and is told what logging in could help with.
        let answer = ask(&world, method, path, &[("authorization", &nobody)]).await;
        if path == "/v2/" {
            assert_eq!(answer.status, 200, "{method}");
            continue;
        }
        assert_eq!(answer.status, 401, "{method} {path} {}", answer.reason);
        assert_eq!(answer.header("www-authenticate"), Some(challenge.as_str()), "{method} {path}");
        assert!(answer.reason.contains("denied by "), "{method} {path} {}", answer.reason);
        assert_eq!(answer.header("lockgate-decision").unwrap().len(), 26, "{method} {path}");
    }
}

#[tokio::test]
async fn the_realm_is_where_the_client_asks() {
    let public_urls = vec![PublicBase::parse("https://reg.corp.example").unwrap()];
    let listener = ListenerSettings { public_urls, ..plain() };
    let people = People::new();
    let world = World::with(FakeRegistry::builder(), listener, &people.documents()).await;
    for (host, realm) in [
        ("reg.corp.example", "https://reg.corp.example/token"),
        ("127.0.0.1:5050", "http://127.0.0.1:5050/token"),
    ] {
        let answer = world.get("/v2/", &[("host", host)]).await;
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with(&format!("Bearer realm=\"{realm}\",")), "{challenge}");
    }
}

#[tokio::test]
async fn without_a_provider_nobody_is_asked_and_nothing_is_read() {
    let world = World::with(FakeRegistry::builder(), plain(), ALLOW_ALL).await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let path = common::world::through(&image.tag_path());
    for headers in [vec![], vec![("authorization", "Bearer x")], vec![("authorization", "?")]] {
        let answer = world.get(&path, &headers).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (200, None), "{headers:?}");
    }
}

#[tokio::test]
async fn who_asks_is_judged_by_name() {
    let people = People::new();
    let world = start(&people).await;
    for name in ["lib/app", "open/app"] {
        world.registry.image(name, "1", ImageSpec::layers([10]));
    }
    let [nobody, alice, bob] = [("", ""), ("alice", PASSWORD), ("bob", PASSWORD)];
    let closed = "/v2/reg.example/lib/app/manifests/1";
    let open = "/v2/reg.example/open/app/manifests/1";
    for ((name, password), path, status) in [
        (nobody, open, 200),
        (nobody, closed, 401),
        (alice, closed, 200),
        (bob, closed, 403),
        // What anybody may, whoever has a name may as well.
        (bob, open, 200),
    ] {
        let shown = token(&world, name, password).await;
        let answer = world.get(path, &[("authorization", &shown)]).await;
        assert_eq!(answer.status, status, "{name:?} {path} {}", answer.reason);
    }
    // A credential itself does as well, and a robot's in either form.
    let robot = format!("Bearer {}", people.robot);
    for shown in [basic("alice", PASSWORD), basic("robot", &people.robot), robot] {
        assert_eq!(world.get(closed, &[("authorization", &shown)]).await.status, 200);
    }
    let wrong = world.get(open, &[("authorization", &basic("alice", "x"))]).await;
    assert_eq!(wrong.status, 401, "what is wrong is never anonymous");
}

#[tokio::test]
async fn headers_that_say_who_and_for_what_stand_once() {
    let people = People::new();
    let world = start(&people).await;
    world.registry.image("open/app", "1", ImageSpec::layers([10]));
    let path = "/v2/reg.example/open/app/manifests/1";
    let shown = token(&world, "", "").await;
    let who = ("authorization", shown.as_str());
    let long = "x".repeat(25 << 10);
    let wish = "x".repeat(300);
    for (headers, status) in [
        (vec![who], 200),
        (vec![who, who], 400),
        (vec![("authorization", &long)], 400),
        (vec![who, ("lockgate-purpose", "Deploy")], 200),
        (vec![who, ("lockgate-purpose", "Deploy"), ("lockgate-purpose", "Scan")], 400),
        (vec![who, ("lockgate-environment", "a"), ("lockgate-environment", "a")], 400),
        (vec![who, ("lockgate-environment", &wish)], 400),
    ] {
        let answer = world.get(path, &headers).await;
        assert_eq!(answer.status, status, "{} headers: {}", headers.len(), answer.reason);
    }
    // What nobody knows is no laxer than anything.
    let unknown = world.get(path, &[who, ("lockgate-environment", "nowhere")]).await;
    assert_eq!(unknown.status, 403, "{}", unknown.reason);
    let twice = ask(&world, "GET", "/api/v1/status", &[who, who]).await;
    assert_eq!(twice.status, 400);
}

const TAGS: &str = "
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: versions }
spec:
  match: { repositories: ['reg.example/strict/**'] }
  rules:
    - { name: no-latest, tags: { deny: [latest] }, remedy: 'name a \"version\"' }
    - { name: by-digest, tags: { requireDigest: true } }
---
apiVersion: lockgate.dev/v1alpha1
kind: ArtifactPolicy
metadata: { name: soon }
spec:
  match: { repositories: ['reg.example/lax/**'] }
  enforcement: [{ mode: Warn }]
  rules:
    - { name: no-latest, tags: { deny: [latest] }, remedy: 'name a \"version\"' }
---
";

#[tokio::test]
async fn all_reasons_are_told_and_warnings_are_headers() {
    let more = format!("{ALLOW_ALL}---\n{TAGS}");
    let world = World::with(FakeRegistry::builder(), plain(), &more).await;
    for name in ["strict/app", "lax/app"] {
        world.registry.image(name, "latest", ImageSpec::layers([10]));
    }
    let refused = world.get("/v2/reg.example/strict/app/manifests/latest", &[]).await;
    assert_eq!(refused.status, 403, "{}", refused.reason);
    let errors = refused.json()["errors"].as_array().unwrap().clone();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors[0]["message"], refused.reason.as_str());
    for (error, rule) in errors.iter().zip(["no-latest", "by-digest"]) {
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("versions/{rule}")), "{message}");
        assert_eq!(error["code"], "DENIED");
    }
    assert_eq!(refused.header("lockgate-decision"), errors[0]["detail"]["decision"].as_str());
    assert_eq!(refused.header("warning"), None);

    let path = "/v2/reg.example/lax/app/manifests/latest";
    for answer in [world.get(path, &[]).await, world.head(path, &[]).await] {
        assert_eq!(answer.status, 200, "{}", answer.reason);
        let warning = answer.header("warning").unwrap();
        assert!(warning.starts_with("299 - \"") && warning.ends_with('"'), "{warning}");
        assert!(warning.contains("soon/no-latest"), "{warning}");
        assert_eq!(answer.header("lockgate-decision").unwrap().len(), 26);
    }
}

#[tokio::test]
async fn the_management_api_asks_who_as_well() {
    let people = People::new();
    let world = start(&people).await;
    let status = "/api/v1/status";
    let base = format!("Bearer realm=\"http://{}/token\",service=\"lockgate\"", world.addr());
    let wrong = format!("{base},error=\"invalid_token\"");
    let [nobody, alice, olga] = [
        token(&world, "", "").await,
        token(&world, "alice", PASSWORD).await,
        token(&world, "olga", PASSWORD).await,
    ];
    for (shown, code, challenge) in [
        (None, 401, Some(base.as_str())),
        (Some("Bearer x"), 401, Some(wrong.as_str())),
        (Some(nobody.as_str()), 401, Some(base.as_str())),
        (Some(alice.as_str()), 403, None),
        (Some(olga.as_str()), 200, None),
    ] {
        let headers: Vec<_> = shown.iter().map(|it| ("authorization", *it)).collect();
        let answer = world.get(status, &headers).await;
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (code, challenge),
            "{shown:?}"
        );
        if code != 200 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert_eq!(answer.json()["status"], code);
        }
    }
}

#[tokio::test]
async fn people_ask_about_themselves_and_administrators_about_all() {
    let people = People::new();
    let world = start(&people).await;
    world.registry.image("lib/app", "1", ImageSpec::layers([10]));
    let check = async |shown: &str, body: serde_json::Value| {
        let request = Request::new("POST", "/api/v1/checks")
            .header("authorization", shown)
            .header("content-type", "application/json");
        world.send(request.body(body.to_string())).await
    };
    let [nobody, alice, bob, olga] = [
        token(&world, "", "").await,
        token(&world, "alice", PASSWORD).await,
        token(&world, "bob", PASSWORD).await,
        token(&world, "olga", PASSWORD).await,
    ];
    let own = json!({ "references": ["reg.example/lib/app:1"] });
    for (shown, verdict) in [(&alice, "Allow"), (&bob, "Deny")] {
        let answer = check(shown, own.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["results"][0]["verdict"], verdict, "{}", answer.text());
    }
    let of_alice = json!({ "references": ["reg.example/lib/app:1"], "as": "user:alice" });
    for (shown, status) in [(&nobody, 401), (&bob, 403), (&alice, 403), (&olga, 200)] {
        assert_eq!(check(shown, of_alice.clone()).await.status, status);
    }
    for body in [json!({}), json!({ "references": [] }), json!({ "refs": ["a"] })] {
        assert_eq!(check(&olga, body.clone()).await.status, 400, "{body}");
    }

    let path = "/v2/reg.example/lib/app/manifests/1";
    let refused = world.get(path, &[("authorization", &bob)]).await;
    let decision = refused.header("lockgate-decision").unwrap().to_owned();
    let path = format!("/api/v1/decisions/{decision}");
    for (shown, status) in [(&bob, 200), (&alice, 404), (&olga, 200), (&nobody, 401)] {
        let answer = world.get(&path, &[("authorization", shown)]).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

/// A listener that asks for certificates, and what is trusted by the documents.
fn with_certificates(dir: &Path, server: &TestCa, clients: &TestCa) -> (ListenerSettings, String) {
    let issued = server.server(&["localhost"]);
    let files = TlsFiles {
        cert_file: dir.join("cert.pem"),
        key_file: dir.join("key.pem"),
        requests_client_certificate: true,
    };
    std::fs::write(&files.cert_file, &issued.cert_pem).unwrap();
    std::fs::write(&files.key_file, &issued.key_pem).unwrap();
    let ca_file = dir.join("clients.pem");
    std::fs::write(&ca_file, clients.pem()).unwrap();
    let documents = format!(
        "
apiVersion: lockgate.dev/v1alpha1
kind: IdentityProvider
metadata: {{ name: machines }}
spec: {{ clientCertificates: {{ caFile: '{}' }} }}
---
apiVersion: lockgate.dev/v1alpha1
kind: AccessPolicy
metadata: {{ name: alice }}
spec:
  allow:
    - {{ subjects: [{{ kind: User, name: alice.example }}], actions: [List], repositories: ['**'] }}
---
",
        ca_file.display()
    );
    (ListenerSettings { tls: Some(files), ..plain() }, documents)
}

#[tokio::test]
async fn a_certificate_says_who_asks_where_somebody_vouches_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (server, clients, others) = (TestCa::new(), TestCa::new(), TestCa::new());
    let (listener, documents) = with_certificates(dir.path(), &server, &clients);
    let world = World::with(FakeRegistry::builder(), listener, &documents).await;
    let alice = server.client_config(Some(&clients.client("alice.example")));
    let bob = server.client_config(Some(&clients.client("bob.example")));
    let expired = server.client_config(Some(&clients.expired_client("alice.example")));
    let stranger = server.client_config(Some(&others.client("alice.example")));
    let without = server.client_config(None);
    let get = async |path: &str, config: &Arc<rustls::ClientConfig>, shown: &str| {
        let request = Request::get(path).tls(config.clone(), "localhost");
        let request = match shown {
            "" => request,
            shown => request.header("authorization", shown),
        };
        request.send(world.addr()).await.unwrap()
    };
    // One that nobody vouches for says nothing; the listener itself trusts and requires none.
    for round in 0..2 {
        for (config, base, list) in [
            (&alice, 200, 200),
            (&bob, 200, 403),
            (&expired, 401, 401),
            (&stranger, 401, 401),
            (&without, 401, 401),
        ] {
            assert_eq!(get("/v2/", config, "").await.status, base);
            assert_eq!(get("/v2/_catalog", config, "").await.status, list);
        }
        // The second time, with the certificate read again.
        if round == 0 {
            assert!(world.server.certificates.reload().is_empty());
        }
    }
    // A token for it is its owner's, also on a connection without.
    for (config, list) in [(&alice, 200), (&bob, 403), (&stranger, 401), (&without, 401)] {
        let answer = get("/token", config, "").await;
        assert_eq!(answer.status, 200, "{}", answer.reason);
        let shown = format!("Bearer {}", answer.json()["token"].as_str().unwrap());
        assert_eq!(get("/v2/_catalog", &without, &shown).await.status, list);
    }
    // What is shown in words comes before.
    assert_eq!(get("/v2/_catalog", &alice, "Bearer x").await.status, 401);
}
