//! Listeners, proxies in front, TLS and HTTP/2: who is at the other end, and how it got here.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Server, eventually, limits, loopback, mirror, plain};
use edge::server::{Address, Error, ForwardedStyle, ListenerSettings, PublicBase, TlsFiles, bind};
use policy::Network;
use std::net::SocketAddr;
use std::path::Path;
use testkit::client::{self, Request};
use testkit::{Issued, TestCa};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

fn from_proxy() -> ListenerSettings {
    let trusted_proxies = vec![Network::parse("127.0.0.0/8").unwrap()];
    ListenerSettings { trusted_proxies, ..plain() }
}

async fn ask(addr: SocketAddr, headers: &[(&str, &str)]) -> serde_json::Value {
    client::get(addr, "/v2/", headers).await.unwrap().json()
}

/// Sends raw bytes and reads until the server closes.
async fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn forwarded_headers_count_only_from_trusted_proxies() {
    let headers = [
        ("host", "inner:5050"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "reg.example"),
    ];
    let stranger = Server::start(&[plain()], limits(), mirror).await;
    let seen = ask(stranger.addr(), &headers).await;
    assert_eq!(seen["client"], "127.0.0.1");
    assert_eq!((&seen["base"], &seen["host"]), (&"http://inner:5050".into(), &"inner:5050".into()));

    let trusted = Server::start(&[from_proxy()], limits(), mirror).await;
    let seen = ask(trusted.addr(), &headers).await;
    assert_eq!(seen["client"], "203.0.113.7");
    let expected = (&"https://reg.example".into(), &"reg.example".into());
    assert_eq!((&seen["base"], &seen["host"]), expected);
    // What a client put there itself stands to the left of what the proxy appended.
    let seen = ask(trusted.addr(), &[("x-forwarded-for", "127.0.0.1, 198.51.100.9")]).await;
    assert_eq!(seen["client"], "198.51.100.9");
    let seen = ask(trusted.addr(), &[("x-forwarded-for", "junk")]).await;
    assert!(seen["client"].is_null());

    let rfc = ListenerSettings { forwarded: ForwardedStyle::Rfc7239, ..from_proxy() };
    let rfc = Server::start(&[rfc], limits(), mirror).await;
    let forwarded = "for=203.0.113.7;proto=https;host=reg.example";
    let lines = [("forwarded", forwarded), ("x-forwarded-for", "9.9.9.9")];
    let seen = ask(rfc.addr(), &lines).await;
    assert_eq!(seen["client"], "203.0.113.7");
    assert_eq!(seen["base"], "https://reg.example");
}

#[tokio::test]
async fn public_urls_bound_what_a_proxy_may_say() {
    let public_urls = vec![PublicBase::parse("https://reg.example").unwrap()];
    let settings = ListenerSettings { public_urls, ..from_proxy() };
    let server = Server::start(&[settings], limits(), mirror).await;
    let seen = ask(server.addr(), &[("host", "reg.example")]).await;
    assert_eq!(seen["base"], "https://reg.example");
    let lines = [("host", "reg.example"), ("x-forwarded-host", "evil.example")];
    let seen = ask(server.addr(), &lines).await;
    assert_eq!(
        (&seen["base"], &seen["host"]),
        (&"https://reg.example".into(), &"reg.example".into())
    );
}

#[tokio::test]
async fn the_proxy_protocol_names_the_client() {
    let settings = ListenerSettings { proxy_protocol: true, ..from_proxy() };
    let server = Server::start(&[settings], limits(), mirror).await;
    let http = b"GET /v2/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let v1 = [b"PROXY TCP4 203.0.113.7 10.0.0.1 8080 5050\r\n".as_slice(), http].concat();
    assert!(raw(server.addr(), &v1).await.contains("\"client\":\"203.0.113.7\""));
    let v2 = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".as_slice(),
        &[203, 0, 113, 8, 10, 0, 0, 1, 0x1f, 0x90, 0x13, 0xba],
        http,
    ]
    .concat();
    assert!(raw(server.addr(), &v2).await.contains("\"client\":\"203.0.113.8\""));
    // Without a header there is no answer.
    assert_eq!(raw(server.addr(), http).await, "");
    eventually("it is counted", || {
        server.metric("lockgate_connections_cut_total{reason=\"proxy\"}") == 1
    })
    .await;
}

#[tokio::test]
async fn a_stranger_may_not_speak_the_proxy_protocol() {
    let trusted_proxies = vec![Network::parse("192.0.2.0/24").unwrap()];
    let settings = ListenerSettings { proxy_protocol: true, trusted_proxies, ..plain() };
    let server = Server::start(&[settings], limits(), mirror).await;
    let line = b"PROXY TCP4 127.0.0.1 10.0.0.1 8080 5050\r\nGET / HTTP/1.1\r\n\r\n";
    assert_eq!(raw(server.addr(), line).await, "");

    let settings = ListenerSettings { proxy_protocol: true, ..plain() };
    let refused = bind(&[settings], limits(), common::metrics()).await.unwrap_err();
    assert!(matches!(refused, Error::NoTrustedProxies { .. }), "{refused}");
}

