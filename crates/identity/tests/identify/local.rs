//! Users and robot tokens of a file, and secrets of clusters.

use crate::issuer::{later, now};
use crate::settings::*;
use identity::users::{NewToken, UserFile};
use identity::{Presented, ProviderKind, ProviderSettings};
use policy::{Action, PrincipalKind};
use secrecy::{ExposeSecret, SecretString};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn local(users_file: &Path) -> ProviderSettings {
    settings("local", ProviderKind::Local { users_file: users_file.to_owned() })
}

fn new_token(id: &str) -> NewToken {
    NewToken {
        id: id.to_owned(),
        expires: later(3600),
        kind: None,
        actions: Vec::new(),
        repositories: Vec::new(),
        description: None,
    }
}

fn with_alice(path: &Path) -> UserFile {
    let mut file = UserFile::open(path).unwrap();
    file.add("alice", vec!["dev".to_owned()]).unwrap();
    file.set_password("alice", &SecretString::from("correct horse")).unwrap();
    file.save().unwrap();
    file
}

#[tokio::test]
async fn people_show_their_passwords() {
    let files = Files::new();
    let path = files.path("users.yaml");
    let mut file = with_alice(&path);
    file.add("bob", Vec::new()).unwrap();
    file.save().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let all = providers(vec![local(&path)]);
    let alice = basic(&all, "alice", "correct horse").await.unwrap();
    assert_eq!((alice.kind(), alice.name()), (PrincipalKind::User, "alice"));
    assert_eq!((alice.groups(), alice.scope()), (&["dev".to_owned()][..], None));
    // Remembered, and not for anything else.
    basic(&all, "alice", "correct horse").await.unwrap();
    for (name, password) in [
        ("alice", "correct horsE"),
        ("alice", ""),
        ("Alice", "correct horse"),
        ("bob", ""),
        ("bob", "correct horse"),
        ("nobody", "correct horse"),
    ] {
        let reason = wrong(basic(&all, name, password).await);
        assert_eq!(reason, "user name or password is wrong", "{name}");
    }
}

#[tokio::test]
async fn guessing_is_stopped_without_stopping_who_knows() {
    let files = Files::new();
    let path = files.path("users.yaml");
    with_alice(&path);
    let all = providers(vec![local(&path)]);
    basic(&all, "alice", "correct horse").await.unwrap();
    let guesses: Vec<String> = (0..12).map(|it| format!("guess {it}")).collect();
    let mut last = String::new();
    for guess in &guesses {
        last = wrong(basic(&all, "alice", guess).await);
    }
    assert!(last.contains("wait a minute"), "{last}");
    basic(&all, "alice", "correct horse").await.unwrap();
}

#[tokio::test]
async fn robots_show_their_tokens_and_are_narrowed() {
    let files = Files::new();
    let path = files.path("users.yaml");
    let mut file = with_alice(&path);
    let plain = file.make_token("alice", new_token("laptop")).unwrap();
    let pull = Action::ALL.into_iter().find(|it| *it != Action::Administer).unwrap();
    let narrow = NewToken {
        kind: Some("CI".to_owned()),
        actions: vec![pull.as_str().to_owned()],
        repositories: vec!["registry/shop/**".to_owned()],
        ..new_token("ci-1")
    };
    let narrow = file.make_token("alice", narrow).unwrap();
    file.save().unwrap();
    assert!(!std::fs::read_to_string(&path).unwrap().contains(plain.expose_secret()));

    let all = providers(vec![local(&path)]);
    let robot = basic(&all, "any name", plain.expose_secret()).await.unwrap();
    assert_eq!((robot.kind(), robot.name()), (PrincipalKind::User, "alice"));
    assert_eq!(robot.expires(), Some(later(3600)));
    assert!(!robot.scope().unwrap().actions.contains(&Action::Administer));
    let job = bearer(&all, narrow.expose_secret()).await.unwrap();
    assert_eq!(job.kind(), PrincipalKind::CI);
    let scope = job.scope().unwrap();
    assert_eq!((&scope.actions[..], scope.repositories.len()), (&[pull][..], 1));

    let at_end = Presented::Bearer(plain.expose_secret());
    let reason = wrong(all.identify(&at_end, later(3600)).await);
    assert!(reason.contains("expired at 2"), "{reason}");
    let other = format!("{}x", plain.expose_secret());
    let renamed = plain.expose_secret().replace("laptop", "ci-1");
    for token in [&other, &renamed, "lgt_", "lgt_laptop_", "lgt_laptop", "lgt__"] {
        let reason = wrong(basic(&all, "alice", token).await);
        assert_eq!(reason, "the robot token is not known", "{token}");
    }
}

