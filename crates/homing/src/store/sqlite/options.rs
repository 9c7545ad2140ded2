//! The options of a `sqlite:` URL. Short on purpose; anything else is refused with this list.

use std::path::PathBuf;
use std::time::Duration;

use crate::store::error::OpenError;
use crate::store::url::Url;

const KNOWN: &str = "`synchronous=full|normal`, `busy_timeout=5s`, `create=true|false`, `cache_mib=64`, \
     `file_mode=0600`";

/// What a `sqlite:` URL asks for.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// The database.
    pub(super) path: PathBuf,
    /// Whether a commit waits for the disk. `normal` may lose the last commits with the power, and
    /// nothing with the process.
    pub(super) full: bool,
    /// How long a write waits for another process's before it fails as busy.
    pub(super) busy_timeout: Duration,
    /// Whether a missing file is created.
    pub(super) create: bool,
    /// Whether a new file or an older schema is brought to the newest version. Not in the URL.
    pub(super) migrate: bool,
    /// The writer's page cache.
    pub(super) cache_mib: u32,
    /// Who may read and write a file that is created: the bits of `chmod`. A file that is there keeps its own.
    pub(super) file_mode: u32,
}

impl Options {
    pub(super) fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            full: true,
            busy_timeout: Duration::from_secs(5),
            create: true,
            migrate: true,
            cache_mib: 64,
            file_mode: 0o600,
        }
    }

    pub(super) fn of(url: &Url<'_>) -> Result<Self, OpenError> {
        if url.path.is_empty() {
            return Err(OpenError::UnknownStore { url: url.shown() });
        }
        if url.path.contains("://") {
            let reason = "a path of a file is wanted behind `sqlite:`, and this is a URL";
            return Err(OpenError::InvalidUrl { url: url.shown(), reason });
        }
        // Other libraries mean a path of the working directory by `sqlite://jobs.db`, which is not what it says.
        if let Some(path) = url.path.strip_prefix("//") {
            let reason = if path.starts_with('/') {
                "write one slash for a path from the root, as in `sqlite:/var/lib/jobs.db`"
            } else {
                "write `sqlite:jobs.db` for a path in the working directory, `sqlite:/var/lib/jobs.db` for one \
                from the root"
            };
            return Err(OpenError::InvalidUrl { url: url.shown(), reason });
        }
        if url.path == ":memory:" {
            let reason = "the store in memory is `memory:`, each time it is opened another one";
            return Err(OpenError::InvalidUrl { url: url.shown(), reason });
        }
        let mut options = Self::at(url.path);
        for &(option, value) in &url.options {
            let invalid = |expected| url.invalid_option(option, value, expected);
            match option {
                "synchronous" => {
                    options.full = either(value, "full", "normal")
                        .ok_or_else(|| invalid("expected `full` or `normal`"))?;
                }
                "busy_timeout" => {
                    options.busy_timeout = duration(value)
                        .ok_or_else(|| invalid("expected a duration such as `500ms` or `5s`"))?;
                }
                "create" => {
                    options.create = either(value, "true", "false")
                        .ok_or_else(|| invalid("expected `true` or `false`"))?;
                }
                "cache_mib" => {
                    let mib = value.parse().ok().filter(|mib| (1..=65_536).contains(mib));
                    options.cache_mib =
                        mib.ok_or_else(|| invalid("expected a number from 1 to 65536"))?;
                }
                "file_mode" => {
                    let mode = u32::from_str_radix(value, 8).ok();
                    let mode = mode.filter(|mode| value.starts_with('0') && mode & !0o666 == 0);
                    options.file_mode = mode.filter(|mode| mode & 0o600 == 0o600).ok_or_else(|| {
                        invalid("expected an octal number such as `0640`, in which the owner may read and write and nobody may execute")
                    })?;
                }
                _ => return Err(url.unknown_option(option, KNOWN)),
            }
        }
        Ok(options)
    }
}

fn either(value: &str, yes: &str, no: &str) -> Option<bool> {
    if value == yes { Some(true) } else { (value == no).then_some(false) }
}

/// A whole number of milliseconds or seconds, at most an hour.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s')?, 1000),
    };
    let millis = number.parse::<u32>().ok()?.checked_mul(unit)?;
    (millis <= 3_600_000).then(|| Duration::from_millis(millis.into()))
}
