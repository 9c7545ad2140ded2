//! TLS: each mode takes and refuses what libpq's does.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::authority::Authority;
use super::*;

/// A server with a certificate for `localhost` alone, signed by the first authority, that lets `plain` in
/// without encryption only, `cert` with a certificate only and all others with encryption only.
struct Encrypted {
    server: Server,
    files: tempfile::TempDir,
}

impl Encrypted {
    fn start() -> Self {
        let hba = "hostnossl all plain 127.0.0.1/32 trust\nhostssl all plain 127.0.0.1/32 reject\nhostssl all cert 127.0.0.1/32 cert\n\
                   hostssl all all 127.0.0.1/32 trust\nhost all all all reject";
        let files = tempfile::tempdir().unwrap();
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let (certificate, key) = ours.sign("server", &["localhost"], true);
        let server = Server::with_files(
            "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n\
             ssl_ca_file = 'ca.crt'",
            hba,
            &[("server.crt", &certificate), ("server.key", &key), ("ca.crt", &ours.certificate)],
        );
        let (client, key) = ours.sign("cert", &[], false);
        for (name, text) in [
            ("ours.crt", &ours.certificate),
            ("theirs.crt", &theirs.certificate),
            ("client.crt", &client),
            ("client.key", &key),
        ] {
            fs::write(files.path().join(name), text).unwrap();
        }
        server.sql("CREATE ROLE anna LOGIN; CREATE ROLE plain LOGIN; CREATE ROLE cert LOGIN");
        Self { server, files }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Whether the connection is encrypted, or why there is none.
    async fn connect(&self, role: &str, host: &str, options: &str) -> Result<bool, Error> {
        let port = self.server.port();
        let url = format!("postgres://{role}@{host}:{port}/postgres?pool_timeout=0s&{options}");
        let client = pool(&url).get().await?;
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok(client.query_one(sql, &[]).await.unwrap().get(0))
    }
}

fn root(path: &Path) -> String {
    format!("sslrootcert={}", path.display())
}

#[tokio::test]
async fn each_mode_is_libpqs() {
    let server = Encrypted::start();
    let (ours, theirs) = (root(&server.file("ours.crt")), root(&server.file("theirs.crt")));
    let cases = [
        ("anna", "localhost", "sslmode=disable".to_owned(), None),
        ("anna", "localhost", "sslmode=allow".to_owned(), Some(true)),
        ("anna", "localhost", "sslmode=prefer".to_owned(), Some(true)),
        ("anna", "localhost", String::new(), Some(true)),
        ("anna", "localhost", "sslmode=require".to_owned(), Some(true)),
        ("plain", "localhost", "sslmode=disable".to_owned(), Some(false)),
        ("plain", "localhost", "sslmode=allow".to_owned(), Some(false)),
        ("plain", "localhost", "sslmode=prefer".to_owned(), Some(false)),
        ("plain", "localhost", "sslmode=require".to_owned(), None),
        ("anna", "localhost", format!("sslmode=require&{theirs}"), None),
        ("anna", "127.0.0.1", format!("sslmode=require&{ours}"), Some(true)),
        ("anna", "127.0.0.1", format!("sslmode=verify-ca&{ours}"), Some(true)),
        ("anna", "127.0.0.1", format!("sslmode=verify-ca&{theirs}"), None),
        ("anna", "localhost", format!("sslmode=verify-full&{ours}"), Some(true)),
        ("anna", "127.0.0.1", format!("sslmode=verify-full&{ours}"), None),
        ("anna", "localhost", format!("sslmode=verify-full&{theirs}"), None),
        ("anna", "localhost", "sslmode=verify-full&sslrootcert=system".to_owned(), None),
    ];
    for (role, host, options, wanted) in cases {
        let found = server.connect(role, host, &options).await;
        assert_eq!(found.as_ref().ok(), wanted.as_ref(), "{role} {host} {options}: {found:?}");
        // What is refused will be refused again: nobody waits for it, and open says so at once.
        if let Err(error) = found {
            assert!(!error.is_transient(), "{role} {host} {options}: {error:?}");
            let by_certificate = options.contains("sslrootcert");
            assert_eq!(matches!(error, Error::Untrusted { .. }), by_certificate, "{error}");
        }
    }
}

#[tokio::test]
async fn a_clients_certificate_lets_it_in() {
    let server = Encrypted::start();
    let (certificate, key) = (server.file("client.crt"), server.file("client.key"));
    let with = format!(
        "sslmode=verify-full&{}&sslcert={}&sslkey={}",
        root(&server.file("ours.crt")),
        certificate.display(),
        key.display()
    );
    assert!(server.connect("cert", "localhost", &with).await.unwrap());
    let error = server.connect("cert", "localhost", "sslmode=require").await.unwrap_err();
    assert!(!error.is_transient(), "{error}");
}

#[test]
fn a_password_file_that_others_may_read_is_not_used() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("pgpass");
    fs::write(&path, "db:*:*:anna:s3cr").unwrap();
    let url = format!("postgres://anna@db/jobs?passfile={}", path.display());
    let password = || options(&url).unwrap().config.get_password().map(<[u8]>::to_vec);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(password(), None);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(password(), Some(b"s3cr".to_vec()));
}
