//! The URL of a broker or of a result backend. Anything that the bridge does not know is refused with the list.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use homing::OpenError;
use homing::store::redis::way::Way;
use percent_encoding::percent_decode_str;

use crate::error::StartError;

const KNOWN: &str = "`global_keyprefix=TEXT`, `priority_steps=0,3,6,9`, `sep=TEXT`, of `rediss:` `sslrootcert=FILE`, \
    `sslcert=FILE` and `sslkey=FILE`, and of `redis-sentinel:` `sentinel_user=NAME` and `sentinel_password=TEXT`";
const FORM: &str = "it is no URL of the form `redis://USER:PASSWORD@HOST:PORT/DATABASE` (`rediss:` for TLS), \
    `redis-sentinel://HOST:PORT,HOST:PORT/NAME/DATABASE` or `sentinel://HOST:PORT;sentinel://HOST:PORT/DATABASE?master_name=NAME`";
/// Between a queue's name and a priority, and between the parts of a binding: kombu's own.
const SEPARATOR: &str = "\u{6}\u{16}";

/// A Redis server as Celery's URL names it, and what Celery's transport options say of it.
#[derive(Clone)]
pub(crate) struct Url {
    pub(crate) way: Arc<Way>,
    pub(crate) prefix: String,
    pub(crate) steps: Vec<u8>,
    pub(crate) separator: String,
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Url").field(&self.way.location()).finish()
    }
}

/// Options as they are said to the way: by the names that a store's URL has for them.
type Options<'u> = Vec<(&'u str, &'u str)>;

impl Url {
    /// Reads the URL of a `what`, and the files that it names.
    pub(crate) fn read(what: &'static str, text: &str) -> Result<Self, StartError> {
        let refused = |reason: String| StartError::Url { what, reason };
        // Celery has the option of all sentinels behind the last of them, if anywhere.
        let (address, options) = text.split_once('?').unwrap_or((text, ""));
        let mut own = Vec::new();
        let mut others: Options<'_> = Vec::new();
        let mut name = None;
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=').unwrap_or((option, "")) {
                (
                    name @ ("sslrootcert" | "sslcert" | "sslkey" | "sentinel_user"
                    | "sentinel_password"),
                    value,
                ) => others.push((name, value)),
                ("ssl_ca_certs", file) => others.push(("sslrootcert", file)),
                ("ssl_certfile", file) => others.push(("sslcert", file)),
                ("ssl_keyfile", file) => others.push(("sslkey", file)),
                ("ssl_cert_reqs", "required" | "CERT_REQUIRED") => {}
                ("ssl_cert_reqs", _) => {
                    return Err(refused("a certificate is always verified: leave out its option `ssl_cert_reqs`, and name the authority that signed the server's in `sslrootcert`".to_owned()));
                }
                ("master_name", value) => name = Some(value),
                pair => own.push(pair),
            }
        }
        let address = address_of(address, name).map_err(refused)?;
        let options: Vec<_> =
            others.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = if options.is_empty() { "" } else { "?" };
        let way = Way::read(&format!("{address}{query}{}", options.join("&")));
        let mut url = Self {
            way: Arc::new(way.map_err(|error| refused(reason(error)))?),
            prefix: String::new(),
            steps: vec![0, 3, 6, 9],
            separator: SEPARATOR.to_owned(),
        };
        for option in own {
            url.set(what, option)?;
        }
        Ok(url)
    }

    fn set(&mut self, what: &'static str, (name, raw): (&str, &str)) -> Result<(), StartError> {
        let refused = |reason: String| Err(StartError::Url { what, reason });
        let Ok(value) = percent_decode_str(raw).decode_utf8() else {
            return refused(format!("its option `{name}` is no UTF-8"));
        };
        match name {
            "global_keyprefix" => self.prefix = value.into_owned(),
            "sep" if value.is_empty() => return refused("its option `sep` is empty".to_owned()),
            "sep" => self.separator = value.into_owned(),
            "priority_steps" => {
                let steps: Option<Vec<u8>> =
                    value.split(',').map(|step| step.trim().parse().ok()).collect();
                match steps.filter(|steps| {
                    steps.first() == Some(&0)
                        && steps.is_sorted_by(|a, b| a < b)
                        && steps.iter().all(|step| *step <= 9)
                }) {
                    Some(steps) => self.steps = steps,
                    None => {
                        return refused(
                            "its option `priority_steps` is no rising list that begins with 0 and ends with at most 9, such as `0,3,6,9`".to_owned(),
                        );
                    }
                }
            }
            _ => {
                return refused(format!("it has an option `{name}`, and the bridge knows {KNOWN}"));
            }
        }
        Ok(())
    }
}

