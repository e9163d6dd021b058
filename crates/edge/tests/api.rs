//! The management API over TCP and by the operator's socket.

#![allow(clippy::unwrap_used)]

mod common;

use common::plain;
use common::world::{ALLOW_ALL, World, through};
use http::Method;
use serde_json::{Value, json};
use testkit::client::{self, Request};
use testkit::{FakeRegistry, ImageSpec};

/// The operator, at the data directory's socket.
struct Operator(reqwest::Client);

impl Operator {
    fn of(world: &World) -> Self {
        Self(reqwest::Client::builder().unix_socket(world.socket()).build().unwrap())
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.0.request(method, format!("http://plane/api/v1/{path}"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.send(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path} {value}");
        value
    }
}

/// A plane that holds one image, and the image.
async fn with_image() -> (World, Operator, testkit::Image) {
    let world = World::start().await;
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([1000]));
    for path in [image.tag_path(), image.config_path(), image.layer_path(0)] {
        assert_eq!(world.get(&through(&path), &[]).await.status, 200);
    }
    let operator = Operator::of(&world);
    // Rows are written behind the answers.
    for _ in 0..1000 {
        let page = operator.get("cache").await;
        let is_present = |item: &&Value| item["present"] == true;
        if page["items"].as_array().unwrap().iter().filter(is_present).count() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    (world, operator, image)
}

#[tokio::test]
async fn over_tcp_it_needs_leave() {
    let world = World::start().await;
    for path in ["/api/v1/status", "/api/v1/nothing", "/api/v1/openapi.json"] {
        let answer = world.get(path, &[]).await;
        assert_eq!(answer.status, 403, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        assert_eq!(problem["title"], "Forbidden");
        assert_eq!(problem["requestId"].as_str(), answer.header("x-request-id"));
        assert_eq!(problem["decision"].as_str().unwrap().len(), 26);
        assert_eq!(problem["detail"].as_str(), Some(answer.reason.as_str()));
    }
    let world = World::with(FakeRegistry::builder(), plain(), ALLOW_ALL).await;
    let answer = world.get("/api/v1/status", &[]).await;
    assert_eq!((answer.status, &answer.json()["ready"]), (200, &true.into()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let head = world.head("/api/v1/status", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(world.get("/api/v1/nothing", &[]).await.status, 404);
}

#[tokio::test]
async fn pages_of_other_sites_cannot_change_anything() {
    let world = World::with(FakeRegistry::builder(), plain(), ALLOW_ALL).await;
    let (addr, host) = (world.addr(), world.addr().to_string());
    let pin = |headers: &[(&str, &str)]| {
        let request = Request::new("POST", "/api/v1/pins");
        let request = request.body(r#"{"reference":"reg.example/lib/app:1"}"#);
        headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    let json = ("content-type", "application/json");
    let own = format!("http://{host}");
    for (headers, status) in [
        (vec![json, ("origin", "https://evil.example")], 403),
        (vec![json, ("origin", "null")], 403),
        (vec![json, ("host", "evil.example"), ("origin", "http://evil.example")], 403),
        (vec![("content-type", "text/plain")], 415),
        (vec![], 415),
        (vec![json, ("origin", own.as_str())], 201),
        (vec![json], 201),
    ] {
        let answer = pin(&headers).send(addr).await.unwrap();
        assert_eq!(answer.status, status, "{headers:?} {}", answer.text());
    }
    let delete = Request::new("DELETE", "/api/v1/jobs/1").header("origin", "https://evil.example");
    assert_eq!(delete.send(addr).await.unwrap().status, 403);
}

#[tokio::test]
async fn what_makes_no_sense_is_a_problem() {
    let world = World::start().await;
    let operator = Operator::of(&world);
    let post = |path: &'static str, body: Value| operator.send(Method::POST, path, Some(body));
    for (path, body) in [
        ("pins", json!({})),
        ("pins", json!({"reference": "a/b:1", "more": 1})),
        ("pins", json!({"reference": ":::"})),
        ("prefetch", json!({"references": ["a/b:1"], "platform": "linux/amd64"})),
        ("cache/purge", json!({"digest": "sha256:1"})),
        ("cache/purge", json!({})),
    ] {
        let (status, problem) = post(path, body.clone()).await;
        assert_eq!((status, &problem["status"]), (400, &400.into()), "{path} {body} {problem}");
        assert!(problem["detail"].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    }
    let (status, _) = post("pins", json!({"reference": "x".repeat(70_000)})).await;
    assert_eq!(status, 413);
    for (method, path, status) in [
        (Method::GET, "cache?limit=0", 400),
        (Method::GET, "cache?patern=x", 400),
        (Method::DELETE, "pins", 400),
        (Method::GET, "jobs/nothing", 404),
        (Method::GET, "jobs/nothing/events", 404),
        (Method::DELETE, "jobs/nothing", 404),
        (Method::GET, "revisions/abcdefabcdef", 404),
        (Method::PUT, "pins", 405),
        (Method::GET, "nothing", 404),
    ] {
        let (given, problem) = operator.send(method.clone(), path, None).await;
        assert_eq!(given, status, "{method} {path} {problem}");
        assert_eq!(problem["type"], "about:blank");
    }
}

#[tokio::test]
async fn the_cache_is_listed_page_by_page_and_purged() {
    let (world, operator, image) = with_image().await;
    let all = operator.get("cache").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 3, "{all}");
    assert!(all["continue"].is_null());
    let (mut path, mut seen) = ("cache?limit=2&pattern=reg.example/**".to_owned(), Vec::new());
    loop {
        let page = operator.get(&path).await;
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(after) = page["continue"].as_str() else { break };
        let mut url = url_of("cache", &[("limit", "2"), ("pattern", "reg.example/**")]);
        url.push_str(&format!("&continue={}", encoded(after)));
        path = url;
        assert!(seen.len() < 10);
    }
    assert_eq!(&Value::Array(seen), &all["items"]);
    let manifest = all["items"].as_array().unwrap().iter().find(|item| item["kind"] == "manifest");
    let manifest = manifest.unwrap();
    assert_eq!(manifest["name"], "reg.example/lib/app");
    assert_eq!(
        (&manifest["digest"], &manifest["tags"]),
        (&image.digest.as_str().into(), &json!(["1"]))
    );
    assert_eq!(operator.get("cache?repository=docker.io").await["items"], json!([]));

    let stats = operator.get("cache/stats").await;
    assert_eq!(stats["repositories"][0]["repository"], "reg.example", "{stats}");

    world.registry.forget_requests();
    let tag = json!({"tag": {"name": "reg.example/lib/app", "tag": "1"}});
    let (status, purged) = operator.send(Method::POST, "cache/purge", Some(tag)).await;
    assert_eq!((status, &purged["tags"]), (200, &1.into()), "{purged}");
    assert_eq!(world.get(&through(&image.tag_path()), &[]).await.status, 200);
    assert!(!world.registry.requests().is_empty());
}

fn url_of(path: &str, query: &[(&str, &str)]) -> String {
    let query: Vec<String> =
        query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    format!("{path}?{}", query.join("&"))
}

/// Every byte, so that nothing depends on what may stay as it is.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn pins_come_and_go() {
    let (_world, operator, _image) = with_image().await;
    let reference = "reg.example/lib/app:1";
    let body = json!({"reference": reference});
    let (status, pin) = operator.send(Method::POST, "pins", Some(body)).await;
    assert_eq!((status, &pin["name"]), (201, &"reg.example/lib/app".into()), "{pin}");
    let pins = operator.get("pins").await;
    assert_eq!(pins["items"].as_array().unwrap().len(), 1, "{pins}");
    let path = url_of("pins", &[("reference", reference)]);
    assert_eq!(operator.send(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(operator.get("pins").await["items"], json!([]));
}

#[tokio::test]
async fn a_prefetch_is_a_job_that_can_be_watched() {
    let world = World::start().await;
    let operator = Operator::of(&world);
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([1000, 2000]));
    let body = json!({"references": ["reg.example/lib/app:1", "reg.example/lib/none:1"]});
    let request = operator.0.post("http://plane/api/v1/prefetch").json(&body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let job: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(location, format!("/api/v1/jobs/{}", job["id"].as_str().unwrap()));

    let events = operator.0.get(format!("http://plane{location}/events")).send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    // The stream ends with the job.
    let text = events.text().await.unwrap();
    let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["state"], "Failed", "{last}");
    assert_eq!(last["items"][0]["state"], "Done", "{last}");
    assert_eq!(last["items"][0]["digest"], image.digest.as_str());
    assert!(last["items"][1]["problem"].is_string(), "{last}");
    let path = location.trim_start_matches("/api/v1/");
    assert_eq!(operator.get(path).await["state"], "Failed");
    assert_eq!(operator.get("jobs").await["items"].as_array().unwrap().len(), 1);
    world.registry.stop().await;
    assert_eq!(world.get(&through(&image.layer_path(1)), &[]).await.status, 200);
}

#[tokio::test]
async fn verifying_is_a_job_that_reads_what_the_store_has() {
    let world = World::start().await;
    let operator = Operator::of(&world);
    let image = world.registry.image("lib/app", "1", ImageSpec::layers([1000]));
    assert_eq!(world.get(&through(&image.tag_path()), &[]).await.status, 200);
    let request = operator.0.post("http://plane/api/v1/cache/verify").json(&json!({}));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let events = operator.0.get(format!("http://plane{location}/events")).send().await.unwrap();
    let text = events.text().await.unwrap();
    let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!((&last["state"], &last["kind"]), (&json!("Done"), &json!("verify")), "{last}");
    assert!(last["doneBytes"].as_u64().is_some_and(|bytes| bytes > 0), "{last}");
    for (body, status) in [
        (json!({"repository": "nowhere"}), 404),
        (json!({"digest": image.digest, "reference": "a/b:1"}), 400),
    ] {
        let (answered, problem) = operator.send(Method::POST, "cache/verify", Some(body)).await;
        assert_eq!(answered, status, "{problem}");
    }
}

#[tokio::test]
async fn a_collection_is_a_job_with_a_report() {
    let world = World::start().await;
    let operator = Operator::of(&world);
    let (status, job) = operator.send(Method::POST, "gc", Some(json!({"dryRun": true}))).await;
    assert_eq!(status, 202, "{job}");
    let url = format!("http://plane/api/v1/jobs/{}/events", job["id"].as_str().unwrap());
    let text = operator.0.get(url).send().await.unwrap().text().await.unwrap();
    let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!((&last["state"], &last["kind"]), (&json!("Done"), &json!("gc")), "{last}");
    assert_eq!(last["gc"]["dryRun"], true, "{last}");
    assert_eq!(last["gc"]["gone"], json!({"tags": 0, "manifests": 0, "blobs": 0}), "{last}");
    for (body, status) in [
        (json!({"repository": "nowhere"}), 404),
        (json!({"untaggedFor": "soon"}), 400),
        (json!({"dryrun": true}), 400),
    ] {
        let (answered, problem) = operator.send(Method::POST, "gc", Some(body)).await;
        assert_eq!(answered, status, "{problem}");
    }
}

#[tokio::test]
async fn event_streams_end_when_the_plane_stops() {
    let world = World::start().await;
    let operator = Operator::of(&world);
    world.registry.image("lib/app", "1", ImageSpec::layers([1000]));
    let gate = testkit::Gate::new();
    world.registry.behave(testkit::Match::blobs(), testkit::Fault::Hold(gate.clone()));
    let body = json!({"references": ["reg.example/lib/app:1"]});
    let (status, job) = operator.send(Method::POST, "prefetch", Some(body)).await;
    assert_eq!(status, 202, "{job}");
    let id = job["id"].as_str().unwrap();
    let url = format!("http://plane/api/v1/jobs/{id}/events");
    let events = operator.0.get(url).send().await.unwrap();
    world.stopping.cancel();
    assert!(events.text().await.unwrap().starts_with("data: "));
    let (status, cancelled) = operator.send(Method::DELETE, &format!("jobs/{id}"), None).await;
    assert_eq!(status, 200, "{cancelled}");
    gate.open();
}

#[tokio::test]
async fn revisions_can_be_read_and_put_back() {
    let world = World::start().await;
    let operator = Operator::of(&world);
    let first = operator.get("status").await["revision"]["digest"].as_str().unwrap().to_owned();
    world.clock.advance(std::time::Duration::from_secs(1));
    let set = resources::read_text("more.yaml", ALLOW_ALL).unwrap();
    let set = resources::overlay(&resources::builtin(), &set);
    world.plane.apply(set, "test").await.unwrap();
    let second = operator.get("status").await["revision"]["digest"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let mut listed = Value::Null;
    for _ in 0..1000 {
        listed = operator.get("revisions").await["items"].clone();
        if listed.as_array().unwrap().len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(listed[0]["digest"], second.as_str(), "{listed}");
    assert_eq!(listed[0]["active"], true);

    let url = format!("http://plane/api/v1/revisions/{}", encoded(&first));
    let answer = operator.0.get(url).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/yaml");
    assert_eq!(answer.headers()["etag"], format!("\"{first}\"").as_str());
    assert!(answer.text().await.unwrap().contains("kind: Repository"));

    let path = format!("revisions/{first}/rollback");
    let (status, now) = operator.send(Method::POST, &path, None).await;
    assert_eq!((status, &now["digest"]), (200, &first.as_str().into()), "{now}");
}

#[tokio::test]
async fn upstreams_are_shown() {
    let world = World::start().await;
    let operator = Operator::of(&world);
    assert_eq!(world.get("/v2/reg.example/lib/app/manifests/1", &[]).await.status, 404);
    let upstreams = operator.get("upstreams").await;
    let fake = upstreams["items"].as_array().unwrap().iter().find(|held| held["name"] == "fake");
    let fake = fake.unwrap_or_else(|| panic!("{upstreams}"));
    assert_eq!(fake["endpoints"][0]["available"], true, "{fake}");
    assert!(fake["endpoints"][0]["url"].as_str().unwrap().starts_with("http://127.0.0.1"));
}

#[tokio::test]
async fn the_description_is_served() {
    let world = World::start().await;
    let served = Operator::of(&world).get("openapi.json").await;
    assert_eq!(served, edge::openapi::document());
    let unread = client::get(world.addr(), "/api/v1/openapi.json", &[]).await.unwrap();
    assert_eq!(unread.status, 403);
}
