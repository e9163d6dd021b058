//! A plane at which people can log in, and what they and their clients do there.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it")]

use super::issuer::{Issuer, browse};
use super::{Ran, Served, Setup, text};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Stdio;
use testkit::client::Request;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// Of bob.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A plane that trusts an issuer and has a local user, both of whom may pull.
pub(crate) struct Site {
    pub(crate) setup: Setup,
    pub(crate) issuer: Issuer,
    pub(crate) plane: Served,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let setup = Setup::new().await;
        let issuer = Issuer::start().await;
        std::fs::write(setup.path("keys.jwks"), issuer.keys()).unwrap();
        let users = setup.path("users.yaml");
        setup.run(&["users", "add", "bob", "--file", text(&users)]).await.expect(0);
        let passwd = setup.command(&["users", "passwd", "bob", "--file", text(&users)]);
        fed(passwd, PASSWORD).await.expect(0);
        setup.write("corp.yaml", &issuer.document("corp", text(&setup.path("keys.jwks"))));
        setup.write(
            "local.yaml",
            &format!(
                "apiVersion: lockgate.dev/v1alpha1\nkind: IdentityProvider\nmetadata: {{ name: local }}\n\
                 spec: {{ local: {{ usersFile: {} }} }}\n---\n\
                 apiVersion: lockgate.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: people }}\n\
                 spec: {{ allow: [{{ subjects: [{{ kind: User, name: alice@example.test }}, {{ kind: User, name: bob }}], \
                 actions: [Pull, List, Administer], repositories: ['**'] }}] }}\n",
                text(&users)
            ),
        );
        let plane = setup.serve().await;
        Self { setup, issuer, plane }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.plane.address)
    }

    pub(crate) fn logins(&self) -> PathBuf {
        self.setup.path(".config/lockgate/logins.json")
    }

    /// What the helper says of our plane.
    pub(crate) async fn helper(&self, word: &str, input: &str) -> Ran {
        fed(self.setup.command(&["docker-credential", word]), input).await
    }

    /// What the helper shows to clients.
    pub(crate) async fn shown(&self) -> Value {
        let got = self.helper("get", &self.plane.address).await.expect(0);
        serde_json::from_str(&got.stdout).unwrap()
    }

    /// What the plane answers to a pull with what the helper shows, as clients do it: an identity token
    /// goes to the token endpoint, a password stands in Basic there.
    pub(crate) async fn pull(&self, path: &str) -> u16 {
        let shown = self.shown().await;
        assert_eq!(shown["Username"], "<token>");
        let form = form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", shown["Secret"].as_str().unwrap()),
            ("service", "lockgate"),
            ("client_id", "some-client"),
        ]);
        let granted = Request::new("POST", "/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send(self.plane.address.as_str())
            .await
            .unwrap();
        assert_eq!(granted.status, 200, "{}", granted.text());
        let bearer = format!("Bearer {}", granted.json()["access_token"].as_str().unwrap());
        let headers = [("authorization", bearer.as_str())];
        testkit::client::get(self.plane.address.as_str(), path, &headers).await.unwrap().status
    }

    /// Runs a login in a browser: what the last page was, and how the command ended.
    pub(crate) async fn in_browser(&self, more: &[&str]) -> (testkit::client::Response, Ran) {
        let url = self.url();
        let mut words = vec!["login", "--no-browser", url.as_str()];
        words.extend(more);
        let mut command = self.setup.command(&words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut stderr = String::new();
        let mut page = None;
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.trim().starts_with(&format!("{}/authorize?", self.issuer.url())) {
                let url = line.trim().to_owned();
                page = Some(tokio::spawn(async move { browse(&url).await }));
            }
            stderr += &line;
            stderr.push('\n');
        }
        let mut stdout = String::new();
        child.stdout.take().unwrap().read_to_string(&mut stdout).await.unwrap();
        let code = child.wait().await.unwrap().code().unwrap();
        let ran = Ran { code, stdout, stderr };
        let page = page.unwrap_or_else(|| panic!("no address was shown: {ran:?}"));
        (page.await.unwrap(), ran)
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Runs a command with a text on its standard input.
pub(crate) async fn fed(mut command: tokio::process::Command, input: &str) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
