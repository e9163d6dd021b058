//! Programs that give credentials: docker's credential helper protocol (docker-credential-helpers,
//! "Credentials protocol"): `get` as the last argument, the host on standard input, JSON on standard output.

use super::Login;
use crate::failure::redacted;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A helper that takes longer is stuck.
const RUN_MAX: Duration = Duration::from_secs(10);

/// Most that is read of a helper's output.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// The protocol tells no lifetime; cloud passwords last hours, and helpers keep them themselves.
const KEPT_FOR: Duration = Duration::from_secs(5 * 60);

/// A helper that failed is not run again sooner.
const FAILURE_KEPT_FOR: Duration = Duration::from_secs(2);

/// A registry that refuses one password after another is not given a new one sooner.
const FORGET_INTERVAL: Duration = Duration::from_secs(30);

/// Hosts remembered per helper: the endpoints of one upstream.
const HOSTS_MAX: usize = 64;

/// How helpers say that they know nothing of a host.
const NOT_FOUND: &str = "credentials not found";

#[derive(Debug)]
pub(super) struct Helper {
    command: String,
    args: Vec<String>,
    /// The lock is held while the program runs, so that it runs once for all who wait.
    kept: Mutex<HashMap<String, Kept>>,
    /// When an answer was last given up because a registry refused it.
    forgotten: Mutex<HashMap<String, Instant>>,
}

#[derive(Debug)]
struct Kept {
    until: Instant,
    answer: Result<Option<Login>, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wire {
    #[serde(default)]
    username: String,
    secret: String,
}

impl Helper {
    pub(super) fn new(command: &str, args: &[String]) -> Self {
        Self {
            command: command.to_owned(),
            args: args.to_vec(),
            kept: Mutex::default(),
            forgotten: Mutex::default(),
        }
    }

    /// The login for `host`; `None` if the helper knows of none.
    pub(super) async fn get(&self, host: &str) -> Result<Option<Login>, String> {
        let mut kept = self.kept.lock().await;
        if let Some(known) = kept.get(host).filter(|known| known.until > Instant::now()) {
            return known.answer.clone();
        }
        let answer = match tokio::time::timeout(RUN_MAX, self.run(host)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("took more than {} s", RUN_MAX.as_secs())),
        };
        let answer = answer.map_err(|text| format!("credential helper {}: {text}", self.command));
        let lifetime = if answer.is_ok() { KEPT_FOR } else { FAILURE_KEPT_FOR };
        if kept.len() >= HOSTS_MAX {
            kept.clear();
        }
        let until = Instant::now() + lifetime;
        kept.insert(host.to_owned(), Kept { until, answer: answer.clone() });
        answer
    }

    /// Runs the program again next time; not for each refusal, as some are not about the password.
    pub(super) async fn forget(&self, host: &str) {
        let mut forgotten = self.forgotten.lock().await;
        if forgotten.get(host).is_some_and(|at| at.elapsed() < FORGET_INTERVAL) {
            return;
        }
        if forgotten.len() >= HOSTS_MAX {
            forgotten.clear();
        }
        forgotten.insert(host.to_owned(), Instant::now());
        drop(forgotten);
        self.kept.lock().await.retain(|known, kept| known != host || kept.answer.is_err());
    }

