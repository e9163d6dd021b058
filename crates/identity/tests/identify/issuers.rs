//! Tokens of issuers: which are taken, from whom, and for whom.

use crate::issuer::{AUDIENCE, Issuer, NOW, later, merge, now, part, sign};
use crate::settings::*;
use identity::{Algorithm, ClaimMapping, Presented};
use jsonwebtoken::EncodingKey;
use policy::PrincipalKind;
use policy::cel::Schema;
use serde_json::{Value, json};

const URL: &str = "https://issuer.example";

/// A token, what it is, and what must be said of it.
type Bad = (&'static str, String, &'static str);

#[tokio::test]
async fn a_person_and_a_job_are_who_their_tokens_say() {
    let (files, issuer) = (Files::new(), Issuer::rsa(URL, "a"));
    let keys = files.write("keys", issuer.keys());
    let people = providers(vec![oidc("corp", URL, &keys)]);
    let token = issuer.token_saying(json!({ "email": "a@x.example", "groups": ["dev", "ops"] }));
    let person = bearer(&people, &token).await.unwrap();
    assert_eq!((person.kind(), person.name()), (PrincipalKind::User, "a@x.example"));
    assert_eq!((person.provider(), person.issuer()), ("corp", URL));
    assert_eq!(person.groups(), ["dev", "ops"]);
    assert_eq!(person.expires(), Some(later(600)));
    // As a password it is the same token.
    assert_eq!(basic(&people, "anything", &token).await.unwrap(), person);

    for denied in [json!(false), json!("false")] {
        let claims = json!({ "email": "boss@x.example", "email_verified": denied });
        let person = bearer(&people, &issuer.token_saying(claims)).await.unwrap();
        assert_eq!(person.name(), "somebody", "a mail address that nobody checked names nobody");
    }

    let (kind, none) = (PrincipalKind::CI, ClaimMapping::default());
    let jobs = providers(vec![oidc_with("ci", URL, &keys, kind, &["x", AUDIENCE], none)]);
    let claims = json!({ "repository": "o/r", "ref": "refs/heads/main", "email": "x@x.example" });
    let job = bearer(&jobs, &issuer.token_saying(claims)).await.unwrap();
    assert_eq!((job.kind(), job.name()), (PrincipalKind::CI, "somebody"));
    assert_eq!(job.attribute("repository"), Some("o/r"));
    assert_eq!(job.attribute("ref"), Some("refs/heads/main"));
}

#[tokio::test]
async fn service_accounts_have_cluster_namespace_pod_and_node() {
    let (files, issuer) = (Files::new(), Issuer::ec(URL, "a"));
    let keys = files.write("keys", issuer.keys());
    let providers = providers(vec![kubernetes("prod", URL, &keys)]);
    let token = issuer.service_account("shop", "web");
    let account = bearer(&providers, &token).await.unwrap();
    assert_eq!(account.kind(), PrincipalKind::ServiceAccount);
    assert_eq!(account.name(), "system:serviceaccount:shop:web");
    for (name, value) in [
        ("cluster", "prod"),
        ("namespace", "shop"),
        ("serviceAccount", "web"),
        ("pod", "web-1"),
        ("node", "node-7"),
    ] {
        assert_eq!(account.attribute(name), Some(value), "{name}");
    }

    let other = json!({ "namespace": "shop", "serviceaccount": { "name": "web" } });
    for claims in [
        json!({}),
        json!({ "kubernetes.io": "shop" }),
        json!({ "kubernetes.io": { "namespace": "shop" } }),
        json!({ "kubernetes.io": other, "sub": "system:serviceaccount:shop:admin" }),
        json!({ "kubernetes.io": other, "sub": null }),
    ] {
        wrong(bearer(&providers, &issuer.token_saying(claims)).await);
    }
}

