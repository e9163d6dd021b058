//! The kubelet's plugin, driven as the kubelet drives it, and the settings that it needs.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::site::fed;
use common::{Ran, Setup, ran, text};
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use tokio::process::Command;

const API_VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";
const TOKEN: &str = "header.claims-of-a-pod.signature";

fn request(image: &str, token: &str) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "CredentialProviderRequest", "image": image,
        "serviceAccountToken": token, "serviceAccountAnnotations": {},
    })
}

async fn asked(setup: &Setup, more: &[&str], input: &str) -> Ran {
    fed(setup.command(&[&["credential-provider"], more].concat()), input).await
}

/// One line says all, and no secret.
fn refused(ran: Ran, told: &str) {
    let ran = ran.expect(1);
    assert_eq!(ran.stdout, "", "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(told), "{told}: {ran:?}");
    assert!(!ran.stderr.contains(TOKEN), "{ran:?}");
}

#[tokio::test]
async fn the_pods_token_is_the_password_for_the_images_host() {
    let setup = Setup::new().await;
    for (image, host) in [
        ("plane.example.com:5050/docker.io/library/alpine:3", "plane.example.com:5050"),
        ("plane.example.com/a@sha256:00", "plane.example.com"),
        ("nginx", "docker.io"),
    ] {
        let ran = asked(&setup, &[], &request(image, TOKEN).to_string()).await.expect(0);
        let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
        let expected = json!({
            "apiVersion": API_VERSION, "kind": "CredentialProviderResponse",
            "cacheKeyType": "Registry", "cacheDuration": "0s",
            "auth": { host: { "username": "k8s", "password": TOKEN } },
        });
        assert_eq!(answer, expected);
        assert_eq!(ran.stderr, "");
    }
}

#[tokio::test]
async fn the_name_it_is_called_by_is_enough() {
    let setup = Setup::new().await;
    let link = setup.path("lockgate-credential-provider");
    symlink(env!("CARGO_BIN_EXE_lockgate"), &link).unwrap();
    let called = |words: &[&str]| {
        let mut command = Command::new(&link);
        command.args(words).env_clear();
        command
    };
    let question = request("plane.example.com/a:1", TOKEN).to_string();
    let ran = fed(called(&[]), &question).await.expect(0);
    assert!(ran.stdout.contains(TOKEN));
    let secret = setup.path("secret");
    std::fs::write(&secret, "\nnew-secret-of-the-cluster\nold-secret-of-the-cluster\n").unwrap();
    let flag = format!("--cluster-credential-file={}", text(&secret));
    let static_pod = request("plane.example.com/a:1", "").to_string();
    let ran = fed(called(&[&flag]), &static_pod).await.expect(0);
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    let auth = &answer["auth"]["plane.example.com"];
    assert_eq!(auth, &json!({ "username": "node", "password": "new-secret-of-the-cluster" }));
    // A pod that has a token shows that.
    assert!(fed(called(&[&flag]), &question).await.expect(0).stdout.contains(TOKEN));
}

#[tokio::test]
async fn what_cannot_be_answered_is_told_in_one_line() {
    let setup = Setup::new().await;
    refused(asked(&setup, &[], "").await, "standard input is no CredentialProviderRequest");
    refused(asked(&setup, &[], "{}\n{}").await, "standard input is no CredentialProviderRequest");
    let old = request("a.test/b", TOKEN).to_string().replace("k8s.io/v1", "k8s.io/v1beta1");
    refused(asked(&setup, &[], &old).await, "v1beta1 CredentialProviderRequest is not answered");
    refused(asked(&setup, &[], &request("", TOKEN).to_string()).await, "names no registry");
    let without = request("a.test/b", "").to_string();
    refused(asked(&setup, &[], &without).await, "the kubelet sent no service account token");
    let absent = asked(&setup, &["--cluster-credential-file", "/no/such/file"], &without).await;
    refused(absent, "/no/such/file cannot be read");
    let empty = setup.path("empty");
    std::fs::write(&empty, "\n").unwrap();
    let empty = asked(&setup, &["--cluster-credential-file", text(&empty)], &without).await;
    refused(empty, "is empty");
    // A request without an end is read to a bound.
    let mut endless = setup.command(&["credential-provider"]);
    endless.stdin(std::fs::File::open("/dev/zero").unwrap());
    refused(ran(endless).await, "standard input is no");
}

#[tokio::test]
async fn the_settings_are_what_the_kubelet_reads() {
    let setup = Setup::new().await;
    let config = async |more: &[&str], code: i32| {
        let words = ["client-config", "kubelet", "--plane", "https://plane.example.com:5050"];
        setup.run(&[&words[..], more].concat()).await.expect(code)
    };
    let provider = |ran: &Ran| {
        let file: Value = serde_saphyr::from_str(&ran.stdout).unwrap();
        assert_eq!(file["apiVersion"], "kubelet.config.k8s.io/v1");
        assert_eq!(file["kind"], "CredentialProviderConfig");
        assert_eq!(file["providers"].as_array().unwrap().len(), 1);
        file["providers"][0].clone()
    };
    let ran = config(&[], 0).await;
    assert_eq!(ran.stderr, "");
    assert_eq!(
        provider(&ran),
        json!({
            "name": "lockgate-credential-provider",
            "matchImages": ["plane.example.com:5050"],
            "defaultCacheDuration": "0s",
            "apiVersion": API_VERSION,
            "tokenAttributes": {
                "serviceAccountTokenAudience": "lockgate",
                "cacheType": "Token",
                "requireServiceAccount": true,
            },
        })
    );
    let more =
        ["--audience", "pulls", "--match-images", "*.corp.test", "--match-images", "b.test/team"];
    let provided = provider(&config(&more, 0).await);
    assert_eq!(provided["matchImages"], json!(["*.corp.test", "b.test/team"]));
    assert_eq!(provided["tokenAttributes"]["serviceAccountTokenAudience"], "pulls");
    for wrong in ["https://a.test", "*", "a\"b", ""] {
        let ran = config(&["--match-images", wrong], 64).await;
        assert!(ran.stderr.contains("--match-images") && ran.stdout.is_empty(), "{ran:?}");
    }
    let docker =
        setup.run(&["client-config", "docker", "--match-images", "a.test"]).await.expect(64);
    assert!(docker.stderr.contains("for the kubelet alone"), "{docker:?}");
}
