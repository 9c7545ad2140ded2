//! URLs: every option, every refusal, and no password anywhere.

use super::*;

const SECRET: &str = "s3cr:t/p%40ss";

#[test]
fn every_option_is_read() {
    let options = options(
        "postgresql://anna@db.example:5433/jobs?schema=shop&pool=3&pool_timeout=500ms&poll=20ms\
         &listen=off&migrate=off&connect_timeout=7&application_name=shop%20worker&sslmode=disable",
    )
    .unwrap();
    assert_eq!(options.schema.name(), "shop");
    assert_eq!((options.pool, options.listen, options.migrate), (3, false, false));
    assert_eq!(options.pool_timeout, Duration::from_millis(500));
    assert_eq!(options.poll, Duration::from_millis(20));
    assert_eq!(options.connect_timeout, Duration::from_secs(7));
    assert_eq!(options.config.get_application_name(), Some("shop worker"));
    assert_eq!(options.config.get_user(), Some("anna"));
    assert_eq!(options.location, "postgres://db.example:5433/jobs?schema=shop");
}

#[test]
fn an_unknown_option_is_named_with_the_known_ones() {
    let error = options("postgres://h/d?polling=1s").unwrap_err();
    assert!(matches!(error, OpenError::UnknownOption { .. }));
    let text = error.to_string();
    assert!(text.contains("`polling`") && text.contains("`poll=1s`") && text.contains("`sslmode`"));
}

#[test]
fn a_value_that_does_not_fit_is_refused_with_what_does() {
    for (option, wanted) in [
        ("schema=Shop", "lower case"),
        ("schema=a%22b", "lower case"),
        ("pool=1", "2 to 1000"),
        ("poll=2s", "`10ms` to `1s`"),
        ("listen=yes", "`on` or `off`"),
        ("sslmode=verify", "`verify-full`"),
        ("connect_timeout=soon", "seconds"),
        ("target_session_attrs=primary", "`read-write`"),
        ("pool_timeout=1m", "`10s`"),
    ] {
        let error = options(&format!("postgres://h/d?{option}")).unwrap_err();
        assert!(matches!(error, OpenError::InvalidOption { .. }), "{option}: {error}");
        assert!(error.to_string().contains(wanted), "{option}: {error}");
    }
    let error = options("postgres:h/d").unwrap_err();
    assert!(matches!(error, OpenError::InvalidUrl { .. }), "{error}");
}

#[test]
fn a_certificate_that_is_not_there_is_refused_when_the_store_is_opened() {
    for (option, wanted) in [
        ("sslmode=verify-full&sslrootcert=/nowhere/root.crt", "/nowhere/root.crt"),
        ("sslmode=verify-ca", "file of the authority"),
        ("sslmode=verify-ca&sslrootcert=system", "verify-full"),
        ("sslcert=/nowhere/a.crt", "`sslcert` needs it"),
    ] {
        let options = options(&format!("postgres://h/d?{option}")).unwrap();
        let error = Connector::new(&options, ServerClock::unread()).unwrap_err();
        assert!(matches!(error, OpenError::UnusableOption { .. }), "{option}: {error}");
        assert!(error.to_string().contains(wanted), "{option}: {error}");
    }
}

/// All texts that an opened, half opened or refused store can show of its URL.
fn shown(url: &str) -> String {
    let parsed = match Url::parse(url) {
        Ok(parsed) => parsed,
        Err(error) => return format!("{error} {error:?}"),
    };
    if !matches!(parsed.scheme, "postgres" | "postgresql") {
        let opened = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async { crate::store::open(url, crate::Clock::System, false).await });
        let error = opened.map(drop).unwrap_err();
        return format!("{error} {error:?} {}", parsed.shown());
    }
    match options(url) {
        Err(error) => format!("{error} {error:?}"),
        Ok(options) => {
            let connector = connector(&options);
            let pool = Pool::new(&options, connector.clone()).unwrap();
            format!("{options:?} {connector:?} {pool:?} {}", options.location)
        }
    }
}

#[test]
fn no_text_has_the_password() {
    let encoded = SECRET.replace('%', "%25").replace('/', "%2F").replace(':', "%3A");
    for url in [
        format!("postgres://anna:{encoded}@h/d"),
        format!("postgres://anna@h/d?password={encoded}"),
        format!("postgres://anna:{encoded}@h/d?polling=1"),
        format!("postgres://anna:{encoded}@h/d?pool=1"),
        format!("postgres://anna:{encoded}@h:port/d"),
        format!("postgres://anna:{encoded}"),
        format!("postgres:anna:{encoded}@h/d"),
        format!("postgres://anna@h/d?password={encoded}%ff"),
    ] {
        let text = shown(&url);
        assert!(!text.contains("s3cr"), "{text}");
    }
    let shown: Vec<String> = ["postgre://anna:s3cr@h/d", "//anna:s3cr@h", "pg://h/d?password=s3cr"]
        .iter()
        .map(|url| Url::parse(url).map_or_else(|error| error.to_string(), |url| url.shown()))
        .collect();
    assert!(!shown.join(" ").contains("s3cr"), "{shown:?}");
}

