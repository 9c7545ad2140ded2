//! The operations of the API, in one list: the routes are made of it, and so is `openapi.json`, which a test
//! writes anew and compares.

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Jobs,
    Job,
    JobEvents,
    Log,
    LogEvents,
    Failures,
    FailureGroups,
    FailedAlike,
    Task,
    Why,
    Record,
    Sets,
    Window,
    Children,
    Queues,
    Workers,
    Samples,
    Kinds,
    Actions,
    Submit,
    Retry,
    Remove,
    CancelJob,
    CancelTask,
    Signal,
    Pause,
    Unpause,
}

/// All of them.
pub(crate) const ALL: [Op; 27] = [
    Op::Jobs,
    Op::Submit,
    Op::Job,
    Op::JobEvents,
    Op::Log,
    Op::LogEvents,
    Op::Failures,
    Op::Retry,
    Op::CancelJob,
    Op::Remove,
    Op::Task,
    Op::Why,
    Op::Record,
    Op::Sets,
    Op::Window,
    Op::Children,
    Op::CancelTask,
    Op::Signal,
    Op::FailureGroups,
    Op::FailedAlike,
    Op::Queues,
    Op::Pause,
    Op::Unpause,
    Op::Workers,
    Op::Samples,
    Op::Kinds,
    Op::Actions,
];

impl Op {
    /// Its address below the API's.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Jobs | Self::Submit => "/jobs",
            Self::Job => "/jobs/{id}",
            Self::JobEvents => "/jobs/{id}/events",
            Self::Log => "/jobs/{id}/log",
            Self::LogEvents => "/jobs/{id}/log/events",
            Self::Failures => "/jobs/{id}/failures",
            Self::FailureGroups => "/failures",
            Self::FailedAlike => "/failures/{fingerprint}",
            Self::Task => "/tasks/{id}",
            Self::Why => "/tasks/{id}/why",
            Self::Record => "/tasks/{id}/record",
            Self::Sets => "/tasks/{id}/sets",
            Self::Window => "/tasks/{id}/window",
            Self::Children => "/tasks/{id}/children",
            Self::Queues => "/queues",
            Self::Workers => "/workers",
            Self::Samples => "/samples",
            Self::Kinds => "/kinds",
            Self::Actions => "/actions",
            Self::Retry => "/jobs/{id}/retry",
            Self::Remove => "/jobs/{id}/remove",
            Self::CancelJob => "/jobs/{id}/cancel",
            Self::CancelTask => "/tasks/{id}/cancel",
            Self::Signal => "/tasks/{id}/signal/{name}",
            Self::Pause => "/queues/{name}/pause",
            Self::Unpause => "/queues/{name}/unpause",
        }
    }

    /// Whether it changes anything: then it is a `POST`, and absent where the site is read-only.
    pub(crate) fn changes(self) -> bool {
        match self {
            Self::Submit
            | Self::Retry
            | Self::Remove
            | Self::CancelJob
            | Self::CancelTask
            | Self::Signal
            | Self::Pause
            | Self::Unpause => true,
            Self::Jobs
            | Self::Job
            | Self::JobEvents
            | Self::Log
            | Self::LogEvents
            | Self::Failures
            | Self::FailureGroups
            | Self::FailedAlike
            | Self::Task
            | Self::Why
            | Self::Record
            | Self::Sets
            | Self::Window
            | Self::Children
            | Self::Queues
            | Self::Workers
            | Self::Samples
            | Self::Kinds
            | Self::Actions => false,
        }
    }
}

#[cfg(test)]
#[path = "openapi.rs"]
mod openapi;
