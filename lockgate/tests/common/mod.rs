//! Drives the real binary: a plane with an upstream of our own, and commands beside it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it")]

pub(crate) mod issuer;
pub(crate) mod site;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::FakeRegistry;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The repository that leads to the upstream of a test.
pub(crate) const REPOSITORY: &str = "up.example.test";
/// Far more than anything here takes; what runs into it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Directories of a test, and its upstream.
pub(crate) struct Setup {
    dir: tempfile::TempDir,
    pub(crate) registry: FakeRegistry,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A plane that runs.
pub(crate) struct Served {
    child: Child,
    log: Arc<Mutex<String>>,
    /// `127.0.0.1:port`.
    pub(crate) address: String,
    pub(crate) pid: u32,
}

impl Setup {
    /// An upstream and resources that lead to it. The built-in registries lead there too, so that
    /// nothing leaves the machine.
    pub(crate) async fn new() -> Self {
        let setup =
            Self { dir: tempfile::tempdir().unwrap(), registry: FakeRegistry::start().await };
        std::fs::create_dir(setup.resources()).unwrap();
        let names: Vec<&str> = resources::WELL_KNOWN_REGISTRIES.into_iter().chain(["up"]).collect();
        let documents: Vec<String> =
            names.iter().map(|name| upstream(name, &setup.registry.url())).collect();
        setup.write("upstreams.yaml", &documents.join("---\n"));
        setup.write("repositories.yaml", &repository(REPOSITORY));
        setup
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn resources(&self) -> PathBuf {
        self.path("resources")
    }

    /// Writes a file of resources as editors do: beside, then moved into place.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let beside = self.path("being-written");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.resources().join(name)).unwrap();
    }

    /// A command that knows nothing of this machine but our directories.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockgate"));
        command.args(words).env_clear().env("HOME", self.dir.path()).env("PATH", "/usr/bin:/bin");
        command.current_dir(self.dir.path()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, words: &[&str]) -> Ran {
        ran(self.command(words)).await
    }

    /// Runs a command that asks the plane of our data directory.
    pub(crate) async fn ask(&self, words: &[&str]) -> Ran {
        let data = self.data();
        let mut all = words.to_vec();
        all.extend(["--data-dir", data.to_str().unwrap()]);
        self.run(&all).await
    }

    /// Starts a plane on our directories, and waits until it listens.
    pub(crate) async fn serve(&self) -> Served {
        self.serve_with(&[]).await
    }

    pub(crate) async fn serve_with(&self, more: &[&str]) -> Served {
        let (data, resources) = (self.data(), self.resources());
        let mut words =
            vec!["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
        words.extend(["--resources", resources.to_str().unwrap()]);
        words.extend(more);
        Served::start(self.command(&words)).await
    }
}

/// An upstream at a URL.
pub(crate) fn upstream(name: &str, url: &str) -> String {
    format!(
        "apiVersion: lockgate.dev/v1alpha1\nkind: Upstream\nmetadata: {{ name: {name} }}\n\
         spec:\n  endpoints: [{{ url: \"{url}\" }}]\n  boundary: {{ privateAddresses: true }}\n  \
         timeouts: {{ connect: 1s, firstByte: 2s, stall: 2s }}\n"
    )
}

/// A repository that leads to `up`.
pub(crate) fn repository(name: &str) -> String {
    format!(
        "apiVersion: lockgate.dev/v1alpha1\nkind: Repository\nmetadata: {{ name: {name} }}\n\
         spec: {{ hosts: [{name}], remote: {{ upstream: up }} }}\n"
    )
}

pub(crate) async fn ran(mut command: Command) -> Ran {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it hangs").unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Looks again and again until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let look = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, look).await.is_ok(), "never: {what}");
}

impl Ran {
    /// The exit status is this one; else everything is shown.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

impl Served {
    /// Starts a plane by a command of one's own, and waits until it listens.
    pub(crate) async fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let written = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let pid = child.id().unwrap();
        let mut served = Self { child, log, address: String::new(), pid };
        eventually("the plane listens", async || {
            served.log().contains("  try\n") && served.log().contains("skopeo")
        })
        .await;
        let log = served.log();
        let address = log.split("listens on  ").nth(1).unwrap().lines().next().unwrap();
        let address = address.split("://").nth(1).unwrap();
        served.address = address.to_owned();
        served
    }

    /// All it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) async fn get(&self, path: &str) -> testkit::client::Response {
        testkit::client::get(self.address.as_str(), path, &[]).await.unwrap()
    }

    pub(crate) async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it hangs").unwrap()
    }

    /// Tells it to stop, and waits for a clean end.
    pub(crate) async fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// The power cut.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The path of a registry's answer, as the plane has it.
pub(crate) fn through(path: &str) -> String {
    path.replacen("/v2/", &format!("/v2/{REPOSITORY}/"), 1)
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
