//! Certificates of encrypted connections: read from files when a store is opened, and told apart from what passes by itself.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

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