fn bad_heads(issuer: &Issuer) -> Vec<Bad> {
    let head = |changes: Value| issuer.token_with(|head, _| merge(head, &changes));
    let stranger = Issuer::ec(URL, &issuer.kid);
    let public = issuer.jwk["x"].as_str().unwrap().as_bytes();
    let secret = EncodingKey::from_secret(public);
    let claims = json!({ "iss": URL, "sub": "x", "aud": AUDIENCE, "exp": NOW + 60 });
    let by_secret = |kid: &str| {
        let head = json!({ "typ": "JWT", "alg": "HS256", "kid": kid });
        sign(&head, &claims, &secret, jsonwebtoken::Algorithm::HS256)
    };
    let none = format!("{}.{}.", part(&json!({ "typ": "JWT", "alg": "none" })), part(&claims));
    vec![
        ("the public key as a secret", by_secret(&issuer.kid), "HS256"),
        ("no signature", none, "\"none\""),
        ("another algorithm's name", head(json!({ "alg": "RS256" })), "no key"),
        ("an algorithm that is not set", head(json!({ "alg": "ES384" })), "ES384"),
        ("another's signature", stranger.token(), "no key"),
        ("an unknown key", head(json!({ "kid": "zz" })), "no key"),
        ("no key named, and two fit", head(json!({ "kid": null })), "no key"),
        ("an extension", head(json!({ "crit": ["b64"], "b64": false })), "crit"),
        ("a refresh token", head(json!({ "typ": "rt+jwt" })), "typ"),
        (
            "a key of its own",
            {
                let own = stranger.jwk.clone();
                stranger.token_with(|head, _| merge(head, &json!({ "jwk": own, "kid": null })))
            },
            "no key",
        ),
    ]
}

fn bad_claims(issuer: &Issuer) -> Vec<Bad> {
    let said = |claims: Value| issuer.token_saying(claims);
    vec![
        ("expired", said(json!({ "exp": NOW - 31 })), "expired at "),
        ("never ending", said(json!({ "exp": null })), "exp"),
        ("ending some time", said(json!({ "exp": "2100-01-01" })), "exp is no time"),
        ("ending beyond time", said(json!({ "exp": 1e300 })), "exp is no time"),
        ("not begun", said(json!({ "nbf": NOW + 31 })), "not good yet"),
        ("from the future", said(json!({ "iat": NOW + 31 })), "not good yet"),
        ("for nobody", said(json!({ "aud": null })), AUDIENCE),
        ("for another", said(json!({ "aud": "registry.example" })), AUDIENCE),
        ("for others", said(json!({ "aud": ["a", "b", 3] })), AUDIENCE),
        ("for a part of us", said(json!({ "aud": "lockgate" })), AUDIENCE),
        ("for an object", said(json!({ "aud": { "a": AUDIENCE } })), AUDIENCE),
        ("of another issuer", said(json!({ "iss": "https://issuer.example/" })), "takes tokens of"),
        ("of no issuer", said(json!({ "iss": null })), "takes tokens of nobody"),
        ("of a list", said(json!({ "iss": [URL] })), "takes tokens of nobody"),
    ]
}

fn bad_forms(issuer: &Issuer) -> Vec<Bad> {
    let good = issuer.token();
    let parts: Vec<&str> = good.split('.').collect();
    let claims = json!({ "iss": URL, "sub": "admin", "aud": AUDIENCE, "exp": NOW + 60 });
    vec![
        ("nothing", String::new(), "no JWT"),
        ("two parts", format!("{}.{}", parts[0], parts[1]), "no JWT"),
        ("four parts", format!("{good}.x"), "no JWT"),
        ("other claims", format!("{}.{}.{}", parts[0], part(&claims), parts[2]), "no key"),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), "no key"),
        ("too long", issuer.token_saying(json!({ "x": "y".repeat(16 << 10) })), "16 KiB"),
    ]
}