#[tokio::test]
async fn several_listeners_and_a_unix_socket_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lockgate.sock");
    let unix = ListenerSettings::plain(Address::Unix(path.clone()));
    let server = Server::start(&[plain(), plain(), unix], limits(), mirror).await;
    for address in &server.addresses[..2] {
        let Address::Tcp(address) = address else { panic!("{address}") };
        assert_eq!(ask(*address, &[]).await["unix"], false);
    }
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: plane\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("\"unix\":true") && answer.contains("\"client\":null"), "{answer}");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let again = ListenerSettings::plain(Address::Unix(path.clone()));
    let taken = bind(&[again], limits(), common::metrics()).await.unwrap_err();
    assert!(taken.to_string().contains("another process serves this socket"), "{taken}");
    server.drained().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn an_address_in_use_names_its_owner() {
    let server = Server::start(&[plain()], limits(), mirror).await;
    let again = ListenerSettings::plain(server.addresses[0].clone());
    let error = bind(&[again], limits(), common::metrics()).await.unwrap_err().to_string();
    assert!(error.contains(&server.addr().to_string()), "{error}");
    if cfg!(target_os = "linux") {
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    }
}

fn write_pair(dir: &Path, issued: &Issued) -> TlsFiles {
    let files = TlsFiles {
        cert_file: dir.join("cert.pem"),
        key_file: dir.join("key.pem"),
        requests_client_certificate: false,
    };
    std::fs::write(&files.cert_file, &issued.cert_pem).unwrap();
    std::fs::write(&files.key_file, &issued.key_pem).unwrap();
    files
}

fn tls_listener(dir: &Path, issued: &Issued, http2: bool) -> ListenerSettings {
    ListenerSettings { tls: Some(write_pair(dir, issued)), http2, ..plain() }
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_dropping_a_connection() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (TestCa::new(), TestCa::new());
    let settings = tls_listener(dir.path(), &old.server(&["localhost"]), false);
    let server = Server::start(&[settings], limits(), mirror).await;
    let with = |ca: &TestCa| Request::get("/").tls(ca.client_config(None), "localhost");

    let transfer = with(&old).open(server.addr()).await.unwrap();
    let (response, kept) = transfer.finish().await;
    assert_eq!((response.status, &response.json()["tls"]), (200, &true.into()));
    let number = response.json()["connection"].clone();

    write_pair(dir.path(), &new.server(&["localhost"]));
    assert!(server.certificates.reload().is_empty());
    let (response, _) = kept.expect("it is kept open").send(&with(&old)).await.unwrap();
    assert_eq!((response.status, &response.json()["connection"]), (200, &number));
    assert!(with(&old).send(server.addr()).await.is_err());
    assert_eq!(with(&new).send(server.addr()).await.unwrap().status, 200);

    // What cannot be used changes nothing.
    std::fs::write(dir.path().join("key.pem"), "no key").unwrap();
    assert_eq!(server.certificates.reload().len(), 1);
    write_pair(dir.path(), &new.expired_server(&["localhost"]));
    assert_eq!(server.certificates.reload().len(), 1);
    assert_eq!(with(&new).send(server.addr()).await.unwrap().status, 200);
    assert_eq!(server.metric("lockgate_reload_failures_total{what=\"certificate\"}"), 2);
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let settings = tls_listener(dir.path(), &TestCa::new().server(&["localhost"]), false);
    let server = Server::start(&[settings], limits(), mirror).await;
    let answer = raw(server.addr(), b"GET /v2/ HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 this port speaks TLS"), "{answer}");
}

#[tokio::test]
async fn a_tls_hello_on_a_plain_port_gets_an_http_answer() {
    let server = Server::start(&[plain()], limits(), mirror).await;
    let answer = raw(server.addr(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

async fn version(client: &reqwest::Client, url: &str) -> String {
    let answer = client.get(url).send().await.unwrap();
    let text = answer.text().await.unwrap();
    let seen: serde_json::Value = serde_json::from_str(&text).unwrap();
    seen["version"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn http2_is_offered_by_alpn_only_where_it_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new();
    let root = reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap();
    let client = || reqwest::Client::builder().tls_certs_only([root.clone()]).build().unwrap();
    for (http2, expected) in [(false, "HTTP/1.1"), (true, "HTTP/2.0")] {
        let settings = tls_listener(dir.path(), &ca.server(&["localhost"]), http2);
        let server = Server::start(&[settings], limits(), mirror).await;
        let url = format!("https://localhost:{}/", server.addr().port());
        assert_eq!(version(&client(), &url).await, expected);
    }
}

#[tokio::test]
async fn http2_without_tls_where_it_is_wanted() {
    let settings = ListenerSettings { http2: true, ..ListenerSettings::plain(loopback()) };
    let server = Server::start(&[settings], limits(), mirror).await;
    let url = format!("http://{}/", server.addr());
    let prior = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    assert_eq!(version(&prior, &url).await, "HTTP/2.0");
    assert_eq!(version(&reqwest::Client::new(), &url).await, "HTTP/1.1");

    let without = Server::start(&[plain()], limits(), mirror).await;
    let url = format!("http://{}/", without.addr());
    assert!(prior.get(&url).send().await.is_err());
}