    async fn run(&self, host: &str) -> Result<Option<Login>, String> {
        let mut child = Command::new(&self.command)
            .args(&self.args)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot be run: {error}"))?;
        let (Some(mut input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("has no pipes".to_owned());
        };
        let give = async {
            // A helper that does not read its input still may answer.
            let _ = input.write_all(format!("{host}\n").as_bytes()).await;
            drop(input);
        };
        let ((), output, errors) = tokio::join!(give, bounded(output), bounded(errors));
        let (output, errors) = (output?, errors?);
        let status =
            child.wait().await.map_err(|error| format!("cannot be waited for: {error}"))?;
        if status.success() {
            return login(&output);
        }
        let said = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let (output, errors) = (said(&output), said(&errors));
        if output.contains(NOT_FOUND) || errors.contains(NOT_FOUND) {
            return Ok(None);
        }
        let first = errors.lines().chain(output.lines()).find(|line| !line.trim().is_empty());
        Err(format!("{status}: {}", redacted(first.unwrap_or("no message"), 160)))
    }
}

async fn bounded(pipe: impl tokio::io::AsyncRead + Unpin) -> Result<Vec<u8>, String> {
    let mut read = Vec::new();
    let result = pipe.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut read).await;
    result.map_err(|error| format!("cannot be read: {error}"))?;
    match read.len() as u64 > OUTPUT_BYTES_MAX {
        true => Err(format!("wrote more than {OUTPUT_BYTES_MAX} bytes")),
        false => Ok(read),
    }
}

fn login(output: &[u8]) -> Result<Option<Login>, String> {
    let wire: Wire = serde_json::from_slice(output)
        .map_err(|_| "its answer is not the JSON of the credential helper protocol".to_owned())?;
    let secret = SecretString::from(wire.secret);
    Ok(Some(match wire.username.as_str() {
        // The protocol's own mark for identity tokens.
        "<token>" => Login::IdentityToken(secret),
        _ => Login::Password { username: wire.username, password: secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    /// `sh -c script get`: `get` becomes `$0`.
    fn helper(script: &str) -> Helper {
        Helper::new("sh", &["-c".to_owned(), script.to_owned()])
    }

    #[tokio::test]
    async fn gives_the_host_and_takes_the_login() {
        let script = r#"read host; echo "{\"ServerURL\":\"$host\",\"Username\":\"AWS\",\"Secret\":\"$0-$host\"}""#;
        let login = helper(script).get("r.example").await.unwrap().unwrap();
        let Login::Password { username, password } = login else { panic!() };
        assert_eq!((username.as_str(), password.expose_secret()), ("AWS", "get-r.example"));
        let script = r#"echo '{"Username":"<token>","Secret":"it"}'"#;
        let login = helper(script).get("r.example").await.unwrap();
        assert!(matches!(login, Some(Login::IdentityToken(_))));
    }

    #[tokio::test]
    async fn runs_once_for_all_who_wait_and_again_when_told_to_forget() {
        let directory = tempfile::tempdir().unwrap();
        let runs = directory.path().join("runs");
        let script = format!(
            r#"echo x >> {}; echo '{{"Username":"u","Secret":"s"}}'"#,
            runs.to_str().unwrap()
        );
        let helper = helper(&script);
        let all = tokio::join!(helper.get("h"), helper.get("h"), helper.get("h"));
        assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok());
        let count = || std::fs::read_to_string(&runs).unwrap().lines().count();
        assert_eq!(count(), 1);
        helper.forget("h").await;
        helper.get("h").await.unwrap();
        assert_eq!(count(), 2);
        helper.forget("h").await;
        helper.get("h").await.unwrap();
        assert_eq!(count(), 2, "not again and again");
    }

    #[tokio::test]
    async fn failures_are_told_without_secrets_and_not_found_is_none() {
        let script = "echo 'no session for AKIAIOSFODNN7EXAMPLEKEY0123' >&2; exit 3";
        let told = helper(script).get("h").await.unwrap_err();
        assert!(told.contains("no session") && !told.contains("AKIA"), "{told}");
        let script = "echo credentials not found in native keychain; exit 1";
        assert!(helper(script).get("h").await.unwrap().is_none());
        let told = helper("yes | head -c 100000").get("h").await.unwrap_err();
        assert!(told.contains("more than"), "{told}");
        let told = helper("echo hunter2").get("h").await.unwrap_err();
        assert!(told.contains("protocol") && !told.contains("hunter2"), "{told}");
        let told = Helper::new("/nonexistent/helper", &[]).get("h").await.unwrap_err();
        assert!(told.contains("cannot be run"), "{told}");
    }
}
