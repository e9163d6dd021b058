//! Whatever is shown, and whatever stands in a file: an answer, and never a panic.

use crate::certificates::show;
use crate::issuer::{Issuer, now, part};
use crate::settings::*;
use identity::users::UserFile;
use identity::{ClaimMapping, ProviderKind, Providers, TokenKeys};
use policy::PrincipalKind;
use proptest::prelude::*;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use std::sync::LazyLock;

const URL: &str = "https://issuer.example";

struct World {
    files: Files,
    issuer: Issuer,
    all: Providers,
    keys: TokenKeys,
    runtime: tokio::runtime::Runtime,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (files, issuer) = (Files::new(), Issuer::ec(URL, "a"));
    let keys = files.write("keys", issuer.keys());
    let secrets = files.write("secrets", "a-secret-of-the-whole-cluster");
    let ca_file = files.write("ca", testkit::TestCa::new().pem());
    let (kind, claims, cluster) = (PrincipalKind::User, ClaimMapping::default(), None);
    let all = providers(vec![
        oidc("corp", URL, &keys),
        kubernetes("prod", URL, &keys),
        settings(
            "certificates",
            ProviderKind::ClientCertificates { ca_file, kind, cluster, claims },
        ),
        settings(
            "nodes",
            ProviderKind::ClusterCredential { cluster: "c".into(), secret_file: secrets },
        ),
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    World { files, issuer, all, keys: TokenKeys::in_memory(now()).unwrap(), runtime }
});

fn is_taken(token: &str) -> bool {
    let world = &*WORLD;
    let taken = world.runtime.block_on(bearer(&world.all, token)).is_ok();
    let _ = world.keys.is_ours(token);
    let own = world.keys.verify_access(token, "lockgate", now()).is_ok();
    let refresh = world.keys.verify_refresh(token, "lockgate", now()).is_ok();
    let basic = world.runtime.block_on(basic(&world.all, token, token)).is_ok();
    taken || own || refresh || basic
}

/// Heads and claims that are nearly right.
fn member() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|it| json!(it)),
        any::<i64>().prop_map(|it| json!(it)),
        any::<f64>().prop_map(|it| json!(it)),
        "\\PC{0,12}".prop_map(|it| json!(it)),
        Just(json!(["ES256", 1, {}])),
        Just(json!({ "a": { "b": [] } })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text(token in "\\PC{0,200}|[A-Za-z0-9_.-]{0,200}|lgt_[a-z_]{0,80}") {
        prop_assert!(!is_taken(&token));
    }

    #[test]
    fn any_head_and_claims(
        names in proptest::collection::vec(("alg|kid|typ|crit|jwk|x5c", member()), 0..4),
        claims in proptest::collection::vec(("iss|aud|exp|nbf|sub|kubernetes.io", member()), 0..5),
    ) {
        let head: serde_json::Map<_, _> = names.into_iter().collect();
        let mut claims: serde_json::Map<_, _> = claims.into_iter().collect();
        claims.entry("iss").or_insert(json!(URL));
        let (head, body) = (part(&Value::Object(head)), part(&Value::Object(claims)));
        let unsigned = format!("{head}.{body}.AAAA");
        prop_assert!(!is_taken(&unsigned));
    }

    /// Signed by the right key, with claims of any kind.
    #[test]
    fn any_claims_of_the_right_issuer(name in "exp|nbf|iat|aud|sub|email|groups|kubernetes.io", value in member()) {
        let claims: serde_json::Map<_, _> = [(name, value)].into_iter().collect();
        let _ = is_taken(&WORLD.issuer.token_saying(Value::Object(claims)));
    }

    /// One letter of a good token changed.
    #[test]
    fn no_altered_token(at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9_.-]") {
        static GOOD: LazyLock<String> = LazyLock::new(|| WORLD.issuer.token());
        let mut altered = GOOD.clone().into_bytes();
        let at = at.index(altered.len());
        prop_assume!(altered[at] != letter.as_bytes()[0]);
        altered[at] = letter.as_bytes()[0];
        prop_assert!(!is_taken(&String::from_utf8(altered).unwrap()));
    }

    #[test]
    fn any_certificate(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(show(&WORLD.all, &[CertificateDer::from(bytes)]).is_err());
    }

    #[test]
    fn any_file(text in "\\PC{0,200}|users: \\PC{0,80}|\\{\"keys\": ?\\[\\PC{0,80}\\]\\}") {
        let path = WORLD.files.write("any", &text);
        let _ = UserFile::open(&path);
        let (bundle_file, audience) = (path.clone(), Some("x".to_owned()));
        let kinds = [
            ProviderKind::Spiffe { trust_domain: "d".into(), bundle_file, audience },
            ProviderKind::Local { users_file: path.clone() },
        ];
        let mut all: Vec<_> = kinds.map(|kind| settings("s", kind)).into();
        all.push(oidc("corp", URL, &path));
        let token = WORLD.issuer.token();
        let _ = WORLD.runtime.block_on(bearer(&providers(all), &token));
    }
}