#[tokio::test]
async fn whoever_is_removed_is_gone() {
    let files = Files::new();
    let path = files.path("users.yaml");
    let mut file = with_alice(&path);
    let token = file.make_token("alice", new_token("laptop")).unwrap();
    file.save().unwrap();
    let all = providers(vec![local(&path)]);
    let person = basic(&all, "alice", "correct horse").await.unwrap();
    let robot = bearer(&all, token.expose_secret()).await.unwrap();
    all.revalidate(&person, now()).await.unwrap();
    all.revalidate(&robot, now()).await.unwrap();
    providers(Vec::new()).revalidate(&person, now()).await.unwrap_err();

    file.revoke("alice", "laptop").unwrap();
    file.save().unwrap();
    eventually("the token is gone", async || bearer(&all, token.expose_secret()).await.is_err())
        .await;
    all.revalidate(&robot, now()).await.unwrap_err();
    all.revalidate(&person, now()).await.unwrap();

    file.remove("alice").unwrap();
    file.save().unwrap();
    eventually("alice is gone", async || all.revalidate(&person, now()).await.is_err()).await;
    // What was remembered of her password counts no more.
    wrong(basic(&all, "alice", "correct horse").await);
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_a_missing_one_tells_nothing() {
    let files = Files::new();
    let path = files.path("users.yaml");
    let all = providers(vec![local(&path)]);
    assert_eq!(cannot_tell(basic(&all, "alice", "correct horse").await), "local");
    assert_eq!(cannot_tell(bearer(&all, "lgt_a_0123456789").await), "local");
    with_alice(&path);
    eventually("it is read", async || basic(&all, "alice", "correct horse").await.is_ok()).await;
    files.write("users.yaml", "users: [{ name: alice, passwords: oops }]");
    // Longer than files are left alone.
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    basic(&all, "alice", "correct horse").await.unwrap();
}

#[test]
fn a_file_that_holds_something_wrong_is_refused_and_nothing_secret_told() {
    let files = Files::new();
    let user = |fields: &str| format!("users: [{{ name: alice, {fields} }}]");
    let token = |fields: &str| {
        let hash = "0".repeat(64);
        user(&format!(
            "tokens: [{{ id: a, hash: 'sha256:{hash}', expires: 2030-01-01T00:00:00Z, {fields} }}]"
        ))
    };
    let hash = |head: &str| {
        user(&format!("passwordHash: '${head}$c29tZXNhbHRzb21lc2FsdA$Ku41QbDxg7lYrKbqbFYGTw'"))
    };
    UserFile::open(&files.write("good", hash("argon2id$v=19$m=65536,t=3,p=4"))).unwrap();
    UserFile::open(&files.write("good", token("kind: Node"))).unwrap();
    UserFile::open(&files.write("good", "")).unwrap();
    for text in [
        "users: 7".to_owned(),
        "users: [{ name: '' }]".to_owned(),
        "users: [{ name: 'a:b' }]".to_owned(),
        "users: [{ name: a }, { name: a }]".to_owned(),
        user("password: hunter2"),
        user("groups: ['']"),
        user("passwordHash: hunter2"),
        hash("argon2i$v=19$m=65536,t=3,p=4"),
        hash("argon2id$v=19$m=999999,t=3,p=4"),
        hash("argon2id$v=19$m=65536,t=99,p=4"),
        token("kind: System"),
        token("actions: [Everything]"),
        token("repositories: ['']"),
        user("tokens: [{ id: a, hash: hunter2, expires: 2030-01-01T00:00:00Z }]"),
    ] {
        let error = UserFile::open(&files.write("bad", &text)).expect_err(&text).to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn users_and_tokens_are_changed_and_listed() {
    let files = Files::new();
    let path = files.path("users.yaml");
    let mut file = with_alice(&path);
    file.add("alice", Vec::new()).unwrap_err();
    file.remove("bob").unwrap_err();
    file.set_password("bob", &SecretString::from("x")).unwrap_err();
    file.set_password("alice", &SecretString::from("")).unwrap_err();
    file.make_token("bob", new_token("a")).unwrap_err();
    file.make_token("alice", new_token("a_b")).unwrap_err();
    file.make_token("alice", new_token("a")).unwrap();
    file.make_token("alice", new_token("a")).unwrap_err();
    file.revoke("alice", "b").unwrap_err();
    file.save().unwrap();
    let listed = UserFile::open(&path).unwrap().list();
    assert_eq!(listed, file.list());
    assert_eq!((listed.len(), listed[0].tokens[0].id.as_str()), (1, "a"));
    assert!(listed[0].has_password);

    // What would not be read again is not written.
    file.add("a:b", Vec::new()).unwrap();
    file.save().unwrap_err();
    assert_eq!(UserFile::open(&path).unwrap().list(), listed);
}

#[test]
fn two_changes_at_once_lose_nothing() {
    let files = Files::new();
    let path = files.path("users.yaml");
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let path = &path;
            scope.spawn(move || {
                for round in 0..5 {
                    let user = format!("{name}{round}");
                    UserFile::change(path, |file| file.add(&user, Vec::new())).unwrap();
                }
            });
        }
    });
    assert_eq!(UserFile::open(&path).unwrap().list().len(), 40);
    // What says no leaves all as it was, and lets the next one in.
    UserFile::change(&path, |file| file.remove("nobody")).unwrap_err();
    UserFile::change(&path, |file| file.remove("a0")).unwrap();
    assert_eq!(UserFile::open(&path).unwrap().list().len(), 39);
}

