//! Tokens: nobody is let in but by a token that the issuer's key signed, and that is meant for us and lives.
//! The input is a head and claims, or any text.
#![no_main]

use fuzz::issuer::{self, AUDIENCE, ISSUER, NOW, World, now};
use identity::{Presented, Providers, TokenHolder, TokenKeys};
use libfuzzer_sys::fuzz_target;
use policy::{Identity, PrincipalKind};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::sync::LazyLock;
use std::time::Duration;

const SERVICE: &str = "lockgate";

struct Tokens {
    world: World,
    providers: Providers,
    own: TokenKeys,
    /// Ours: shown with requests, and to come back with.
    access: String,
    refresh: String,
    honest: String,
}

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
    let world = World::new();
    let oidc = world.oidc(PrincipalKind::User, Default::default());
    let providers = Providers::build(vec![oidc, world.kubernetes()], None, None);
    let own = TokenKeys::in_memory(now()).expect("a key");
    let alice = Identity::new(PrincipalKind::User, "corp", ISSUER, "alice");
    let life = Duration::from_secs(300);
    let access = own.issue(Some(&alice), SERVICE, now(), life).expect("a token").text;
    let refresh = own.issue_refresh(&alice, SERVICE, now(), life).expect("a token");
    let claims =
        format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"alice","exp":{}}}"#, NOW + 60);
    let honest = issuer::sign(r#"{"alg":"ES256"}"#, &claims, &issuer::honest()).expect("a token");
    assert!(world.identify(&providers, &Presented::Bearer(&honest)).is_some());
    Tokens {
        world,
        providers,
        own,
        access: access.expose_secret().to_owned(),
        refresh: refresh.expose_secret().to_owned(),
        honest,
    }
});

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        refused(text);
    }
    changed(data);
    let Some([head, claims]) = fuzz::parts(data) else { return };
    let unsigned =
        format!("{}.{}.", issuer::part(head.as_bytes()), issuer::part(claims.as_bytes()));
    refused(&unsigned);
    if let Some(forged) = issuer::sign(head, claims, &issuer::strange()) {
        refused(&forged);
    }
    if let Some(token) = issuer::sign(head, claims, &issuer::honest()) {
        taken(&token, head, claims);
    }
});

/// Everybody who takes a token, as it is or as a password.
fn takers(token: &str) -> (Option<Identity>, Option<TokenHolder>, Option<Identity>) {
    let Tokens { world, providers, own, .. } = &*TOKENS;
    let by_bearer = world.identify(providers, &Presented::Bearer(token));
    let by_basic = Presented::Basic { username: "x", password: token };
    assert_eq!(by_bearer, world.identify(providers, &by_basic), "two ways, two answers");
    let access = own.verify_access(token, SERVICE, now()).ok();
    let refresh = own.verify_refresh(token, SERVICE, now()).ok();
    assert!(own.is_ours(token) || (access.is_none() && refresh.is_none()));
    (by_bearer, access, refresh)
}

/// Nobody has signed it, so that nobody takes it.
fn refused(token: &str) {
    assert_eq!(takers(token), (None, None, None), "{token}");
}

/// Signed by the issuer: if it is taken, it is alive, meant for us and names somebody.
fn taken(token: &str, head: &str, claims: &str) {
    let (identity, access, refresh) = takers(token);
    assert!(access.is_none() && refresh.is_none(), "it passes for one of ours");
    let Some(identity) = identity else { return };
    issuer::check(&identity);
    let head: Value = serde_json::from_str(head).expect("it was read before");
    assert_eq!(head["alg"], "ES256");
    assert!(head.get("crit").is_none_or(Value::is_null));
    let claims: Value = serde_json::from_str(claims).expect("it was read before");
    assert_eq!(claims["iss"], ISSUER);
    let is_ours = |value: &Value| value.as_str() == Some(AUDIENCE);
    let audience = &claims["aud"];
    assert!(is_ours(audience) || audience.as_array().is_some_and(|all| all.iter().any(is_ours)));
    let ends = claims["exp"].as_f64().expect("a number");
    assert!(ends > (NOW - 32) as f64, "it ended at {ends}");
    for name in ["nbf", "iat"] {
        assert!(claims[name].as_f64().is_none_or(|at| at < (NOW + 32) as f64), "{name}");
    }
}

/// A good token with bytes of it replaced: of what was signed, nothing may be another.
fn changed(data: &[u8]) {
    let Tokens { access, refresh, honest, .. } = &*TOKENS;
    let Some((which, changes)) = data.split_first() else { return };
    let good = [access, refresh, honest][usize::from(*which) % 3];
    let mut bytes = good.clone().into_bytes();
    for change in changes.chunks_exact(3).take(8) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
        bytes[at] = change[2];
    }
    let Ok(token) = String::from_utf8(bytes) else { return };
    let signed = |token: &str| token.rsplit_once('.').map(|(signed, _)| signed.to_owned());
    if takers(&token) != (None, None, None) {
        assert_eq!(signed(&token), signed(good));
    }
}
