//! Certificates of clients: asked for, never required, and judged elsewhere.
//!
//! The handshake proves that the client holds the key. Whether somebody trusts the chain depends on
//! documents that change while connections live, so the identity stage judges it with each request.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;

/// Certificates of one chain.
const CHAIN_MAX: usize = 10;
/// Bytes of one certificate.
const CERTIFICATE_MAX_BYTES: usize = 64 << 10;

/// Takes any chain whose key the client holds.
#[derive(Debug)]
pub(super) struct AskForCertificate(pub(super) Arc<CryptoProvider>);

impl ClientCertVerifier for AskForCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let is_large = |it: &CertificateDer<'_>| it.len() > CERTIFICATE_MAX_BYTES;
        if intermediates.len() >= CHAIN_MAX
            || is_large(end_entity)
            || intermediates.iter().any(is_large)
        {
            return Err(Error::General(
                "the client's certificates are too many or too large".into(),
            ));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
