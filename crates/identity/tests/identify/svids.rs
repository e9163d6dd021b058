//! SPIFFE: JWT-SVIDs and X.509-SVIDs.

use crate::certificates::{Authority, show, uri};
use crate::issuer::{AUDIENCE, Issuer, merge};
use crate::settings::*;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use identity::{Algorithm, ProviderKind, ProviderSettings};
use policy::PrincipalKind;
use rcgen::IsCa;
use serde_json::json;
use std::path::Path;

const ID: &str = "spiffe://prod.example/ns/shop/sa/web";

fn spiffe(bundle: &Path, audience: Option<&str>) -> ProviderSettings {
    let kind = ProviderKind::Spiffe {
        trust_domain: "prod.example".to_owned(),
        bundle_file: bundle.to_owned(),
        audience: audience.map(str::to_owned),
    };
    settings("spiffe", kind)
}

/// A bundle as SPIRE writes it: keys of both kinds.
fn bundle(issuer: &Issuer, authority: &Authority) -> String {
    let mut key = issuer.jwk.clone();
    merge(&mut key, &json!({ "use": "jwt-svid", "alg": null }));
    let certificate = BASE64_STANDARD.encode(authority.0.der());
    let authority = json!({ "kty": "EC", "use": "x509-svid", "crv": "P-256",
        "x": issuer.jwk["x"], "y": issuer.jwk["y"], "x5c": [certificate] });
    json!({ "keys": [authority, key], "spiffe_sequence": 3, "spiffe_refresh_hint": 300 })
        .to_string()
}

#[tokio::test]
async fn a_token_of_the_trust_domain_names_its_workload() {
    let (files, issuer) = (Files::new(), Issuer::ec("https://spire.example", "a"));
    let path = files.write("bundle", bundle(&issuer, &Authority::new()));
    let all = providers(vec![spiffe(&path, Some(AUDIENCE))]);
    let svid = |id: &str| issuer.token_saying(json!({ "sub": id, "iss": null }));
    let workload = bearer(&all, &svid(ID)).await.unwrap();
    assert_eq!((workload.kind(), workload.name()), (PrincipalKind::Workload, ID));
    assert_eq!(workload.attribute("spiffeId"), Some(ID));
    assert_eq!(workload.attribute("namespace"), Some("shop"));
    assert_eq!(workload.attribute("serviceAccount"), Some("web"));
    let plain = bearer(&all, &svid("spiffe://prod.example/billing")).await.unwrap();
    assert_eq!(plain.attribute("namespace"), None);

    for id in [
        "spiffe://dev.example/ns/shop/sa/web",
        "spiffe://prod.example",
        "spiffe://prod.example/",
        "spiffe://prod.example/a//b",
        "spiffe://prod.example/ns/../sa/web",
        "spiffe://prod.example/a%2fb",
        "spiffe://prod.example.evil/a",
        "https://prod.example/a",
        "SPIFFE://prod.example/a",
    ] {
        wrong(bearer(&all, &svid(id)).await);
    }
}

#[tokio::test]
async fn tokens_that_are_no_svids_are_refused() {
    let (files, issuer) = (Files::new(), Issuer::ec("https://spire.example", "a"));
    let path = files.write("bundle", bundle(&issuer, &Authority::new()));
    let all = providers(vec![spiffe(&path, Some(AUDIENCE))]);
    let svid = |head| {
        issuer.token_with(|all, claims| {
            merge(all, &head);
            merge(claims, &json!({ "sub": ID }));
        })
    };
    for typ in [json!("JWT"), json!("JOSE"), json!(null)] {
        bearer(&all, &svid(json!({ "typ": typ }))).await.unwrap();
    }
    wrong(bearer(&all, &svid(json!({ "typ": "at+jwt" }))).await);
    let reason = wrong(bearer(&all, &svid(json!({ "kid": null }))).await);
    assert!(reason.contains("kid"), "{reason}");
    wrong(bearer(&all, &Issuer::ec("https://spire.example", "a").token()).await);
    for claims in [json!({ "aud": null }), json!({ "aud": "other" }), json!({ "exp": null })] {
        let mut claims = claims;
        merge(&mut claims, &json!({ "sub": ID }));
        let token = issuer.token_with(|_, all| merge(all, &claims));
        wrong(bearer(&all, &token).await);
    }
    // No audience is set: tokens are not taken at all.
    wrong(bearer(&providers(vec![spiffe(&path, None)]), &svid(json!({}))).await);

    let edwards = Issuer::ed("https://spire.example", "a");
    let mut provider = spiffe(&files.write("other", edwards.keys()), Some(AUDIENCE));
    provider.algorithms = vec![Algorithm::EdDSA];
    let token = edwards.token_saying(json!({ "sub": ID }));
    wrong(bearer(&providers(vec![provider]), &token).await);
}

#[test]
fn a_certificate_of_the_trust_domain_names_its_workload() {
    let (files, issuer) = (Files::new(), Issuer::ec("https://spire.example", "a"));
    let authority = Authority::new();
    let whole = files.write("bundle", bundle(&issuer, &authority));
    let pem = files.write("pem", authority.0.pem());
    for path in [whole, pem] {
        let all = providers(vec![spiffe(&path, None)]);
        let svid = |ids: &[&str]| {
            authority.issue(|it| it.subject_alt_names = ids.iter().map(|id| uri(id)).collect())
        };
        let workload = show(&all, &[svid(&[ID])]).unwrap();
        assert_eq!((workload.kind(), workload.name()), (PrincipalKind::Workload, ID));
        assert_eq!(workload.attribute("namespace"), Some("shop"));

        for ids in [&[][..], &[ID, "spiffe://prod.example/b"], &["spiffe://dev.example/a"]] {
            assert!(show(&all, &[svid(ids)]).is_err(), "{ids:?}");
        }
        let other = Authority::new();
        let stranger = other.issue(|it| it.subject_alt_names = vec![uri(ID)]);
        assert!(show(&all, &[stranger]).is_err());
        let signing = authority.issue(|it| {
            it.subject_alt_names = vec![uri(ID)];
            it.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        });
        assert!(show(&all, &[signing]).is_err());
    }
}