#[tokio::test]
async fn nodes_show_any_secret_of_their_cluster() {
    let files = Files::new();
    let secret_file = files.path("secrets");
    let cluster = |secret_file: &Path| {
        let secret_file = secret_file.to_owned();
        settings(
            "nodes",
            ProviderKind::ClusterCredential { cluster: "prod".to_owned(), secret_file },
        )
    };
    let (old, new) = ("old-secret-of-the-cluster", "new-secret-of-the-cluster");
    files.write("secrets", format!("{new}\n{old}\n\n"));
    let all = providers(vec![cluster(&secret_file)]);
    for secret in [old, new] {
        let node = basic(&all, "cluster:prod", secret).await.unwrap();
        assert_eq!((node.kind(), node.name()), (PrincipalKind::Node, "system:node:prod"));
        assert_eq!(node.attribute("cluster"), Some("prod"));
    }
    for secret in ["", "old-secret-of-the-cluste", "old-secret-of-the-cluster\n"] {
        wrong(basic(&all, "cluster:prod", secret).await);
    }
    for content in ["", "short\n", "\n\n"] {
        let bad = providers(vec![cluster(&files.write("bad", content))]);
        assert_eq!(cannot_tell(basic(&bad, "x", old).await), "nodes");
    }
    let both = providers(vec![cluster(&files.path("none")), cluster(&secret_file)]);
    basic(&both, "x", old).await.unwrap();
    cannot_tell(basic(&both, "x", "something else entirely").await);
}
