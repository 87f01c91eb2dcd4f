//! Whom we trust.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::BuildError;
use crate::settings::{UpstreamSettings, Verify};

/// The TLS side of `settings`. Sessions are resumed; ALPN is left to the connector.
pub(crate) fn client_config(settings: &UpstreamSettings) -> Result<ClientConfig, BuildError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = match &settings.ssl_verify {
        Verify::On => builder.with_root_certificates(system_roots(settings.ca_file.as_deref())?),
        Verify::Bundle(path) => {
            let mut roots = RootCertStore::empty();
            add_file(&mut roots, path)?;
            builder.with_root_certificates(roots)
        }
        Verify::Off => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAnybody::new(&provider)))
        }
    };
    Ok(config.with_no_client_auth())
}

/// Mozilla's roots, so that an image without certificate files works, plus the operating system's, where
/// companies install their own, plus those of `extra`.
fn system_roots(extra: Option<&Path>) -> Result<RootCertStore, BuildError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "some certificate authorities of the system cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = extra {
        add_file(&mut roots, path)?;
    }
    Ok(roots)
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), BuildError> {
    let unreadable = |detail: String| BuildError::CaFile { path: path.to_owned(), detail };
    let mut found = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))? {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
        found += 1;
    }
    if found == 0 {
        return Err(unreadable("it holds no PEM certificate".to_owned()));
    }
    Ok(())
}

/// `ssl_verify: false`: any certificate will do, as long as the peer holds its key.
#[derive(Debug)]
struct TrustAnybody(WebPkiSupportedAlgorithms);

impl TrustAnybody {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
