//! Certificates for tests, made on the spot.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]
#![allow(dead_code, reason = "not every test program needs all of it")]

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// An authority that signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate and its key.
    pub(crate) fn sign(&self, common: &str, names: &[&str], server: bool) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        params.extended_key_usages = vec![if server {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        }];
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// Writes the files of two authorities, `ours` and `theirs`: our server's certificate for `localhost` alone, our client's,
/// and that of a stranger, whom `theirs` has signed. Each has its key beside it.
pub(crate) fn write_files(directory: &Path) {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (server, server_key) = ours.sign("server", &["localhost"], true);
    let (client, client_key) = ours.sign("client", &[], false);
    let (stranger, stranger_key) = theirs.sign("client", &[], false);
    for (name, text) in [
        ("ours.crt", &ours.certificate),
        ("theirs.crt", &theirs.certificate),
        ("server.crt", &server),
        ("server.key", &server_key),
        ("client.crt", &client),
        ("client.key", &client_key),
        ("stranger.crt", &stranger),
        ("stranger.key", &stranger_key),
    ] {
        fs::write(directory.join(name), text).unwrap();
    }
}
