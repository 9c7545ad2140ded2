//! The scripts: shared functions, then one verb, put together when the library is built.
//!
//! They are sent by their hash. A server that does not know one, after a restart or `SCRIPT FLUSH`, is given the text
//! once more.

use std::sync::LazyLock;

use redis::Script;

/// A script, and the verb that it is.
#[derive(Debug)]
pub(in crate::store::redis) struct Verb {
    pub(in crate::store::redis) name: String,
    pub(in crate::store::redis) script: Script,
}

impl Verb {
    fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_ascii_lowercase(), script: Script::new(text) }
    }
}

macro_rules! lua {
    ($name:literal) => {
        include_str!(concat!("../lua/", $name, ".lua"))
    };
}

/// A script of a verb: what all share, and its own files. `full`: it runs also where the server has no memory left.
macro_rules! script {
    ($(#[$doc:meta])* $name:ident = full $($own:literal),+) => {
        script!(@ $(#[$doc])* $name, "#!lua flags=allow-oom\n", $($own),+);
    };
    ($(#[$doc:meta])* $name:ident = $($own:literal),+) => {
        script!(@ $(#[$doc])* $name, "#!lua\n", $($own),+);
    };
    (@ $(#[$doc:meta])* $name:ident, $shebang:literal, $($own:literal),+) => {
        $(#[$doc])*
        pub(in crate::store::redis) static $name: LazyLock<Verb> = LazyLock::new(|| {
            Verb::new(stringify!($name), concat!(
                $shebang,
                lua!("transaction"),
                lua!("rows"),
                lua!("waits"),
                lua!("ends"),
                lua!("upkeep"),
                lua!("commit"),
                $(lua!($own)),+
            ))
        });
    };
}

script!(SUBMIT = "submit");
script!(EXCHANGE = "unit", "claim", "exchange");
script!(
    /// The same where the server has no memory left, for units that only end.
    EXCHANGE_WHEN_FULL = full "unit", "claim", "exchange"
);
script!(HEARTBEAT = "heartbeat");
script!(LEAVE = "leave");
script!(CANCEL = "cancel");
script!(SIGNAL = "unit", "signal");
script!(RETRY = "retry");
script!(AMEND = "amend");
script!(PAUSE = "pause");
script!(SWEEP = "sweep");
script!(
    /// Also where the server has no memory left: it makes some.
    PRUNE = full "removal", "prune"
);
script!(
    /// Likewise.
    REMOVE = full "removal", "remove"
);
script!(QUEUES = "claim", "queues");
#[cfg(feature = "testing")]
script!(
    /// For tests.
    KILL = "kill"
);
