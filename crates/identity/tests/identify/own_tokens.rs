//! Our own tokens: what they say, for how long, and by whose key.

use crate::issuer::{Issuer, NOW, later, now};
use identity::{IdentifyError, TokenHolder, TokenKeys};
use jiff::Timestamp;
use policy::{Action, Identity, NamePattern, PrincipalKind, TokenScope};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const SERVICE: &str = "lockgate";
const FIVE_MINUTES: Duration = Duration::from_secs(300);
const DAY: i64 = 24 * 3600;

fn alice() -> Identity {
    Identity::new(PrincipalKind::User, "corp", "https://issuer.example", "alice")
        .with_groups(vec!["dev".to_owned()])
        .with_attribute("purpose", "Scan")
}

fn issue(keys: &TokenKeys, identity: Option<&Identity>, at: Timestamp) -> SecretString {
    keys.issue(identity, SERVICE, at, FIVE_MINUTES).unwrap().text
}

fn holder(
    keys: &TokenKeys,
    token: &SecretString,
    at: Timestamp,
) -> Result<Option<Identity>, IdentifyError> {
    keys.verify_access(token.expose_secret(), SERVICE, at).map(|holder| match holder {
        TokenHolder::Anonymous { .. } => None,
        TokenHolder::Identity { identity, .. } => Some(identity),
    })
}

fn kids(keys: &TokenKeys) -> BTreeSet<String> {
    let set = keys.jwks();
    let all = set["keys"].as_array().unwrap().iter();
    all.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn kid(token: &SecretString) -> String {
    jsonwebtoken::decode_header(token.expose_secret()).unwrap().kid.unwrap()
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_token_says_who_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let keys = TokenKeys::open(&dir.path().join("keys"), now()).unwrap();
    let scope = TokenScope {
        actions: vec![Action::ALL[0]],
        repositories: vec![NamePattern::parse("registry/shop/**").unwrap()],
    };
    for identity in [alice(), alice().with_scope(Some(scope)).with_expires(Some(later(3600)))] {
        let token = issue(&keys, Some(&identity), now());
        assert_eq!(holder(&keys, &token, now()).unwrap(), Some(identity));
        assert!(keys.is_ours(token.expose_secret()));
    }
    let nobody = issue(&keys, None, now());
    assert_eq!(holder(&keys, &nobody, later(299)).unwrap(), None);
    assert!(!keys.is_ours(&Issuer::ec("https://issuer.example", "a").token()));

    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("keys")), 0o700);
    for file in files(&dir.path().join("keys")) {
        assert_eq!(mode(&file), 0o600);
    }
}

#[test]
fn a_token_ends_and_never_after_what_was_shown_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let keys = TokenKeys::open(dir.path(), now()).unwrap();
    let token = issue(&keys, Some(&alice()), now());
    holder(&keys, &token, later(299)).unwrap();
    let ended = holder(&keys, &token, later(300)).unwrap_err().to_string();
    assert!(ended.contains(&format!("expired at {}", later(300))), "{ended}");
    // The clock that made it was ahead, by no more than clocks may be.
    holder(&keys, &token, later(-60)).unwrap();
    holder(&keys, &token, later(-61)).unwrap_err();

    let short = alice().with_expires(Some(later(20)));
    let issued = keys.issue(Some(&short), SERVICE, now(), FIVE_MINUTES).unwrap();
    assert_eq!(issued.lifetime, Duration::from_secs(20));
    holder(&keys, &issued.text, later(20)).unwrap_err();
    keys.issue(Some(&short), SERVICE, later(20), FIVE_MINUTES).unwrap_err();
    let long = keys.issue(Some(&alice()), SERVICE, now(), Duration::from_secs(1 << 40)).unwrap();
    assert!(long.lifetime <= Duration::from_secs(24 * 3600), "keys must outlive it");
}

#[test]
fn neither_kind_of_token_passes_for_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let keys = TokenKeys::open(dir.path(), now()).unwrap();
    let access = issue(&keys, Some(&alice()), now());
    let refresh = keys.issue_refresh(&alice(), SERVICE, now(), FIVE_MINUTES).unwrap();
    let verified = keys.verify_refresh(refresh.expose_secret(), SERVICE, now()).unwrap();
    assert_eq!(verified, alice());
    holder(&keys, &refresh, now()).unwrap_err();
    keys.verify_refresh(access.expose_secret(), SERVICE, now()).unwrap_err();
    keys.verify_refresh(refresh.expose_secret(), "other", now()).unwrap_err();
    keys.verify_access(access.expose_secret(), "other", now()).unwrap_err();

    // One of a person outlives what they showed; one of a robot does not.
    let person = alice().with_expires(Some(later(20)));
    let refresh = keys.issue_refresh(&person, SERVICE, now(), FIVE_MINUTES).unwrap();
    keys.verify_refresh(refresh.expose_secret(), SERVICE, later(100)).unwrap();
    let robot = person.with_scope(Some(TokenScope { actions: vec![], repositories: vec![] }));
    let refresh = keys.issue_refresh(&robot, SERVICE, now(), FIVE_MINUTES).unwrap();
    keys.verify_refresh(refresh.expose_secret(), SERVICE, later(100)).unwrap_err();
}

