//! What claims mean: no mapping and no claims make a principal without a name, or one that says more than
//! fits. The input is expressions for name, groups and one attribute, and claims.
#![no_main]

use fuzz::issuer::{self, World};
use identity::{ClaimMapping, Presented, Providers};
use libfuzzer_sys::fuzz_target;
use policy::PrincipalKind;
use policy::cel::{Expect, Expression, Schema};
use serde_json::{Value, json};
use std::sync::LazyLock;

static WORLD: LazyLock<World> = LazyLock::new(World::new);

fuzz_target!(|data: &[u8]| {
    let Some([name, groups, attribute, claims]) = fuzz::parts(data) else { return };
    let Ok(Value::Object(mut claims)) = serde_json::from_str(claims) else { return };
    let schema = Schema::claims();
    let compiled = |text: &str, expect| match text.is_empty() {
        true => Some(None),
        false => Expression::compile(text, &schema, expect).ok().map(Some),
    };
    let Some(name) = compiled(name, Expect::String) else { return };
    let Some(groups) = compiled(groups, Expect::Strings) else { return };
    let Some(attribute) = compiled(attribute, Expect::String) else { return };
    let attributes = attribute.map(|it| ("team".to_owned(), it)).into_iter().collect();
    let mapping = ClaimMapping { name, groups, attributes };
    // All the rest is as it must be.
    for (key, value) in [
        ("iss", json!(issuer::ISSUER)),
        ("aud", json!(issuer::AUDIENCE)),
        ("exp", json!(issuer::NOW + 60)),
    ] {
        claims.insert(key.to_owned(), value);
    }
    let claims = Value::Object(claims).to_string();
    let Some(token) = issuer::sign(r#"{"alg":"ES256"}"#, &claims, &issuer::honest()) else {
        return;
    };
    for kind in [PrincipalKind::User, PrincipalKind::CI] {
        let providers = Providers::build(vec![WORLD.oidc(kind, mapping.clone())], None, None);
        let Some(identity) = WORLD.identify(&providers, &Presented::Bearer(&token)) else {
            continue;
        };
        issuer::check(&identity);
        assert_eq!(identity.kind(), kind);
        assert_eq!((identity.provider(), identity.issuer()), ("corp", issuer::ISSUER));
        for (key, value) in identity.attributes() {
            assert!(!key.is_empty() && value.len() <= 1024, "{key}");
        }
    }
});
