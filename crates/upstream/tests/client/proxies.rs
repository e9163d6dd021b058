//! An outbound proxy: everything goes through it, and the address guard judges what it can.

use crate::support::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::{FakeRegistry, Fault, ImageSpec, Match, TestCa};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use upstream::{Boundary, FailureKind, OriginPattern, Settings};
use url::Url;

/// A proxy that leads every request to one server, whatever host it names.
struct Proxy {
    url: Url,
    served: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    async fn to(target: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let served = Arc::new(AtomicUsize::new(0));
        let counter = served.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(client, target));
            }
        });
        Self { url, served, task }
    }
}

/// Serves `CONNECT` as a tunnel, and an absolute-form request by sending it on in origin form. The rest of the
/// connection passes as it is, which is enough for one request per connection.
async fn serve(client: TcpStream, target: std::net::SocketAddr) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if client.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let is_end = line == "\r\n";
        if !line.to_ascii_lowercase().starts_with("connection:") {
            head.push_str(if is_end { "connection: close\r\n\r\n" } else { &line });
        }
        if is_end {
            break;
        }
    }
    let mut server = TcpStream::connect(target).await?;
    if head.starts_with("CONNECT ") {
        client.get_mut().write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await?;
        return Ok(());
    }
    let (line, rest) = head.split_once("\r\n").unwrap();
    let mut words = line.split(' ');
    let (method, absolute) = (words.next().unwrap(), words.next().unwrap());
    let url = Url::parse(absolute).expect("a proxy is asked in absolute form");
    server.write_all(format!("{method} {} HTTP/1.1\r\n{rest}", url.path()).as_bytes()).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    client.get_mut().write_all(&answer).await
}

fn through(proxy: &Proxy, endpoint: &str, boundary: Boundary) -> Settings {
    Settings {
        endpoints: vec![Url::parse(endpoint).unwrap()],
        proxy: Some(proxy.url.clone()),
        boundary,
        ..settings(&[])
    }
}

#[tokio::test]
async fn plain_http_goes_through_the_proxy_which_may_be_private_itself() {
    let registry = FakeRegistry::start().await;
    registry.image("a/b", "1", ImageSpec::layers([1000]));
    let proxy = Proxy::to(registry.addr()).await;
    let upstream = build(through(&proxy, "http://registry.example", Boundary::default()));
    upstream.manifest(&name("a/b"), &reference("1"), WAITING).await.unwrap();
    assert!(proxy.served.load(Ordering::Relaxed) >= 1);
    assert_eq!(registry.requests()[0].header("host"), Some("registry.example"));
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_that_the_proxy_cannot_read() {
    let directory = tempfile::tempdir().unwrap();
    let ca = TestCa::new();
    let identity = ca.server(&["registry.example"]);
    let registry = FakeRegistry::builder().identity(identity).start().await;
    registry.image("a/b", "1", ImageSpec::layers([1000]));
    let proxy = Proxy::to(registry.addr()).await;
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, ca.pem()).unwrap();
    let settings = through(&proxy, "https://registry.example", Boundary::default());
    let upstream = build(Settings { ca_file: Some(ca_file), ..settings });
    upstream.manifest(&name("a/b"), &reference("1"), WAITING).await.unwrap();
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_refused_also_behind_a_proxy() {
    for target in [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:2375/",
        "http://[::1]/",
        "http://0x7f000001/",
        "http://localhost/",
        "http://metadata.google.internal/",
    ] {
        let registry = FakeRegistry::start().await;
        let layer = registry.image("a/b", "1", ImageSpec::layers([1000])).layers[0].digest.clone();
        registry.behave(Match::blobs(), Fault::Redirect(target.into()));
        let proxy = Proxy::to(registry.addr()).await;
        let redirects = vec![OriginPattern::parse(&origin(target)).unwrap()];
        let boundary = Boundary { redirects, ..Boundary::default() };
        let upstream = build(through(&proxy, "http://registry.example", boundary));
        let refused = blob(&upstream, "a/b", &layer).await;
        let failure = refused.clone().unwrap_err();
        assert!(failure.reason().contains("boundary.privateAddresses"), "{target}: {failure}");
        assert_eq!(kind(refused), FailureKind::Indeterminate);
        assert_eq!(registry.requests().len(), 1, "{target}");
    }
}

fn origin(target: &str) -> String {
    let url = Url::parse(target).unwrap();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap())
}

#[tokio::test]
async fn a_proxy_that_is_down_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let base = settings(&[]);
    let endpoints = vec![Url::parse("http://registry.example").unwrap()];
    let upstream = build(Settings { endpoints, proxy: Some(url), ..base });
    let refused = upstream.manifest(&name("a/b"), &reference("1"), WAITING).await;
    assert_eq!(kind(refused), FailureKind::Indeterminate);
}
