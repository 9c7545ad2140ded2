//! A store over another one, which says of itself only what it does to the verbs on their way.

/// Implements the store's traits for a type with a field `inner` that does all the work. `exchange` is the
/// type's own method `speak`, `heartbeat` its method `beat`, `kill` its method `died`; every other verb goes
/// through its method `pass`, which is given the verb's name and what calls it; `heard` is where its hints
/// come from.
macro_rules! over {
    // The verbs beside `exchange` are the inner store's own.
    ($name:ty, passing) => {
        impl $name {
            fn pass<'s, T>(
                &'s self,
                _: &'static str,
                verb: impl FnOnce(&'s dyn $crate::store::Store) -> $crate::store::Verb<'s, T>,
            ) -> $crate::store::Verb<'s, T> {
                verb(&*self.inner)
            }
            fn beat(&self, heartbeat: $crate::store::Heartbeat) -> $crate::store::Verb<'_, bool> {
                self.inner.heartbeat(heartbeat)
            }
            fn died(&self, worker: $crate::core::id::WorkerId) {
                self.inner.kill(worker);
            }
            fn heard(&self) -> &$crate::store::Hints {
                self.inner.hints()
            }
        }
        $crate::testing::over::over!($name);
    };
    ($name:ty) => {
        impl $crate::store::Store for $name {
            fn exchange(
                &self,
                exchange: $crate::store::Exchange,
            ) -> $crate::store::Verb<'_, $crate::store::Reply> {
                Box::pin(self.speak(exchange))
            }

            fn submit(
                &self,
                jobs: Vec<$crate::store::NewJob>,
            ) -> $crate::store::Verb<'_, Vec<$crate::store::Submitted>> {
                self.pass("submit", move |inner| inner.submit(jobs))
            }
            fn heartbeat(
                &self,
                heartbeat: $crate::store::Heartbeat,
            ) -> $crate::store::Verb<'_, bool> {
                Box::pin(self.beat(heartbeat))
            }
            fn leave(&self, worker: $crate::core::id::WorkerId) -> $crate::store::Verb<'_, ()> {
                self.pass("leave", move |inner| inner.leave(worker))
            }
            fn cancel(
                &self,
                task: $crate::core::id::TaskId,
                text: Option<String>,
            ) -> $crate::store::Verb<'_, bool> {
                self.pass("cancel", move |inner| inner.cancel(task, text))
            }
            fn signal(
                &self,
                task: $crate::core::id::TaskId,
                name: String,
                value: String,
            ) -> $crate::store::Verb<'_, $crate::store::Sent> {
                self.pass("signal", move |inner| inner.signal(task, name, value))
            }
            fn amend(
                &self,
                task: $crate::core::id::TaskId,
                arguments: String,
            ) -> $crate::store::Verb<'_, $crate::store::Amended> {
                self.pass("amend", move |inner| inner.amend(task, arguments))
            }
            fn retry(
                &self,
                job: $crate::core::id::JobId,
                preview: bool,
            ) -> $crate::store::Verb<'_, $crate::store::Retry> {
                self.pass("retry", move |inner| inner.retry(job, preview))
            }
            fn pause(&self, queue: String, paused: bool) -> $crate::store::Verb<'_, ()> {
                self.pass("pause", move |inner| inner.pause(queue, paused))
            }
            fn sweep(&self, max_crashes: u32) -> $crate::store::Verb<'_, bool> {
                self.pass("sweep", move |inner| inner.sweep(max_crashes))
            }
            fn prune(
                &self,
                before: $crate::core::time::Time,
            ) -> $crate::store::Verb<'_, $crate::store::Pruned> {
                self.pass("prune", move |inner| inner.prune(before))
            }
            fn abandon(&self, worker: $crate::core::id::WorkerId) {
                self.inner.abandon(worker);
            }
            fn remove(
                &self,
                job: $crate::core::id::JobId,
            ) -> $crate::store::Verb<'_, $crate::store::Removed> {
                self.pass("remove", move |inner| inner.remove(job))
            }
            fn kill(&self, worker: $crate::core::id::WorkerId) {
                self.died(worker);
            }
            fn parking(
                &self,
                task: $crate::core::id::TaskId,
            ) -> $crate::store::Verb<'_, Option<$crate::core::id::Token>> {
                self.pass("parking", move |inner| inner.parking(task))
            }
            fn hints(&self) -> &$crate::store::Hints {
                self.heard()
            }
            fn clock(&self) -> &$crate::clock::Clock {
                self.inner.clock()
            }
            #[cfg(feature = "postgres")]
            fn nudge(&self) {
                self.inner.nudge();
            }
            #[cfg(feature = "postgres")]
            fn transactions(&self) -> Option<&$crate::store::postgres::Transactions> {
                self.inner.transactions()
            }
        }

        impl $crate::store::Records for $name {
            fn record(
                &self,
                task: $crate::core::id::TaskId,
                after: u64,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<(u64, String, $crate::store::Entry)>> {
                self.pass("record", move |inner| inner.record(task, after, limit))
            }
            fn children(
                &self,
                task: $crate::core::id::TaskId,
                set: $crate::core::id::Local,
                from: u32,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::store::Child>> {
                self.pass("children", move |inner| inner.children(task, set, from, limit))
            }
            fn ends(
                &self,
                task: $crate::core::id::TaskId,
                set: $crate::core::id::Local,
                after: u64,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::store::Child>> {
                self.pass("ends", move |inner| inner.ends(task, set, after, limit))
            }
            fn child(
                &self,
                task: $crate::core::id::TaskId,
                child: $crate::core::id::Local,
            ) -> $crate::store::Verb<'_, Option<$crate::store::Child>> {
                self.pass("child", move |inner| inner.child(task, child))
            }
            fn set(
                &self,
                task: $crate::core::id::TaskId,
                set: $crate::core::id::Local,
            ) -> $crate::store::Verb<'_, $crate::core::wait::SetCounts> {
                self.pass("set", move |inner| inner.set(task, set))
            }
            fn sets(
                &self,
                task: $crate::core::id::TaskId,
                after: Option<$crate::core::id::Local>,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::store::SetRow>> {
                self.pass("sets", move |inner| inner.sets(task, after, limit))
            }
            fn overdue(
                &self,
                jobs: Vec<$crate::core::id::JobId>,
            ) -> $crate::store::Verb<'_, Vec<$crate::core::id::JobId>> {
                self.pass("overdue", move |inner| inner.overdue(jobs))
            }
            fn outcomes(
                &self,
                jobs: Vec<$crate::core::id::JobId>,
            ) -> $crate::store::Verb<'_, Vec<($crate::core::id::JobId, $crate::store::read::Settled)>>
            {
                self.pass("outcomes", move |inner| inner.outcomes(jobs))
            }
            fn holder(&self, key: String) -> $crate::store::Verb<'_, Option<$crate::core::id::JobId>> {
                self.pass("holder", move |inner| inner.holder(key))
            }

            fn task(
                &self,
                task: $crate::core::id::TaskId,
            ) -> $crate::store::Verb<'_, Option<$crate::store::read::TaskView>> {
                self.pass("task", move |inner| inner.task(task))
            }

            fn tasks(
                &self,
                tasks: Vec<$crate::core::id::TaskId>,
            ) -> $crate::store::Verb<'_, Vec<$crate::store::read::TaskView>> {
                self.pass("tasks", move |inner| inner.tasks(tasks))
            }
        }

        impl $crate::store::Read for $name {

            fn job(
                &self,
                job: $crate::core::id::JobId,
            ) -> $crate::store::Verb<'_, Option<$crate::store::read::JobView>> {
                self.pass("job", move |inner| inner.job(job))
            }
            fn jobs_between(
                &self,
                from: $crate::core::id::JobId,
                to: $crate::core::id::JobId,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::core::id::JobId>> {
                self.pass("jobs_between", move |inner| inner.jobs_between(from, to, limit))
            }
            fn tasks_between(
                &self,
                job: $crate::core::id::JobId,
                from: $crate::core::id::Local,
                to: $crate::core::id::Local,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::core::id::TaskId>> {
                self.pass("tasks_between", move |inner| inner.tasks_between(job, from, to, limit))
            }
            fn neighbours(
                &self,
                jobs: Vec<$crate::core::id::JobId>,
            ) -> $crate::store::Verb<'_, Vec<$crate::store::read::Neighbours>> {
                self.pass("neighbours", move |inner| inner.neighbours(jobs))
            }
            fn jobs(
                &self,
                filter: $crate::store::read::JobFilter,
            ) -> $crate::store::Verb<'_, Vec<$crate::store::read::JobView>> {
                self.pass("jobs", move |inner| inner.jobs(filter))
            }
            fn log(
                &self,
                job: $crate::core::id::JobId,
                after: u64,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::core::log::Line>> {
                self.pass("log", move |inner| inner.log(job, after, limit))
            }
            fn last_line(&self, job: $crate::core::id::JobId) -> $crate::store::Verb<'_, u64> {
                self.pass("last_line", move |inner| inner.last_line(job))
            }
            fn failed_attempts(
                &self,
                task: $crate::core::id::TaskId,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::core::log::Line>> {
                self.pass("failed_attempts", move |inner| inner.failed_attempts(task, limit))
            }
            fn children_in(
                &self,
                task: $crate::core::id::TaskId,
                state: $crate::TaskState,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::core::id::TaskId>> {
                self.pass("children_in", move |inner| inner.children_in(task, state, limit))
            }
            fn queues(&self) -> $crate::store::Verb<'_, Vec<$crate::store::read::QueueView>> {
                self.pass("queues", move |inner| inner.queues())
            }
            fn pending_kinds(&self) -> $crate::store::Verb<'_, Vec<(String, String)>> {
                self.pass("pending_kinds", move |inner| inner.pending_kinds())
            }
            fn workers(&self) -> $crate::store::Verb<'_, Vec<$crate::store::read::WorkerView>> {
                self.pass("workers", move |inner| inner.workers())
            }
            fn kinds(&self) -> $crate::store::Verb<'_, Vec<$crate::store::read::KindView>> {
                self.pass("kinds", move |inner| inner.kinds())
            }
            fn audit(&self) -> $crate::store::Verb<'_, Vec<$crate::store::read::Breach>> {
                self.pass("audit", move |inner| inner.audit())
            }
        }
    };
}

pub(super) use over;
