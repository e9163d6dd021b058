//! Local users by the real command, and the plane that reads what it wrote.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use common::site::fed;
use common::{Ran, Served, Setup, eventually, text, through};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use testkit::ImageSpec;

const PASSWORD: &str = "correct horse battery";

/// A directory with a file of users.
struct Users {
    setup: Setup,
    file: PathBuf,
}

impl Users {
    async fn new() -> Self {
        let setup = Setup::new().await;
        let file = setup.path("users.yaml");
        Self { setup, file }
    }

    fn words<'w>(&'w self, words: &[&'w str]) -> Vec<&'w str> {
        [&["users"], words, &["--file", text(&self.file)]].concat()
    }

    async fn run(&self, words: &[&str]) -> Ran {
        self.setup.run(&self.words(words)).await
    }

    async fn passwd(&self, name: &str, password: &str) -> Ran {
        fed(self.setup.command(&self.words(&["passwd", name])), password).await
    }

    /// A token, as it is printed.
    async fn token(&self, more: &[&str]) -> String {
        let words = [&["token", "ann", "--expires", "90d"], more].concat();
        let made = self.run(&words).await.expect(0);
        made.stdout.trim().to_owned()
    }

    fn mode(&self) -> u32 {
        std::fs::metadata(&self.file).unwrap().permissions().mode() & 0o777
    }

    async fn serve(&self) -> Served {
        self.setup.write(
            "local.yaml",
            &format!(
                "apiVersion: lockgate.dev/v1alpha1\nkind: IdentityProvider\nmetadata: {{ name: local }}\n\
                 spec: {{ local: {{ usersFile: {} }} }}\n---\n\
                 apiVersion: lockgate.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: people }}\n\
                 spec: {{ allow: [{{ subjects: [{{ kind: Authenticated }}], actions: [Pull], repositories: ['**'] }}] }}\n",
                text(&self.file)
            ),
        );
        self.setup.serve().await
    }
}

/// What the plane answers to a name and a secret.
async fn shown(plane: &Served, path: &str, username: &str, secret: &str) -> (u16, String) {
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{secret}")));
    let headers = [("authorization", basic.as_str())];
    let answer = testkit::client::get(plane.address.as_str(), path, &headers).await.unwrap();
    (answer.status, answer.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_added_changed_listed_and_removed() {
    let users = Users::new().await;
    let nobody = users.run(&["list"]).await.expect(0);
    assert_eq!(nobody.stdout, "");
    users.run(&["add", "ann", "--group", "dev", "--group", "ops"]).await.expect(0);
    assert_eq!(users.mode(), 0o600);
    users.run(&["add", "bob"]).await.expect(0);
    let twice = users.run(&["add", "ann"]).await.expect(1);
    assert!(twice.stderr.contains("there is a user ann already"), "{twice:?}");
    for name in ["", "a:b", "a\nb"] {
        let wrong = users.run(&["add", name]).await.expect(1);
        assert!(wrong.stderr.contains("is no name of a user"), "{name:?}: {wrong:?}");
    }

    let set = users.passwd("ann", &format!("{PASSWORD}\n")).await.expect(0);
    let none = users.passwd("nobody", PASSWORD).await.expect(1);
    assert!(none.stderr.contains("there is no user nobody"), "{none:?}");
    users.passwd("ann", "\n").await.expect(64);
    users.passwd("ann", &"x".repeat(5000)).await.expect(64);
    let token = users.token(&["--id", "laptop"]).await;
    assert!(token.starts_with("lgt_laptop_"), "{token}");
    let narrow =
        ["--id", "job", "--kind", "CI", "--actions", "Pull,List", "--repositories", "a/**"];
    users.token(&narrow).await;
    let listed = users.run(&["list"]).await.expect(0);
    for line in [
        "ann (password, in dev, ops)\n",
        "bob (no password)\n",
        "  token laptop: User, all but Administer, ends in ",
        "  token job: CI, Pull,List on a/**, ends in ",
    ] {
        assert!(listed.stdout.contains(line), "{line}: {listed:?}");
    }
    // Neither what was typed nor what was made is told again, nor kept.
    let kept = std::fs::read_to_string(&users.file).unwrap();
    for text in [&set.stdout, &set.stderr, &listed.stdout, &listed.stderr, &kept] {
        assert!(!text.contains(PASSWORD) && !text.contains(&token), "{text}");
    }
    assert_eq!(users.mode(), 0o600);

    users.run(&["revoke", "ann", "laptop"]).await.expect(0);
    users.run(&["revoke", "ann", "laptop"]).await.expect(1);
    users.run(&["remove", "ann"]).await.expect(0);
    users.run(&["remove", "ann"]).await.expect(1);
    assert_eq!(users.run(&["list"]).await.expect(0).stdout, "bob (no password)\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_make_no_sense_are_refused_and_leave_the_file_alone() {
    let users = Users::new().await;
    users.run(&["add", "ann"]).await.expect(0);
    let before = std::fs::read_to_string(&users.file).unwrap();
    for (expires, told) in [
        ("0s", "the token would end at once"),
        ("900ms", "the token would end at once"),
        ("-1d", "is no duration"),
        ("soon", "is no duration"),
        ("11000d", "longer than ten years"),
    ] {
        let words = ["token", "ann", "--id", "a", "--expires", expires];
        let wrong = users.run(&words).await.expect(64);
        assert!(wrong.stderr.contains(told), "{expires}: {wrong:?}");
        assert_eq!(wrong.stdout, "");
    }
    for (more, told) in [
        (&["--id", "a_b"][..], "the id of a token is"),
        (&["--id", "a", "--kind", "Robot"], "Robot"),
        (&["--id", "a", "--actions", "Everything"], "Everything"),
        (&["--id", "a", "--repositories", ""], "token a of user ann"),
    ] {
        let words = [&["token", "ann", "--expires", "1d"], more].concat();
        let wrong = users.run(&words).await.expect(1);
        assert!(wrong.stderr.contains(told), "{more:?}: {wrong:?}");
        assert_eq!(wrong.stdout, "", "no token was made");
    }
    assert_eq!(std::fs::read_to_string(&users.file).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_at_once_lose_nothing() {
    let users = Users::new().await;
    let names: Vec<String> = (0..8).map(|number| format!("user-{number}")).collect();
    let mut running = tokio::task::JoinSet::new();
    for name in &names {
        let mut command = users.setup.command(&users.words(&["add", name]));
        running.spawn(async move { command.output().await.unwrap() });
    }
    for output in running.join_all().await {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let listed = users.run(&["list"]).await.expect(0).stdout;
    assert_eq!(listed.lines().count(), names.len(), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plane_takes_passwords_and_tokens_until_they_are_taken_back() {
    let users = Users::new().await;
    let image = users.setup.registry.image("a", "1", ImageSpec::layers([10]));
    let path = through(&image.tag_path());
    users.run(&["add", "ann"]).await.expect(0);
    users.run(&["add", "bob"]).await.expect(0);
    users.passwd("bob", PASSWORD).await.expect(0);
    let token = users.token(&["--id", "laptop"]).await;
    let short = users.run(&["token", "ann", "--id", "short", "--expires", "1s"]).await.expect(0);
    let short = short.stdout.trim().to_owned();
    let plane = users.serve().await;

    assert_eq!(plane.status(&path).await, 401);
    assert_eq!(shown(&plane, &path, "bob", PASSWORD).await.0, 200);
    assert_eq!(shown(&plane, &path, "bob", "another").await.0, 401);
    assert_eq!(shown(&plane, &path, "whoever", &token).await.0, 200);
    eventually("the short one ends, and its end is told", async || {
        let (status, body) = shown(&plane, &path, "x", &short).await;
        status == 401 && body.contains("expired at 2")
    })
    .await;

    users.run(&["revoke", "ann", "laptop"]).await.expect(0);
    users.run(&["remove", "bob"]).await.expect(0);
    eventually("the token is refused", async || {
        shown(&plane, &path, "whoever", &token).await.0 == 401
    })
    .await;
    eventually("the password is refused", async || {
        shown(&plane, &path, "bob", PASSWORD).await.0 == 401
    })
    .await;
    // Who was removed, and what was shown, is in no line of the log.
    let log = plane.log();
    assert!(!log.contains(&token) && !log.contains(PASSWORD), "{log}");
    plane.stop().await;
}