/// Forty ways to mistype a URL with a password in it.
#[test]
fn no_mistyped_url_shows_a_part_of_the_password() {
    let urls = [
        "postgres://u:p@ss/s3cr3t@db:5432/jobs",
        "postgres://u:p@ss/s3cr3t@db/x",
        "postgres://u:p@s3cr3t@db/x",
        "postgres://u:p/s3cr3t@db/x",
        "postgres://u:p?s3cr3t@db/x",
        "postgres://u:p?s3cr3t=1@db/x",
        "postgres://u:5?s3cr3t@db/x",
        "postgres://u:5?pool=s3cr3t@db/x",
        "postgres://u:p#s3cr3t@@db/x",
        "postgres://u:p@db,s3cr3t@db/x",
        "postgres://u:p@@s3cr3t/x y",
        "postgres://u:s3cr3t",
        "postgres://u:s3cr3t/db",
        "postgres://u:5432s3cr3t",
        "postgres://u:s3cr3t@",
        "postgres://u:s3cr3t@h:port/d",
        "postgres://u:s3cr3t@h:99999/d",
        "postgres://u:s3cr3t@h/d?pool=1",
        "postgres://u:s3cr3t@h/d?polling=1",
        "postgres://u:s3cr3t@h/d?pool",
        "postgres://u:s3cr3t%@h/d",
        "postgres://u:s3cr3t%ff@h/d?x=1",
        "postgres://u%3as3cr3t%40h/d",
        "postgres:u:s3cr3t@h/d",
        "postgres:/u:s3cr3t@h/d",
        "postgres:///u:s3cr3t@h/d",
        "postgres://h/d?passwords3cr3t",
        "postgres://h/d?passwords3cr3t=",
        "postgres://h/d?password:s3cr3t",
        "postgres://h/d?pasword=s3cr3t",
        "postgres://h/d?passwd=s3cr3t",
        "postgres://h/d?PASSWORD=s3cr3t",
        "postgres://h/d?pw=s3cr3t",
        "postgres://h/d?password=a&s3cr3t=b",
        "postgres://h/d?password=a&s3cr3t",
        "postgres://h/d?password=a&pool=s3cr3t",
        "postgres://h/d?password=s3cr3t%ff",
        "postgres://h/d?password=p@s3cr3t&pool=0",
        "host=1.2.3.4 password=s3cr3t",
        "host=::1 password=s3cr3t dbname=jobs",
        "password='s3cr3t: x' host=h",
        "user:s3cr3t@h",
        "s3cr3t@h/jobs",
        "//u:s3cr3t@h/d",
        "postgre://u:s3cr3t@h/d",
        "postgres+tls://u:s3cr3t@h/d",
        "mysql://u:s3cr3t@h:3306/d",
        "mysql://u:p@s3cr3t@h:3306/d",
        "sqlite:postgres://u:s3cr3t@h/d",
        "memory:?password=s3cr3t",
        "memory:u:s3cr3t@h",
        "POSTGRES://u:s3cr3t@h/d",
        " postgres://u:s3cr3t@h/d",
    ];
    for url in urls {
        let text = shown(url);
        assert!(!text.contains("s3cr") && !text.contains("cr3t"), "{url}: {text}");
    }
}

#[test]
fn what_is_no_secret_is_shown() {
    let text = |url: &str| options(url).unwrap_err().to_string();
    assert!(text("postgres://u:p@db.example:5433/jobs?poolsize=3").contains("`poolsize`"));
    assert!(text("postgres://u:p@h/d?pool=0").contains("`pool` of the store URL is `0`"));
    let escape = "in a user's name or password write `@` as %40";
    assert!(text("postgres://u:p@ss@h/d").contains(escape));
    assert!(text("postgres://h/d?pool").contains("an option has no `=`"));
    for (url, wanted) in [
        (
            "postgres://u:p@db.example:5433/jobs?schema=shop&password=x",
            "postgres://…@db.example:5433/jobs?schema=shop&password=…",
        ),
        ("postgres://a:1,[::1]:2/jobs", "postgres://a:1,[::1]:2/jobs"),
        (
            "sqlite:/var/lib/a@b/jobs.db?file_mode=0640",
            "sqlite:/var/lib/a@b/jobs.db?file_mode=0640",
        ),
    ] {
        assert_eq!(Url::parse(url).unwrap().shown(), wanted);
    }
}

#[tokio::test]
async fn a_role_or_database_that_is_not_there_is_no_busy_store() {
    let server = Server::with("", "host all all 127.0.0.1/32 trust");
    for url in [server.url("nobody"), with_option(&server.url("postgres"), "dbname=nowhere")] {
        let error = crate::Homing::open(&url).await.unwrap_err();
        let OpenError::Store(error) = error else { panic!("{error}") };
        assert!(matches!(error, Error::Refused { .. }) && !error.is_transient(), "{error}");
    }
}

#[tokio::test]
async fn a_refused_password_is_not_told() {
    let server = Server::with("", "host all anna 127.0.0.1/32 scram-sha-256");
    server.sql("CREATE ROLE anna LOGIN PASSWORD 'right'");
    let url = server.url("anna").replace("anna@", "anna:s3cr@");
    let error = pool(&url).get().await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && !error.is_transient(), "{error}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("anna") && !text.contains("s3cr"), "{text}");
    let url = server.url("anna").replace("anna@", "anna:right@");
    drop(pool(&url).get().await.unwrap());
    let listed = server.sql("SELECT string_agg(application_name, ',') FROM pg_stat_activity");
    assert!(!listed.contains("s3cr"));
}

/// Nobody listens there: that is no busy store, though it may pass.
#[tokio::test]
async fn a_server_that_is_not_there_is_no_busy_store() {
    let url = "postgres://postgres@127.0.0.1:1/postgres?pool_timeout=100ms&connect_timeout=1";
    let error = pool(url).get().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient(), "{error}");
    let text = error.to_string();
    assert!(text.contains("cannot be reached") && !text.contains("busy"), "{text}");
}