/// The address as a store's URL has it; `name` is what sentinels call the primary, where the address does not say it.
fn address_of<'a>(address: &'a str, name: Option<&str>) -> Result<Cow<'a, str>, String> {
    let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme);
    if name.is_some() && scheme != "sentinel" {
        return Err("its option `master_name` means something for `sentinel:` only".to_owned());
    }
    match scheme {
        "redis" | "rediss" if address.contains(';') || address.contains(',') => {
            Err("one server only: kombu itself has no Redis Cluster".to_owned())
        }
        "redis" | "rediss" | "redis-sentinel" | "rediss-sentinel" => Ok(address.into()),
        "sentinel" => {
            let name = name.filter(|name| !name.is_empty()).ok_or(
                "it does not say what the sentinels call the primary: add `?master_name=NAME`, as in the application's `broker_transport_options` or `result_backend_transport_options`",
            )?;
            let (mut user, mut database, mut hosts) = ("", "", Vec::new());
            for one in address.split(';').filter(|one| !one.is_empty()) {
                let rest = one.strip_prefix("sentinel://").ok_or(FORM)?;
                let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
                let (of, host) = server.rsplit_once('@').unwrap_or(("", server));
                // As kombu has it: of the primary, and said once.
                user = if user.is_empty() { of } else { user };
                database = if database.is_empty() { path } else { database };
                hosts.push(host);
            }
            let at = if user.is_empty() { "" } else { "@" };
            Ok(format!("redis-sentinel://{user}{at}{}/{name}/{database}", hosts.join(",")).into())
        }
        _ => Err(format!("{FORM}, nor one of RabbitMQ, `amqp://…`")),
    }
}

/// Why a URL is refused, in words of the bridge's.
fn reason(error: OpenError) -> String {
    match error {
        OpenError::UnusableOption { option, reason } => {
            format!("its option `{option}` cannot be used: {reason}")
        }
        OpenError::InvalidOption { option, expected, .. } => {
            format!("its option `{option}` is refused: {expected}")
        }
        OpenError::InvalidUrl { reason, .. } if reason.starts_with("a certificate") => {
            reason.to_owned()
        }
        OpenError::InvalidUrl { .. } => FORM.to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Url::read("the broker", text).unwrap_err().to_string()
    }

    #[test]
    fn what_celery_says_of_its_redis_is_taken() {
        let url = "redis://u:secret@host:7000/3?global_keyprefix=shop%3A&priority_steps=0,5&sep=:";
        let url = Url::read("the broker", url).unwrap();
        assert_eq!((url.way.database(), url.prefix.as_str()), (3, "shop:"));
        assert_eq!((url.steps.clone(), url.separator.as_str()), (vec![0, 5], ":"));
        assert_eq!(url.way.location(), "host:7000/3");
        assert!(!format!("{url:?}").contains("secret"));
    }

    #[test]
    fn sentinels_are_named_as_celery_names_them_or_as_a_store_does() {
        let celerys = "sentinel://:p%40w@a:1/2;sentinel://b;sentinel://c:3/2?master_name=mine";
        for text in [celerys, "redis-sentinel://:p%40w@a:1,b,c:3/mine/2"] {
            let url = Url::read("the broker", text).unwrap();
            assert_eq!((url.way.location(), url.way.database()), ("mine (by sentinels)/2", 2));
        }
    }

    #[test]
    fn what_the_bridge_does_not_speak_is_refused_with_what_to_do() {
        assert!(refusal("redis://host/0?sslrootcert=/ca.pem").contains("`sslrootcert`"));
        assert!(refusal("rediss://host/0?sslcert=/nowhere.pem").contains("`sslkey`"));
        assert!(refusal("rediss://host/0?ssl_ca_certs=/nowhere.pem").contains("/nowhere.pem"));
        assert!(refusal("rediss://host/0?ssl_cert_reqs=none").contains("`ssl_cert_reqs`"));
        assert!(refusal("rediss://host/0#insecure").contains("always verified"));
        assert!(refusal("sentinel://host:26379").contains("`?master_name=NAME`"));
        assert!(refusal("redis://host/0?master_name=mine").contains("`master_name`"));
        assert!(refusal("redis://host/0?sentinel_user=u").contains("`sentinel_user`"));
        assert!(refusal("redis-sentinel://host").contains("redis-sentinel://HOST"));
        assert!(refusal("redis://a:1/0,b:2/0").contains("Redis Cluster"));
        assert!(refusal("host:6379").contains("redis://USER"));
        assert!(refusal("redis://host/0?visibility_timeout=60").contains("`visibility_timeout`"));
        for steps in ["", "3,6", "0,6,3", "0,3,12", "0,x"] {
            let text = refusal(&format!("redis://host/0?priority_steps={steps}"));
            assert!(text.contains("`priority_steps`"), "{text}");
        }
    }
}