#[test]
fn nobody_else_makes_our_tokens() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keys = TokenKeys::open(dir.path(), now()).unwrap();
    let token = issue(&keys, Some(&alice()), now());
    let foreign = TokenKeys::open(other.path(), now()).unwrap();
    holder(&foreign, &token, now()).unwrap_err();

    // A stranger who says the same, with our key's name.
    let stranger = Issuer::ec("https://lockgate.dev/token", &kid(&token));
    let claims = json!({ "aud": SERVICE, "sub": "user:corp:root" });
    for typ in ["at+jwt", "JWT"] {
        let forged = stranger.token_with(|head, all| {
            head["typ"] = json!(typ);
            crate::issuer::merge(all, &claims);
        });
        assert!(keys.is_ours(&forged));
        holder(&keys, &SecretString::from(forged), now()).unwrap_err();
    }
    let text = token.expose_secret();
    for at in [5, text.find('.').unwrap() + 5, text.rfind('.').unwrap() + 5] {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let altered = SecretString::from(String::from_utf8(bytes).unwrap());
        holder(&keys, &altered, now()).unwrap_err();
    }
}

#[test]
fn an_identity_too_large_for_a_token_is_told_so() {
    let keys = TokenKeys::in_memory(now()).unwrap();
    let groups = (0..256).map(|it| format!("{it}-{}", "x".repeat(100))).collect();
    let refused = keys.issue(Some(&alice().with_groups(groups)), SERVICE, now(), FIVE_MINUTES);
    assert!(refused.unwrap_err().to_string().contains("too many groups"));
    let token = issue(&keys, Some(&alice()), now());
    assert_eq!(holder(&keys, &token, now()).unwrap(), Some(alice()));
}

#[test]
fn keys_rotate_without_anybody_noticing() {
    let dir = tempfile::tempdir().unwrap();
    let keys = TokenKeys::open(dir.path(), now()).unwrap();
    let replica = TokenKeys::open(dir.path(), now()).unwrap();
    let first = kids(&keys);
    assert_eq!(first.len(), 1);
    let old = issue(&keys, Some(&alice()), later(29 * DAY));
    assert_eq!(kids(&keys), first);

    // Published at once, used when others had time to learn of it.
    let due = 30 * DAY;
    let still_old = issue(&keys, Some(&alice()), later(due));
    assert_eq!((kid(&still_old), kids(&keys).len()), (kid(&old), 2));
    let new = issue(&keys, Some(&alice()), later(due + 601));
    assert!(kids(&keys).contains(&kid(&new)) && kid(&new) != kid(&old));
    // A replica that has not looked since finds it when it is shown; it makes none of its own.
    holder(&replica, &new, later(due + 601)).unwrap();
    issue(&replica, None, later(due + 601));
    assert_eq!(kids(&replica), kids(&keys));
    holder(&keys, &still_old, later(due + 299)).unwrap();

    // Removed when nothing that it signed can live.
    issue(&keys, None, later(due + 47 * 3600));
    assert_eq!(kids(&keys).len(), 2);
    issue(&keys, None, later(due + 49 * 3600));
    assert_eq!((kids(&keys), files(dir.path()).len()), (BTreeSet::from([kid(&new)]), 1));
    let reopened = TokenKeys::open(dir.path(), later(due + 49 * 3600)).unwrap();
    assert_eq!(kids(&reopened), kids(&keys));
}

#[test]
fn a_clock_that_was_wrong_does_not_stop_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let keys = TokenKeys::open(dir.path(), now()).unwrap();
    issue(&keys, None, later(365 * DAY));
    assert_eq!(kids(&keys).len(), 2);
    // The clock is right again; the key from the future does not sign.
    let first = issue(&keys, None, later(DAY));
    holder(&keys, &first, later(DAY)).unwrap();
    issue(&keys, None, later(31 * DAY));
    assert_eq!(kids(&keys).len(), 3);
    assert_ne!(kid(&issue(&keys, None, later(31 * DAY + 601))), kid(&first));
}

#[test]
fn keys_that_cannot_be_read_are_an_error_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(format!("{NOW}-x.pem")), "no key").unwrap();
    assert!(TokenKeys::open(dir.path(), now()).is_err());
    std::fs::remove_file(dir.path().join(format!("{NOW}-x.pem"))).unwrap();

    let keys = TokenKeys::open(dir.path(), now()).unwrap();
    let token = issue(&keys, None, now());
    for file in files(dir.path()) {
        std::fs::remove_file(file).unwrap();
    }
    holder(&keys, &token, now()).unwrap();
}
