//! Logging in at a plane in every way, and what clients then get by the credential helper.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::issuer::{Issuer, browse};
use common::site::{PASSWORD, Site, fed};
use common::{Setup, eventually, ran, text, through};
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use testkit::ImageSpec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_in_the_browser_lets_clients_and_commands_in() {
    let site = Site::new().await;
    let image = site.setup.registry.image("a", "1", ImageSpec::layers([10]));
    let (page, ran) = site.in_browser(&[]).await;
    let ran = ran.expect(0);
    assert_eq!((page.status, page.text().contains("Logged in")), (200, true), "{}", page.text());
    assert!(ran.stderr.contains("you are User alice@example.test, until "), "{ran:?}");
    assert_eq!(ran.stdout, "");
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(site.logins()), 0o600);
    assert_eq!(mode(site.logins().parent().unwrap().to_owned()), 0o700);

    assert_eq!(site.pull(&through(&image.tag_path())).await, 200);
    let listed = site.setup.run(&["login", "--list"]).await.expect(0);
    let start = format!("{}  User alice@example.test by corp, ends in ", site.plane.address);
    assert!(listed.stdout.starts_with(&start), "{listed:?}");
    let url = site.url();
    site.setup.run(&["cache", "stats", "--plane", &url]).await.expect(0);
    let token = site.setup.run(&["token", &url]).await.expect(0);
    assert_eq!(token.stdout.trim().split('.').count(), 3);
    // Neither the code nor a token is shown.
    let secret = site.shown().await["Secret"].as_str().unwrap().to_owned();
    assert!(!format!("{ran:?}{listed:?}").contains(&secret));

    site.setup.run(&["logout", &site.plane.address]).await.expect(0);
    let refused = site.setup.run(&["cache", "stats", "--plane", &url]).await.expect(1);
    assert!(refused.stderr.contains("lockgate login"), "{refused:?}");
    let none = site.helper("get", &site.plane.address).await.expect(1);
    assert_eq!(none.stdout.trim(), "credentials not found in native keychain");
    site.setup.run(&["logout", &url]).await.expect(1);
    site.setup.run(&["token", &url]).await.expect(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_to_this_login_is_not_taken() {
    let site = Site::new().await;
    type Change = fn(&mut common::issuer::Plan);
    let cases: [(Change, &str); 8] = [
        (|plan| drop(plan.answer.insert("state", "another".to_owned())), "(state)"),
        (|plan| drop(plan.answer.insert("state", String::new())), "(state)"),
        (|plan| drop(plan.claims.insert("nonce", json!("another"))), "nonce"),
        (|plan| drop(plan.answer.insert("iss", "https://evil.test".to_owned())), "(iss)"),
        (
            |plan| {
                plan.answer.insert("iss", String::new());
                plan.metadata.insert("authorization_response_iss_parameter_supported", json!(true));
            },
            "(iss)",
        ),
        (|plan| drop(plan.claims.insert("aud", json!("another"))), "another client"),
        (|plan| drop(plan.answer.insert("code", "a-stolen-code".to_owned())), "invalid_grant"),
        (
            |plan| {
                plan.answer.insert("error", "access_denied".to_owned());
                plan.answer.insert("error_description", "<b>not you</b>\u{1b}".to_owned());
                plan.answer.insert("code", String::new());
            },
            "(access_denied)",
        ),
    ];
    for (change, why) in cases {
        *site.issuer.plan() = common::issuer::Plan::default();
        change(&mut site.issuer.plan());
        let (page, ran) = site.in_browser(&[]).await;
        let ran = ran.expect(1);
        assert!(ran.stderr.contains(why), "{why}: {ran:?}");
        assert!(page.status == 400 && page.text().contains("Not logged in"), "{}", page.text());
        assert!(!page.text().contains("<b>not"), "{}", page.text());
        assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
        assert!(!site.logins().exists(), "{why}");
    }
    assert!(page_headers_are_strict(&site).await);
}

/// Of the page that anybody on the machine can ask for.
async fn page_headers_are_strict(site: &Site) -> bool {
    *site.issuer.plan() = common::issuer::Plan::default();
    let (page, _) = site.in_browser(&[]).await;
    page.header("content-security-policy").is_some_and(|it| it.starts_with("default-src 'none'"))
        && page.header("referrer-policy") == Some("no-referrer")
        && page.header("cache-control") == Some("no-store")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_says_strange_things_of_itself_is_sent_nobody() {
    let site = Site::new().await;
    let url = site.url();
    for (name, value, why) in [
        ("issuer", json!("https://evil.test"), "another issuer"),
        ("token_endpoint", json!("http://evil.test/token"), "not an https:// URL"),
        ("authorization_endpoint", json!("http://evil.test/"), "not an https:// URL"),
        ("code_challenge_methods_supported", json!(["plain"]), "PKCE"),
        ("authorization_endpoint", Value::Null, "no authorization endpoint"),
    ] {
        *site.issuer.plan() = common::issuer::Plan::default();
        site.issuer.plan().metadata.insert(name, value);
        let ran = site.setup.run(&["login", "--no-browser", &url]).await;
        assert!(ran.code == 1 || ran.code == 2, "{ran:?}");
        assert!(ran.stderr.contains(why), "{why}: {ran:?}");
    }
    site.issuer.plan().metadata.insert("device_authorization_endpoint", Value::Null);
    let ran = site.setup.run(&["login", "--device", &url]).await.expect(1);
    assert!(ran.stderr.contains("no device authorization"), "{ran:?}");
    assert!(site.issuer.asked().iter().all(|line| line.contains("/.well-known/")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_browser_that_the_user_names_is_opened_and_without_any_a_way_is_told() {
    let site = Site::new().await;
    let (program, seen) = (site.setup.path("browser"), site.setup.path("seen"));
    let script =
        format!("#!/bin/sh\nprintf '%s' \"$1\" > {0}.part && mv {0}.part {0}\n", text(&seen));
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = site.setup.command(&["login", &site.url()]);
    command.env("BROWSER", &program);
    let login = tokio::spawn(ran(command));
    eventually("the browser is opened", async || seen.exists()).await;
    let page = browse(&std::fs::read_to_string(&seen).unwrap()).await;
    assert_eq!(page.status, 200);
    login.await.unwrap().expect(0);
    // Nobody is at a terminal here.
    let none = site.setup.run(&["login", &site.url()]).await.expect(1);
    assert!(none.stderr.contains("--device"), "{none:?}");
    // Whoever has the port would get the answer.
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let login = ["login", "--no-browser", "--callback-port", &port, &site.url()];
    let refused = site.setup.run(&login).await.expect(2);
    assert!(refused.stderr.contains("no port on 127.0.0.1"), "{refused:?}");
    assert!(!refused.stderr.contains("/authorize"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_typed_in_on_another_device() {
    let site = Site::new().await;
    let (image, url) = (site.setup.registry.image("a", "1", ImageSpec::layers([10])), site.url());
    let device = ["login", "--device", &url];
    for (said, why) in [
        (vec!["access_denied"], "refused there"),
        (vec!["authorization_pending", "expired_token"], "the code has ended"),
        (vec!["invalid_client"], "invalid_client"),
    ] {
        site.issuer.plan().device = said.into();
        let ran = site.setup.run(&device).await.expect(1);
        assert!(ran.stderr.contains(why), "{ran:?}");
        assert!(!site.logins().exists());
    }
    site.issuer.plan().device = ["authorization_pending", "slow_down"].into();
    let ran = site.setup.run(&device).await.expect(0);
    assert!(ran.stderr.contains("WDJB-MJHT") && ran.stderr.contains("/activate"), "{ran:?}");
    assert!(!ran.stderr.contains("secret-of-the-device"), "{ran:?}");
    assert_eq!(site.pull(&through(&image.tag_path())).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_and_tokens_are_taken_from_standard_input_and_from_ci() {
    let site = Site::new().await;
    let (image, url) = (site.setup.registry.image("a", "1", ImageSpec::layers([10])), site.url());
    let path = through(&image.tag_path());
    let by_password = ["login", "--username", "bob", "--password-stdin", &url];
    let wrong = fed(site.setup.command(&by_password), "wrong horse").await.expect(1);
    assert!(wrong.stderr.contains("user name or password is wrong"), "{wrong:?}");
    let empty = fed(site.setup.command(&by_password), "\n").await.expect(64);
    assert!(empty.stderr.contains("no password"), "{empty:?}");
    assert!(!site.logins().exists());
    let right = fed(site.setup.command(&by_password), "correct horse battery\n").await.expect(0);
    assert!(right.stderr.contains("you are User bob"), "{right:?}");
    assert_eq!(site.pull(&path).await, 200);

    let by_token = ["login", "--token-stdin", &url];
    let strange = site.issuer.token(&[("aud", json!("another"))]);
    let refused = fed(site.setup.command(&by_token), &strange).await.expect(1);
    assert!(refused.stderr.contains("audience"), "{refused:?}");
    assert!(!format!("{refused:?}").contains(&strange));
    assert_eq!(site.pull(&path).await, 200, "the former login is still there");
    fed(site.setup.command(&by_token), &site.issuer.token(&[])).await.expect(0);
    assert_eq!(site.pull(&path).await, 200);

    let ci = ["login", "--ci", &url];
    let none = site.setup.run(&ci).await.expect(1);
    assert!(none.stderr.contains("id-token: write") && none.stderr.contains("id_tokens"));
    let mut gitlab = site.setup.command(&ci);
    gitlab.env("LOCKGATE_ID_TOKEN", site.issuer.token(&[("aud", json!("ci"))]));
    ran(gitlab).await.expect(0);
    let mut github = site.setup.command(&ci);
    github.env(
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        format!("{}/actions?api-version=2", site.issuer.url()),
    );
    github.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-job");
    ran(github).await.expect(0);
    assert!(site.issuer.asked().iter().any(|line| line.ends_with("audience=127.0.0.1")));
    assert_eq!(site.pull(&path).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_over_says_what_to_do() {
    let site = Site::new().await;
    let (users, url) = (site.setup.path("users.yaml"), site.url());
    let login = ["login", "--username", "bob", "--password-stdin", &url];
    fed(site.setup.command(&login), PASSWORD).await.expect(0);
    site.setup.run(&["users", "remove", "bob", "--file", text(&users)]).await.expect(0);
    let stats = ["cache", "stats", "--plane", &url];
    eventually("the plane reads the users again", async || site.setup.run(&stats).await.code != 0)
        .await;
    let gone = site.setup.run(&stats).await.expect(1);
    assert!(gone.stderr.contains("not taken any more"), "{gone:?}");
    assert!(gone.stderr.contains(&format!("`lockgate login {url}`")), "{gone:?}");

    // One whose end is known is not even shown.
    let file = std::fs::read_to_string(site.logins()).unwrap();
    let mut logins: Value = serde_json::from_str(&file).unwrap();
    logins["servers"][&site.plane.address]["login"]["expires"] = json!("2020-01-01T00:00:00Z");
    std::fs::write(site.logins(), logins.to_string()).unwrap();
    let ended = site.helper("get", &site.plane.address).await.expect(1);
    let told = format!("the login at {} has ended; log in again", site.plane.address);
    assert!(ended.stdout.starts_with(&told) && ended.stdout.lines().count() == 1, "{ended:?}");
    let ended = site.setup.run(&stats).await.expect(1);
    assert!(ended.stderr.contains("has ended"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_offers_are_told_apart_by_name() {
    let site = Site::new().await;
    let url = site.url();
    let other = Issuer::start().await;
    std::fs::write(site.setup.path("other.jwks"), other.keys()).unwrap();
    let document = other.document("partners", text(&site.setup.path("other.jwks")));
    site.setup.write("other.yaml", &document);
    eventually("the plane offers both", async || {
        let offers = site.plane.get("/.well-known/lockgate").await.json();
        offers["login"].as_array().is_some_and(|all| all.len() == 2)
    })
    .await;
    let which = site.setup.run(&["login", "--no-browser", &url]).await.expect(64);
    assert!(which.stderr.contains("corp, partners"), "{which:?}");
    let nobody = ["login", "--no-browser", "--provider", "nobody", &url];
    let nobody = site.setup.run(&nobody).await.expect(64);
    assert!(nobody.stderr.contains("corp, partners"), "{nobody:?}");
    let (page, ran) = site.in_browser(&["--provider", "corp"]).await;
    ran.expect(0);
    assert_eq!(page.status, 200);
    assert!(other.asked().is_empty());
}

/// A plane of somebody else's making: says that tokens are given elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_do_not_go_where_an_answer_sends_them() {
    let setup = Setup::new().await;
    let issuer = Issuer::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = format!("{}/token", issuer.url());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let body =
                json!({ "service": "sts.example.test", "tokenEndpoint": endpoint, "login": [] })
                    .to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let url = format!("http://{address}");
    let login = setup.command(&["login", "--username", "bob", "--password-stdin", &url]);
    let refused = fed(login, PASSWORD).await.expect(1);
    assert!(refused.stderr.contains("nothing is sent there"), "{refused:?}");
    assert!(issuer.asked().is_empty());
    // Nor where everybody could read them.
    let plain = ["login", "--username", "bob", "--password-stdin", "http://plane.example.test"];
    let plain = fed(setup.command(&plain), PASSWORD).await.expect(64);
    assert!(plain.stderr.contains("--insecure-http"), "{plain:?}");
    let no_plane = setup.run(&["login", "--token-stdin", &setup.registry.url()]).await.expect(2);
    assert!(no_plane.stderr.contains("no plane"), "{no_plane:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_helper_keeps_what_clients_store_and_loses_nothing() {
    let setup = Setup::new().await;
    let helper = setup.path("docker-credential-lockgate");
    symlink(env!("CARGO_BIN_EXE_lockgate"), &helper).unwrap();
    let run = |word: &'static str, input: String| {
        let mut command = tokio::process::Command::new(&helper);
        command.arg(word).env_clear().env("HOME", setup.path(""));
        async move { fed(command, &input).await }
    };
    let given = |host: &str, user: &str| {
        json!({ "ServerURL": host, "Username": user, "Secret": format!("s-{user}") }).to_string()
    };
    let all: Vec<String> = (0..12).map(|number| format!("r{number}.example.test")).collect();
    let stored = all.iter().map(|host| run("store", given(host, "u")));
    for stored in futures_util::future::join_all(stored).await {
        stored.expect(0);
    }
    let listed: Value = serde_json::from_str(&run("list", String::new()).await.stdout).unwrap();
    assert_eq!(listed.as_object().unwrap().len(), all.len(), "{listed}");
    let mode = |name: &str| {
        let path = setup.path(".config/lockgate").join(name);
        std::fs::metadata(path).unwrap().mode() & 0o777
    };
    assert_eq!((mode("logins.json"), mode("")), (0o600, 0o700));

    run("store", given("https://hub.example.test/v1/", "<token>")).await.expect(0);
    for asked in ["https://hub.example.test/v1/", "hub.example.test", "HUB.example.test:443\n"] {
        let got = run("get", asked.to_owned()).await;
        // Only of a login of ours is it known that it was by https.
        if asked.contains(":443") {
            got.expect(1);
            continue;
        }
        let got: Value = serde_json::from_str(&got.expect(0).stdout).unwrap();
        let expected = json!({ "ServerURL": asked, "Username": "<token>", "Secret": "s-<token>" });
        assert_eq!(got, expected);
    }
    run("erase", "hub.example.test".to_owned()).await.expect(0);
    run("erase", "hub.example.test".to_owned()).await.expect(0);
    for nothing in ["hub.example.test", "no such thing"] {
        let none = run("get", nothing.to_owned()).await.expect(1);
        assert_eq!(none.stdout, "credentials not found in native keychain\n");
    }
    let nonsense = run("store", "{\"Secret\": \"s3cret\"".to_owned()).await.expect(1);
    assert!(!format!("{nonsense:?}").contains("s3cret"), "{nonsense:?}");
    run("get", String::new()).await.expect(1);
    let version = run("version", String::new()).await.expect(0);
    assert!(version.stdout.starts_with("docker-credential-lockgate "), "{version:?}");

    // A file that others can read is told, and private again with the next change.
    let file = setup.path(".config/lockgate/logins.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = run("get", all[0].clone()).await.expect(0);
    assert!(told.stderr.contains("chmod 600"), "{told:?}");
    setup.run(&["logout", &all[0]]).await.expect(0);
    assert_eq!(mode("logins.json"), 0o600);
    setup.run(&["logout", "--all"]).await.expect(0);
    assert_eq!(run("list", String::new()).await.expect(0).stdout, "{}\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docker_is_told_to_ask_us_and_nothing_else_changes() {
    let site = Site::new().await;
    let url = site.url();
    let (directory, elsewhere) = (site.setup.path("docker"), site.setup.path("elsewhere.json"));
    std::fs::create_dir(&directory).unwrap();
    let before =
        "{\n\t\"zeta\": 1.50,\n\t\"auths\": { \"x\": {} },\n\t\"credHelpers\": {\"x\":\"pass\"}\n}";
    std::fs::write(&elsewhere, before).unwrap();
    std::fs::set_permissions(&elsewhere, std::fs::Permissions::from_mode(0o640)).unwrap();
    // As those keep it who have such files in a repository.
    symlink(&elsewhere, directory.join("config.json")).unwrap();
    let login = |docker_config: Option<PathBuf>| {
        let words = ["login", "--docker", "--username", "bob", "--password-stdin", &url];
        let mut command = site.setup.command(&words);
        command.envs(docker_config.map(|path| ("DOCKER_CONFIG", path)));
        fed(command, PASSWORD)
    };
    let told = login(Some(directory.clone())).await.expect(0);
    assert!(told.stderr.contains("ln -s "), "the helper is not in PATH: {told:?}");
    assert!(directory.join("config.json").is_symlink());
    assert_eq!(std::fs::metadata(&elsewhere).unwrap().mode() & 0o777, 0o640);
    let after = std::fs::read_to_string(&elsewhere).unwrap();
    assert!(after.contains("\"zeta\": 1.50") && after.contains("{ \"x\": {} }"), "{after}");
    let config: Value = serde_json::from_str(&after).unwrap();
    let helpers = json!({ "x": "pass", site.plane.address.as_str(): "lockgate" });
    assert_eq!(config["credHelpers"], helpers);

    login(None).await.expect(0);
    let own = site.setup.path(".docker/config.json");
    assert_eq!(std::fs::metadata(&own).unwrap().mode() & 0o777, 0o600);
    std::fs::write(&own, "{ \"auths\": s3cret").unwrap();
    let refused = login(None).await.expect(1);
    assert!(!refused.stderr.contains("s3cret"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "{ \"auths\": s3cret");
}
