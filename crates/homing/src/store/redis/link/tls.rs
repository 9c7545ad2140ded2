//! Encryption: `rediss:`. The server's certificate is always verified, also for its host.

use std::fs;
use std::path::{Path, PathBuf};

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use crate::store::certificates::{self, unusable};
use crate::store::error::OpenError;

/// Whom an encrypted connection trusts, and who it says this program is.
#[derive(Debug, Clone, Default)]
pub(in crate::store::redis) struct Tls {
    /// A file of certificates that may have signed the server's; `None` or `system`: those of this system.
    pub(in crate::store::redis) root: Option<String>,
    /// The client's certificates.
    pub(in crate::store::redis) cert: Option<PathBuf>,
    /// The key of the first of them.
    pub(in crate::store::redis) key: Option<PathBuf>,
}

impl Tls {
    /// The option that was given first of those that mean nothing without encryption.
    pub(in crate::store::redis) fn given(&self) -> Option<&'static str> {
        let Self { root, cert, key } = self;
        let given = [
            ("sslrootcert", root.is_some()),
            ("sslcert", cert.is_some()),
            ("sslkey", key.is_some()),
        ];
        given.into_iter().find_map(|(option, is_given)| is_given.then_some(option))
    }

    /// Makes connections, encrypted if the address asks for that. Reads the files, so that what is wrong with them shows
    /// when the store is opened.
    pub(in crate::store::redis) fn client(
        &self,
        connection: ConnectionInfo,
    ) -> Result<Client, OpenError> {
        let failed = |error: redis::RedisError| unusable("sslrootcert", "", &error.to_string());
        if !matches!(connection.addr(), ConnectionAddr::TcpTls { .. }) {
            return Client::open(connection).map_err(failed);
        }
        if CryptoProvider::get_default().is_none() {
            // The client takes the process's own, which a program with several must have chosen before.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let root_cert = match self.root.as_deref() {
            None | Some("system") => None,
            Some(path) => Some(pem("sslrootcert", Path::new(path))?),
        };
        let client_tls = match (&self.cert, &self.key) {
            (None, None) => None,
            (Some(cert), Some(key)) => {
                let shown = key.display().to_string();
                PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| unusable("sslkey", &shown, &error.to_string()))?;
                let client_key = fs::read(key)
                    .map_err(|error| unusable("sslkey", &shown, &error.to_string()))?;
                Some(ClientTlsConfig { client_cert: pem("sslcert", cert)?, client_key })
            }
            (Some(_), None) => return Err(unusable("sslkey", "", "`sslcert` needs it beside it")),
            (None, Some(_)) => return Err(unusable("sslcert", "", "`sslkey` needs it beside it")),
        };
        let files = TlsCertificates { client_tls, root_cert };
        Client::build_with_tls(connection, files).map_err(failed)
    }
}

/// A PEM file that holds certificates, as it is.
fn pem(option: &'static str, path: &Path) -> Result<Vec<u8>, OpenError> {
    certificates::read(option, path)?;
    fs::read(path)
        .map_err(|error| unusable(option, &path.display().to_string(), &error.to_string()))
}
