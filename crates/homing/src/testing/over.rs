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

            $crate::testing::over::passing_on! { inner
                submit(jobs: Vec<$crate::store::NewJob>) -> Vec<$crate::store::Submitted>;
                leave(worker: $crate::core::id::WorkerId) -> ();
                cancel(task: $crate::core::id::TaskId, text: Option<String>) -> bool;
                signal(
                    task: $crate::core::id::TaskId,
                    name: String,
                    value: String
                ) -> $crate::store::Sent;
                amend(
                    task: $crate::core::id::TaskId,
                    arguments: String
                ) -> $crate::store::Amended;
                retry(job: $crate::core::id::JobId, preview: bool) -> $crate::store::Retry;
                begin_action(action: $crate::store::NewAction) -> u64;
                end_action(number: u64, result: String) -> ();
                keep_samples(samples: Vec<$crate::store::Sample>) -> ();
                pause(queue: String, paused: bool) -> ();
                sweep(max_crashes: u32) -> bool;
                prune(before: $crate::core::time::Time) -> $crate::store::Pruned;
                remove(job: $crate::core::id::JobId) -> $crate::store::Removed;
                parking(task: $crate::core::id::TaskId) -> Option<$crate::core::id::Token>;
            }

            fn heartbeat(
                &self,
                heartbeat: $crate::store::Heartbeat,
            ) -> $crate::store::Verb<'_, bool> {
                Box::pin(self.beat(heartbeat))
            }
            fn abandon(&self, worker: $crate::core::id::WorkerId) {
                self.inner.abandon(worker);
            }
            fn kill(&self, worker: $crate::core::id::WorkerId) {
                self.died(worker);
            }
            fn hints(&self) -> &$crate::store::Hints {
                self.heard()
            }
            fn clock(&self) -> &$crate::clock::Clock {
                self.inner.clock()
            }
            fn nudge(&self) {
                self.inner.nudge();
            }
            #[cfg(feature = "postgres")]
            fn transactions(&self) -> Option<&$crate::store::postgres::Transactions> {
                self.inner.transactions()
            }
        }

        impl $crate::store::Records for $name {
            $crate::store::read::verbs::each_record_verb!($crate::testing::over::passing_on, inner);
        }

        impl $crate::store::Read for $name {
            $crate::store::read::verbs::each_read_verb!($crate::testing::over::passing_on, inner);
        }
    };
}

/// Verbs that go through the type's method `pass`.
macro_rules! passing_on {
    ($inner:ident $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty
        $(= $view:ident($($given:expr),*))?;)+) => {
        $(fn $name(&self, $($argument: $type),*) -> $crate::store::Verb<'_, $answer> {
            self.pass(stringify!($name), move |$inner| $inner.$name($($argument),*))
        })+
    };
}

pub(super) use over;
pub(crate) use passing_on;