#[tokio::test]
async fn bad_tokens_are_refused_each_with_its_reason() {
    let (files, issuer) = (Files::new(), Issuer::ec(URL, "a"));
    let second = Issuer::ec(URL, "b");
    let keys = files.write("keys", json!({ "keys": [issuer.jwk, second.jwk] }).to_string());
    let providers = providers(vec![oidc("corp", URL, &keys)]);
    let all = [bad_heads(&issuer), bad_claims(&issuer), bad_forms(&issuer)].concat();
    for (what, token, expected) in all {
        let reason = wrong(bearer(&providers, &token).await);
        assert!(reason.contains(expected), "{what}: {reason}");
        assert!(!reason.contains('\n'), "{what}: {reason}");
    }
    // Within the skew, the list of audiences, and the other key: all good.
    for token in [
        issuer.token_saying(json!({ "exp": NOW - 29, "iat": null, "nbf": NOW + 29 })),
        issuer.token_saying(json!({ "aud": ["other", AUDIENCE] })),
        issuer.token_with(|head, _| merge(head, &json!({ "typ": null }))),
        second.token(),
    ] {
        bearer(&providers, &token).await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_used_for_what_they_are_made_for_alone() {
    let (files, issuer) = (Files::new(), Issuer::rsa(URL, "a"));
    let verdict = async |jwk: Value, token: &str, algorithms: &[Algorithm]| {
        let keys = files.write("keys", json!({ "keys": [jwk] }).to_string());
        let mut provider = oidc("corp", URL, &keys);
        provider.algorithms = algorithms.to_vec();
        bearer(&providers(vec![provider]), token).await.is_ok()
    };
    let with = |changes: Value| {
        let mut jwk = issuer.jwk.clone();
        merge(&mut jwk, &changes);
        jwk
    };
    let (all, token) = ([Algorithm::RS256, Algorithm::PS256], issuer.token());
    let head = json!({ "alg": "PS256", "kid": "a", "typ": "JWT" });
    let claims = json!({ "iss": URL, "sub": "x", "aud": AUDIENCE, "exp": NOW + 60 });
    let other = sign(&head, &claims, &issuer.key, jsonwebtoken::Algorithm::PS256);

    assert!(verdict(with(json!({})), &token, &all).await);
    assert!(verdict(with(json!({ "alg": null, "use": null })), &token, &all).await);
    assert!(verdict(with(json!({ "alg": null })), &other, &all).await);
    assert!(!verdict(with(json!({})), &other, &all).await, "its JWK says RS256");
    assert!(!verdict(with(json!({ "alg": null })), &other, &[Algorithm::RS256]).await);
    assert!(!verdict(with(json!({ "use": "enc" })), &token, &all).await);
    assert!(!verdict(with(json!({ "key_ops": ["sign"] })), &token, &all).await);
    assert!(!verdict(with(json!({ "alg": "ES256" })), &token, &all).await);

    let unnamed = issuer.token_with(|head, _| merge(head, &json!({ "kid": null })));
    assert!(verdict(with(json!({})), &unnamed, &all).await, "exactly one key fits");
}

#[tokio::test]
async fn edwards_curves_are_taken_where_they_are_allowed() {
    let (files, issuer) = (Files::new(), Issuer::ed(URL, "a"));
    let keys = files.write("keys", issuer.keys());
    let mut provider = oidc("corp", URL, &keys);
    wrong(bearer(&providers(vec![provider.clone()]), &issuer.token()).await);
    provider.algorithms = vec![Algorithm::EdDSA];
    bearer(&providers(vec![provider]), &issuer.token()).await.unwrap();
}

#[tokio::test]
async fn clusters_of_one_issuer_are_told_apart_by_their_keys() {
    // Both call their key the same, too.
    let (files, prod, dev) = (Files::new(), Issuer::ec(URL, "k"), Issuer::ec(URL, "k"));
    let all = providers(vec![
        kubernetes("dev", URL, &files.write("dev", dev.keys())),
        kubernetes("prod", URL, &files.write("prod", prod.keys())),
    ]);
    for (issuer, cluster) in [(&prod, "prod"), (&dev, "dev")] {
        let account = bearer(&all, &issuer.service_account("shop", "web")).await.unwrap();
        assert_eq!((account.provider(), account.attribute("cluster")), (cluster, Some(cluster)));
    }
    wrong(bearer(&all, &Issuer::ec(URL, "k").service_account("shop", "web")).await);
}

#[tokio::test]
async fn providers_of_one_issuer_and_key_are_told_apart_by_audience() {
    let (files, issuer) = (Files::new(), Issuer::ec(URL, "a"));
    let keys = files.write("keys", issuer.keys());
    let user = PrincipalKind::User;
    let none = ClaimMapping::default;
    let all = providers(vec![
        oidc_with("ci", URL, &keys, PrincipalKind::CI, &["for-ci"], none()),
        oidc_with("people", URL, &keys, user, &["for-people"], none()),
    ]);
    for (audience, provider) in [("for-ci", "ci"), ("for-people", "people")] {
        let token = issuer.token_saying(json!({ "aud": audience }));
        assert_eq!(bearer(&all, &token).await.unwrap().provider(), provider);
    }
    let reason = wrong(bearer(&all, &issuer.token()).await);
    assert!(reason.contains("for-ci"), "{reason}");
}

#[tokio::test]
async fn claims_mean_what_the_mapping_says() {
    let (files, issuer) = (Files::new(), Issuer::ec(URL, "a"));
    let keys = files.write("keys", issuer.keys());
    let claims = mapping(
        &Schema::claims(),
        Some("'job:' + claims.project"),
        Some("claims.teams"),
        &[("tier", "claims['https://x.example/tier']"), ("purpose", "'Scan'")],
    );
    let kind = PrincipalKind::CI;
    let all = providers(vec![oidc_with("ci", URL, &keys, kind, &[AUDIENCE], claims)]);
    let said = json!({ "project": "web", "teams": ["a", "b"], "https://x.example/tier": "gold" });
    let job = bearer(&all, &issuer.token_saying(said.clone())).await.unwrap();
    assert_eq!((job.name(), job.groups()), ("job:web", &["a".to_owned(), "b".to_owned()][..]));
    assert_eq!((job.attribute("tier"), job.attribute("purpose")), (Some("gold"), Some("Scan")));

    let many: Vec<String> = (0..257).map(|it| format!("g{it}")).collect();
    for change in [
        json!({ "project": null }),
        json!({ "project": 7 }),
        json!({ "project": "a\nb" }),
        json!({ "project": "x".repeat(1100) }),
        json!({ "teams": "a" }),
        json!({ "teams": many }),
        json!({ "teams": ["x".repeat(1100)] }),
        json!({ "https://x.example/tier": ["gold"] }),
    ] {
        let mut claims = said.clone();
        merge(&mut claims, &change);
        let reason = wrong(bearer(&all, &issuer.token_saying(claims)).await);
        assert!(reason.contains("identity provider ci"), "{reason}");
    }
}

#[tokio::test]
async fn without_keys_nobody_is_anonymous_and_nobody_is_wrong() {
    let (files, issuer) = (Files::new(), Issuer::ec(URL, "a"));
    let other = files.write("other", Issuer::ec(URL, "b").keys());
    let all = providers(vec![
        kubernetes("other", URL, &other),
        kubernetes("late", URL, &files.path("late")),
    ]);
    let token = issuer.service_account("shop", "web");
    assert_eq!(cannot_tell(bearer(&all, &token).await), "late");
    files.write("late", "not keys");
    assert_eq!(cannot_tell(bearer(&all, &token).await), "late");
    files.write("late", issuer.keys());
    eventually("the keys are read", async || bearer(&all, &token).await.is_ok()).await;
}

#[tokio::test]
async fn a_rotated_key_is_found_at_once_and_a_broken_file_changes_nothing() {
    let (files, old, new) = (Files::new(), Issuer::ec(URL, "old"), Issuer::ec(URL, "new"));
    let all = providers(vec![oidc("corp", URL, &files.write("keys", old.keys()))]);
    bearer(&all, &old.token()).await.unwrap();

    files.write("keys", "{ this is");
    assert_eq!(cannot_tell(bearer(&all, &new.token()).await), "corp");
    bearer(&all, &old.token()).await.unwrap();

    files.write("keys", new.keys());
    bearer(&all, &new.token()).await.unwrap();
    wrong(bearer(&all, &old.token()).await);
}

#[tokio::test]
async fn what_is_known_is_carried_over_where_nothing_changed() {
    let (files, issuer) = (Files::new(), Issuer::ec(URL, "a"));
    let keys = files.write("keys", issuer.keys());
    let before = providers(vec![oidc("corp", URL, &keys)]);
    bearer(&before, &issuer.token()).await.unwrap();
    std::fs::remove_file(&keys).unwrap();

    let rebuilt =
        |name: &str| identity::Providers::build(vec![oidc(name, URL, &keys)], Some(&before), None);
    bearer(&rebuilt("corp"), &issuer.token()).await.unwrap();
    cannot_tell(bearer(&rebuilt("renamed"), &issuer.token()).await);
}

#[tokio::test]
async fn what_is_shown_is_never_printed() {
    let shown = Presented::Basic { username: "u", password: "secret" };
    assert_eq!(format!("{shown:?} {:?}", Presented::Bearer("secret")), "Basic Bearer");
    let nobody = providers(Vec::new());
    for presented in [shown, Presented::Bearer("secret"), Presented::Bearer("a.secret.b")] {
        let reason = nobody.identify(&presented, now()).await.unwrap_err().to_string();
        assert!(!reason.contains("secret"), "{reason}");
    }
}
