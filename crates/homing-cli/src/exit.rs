//! Exit codes: documented, stable, one meaning each.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: done, and the answer is no: `check` found a breach; the watched job failed; the
    /// task to cancel, retry or signal had ended, or had nothing to retry.
    No,
    /// 2: an argument is wrong, or refused by the store: nothing was changed.
    Usage,
    /// 3: no task has the id.
    Unknown,
    /// 4: the store is missing, unreachable, newer or older than this program, or it failed.
    Store,
    /// 5: the watched job completed with errors: its root succeeded, a task below failed.
    Errors,
    /// 6: the watched job was cancelled.
    Cancelled,
    /// 7: the watched job stands still, and has done so for as long as `--stalled-for` says. It is open.
    Stalled,
    /// 130: interrupted by Ctrl-C; `worker`: by a second Ctrl-C or SIGTERM.
    Interrupted,
}

impl Exit {
    /// The code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Unknown => 3,
            Self::Store => 4,
            Self::Errors => 5,
            Self::Cancelled => 6,
            Self::Stalled => 7,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
