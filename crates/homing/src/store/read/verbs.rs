//! The reading verbs once more, in one list: for the macros that hand each on to what answers it.
//!
//! An entry is a verb as [`Records`](super::Records) or [`Read`](super::Read) declares it, and the function by which
//! a store answers it. `each_record_verb!(mine, of)` is `mine! { of …the entries… }`. The compiler holds
//! the list to the traits: a verb too few or too many, or another type, is an error in every store.

macro_rules! each_record_verb {
    ($mine:path, $of:tt) => {
        $mine! { $of
            record(
                task: $crate::core::id::TaskId,
                after: u64,
                limit: usize
            ) -> Vec<(u64, String, $crate::store::Entry)> = record(task, after, limit);
            children(
                task: $crate::core::id::TaskId,
                set: $crate::core::id::Local,
                from: u32,
                limit: usize
            ) -> Vec<$crate::store::Child> = children(task, set, from, limit);
            ends(
                task: $crate::core::id::TaskId,
                set: $crate::core::id::Local,
                after: u64,
                limit: usize
            ) -> Vec<$crate::store::Child> = ends(task, set, after, limit);
            child(
                task: $crate::core::id::TaskId,
                child: $crate::core::id::Local
            ) -> Option<$crate::store::Child>
                = child($crate::core::id::TaskId { job: task.job, local: child });
            set(
                task: $crate::core::id::TaskId,
                set: $crate::core::id::Local
            ) -> $crate::core::wait::SetCounts = set_counts(task, set);
            sets(
                task: $crate::core::id::TaskId,
                after: Option<$crate::core::id::Local>,
                limit: usize
            ) -> Vec<$crate::store::SetRow> = sets_of(task, after, limit);
            overdue(jobs: Vec<$crate::core::id::JobId>) -> Vec<$crate::core::id::JobId>
                = overdue(&jobs);
            outcomes(
                jobs: Vec<$crate::core::id::JobId>
            ) -> Vec<($crate::core::id::JobId, $crate::store::read::Settled)> = outcomes(&jobs);
            holder(key: String) -> Option<$crate::core::id::JobId> = holder(&key);
            task(task: $crate::core::id::TaskId) -> Option<$crate::store::read::TaskView>
                = task_view(task);
            tasks(tasks: Vec<$crate::core::id::TaskId>) -> Vec<$crate::store::read::TaskView>
                = task_views(&tasks);
        }
    };
}

macro_rules! each_read_verb {
    ($mine:path, $of:tt) => {
        $mine! { $of
            job(job: $crate::core::id::JobId) -> Option<$crate::store::read::JobView>
                = job_view(job);
            jobs_between(
                from: $crate::core::id::JobId,
                to: $crate::core::id::JobId,
                limit: usize
            ) -> Vec<$crate::core::id::JobId> = jobs_between(from, to, limit);
            tasks_between(
                job: $crate::core::id::JobId,
                from: $crate::core::id::Local,
                to: $crate::core::id::Local,
                limit: usize
            ) -> Vec<$crate::core::id::TaskId> = tasks_between(job, from, to, limit);
            neighbours(jobs: Vec<$crate::core::id::JobId>) -> Vec<$crate::store::read::Neighbours>
                = neighbours(&jobs);
            jobs(filter: $crate::store::read::JobFilter) -> Vec<$crate::store::read::JobView>
                = jobs(&filter);
            log(
                job: $crate::core::id::JobId,
                after: u64,
                limit: usize
            ) -> Vec<$crate::core::log::Line> = log(job, after, limit);
            last_line(job: $crate::core::id::JobId) -> u64 = last_line(job);
            failed_attempts(
                task: $crate::core::id::TaskId,
                limit: usize
            ) -> Vec<$crate::core::log::Line> = failed_attempts(task, limit);
            history(
                task: $crate::core::id::TaskId,
                after: u64,
                limit: usize
            ) -> Vec<$crate::store::read::Recorded> = history(task, after, limit);
            children_in(
                task: $crate::core::id::TaskId,
                state: $crate::core::state::State,
                limit: usize
            ) -> Vec<$crate::core::id::TaskId> = children_in(task, state, limit);
            failures(
                filter: $crate::store::read::FailureFilter
            ) -> Vec<$crate::store::read::failures::Alike> = failures(&filter);
            failed_alike(
                wanted: $crate::core::fingerprint::Fingerprint,
                before: Option<($crate::core::time::Time, $crate::core::id::TaskId)>,
                limit: usize
            ) -> Vec<($crate::core::time::Time, $crate::core::id::TaskId)>
                = failed_alike(wanted, before, limit);
            actions(
                filter: $crate::store::read::ActionFilter
            ) -> Vec<$crate::store::read::ActionView> = actions(&filter);
            samples(
                filter: $crate::store::read::SampleFilter
            ) -> Vec<$crate::store::read::samples::Sample> = samples(&filter);
            queues() -> Vec<$crate::store::read::QueueView> = queues();
            pending_kinds() -> Vec<(String, String)> = pending_kinds();
            workers() -> Vec<$crate::store::read::WorkerView> = workers();
            kinds() -> Vec<$crate::store::read::KindView> = kinds();
            audit() -> Vec<$crate::store::read::Breach> = audit();
        }
    };
}

pub(crate) use {each_read_verb, each_record_verb};
