//! The two programs, run as a shell would.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use testkit::client::{self, Request};

/// A running `testkit-registry`, and what it said.
struct Running(Child, Value);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(flags: &[&str]) -> Running {
    let mut child = Command::new(env!("CARGO_BIN_EXE_testkit-registry"))
        .args(flags)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said = serde_json::from_str(&line).unwrap();
    Running(child, said)
}

impl Running {
    fn host(&self) -> &str {
        self.1["host"].as_str().unwrap()
    }

    fn layer(&self) -> &Value {
        &self.1["images"][0]["layers"][0]
    }

    fn layer_url(&self) -> String {
        format!("http://{}{}", self.host(), self.layer()["path"].as_str().unwrap())
    }

    async fn control(&self, order: Value) -> u16 {
        let request = Request::new("POST", "/_control").body(order.to_string());
        request.send(self.host()).await.unwrap().status
    }

    async fn stats(&self) -> Value {
        client::get(self.host(), "/_stats", &[]).await.unwrap().json()
    }
}

fn herd(flags: &[&str]) -> (bool, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_testkit-herd")).args(flags).output().unwrap();
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

#[tokio::test]
async fn a_herd_checks_what_it_pulls() {
    let registry = start(&["--blob", "3M", "--image", "10,2K", "--access-log", "/dev/null"]);
    assert_eq!(registry.1["images"][1]["layers"][1]["size"], 2048);
    let (url, digest) = (registry.layer_url(), registry.layer()["digest"].as_str().unwrap());
    let seed = registry.layer()["seed"].to_string();

    let (good, report) = herd(&["--url", &url, "--clients", "10", "--digest", digest]);
    assert!(good, "{report}");
    assert_eq!((&report["sha256_verified"], &report["quick_hashed"]), (&json!(4), &json!(6)));
    assert_eq!(report["bytes_total"], 10 * (3 << 20));

    let exact = ["--url", &url, "--clients", "5", "--seed", &seed, "--size", "3M"];
    let (good, report) = herd(&exact);
    assert!(good && report["compared"] == 5, "{report}");
    let (good, report) = herd(&[&exact[..], &["--range"]].concat());
    assert!(good && report["statuses"]["206"] == 5, "{report}");
    assert_eq!(report["bytes_total"], 3 << 20);

    let (good, report) = herd(&["--url", &url, "--clients", "4", "--length-only"]);
    assert!(good && report["counted"] == 4, "{report}");
    assert_eq!(report["bytes_total"], 4 * (3 << 20));
    let mixed = ["--clients", "6", "--slow", "1", "--slow-rate", "1K", "--leave", "1"];
    let (good, report) = herd(&[&["--url", &url][..], &mixed].concat());
    assert!(good && report["completed"] == 5, "{report}");
    assert!(report["slow_bytes"][0].as_u64().unwrap() < 3 << 20, "{report}");

    let wrong = testkit::sha256(b"other");
    let (good, report) = herd(&["--url", &url, "--clients", "1", "--digest", &wrong]);
    assert!(!good && report["error_count"] == 1, "{report}");
    let (good, _) = herd(&["--url", &url, "--clients", "2", "--seed", "99", "--size", "3M"]);
    assert!(!good);
}

#[tokio::test]
async fn a_registry_is_steered_and_watched_over_http() {
    let registry = start(&["--blob", "100000", "--rate-limit", "5"]);
    let path = registry.layer()["path"].as_str().unwrap();
    let get = || client::get(registry.host(), path, &[]);
    assert_eq!(get().await.unwrap().body.len(), 100_000);
    assert_eq!(registry.control(json!({"mode": 429})).await, 200);
    assert_eq!(get().await.unwrap().status, 429);
    assert_eq!(registry.control(json!({"mode": "garbage"})).await, 200);
    assert!(get().await.is_err());
    assert_eq!(registry.control(json!({"mode": "sideways"})).await, 400);
    let cut = json!({"fault": "truncate", "value": 7, "on": "blobs", "method": "GET", "first": 1});
    let absent = json!({"fault": "status", "value": 404, "on": "manifests"});
    assert_eq!(registry.control(json!({"faults": [cut, absent]})).await, 200);
    assert_eq!(get().await.unwrap().body.len(), 7);
    assert_eq!(get().await.unwrap().body.len(), 100_000);
    assert_eq!(registry.stats().await["fault_hits"], json!([1, 0]));
    assert_eq!(registry.control(json!({"faults": [{"fault": "sideways"}]})).await, 400);
    assert_eq!(registry.control(json!({"mode": "blackhole"})).await, 200);
    assert_eq!(registry.control(json!({"mode": "ok", "latency_ms": 1, "bandwidth": 0})).await, 200);
    let stats = registry.stats().await;
    assert_eq!(stats["paths"][path]["requests"]["GET"], 5, "{stats}");
    assert!(stats["bytes"].as_u64().unwrap() >= 100_000);
    let forget = Request::new("DELETE", "/_stats").send(registry.host()).await.unwrap();
    assert_eq!((forget.status, &registry.stats().await["requests"]), (200, &json!(0)));
}
