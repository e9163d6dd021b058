//! A certificate authority for tests, with what it issues: good, expired and client certificates.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::client::WebPkiServerVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// A certificate authority made for one test. Clones are the same authority.
#[derive(Clone)]
pub struct TestCa(Arc<CertifiedIssuer<'static, KeyPair>>);

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, in PEM.
    pub cert_pem: String,
    /// Its private key (PKCS #8), in PEM.
    pub key_pem: String,
}

/// The dates between which a certificate is good.
#[derive(Clone, Copy)]
enum Validity {
    Good,
    Past,
    Future,
}

impl TestCa {
    /// A new authority with a new key.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names to be wrong");
        params.distinguished_name.push(DnType::CommonName, "testkit authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, new_key()).expect("a fresh key signs");
        Self(Arc::new(issuer))
    }

    /// The authority's own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server certificate for these names; addresses such as `127.0.0.1` count as names.
    pub fn server(&self, names: &[&str]) -> Issued {
        self.issue("testkit server", names, ExtendedKeyUsagePurpose::ServerAuth, Validity::Good)
    }

    /// A server certificate that expired years ago.
    pub fn expired_server(&self, names: &[&str]) -> Issued {
        self.issue("testkit server", names, ExtendedKeyUsagePurpose::ServerAuth, Validity::Past)
    }

    /// A server certificate that is not valid for years to come.
    pub fn future_server(&self, names: &[&str]) -> Issued {
        self.issue("testkit server", names, ExtendedKeyUsagePurpose::ServerAuth, Validity::Future)
    }

    /// A client certificate for `name`.
    pub fn client(&self, name: &str) -> Issued {
        self.issue(name, &[name], ExtendedKeyUsagePurpose::ClientAuth, Validity::Good)
    }

    /// A client certificate that expired years ago.
    pub fn expired_client(&self, name: &str) -> Issued {
        self.issue(name, &[name], ExtendedKeyUsagePurpose::ClientAuth, Validity::Past)
    }

    /// Settings for a client that trusts only this authority, and shows `identity` when asked.
    pub fn client_config(&self, identity: Option<&Issued>) -> Arc<ClientConfig> {
        let verifier = WebPkiServerVerifier::builder_with_provider(self.roots(), provider());
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_webpki_verifier(verifier.build().expect("there is a root"));
        Arc::new(match identity {
            Some(identity) => builder
                .with_client_auth_cert(identity.chain(), identity.key())
                .expect("key and certificate were issued together"),
            None => builder.with_no_client_auth(),
        })
    }

    /// Settings for a server that shows `identity` and, with `clients`, lets in only who has a
    /// certificate of that authority. Speaks HTTP/1.1.
    pub fn server_config(identity: &Issued, clients: Option<&TestCa>) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions");
        let builder = match clients {
            Some(ca) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(ca.roots(), provider())
                    .build()
                    .expect("there is a root"),
            ),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(identity.chain(), identity.key())
            .expect("key and certificate were issued together");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("rcgen makes certificates that webpki reads");
        Arc::new(roots)
    }

    fn issue(
        &self,
        common_name: &str,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
        validity: Validity,
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names are ASCII");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![usage];
        let (from, to) = match validity {
            Validity::Good => (2020, 2095),
            Validity::Past => (2010, 2011),
            Validity::Future => (2090, 2095),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = new_key();
        let certificate = params.signed_by(&key, &self.0).expect("the authority signs");
        Issued { cert_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl Issued {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.cert_pem.as_bytes()).expect("PEM made here")]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("PEM made here")
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("the system has randomness")
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
