//! Encryption: libpq's modes over rustls.
//!
//! | mode | encrypted | the server's certificate |
//! |---|---|---|
//! | `disable` | never | |
//! | `allow` | if the server insists | not looked at |
//! | `prefer` | if the server can | not looked at |
//! | `require` | always | not looked at; with `sslrootcert`, as `verify-ca` |
//! | `verify-ca` | always | signed by `sslrootcert` |
//! | `verify-full` | always | signed by `sslrootcert` or one of the system's, for this host |

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::certificates::{self, unusable as invalid};
use crate::store::error::OpenError;

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::store::postgres) enum Mode {
    Disable,
    Allow,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    pub(in crate::store::postgres) const KNOWN: &str =
        "expected `disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`";

    pub(in crate::store::postgres) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }
}

/// How the connection is encrypted, and whom it trusts.
#[derive(Debug, Clone, Default)]
pub(in crate::store::postgres) struct Tls {
    pub(in crate::store::postgres) mode: Mode,
    /// A file of certificates, or `system`.
    pub(in crate::store::postgres) root: Option<String>,
    /// The client's certificates.
    pub(in crate::store::postgres) cert: Option<PathBuf>,
    /// The key of the first of them.
    pub(in crate::store::postgres) key: Option<PathBuf>,
}

impl Tls {
    /// Makes connections encrypted as asked. Reads the files, so that what is wrong with them shows when
    /// the store is opened.
    pub(in crate::store::postgres) fn connector(&self) -> Result<MakeRustlsConnect, OpenError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = self.verifier(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid("sslmode", "", &error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let own = (self.cert.as_deref(), self.key.as_deref());
        let config = certificates::identified(builder, own)?;
        Ok(MakeRustlsConnect::new(config))
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, OpenError> {
        let root = self.root.as_deref();
        let lenient = |signed| Arc::new(Lenient { provider: Arc::clone(provider), signed });
        let full = match self.mode {
            Mode::VerifyFull => true,
            Mode::VerifyCa => false,
            Mode::Require if root.is_some() => false,
            _ => return Ok(lenient(None)),
        };
        let roots = match root {
            None | Some("system") if full => certificates::system()?,
            None => {
                return Err(invalid(
                    "sslrootcert",
                    "",
                    "`sslmode=verify-ca` needs the file of the authority's certificate",
                ));
            }
            // Any host with any certificate at all would pass.
            Some("system") => {
                return Err(invalid("sslrootcert", "system", "it needs `sslmode=verify-full`"));
            }
            Some(path) => certificates::authorities(path)?,
        };
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| {
                    invalid("sslrootcert", root.unwrap_or_default(), &error.to_string())
                })?;
        Ok(if full { verifier } else { lenient(Some(verifier)) })
    }
}

/// Checks less than rustls would: who signed the certificate, but not for which host (`verify-ca`), or
/// nothing of it (the modes below). That the server has the certificate's key is checked always.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// Who may have signed it; `None`: anyone.
    signed: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |signed: &Arc<WebPkiServerVerifier>| {
            signed.verify_server_cert(end_entity, intermediates, name, ocsp, now)
        };
        match self.signed.as_ref().map(verify) {
            // The name is looked at last, when all else is in order.
            None
            | Some(Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ))) => Ok(ServerCertVerified::assertion()),
            Some(verified) => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
