//! The URL of a broker or of a result backend. Anything that the bridge does not know is refused with the list.

use std::fmt;

use percent_encoding::percent_decode_str;
use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::error::StartError;

const KNOWN: &str = "`global_keyprefix=TEXT`, `priority_steps=0,3,6,9` and `sep=TEXT`";
/// Between a queue's name and a priority, and between the parts of a binding: kombu's own.
const SEPARATOR: &str = "\u{6}\u{16}";

/// A Redis server as Celery's URL names it, and what Celery's transport options say of it.
#[derive(Clone)]
pub(crate) struct Url {
    pub(crate) connection: ConnectionInfo,
    pub(crate) database: i64,
    /// For messages: host and database, no credentials.
    pub(crate) location: String,
    pub(crate) prefix: String,
    pub(crate) steps: Vec<u8>,
    pub(crate) separator: String,
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Url").field(&self.location).finish()
    }
}

impl Url {
    /// Reads the URL of a `what`.
    pub(crate) fn read(what: &'static str, text: &str) -> Result<Self, StartError> {
        let refused = |reason: String| Err(StartError::Url { what, reason });
        let (address, options) = text.split_once('?').unwrap_or((text, ""));
        let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme);
        match scheme {
            "redis" => {}
            "rediss" => {
                return refused(
                    "homing speaks to Celery's Redis without TLS only so far: lead it through a tunnel, such as stunnel, and give the tunnel's `redis://…` URL".to_owned(),
                );
            }
            "sentinel" => {
                return refused(
                    "homing does not ask Redis Sentinel so far: give the `redis://…` URL of an address that follows the master".to_owned(),
                );
            }
            _ => {
                return refused(
                    "it is no URL of the form `redis://USER:PASSWORD@HOST:PORT/DATABASE`, nor one of RabbitMQ, `amqp://…`"
                        .to_owned(),
                );
            }
        }
        if address.contains(';') || address.contains(',') {
            return refused("one server only: kombu itself has no Redis Cluster".to_owned());
        }
        let Ok(connection) = address.into_connection_info() else {
            return refused(
                "it is no URL of the form `redis://USER:PASSWORD@HOST:PORT/DATABASE`".to_owned(),
            );
        };
        let database = connection.redis_settings().db();
        let mut url = Self {
            location: format!("{}/{database}", connection.addr()),
            connection,
            database,
            prefix: String::new(),
            steps: vec![0, 3, 6, 9],
            separator: SEPARATOR.to_owned(),
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            url.set(what, option)?;
        }
        Ok(url)
    }

    fn set(&mut self, what: &'static str, option: &str) -> Result<(), StartError> {
        let refused = |reason: String| Err(StartError::Url { what, reason });
        let (name, raw) = option.split_once('=').unwrap_or((option, ""));
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
        assert_eq!((url.database, url.prefix.as_str()), (3, "shop:"));
        assert_eq!((url.steps.clone(), url.separator.as_str()), (vec![0, 5], ":"));
        assert_eq!(url.location, "host:7000/3");
        assert!(!format!("{url:?}").contains("secret"));
    }

    #[test]
    fn what_the_bridge_does_not_speak_is_refused_with_what_to_do() {
        assert!(refusal("rediss://host/0").contains("TLS"));
        assert!(refusal("sentinel://host:26379").contains("Sentinel"));
        assert!(refusal("redis://a:1/0,b:2/0").contains("Redis Cluster"));
        assert!(refusal("host:6379").contains("redis://USER"));
        assert!(refusal("redis://host/0?visibility_timeout=60").contains("`visibility_timeout`"));
        for steps in ["", "3,6", "0,6,3", "0,3,12", "0,x"] {
            let text = refusal(&format!("redis://host/0?priority_steps={steps}"));
            assert!(text.contains("`priority_steps`"), "{text}");
        }
    }
}
