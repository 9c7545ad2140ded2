//! A store over another one, which says of itself only what it does to exchanges.

/// Implements the store's traits for a type with a field `inner` that does everything but `exchange`:
/// that is the type's own method `speak`.
macro_rules! over {
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
                self.inner.submit(jobs)
            }
            fn heartbeat(
                &self,
                heartbeat: $crate::store::Heartbeat,
            ) -> $crate::store::Verb<'_, bool> {
                self.inner.heartbeat(heartbeat)
            }
            fn leave(&self, worker: $crate::id::WorkerId) -> $crate::store::Verb<'_, ()> {
                self.inner.leave(worker)
            }
            fn cancel(&self, task: $crate::id::TaskId) -> $crate::store::Verb<'_, bool> {
                self.inner.cancel(task)
            }
            fn signal(
                &self,
                task: $crate::id::TaskId,
                name: String,
                value: String,
            ) -> $crate::store::Verb<'_, bool> {
                self.inner.signal(task, name, value)
            }
            fn retry(
                &self,
                job: $crate::id::JobId,
                preview: bool,
            ) -> $crate::store::Verb<'_, $crate::store::Retry> {
                self.inner.retry(job, preview)
            }
            fn pause(&self, queue: String, paused: bool) -> $crate::store::Verb<'_, ()> {
                self.inner.pause(queue, paused)
            }
            fn sweep(&self, max_crashes: u32) -> $crate::store::Verb<'_, bool> {
                self.inner.sweep(max_crashes)
            }
            fn prune(
                &self,
                before: $crate::clock::Time,
            ) -> $crate::store::Verb<'_, $crate::store::Pruned> {
                self.inner.prune(before)
            }
            fn remove(
                &self,
                job: $crate::id::JobId,
            ) -> $crate::store::Verb<'_, $crate::store::Removed> {
                self.inner.remove(job)
            }
            fn kill(&self, worker: $crate::id::WorkerId) {
                self.inner.kill(worker);
            }
            fn parking(
                &self,
                task: $crate::id::TaskId,
            ) -> $crate::store::Verb<'_, Option<$crate::id::Token>> {
                self.inner.parking(task)
            }
            fn hints(&self) -> &$crate::store::Hints {
                self.inner.hints()
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

        impl $crate::store::Read for $name {
            fn record(
                &self,
                task: $crate::id::TaskId,
                after: u64,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<(u64, String, $crate::store::Entry)>> {
                self.inner.record(task, after, limit)
            }
            fn children(
                &self,
                task: $crate::id::TaskId,
                set: $crate::id::Local,
                from: u32,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::store::Child>> {
                self.inner.children(task, set, from, limit)
            }
            fn ends(
                &self,
                task: $crate::id::TaskId,
                set: $crate::id::Local,
                after: u64,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::store::Child>> {
                self.inner.ends(task, set, after, limit)
            }
            fn child(
                &self,
                task: $crate::id::TaskId,
                child: $crate::id::Local,
            ) -> $crate::store::Verb<'_, Option<$crate::store::Child>> {
                self.inner.child(task, child)
            }
            fn set(
                &self,
                task: $crate::id::TaskId,
                set: $crate::id::Local,
            ) -> $crate::store::Verb<'_, $crate::wait::SetCounts> {
                self.inner.set(task, set)
            }
            fn sets(
                &self,
                task: $crate::id::TaskId,
                after: Option<$crate::id::Local>,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::store::SetRow>> {
                self.inner.sets(task, after, limit)
            }
            fn task(
                &self,
                task: $crate::id::TaskId,
            ) -> $crate::store::Verb<'_, Option<$crate::store::read::TaskView>> {
                self.inner.task(task)
            }
            fn tasks(
                &self,
                tasks: Vec<$crate::id::TaskId>,
            ) -> $crate::store::Verb<'_, Vec<$crate::store::read::TaskView>> {
                self.inner.tasks(tasks)
            }
            fn overdue(
                &self,
                jobs: Vec<$crate::id::JobId>,
            ) -> $crate::store::Verb<'_, Vec<$crate::id::JobId>> {
                self.inner.overdue(jobs)
            }
            fn outcomes(
                &self,
                jobs: Vec<$crate::id::JobId>,
            ) -> $crate::store::Verb<'_, Vec<($crate::id::JobId, $crate::store::read::Settled)>>
            {
                self.inner.outcomes(jobs)
            }
            fn job(
                &self,
                job: $crate::id::JobId,
            ) -> $crate::store::Verb<'_, Option<$crate::store::read::JobView>> {
                self.inner.job(job)
            }
            fn holder(&self, key: String) -> $crate::store::Verb<'_, Option<$crate::id::JobId>> {
                self.inner.holder(key)
            }
            fn jobs(
                &self,
                filter: $crate::store::read::JobFilter,
            ) -> $crate::store::Verb<'_, Vec<$crate::store::read::JobView>> {
                self.inner.jobs(filter)
            }
            fn log(
                &self,
                job: $crate::id::JobId,
                after: u64,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::log::Line>> {
                self.inner.log(job, after, limit)
            }
            fn last_line(&self, job: $crate::id::JobId) -> $crate::store::Verb<'_, u64> {
                self.inner.last_line(job)
            }
            fn children_in(
                &self,
                task: $crate::id::TaskId,
                state: $crate::TaskState,
                limit: usize,
            ) -> $crate::store::Verb<'_, Vec<$crate::id::TaskId>> {
                self.inner.children_in(task, state, limit)
            }
            fn queues(&self) -> $crate::store::Verb<'_, Vec<$crate::store::read::QueueView>> {
                self.inner.queues()
            }
            fn workers(&self) -> $crate::store::Verb<'_, Vec<$crate::store::read::WorkerView>> {
                self.inner.workers()
            }
            fn kinds(&self) -> $crate::store::Verb<'_, Vec<$crate::store::read::KindView>> {
                self.inner.kinds()
            }
            fn audit(&self) -> $crate::store::Verb<'_, Vec<$crate::store::read::Breach>> {
                self.inner.audit()
            }
        }
    };
}

pub(super) use over;
