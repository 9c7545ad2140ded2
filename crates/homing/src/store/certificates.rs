//! Certificates of encrypted connections: read from files when a store is opened, and told apart from what passes by itself.

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::store::error::OpenError;

/// An option of a URL that names a file which will not do.
pub(crate) fn unusable(option: &'static str, value: &str, reason: &str) -> OpenError {
    let reason = if value.is_empty() { reason.to_owned() } else { format!("{value}: {reason}") };
    OpenError::UnusableOption { option, reason }
}

/// The certificates of a PEM file: at least one.
pub(crate) fn read(
    option: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let failed = |reason: &str| unusable(option, &path.display().to_string(), reason);
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let certificates = read().map_err(|error| failed(&error.to_string()))?;
    if certificates.is_empty() {
        return Err(failed("there is no certificate in it"));
    }
    Ok(certificates)
}

/// The authorities that this system trusts.
pub(crate) fn system() -> Result<RootCertStore, OpenError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let reason = "this system has no certificates: install them, or name a file";
        return Err(unusable("sslrootcert", "system", reason));
    }
    Ok(roots)
}

/// The authorities of a PEM file.
pub(crate) fn authorities(path: &str) -> Result<RootCertStore, OpenError> {
    let mut roots = RootCertStore::empty();
    for certificate in read("sslrootcert", Path::new(path))? {
        let added = roots.add(certificate);
        added.map_err(|error| unusable("sslrootcert", path, &error.to_string()))?;
    }
    Ok(roots)
}

/// A configuration that shows the client's certificate, if there is one.
pub(crate) fn identified(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    (cert, key): (Option<&Path>, Option<&Path>),
) -> Result<ClientConfig, OpenError> {
    match (cert, key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = read("sslcert", cert)?;
            let shown = key.display().to_string();
            let failed = |error: &dyn StdError| unusable("sslkey", &shown, &error.to_string());
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(&error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| failed(&error))
        }
        (Some(_), None) => Err(unusable("sslkey", "", "`sslcert` needs it beside it")),
        (None, Some(_)) => Err(unusable("sslcert", "", "`sslkey` needs it beside it")),
    }
}

/// How to speak TLS to a server whose certificate is verified, also for its host: signed by an authority of the file
/// `root`, or, without one or with `system`, by one of this system's. For the crates of this workspace that speak to
/// other servers than a store's.
///
/// # Errors
/// A file that will not do, with the option that names it: `sslrootcert`, `sslcert` or `sslkey`.
pub fn verified(
    root: Option<&str>,
    (cert, key): (Option<&Path>, Option<&Path>),
) -> Result<ClientConfig, OpenError> {
    let roots = match root {
        None | Some("system") => system()?,
        Some(path) => authorities(path)?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("sslrootcert", "", &error.to_string()))?;
    identified(builder.with_root_certificates(roots), (cert, key))
}

/// Whether one side refused the other's certificate: it will do so the next time. The error may stand in one of I/O.
pub(crate) fn is_untrusted(error: &(dyn StdError + 'static)) -> bool {
    use rustls::Error as Tls;
    let of_io = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let inner = of_io.map_or(error, |inner| inner as &(dyn StdError + 'static));
    matches!(
        inner.downcast_ref::<Tls>(),
        Some(
            Tls::InvalidCertificate(_)
                | Tls::NoCertificatesPresented
                | Tls::UnsupportedNameType
                | Tls::PeerIncompatible(_)
                | Tls::AlertReceived(_)
        )
    )
}
