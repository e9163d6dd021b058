//! Certificates of clients: who vouches for them, and what they mean.

use crate::issuer::{later, now};
use crate::settings::*;
use identity::{ClaimMapping, Presented, ProviderKind, ProviderSettings, Providers};
use policy::cel::Schema;
use policy::{Identity, PrincipalKind};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;
use testkit::TestCa;

/// An authority that issues whatever it is asked for.
pub(crate) struct Authority(pub(crate) CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn issue(
        &self,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.0).unwrap().der().clone()
    }
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

pub(crate) fn show(
    providers: &Providers,
    chain: &[CertificateDer<'_>],
) -> Result<Identity, String> {
    let shown = Presented::Certificate(chain);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(providers.identify(&shown, now())).map_err(|error| error.to_string())
}

fn accepting(
    ca: &Path,
    kind: PrincipalKind,
    cluster: Option<&str>,
    claims: ClaimMapping,
) -> ProviderSettings {
    let cluster = cluster.map(str::to_owned);
    let ca_file = ca.to_owned();
    settings("certificates", ProviderKind::ClientCertificates { ca_file, kind, cluster, claims })
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn a_certificate_of_the_authority_is_taken_and_no_other() {
    let (files, ca) = (Files::new(), TestCa::new());
    let path = files.write("ca.pem", ca.pem());
    let all = providers(vec![accepting(&path, PrincipalKind::User, None, ClaimMapping::default())]);
    let alice = show(&all, &[der(&ca.client("alice").cert_pem)]).unwrap();
    assert_eq!((alice.kind(), alice.name()), (PrincipalKind::User, "alice"));
    assert!(alice.expires() > Some(later(0)));

    for (what, pem) in [
        ("of another authority", TestCa::new().client("alice").cert_pem),
        ("expired", ca.expired_client("alice").cert_pem),
        ("of a server", ca.server(&["alice"]).cert_pem),
        ("the authority's own", ca.pem()),
    ] {
        let refused = show(&all, &[der(&pem)]);
        assert!(refused.is_err_and(|it| it.contains("not vouched for")), "{what}");
    }
    assert!(show(&all, &[]).is_err());
    assert!(show(&all, &[CertificateDer::from(vec![0x30, 0x03, 1, 2])]).is_err());
    assert!(show(&providers(Vec::new()), &[der(&ca.client("alice").cert_pem)]).is_err());
}

#[test]
fn subject_and_names_mean_what_the_mapping_says() {
    let (files, ca) = (Files::new(), Authority::new());
    let path = files.write("ca.pem", ca.0.pem());
    let certificate = ca.issue(|params| {
        params.distinguished_name.push(DnType::CommonName, "system:node:n1");
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.subject_alt_names =
            vec![SanType::DnsName(Ia5String::try_from("n1.example").unwrap()), uri("urn:x")];
    });
    let node = PrincipalKind::Node;
    let plain = accepting(&path, node, Some("prod"), ClaimMapping::default());
    let identity = show(&providers(vec![plain]), std::slice::from_ref(&certificate)).unwrap();
    assert_eq!((identity.kind(), identity.name()), (node, "system:node:n1"));
    assert_eq!(identity.groups(), ["system:nodes"]);
    assert_eq!(identity.attribute("cluster"), Some("prod"));

    let claims = mapping(
        &Schema::certificate(),
        Some("certificate.dnsNames[0]"),
        Some("certificate.uris"),
        &[("serial", "certificate.serialNumber")],
    );
    let mapped = providers(vec![accepting(&path, node, None, claims)]);
    let identity = show(&mapped, &[certificate]).unwrap();
    assert_eq!((identity.name(), identity.groups()), ("n1.example", &["urn:x".to_owned()][..]));
    assert!(identity.attribute("serial").is_some_and(|serial| serial.len() >= 8));

    // Without what the mapping reads, or without a name at all: nobody.
    let nameless = ca.issue(|params| params.distinguished_name = DistinguishedName::new());
    assert!(show(&mapped, std::slice::from_ref(&nameless)).is_err());
    let plain = providers(vec![accepting(&path, node, None, ClaimMapping::default())]);
    assert!(show(&plain, &[nameless]).is_err());
    let crowded = ca.issue(|params| {
        params.distinguished_name.push(DnType::CommonName, "n2");
        params.subject_alt_names = (0..65).map(|it| uri(&format!("urn:{it}"))).collect();
    });
    assert!(show(&plain, &[crowded]).is_err_and(|reason| reason.contains("64 names")));
}

#[test]
fn without_the_authorities_nobody_can_tell() {
    let (files, ca) = (Files::new(), TestCa::new());
    let none = ClaimMapping::default();
    let all = providers(vec![accepting(&files.path("none"), PrincipalKind::User, None, none)]);
    let chain = [der(&ca.client("alice").cert_pem)];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = runtime.block_on(all.identify(&Presented::Certificate(&chain), now()));
    assert_eq!(cannot_tell(told), "certificates");
}
