//! One case per guarantee, wait, policy and refusal; each an async function over a [`Lab`].
//!
//! Cases wait on gates, counters and states, never on time: where time matters the clock is turned by
//! hand. Each ends with an audit of the store.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::clock::ManualClock;
use crate::core::id::{TaskId, WorkerId};
use crate::error::OpenError;
use crate::store::Store;
use crate::store::read::{TaskView, WorkerView};
use crate::testing::Probe;
use crate::{Homing, TaskState, Worker, WorkerBuilder};
use futures_util::future::BoxFuture;

pub mod added;
pub mod ahead;
pub mod bodies;
mod by_hand;
pub mod cancelling;
pub mod canvas;
pub mod claims;
pub mod crashes;
pub mod doors;
pub mod drift;
pub mod growing;
pub mod history;
pub mod input;
pub mod job_waits;
pub mod jobs;
pub mod links;
pub mod misuse;
pub mod odd;
pub mod options;
pub mod people;
pub mod policies;
pub mod records;
pub mod refusals;
pub mod replays;
pub mod retries;
pub mod samples;
pub mod signals;
pub mod telling;
pub mod values;
pub mod waits;
pub mod wakes;
pub mod weaving;
pub mod workers;

/// Opens fresh stores of one kind.
pub trait Factory: Send + Sync {
    /// An empty store that reads this clock.
    fn open(&self, clock: Clock) -> BoxFuture<'_, Result<Arc<dyn Store>, OpenError>>;
}

/// A store on the bench.
#[derive(Debug)]
pub struct Lab {
    /// The client.
    pub homing: Homing,
    /// What bodies tell.
    pub probe: Probe,
    clock: ManualClock,
    resident: usize,
}

impl Lab {
    /// A fresh store under a clock that is turned by hand; residency on or off.
    ///
    /// # Panics
    /// When the store does not open.
    pub async fn new(factory: &dyn Factory, resident: bool) -> Self {
        let clock = ManualClock::default();
        let store = factory.open(Clock::Manual(clock.clone())).await;
        let store = store.unwrap_or_else(|error| panic!("the store does not open: {error}"));
        let resident = if resident { 1000 } else { 0 };
        Self { homing: Homing::over(store), probe: Probe::default(), clock, resident }
    }

    /// A worker with the probe as a state.
    pub fn worker(&self) -> WorkerBuilder {
        self.homing.worker().state(self.probe.clone()).resident(self.resident)
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<dyn Store> {
        self.homing.store()
    }

    /// Whether futures stay in memory.
    pub fn is_resident(&self) -> bool {
        self.resident > 0
    }

    /// Turns the clock, in steps that let heartbeats follow: also many short turns cost no living worker its
    /// lease, however slow the store is.
    pub async fn advance(&self, by: Duration) {
        let step = Duration::from_secs(4);
        let mut left = by;
        while left > Duration::ZERO {
            let now = left.min(step);
            self.clock.advance(now);
            left -= now;
            self.settle().await;
        }
    }

    /// Awaits something while the clock goes on slowly, so that resumed work which is held for a dead
    /// worker becomes everybody's.
    pub async fn turning<T>(&self, future: impl Future<Output = T>) -> T {
        let turn = async {
            loop {
                self.clock.advance(crate::limits::HOLD);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            value = future => value,
            () = turn => unreachable!("it turns for ever"),
        }
    }

    /// Waits until every worker that lives has said so lately: the next turn would cost it its lease.
    ///
    /// # Panics
    /// After 15 seconds.
    async fn settle(&self) {
        let now = self.store().clock().now();
        for _ in 0..7_000 {
            let workers = self.homing.workers().await.unwrap_or_default();
            let late = |worker: &WorkerView| {
                worker.alive && now.since(worker.heartbeat) > Duration::from_secs(9)
            };
            if !workers.iter().any(late) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("a worker's heartbeat does not come");
    }

    /// Has the store give a living worker up. One sweep is not enough: it passes over a worker whose exchange is
    /// under way.
    ///
    /// # Panics
    /// After 15 seconds.
    pub async fn give_up(&self, worker: WorkerId) {
        for _ in 0..7_000 {
            self.store().kill(worker);
            while self.store().sweep(crate::limits::MAX_CRASHES).await.unwrap_or(false) {}
            let known = self.homing.workers().await;
            if known.is_ok_and(|known| known.iter().all(|view| view.id != worker)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("the store does not give {worker} up");
    }

    /// Waits until a task is in a state.
    ///
    /// # Panics
    /// After 15 seconds, with the task's row.
    pub async fn reaches(&self, task: impl Into<TaskId>, state: TaskState) -> TaskView {
        let task = task.into();
        self.observe(task, &format!("{state}"), |view| view.state == state).await
    }

    /// Waits until a task looks as wanted.
    ///
    /// # Panics
    /// After 15 seconds, with the task's row.
    pub async fn observe(
        &self,
        task: impl Into<TaskId>,
        what: &str,
        wanted: impl Fn(&TaskView) -> bool,
    ) -> TaskView {
        let task = task.into();
        for _ in 0..7_000 {
            if let Ok(view) = self.homing.task(task).await
                && wanted(&view)
            {
                return view;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("not {what}: {:#?}", self.homing.task(task).await)
    }

    /// The end of a case: nothing is broken, and the workers leave.
    ///
    /// # Panics
    /// When an invariant is broken.
    pub async fn close(self, workers: impl IntoIterator<Item = Worker>) {
        // The clock goes on, so that the grace time of cancelled bodies ends.
        let turn = async {
            loop {
                self.clock.advance(crate::limits::GRACE);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let leave = async {
            for worker in workers {
                worker.shutdown(Duration::from_secs(20)).await;
            }
        };
        tokio::select! { () = leave => {}, () = turn => {} }
        let breaches = self.homing.check().await.unwrap_or_else(|error| panic!("{error}"));
        assert!(breaches.is_empty(), "{breaches:#?}");
    }
}

/// Runs a case, bounded in time.
///
/// # Panics
/// When the case does, or takes longer than two minutes.
pub async fn bounded(case: impl Future<Output = ()>) {
    let done = tokio::time::timeout(Duration::from_mins(2), case).await;
    assert!(done.is_ok(), "the case hangs");
}

/// The children of a task, all of them.
pub(super) async fn children(lab: &Lab, task: impl Into<TaskId>) -> Vec<TaskView> {
    let (task, mut cursor, mut all) = (task.into(), crate::Cursor::default(), Vec::new());
    loop {
        let (page, next) = lab.homing.children(task, cursor, 0).await.unwrap_or_default();
        all.extend(page);
        match next {
            Some(next) => cursor = next,
            None => return all,
        }
    }
}

/// Emits one test per case for a store: `conformance!(name, factory)`, where `factory` is an expression
/// that makes a [`Factory`].
#[macro_export]
macro_rules! conformance {
    ($name:ident, $factory:expr) => {
        mod $name {
            use super::*;
            $crate::__conformance!(resident, true, $factory);
            $crate::__conformance!(replayed, false, $factory);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance {
    ($module:ident, $resident:expr, $factory:expr) => {
        mod $module {
            use super::*;
            $crate::__cases!($resident, $factory;
                records: g01_a_submitted_task_is_run, g01_lost_replies_lose_nothing,
                    g02_a_frozen_worker_records_nothing, g02_outcomes_are_recorded_once,
                    job_record_keeps_title_progress_log_and_counts, a_replay_repeats_no_log_line, branches_lose_no_log_line,
                    tracing_events_are_logged, log_lines_are_capped, jobs_are_listed_and_paged,
                    now_is_remembered, detach_starts_one_job, detach_knows_keys_and_ids,
                    zero_bytes_are_shown, g12_pages_are_bounded_in_bytes;
                samples: samples_are_kept, workers_count_their_minutes;
                history: records_tell_when, failures_are_grouped, retried_failures_end_no_list, actions_are_kept, old_actions_are_forgotten, an_action_names_who_holds_the_key, a_verb_does_nothing_before_it_is_polled;
                jobs: a_held_key_returns_the_open_job, an_id_is_idempotent, prune_spares_open_jobs,
                    trees_are_paged, one_job_is_removed, tags_are_read_and_handed_down,
                    many_submissions_lose_no_handle;
                wakes: g03_every_end_of_a_child_wakes, g03_a_signal_wakes, g03_a_deadline_wakes,
                    g04_deep_trees_need_one_slot, g04_parked_tasks_hold_nothing,
                    g05_a_parent_is_woken_once, g05_join_next_drains_before_it_parks,
                    resumed_work_goes_first, resumed_work_waits_for_its_future, eviction_is_a_replay;
                crashes: g06_crash_means_resume, g06_nothing_is_held_for_the_dead,
                    g06_children_are_found_again, g06_blocking_steps_keep_their_slot,
                    g06_a_step_returns_after_its_commit, g11_poison_is_contained,
                    g11_suspects_run_alone, shutdown_hands_back, a_given_up_worker_starts_afresh,
                    two_workers_share_the_work, g07_answers_replay_the_same,
                    g07_a_completion_beats_a_late_deadline, g07_deadlines_are_absolute;
                claims: g06_an_older_future_is_dropped_after_a_failure,
                    g06_an_older_future_is_dropped_after_a_shutdown, g06_an_older_future_is_dropped_after_a_crash,
                    a_worker_is_given_what_its_own_units_make_ready,
                    a_signal_answers_a_parent_whose_child_ends, tasks_of_many_kinds_are_claimed_in_one_order;
                cancelling: g08_cancellation_goes_down_the_tree, g08_a_body_sees_its_cancellation,
                    g08_the_first_terminal_write_wins, g08_a_lost_reply_loses_no_cancellation,
                    g09_a_task_ends_after_its_children,
                    g09_a_failed_child_fails_the_closing_join, g09_failure_aborts_the_rest,
                    g09_a_retry_aborts_nothing, g09_a_late_spawn_does_not_survive,
                    aborted_children_are_no_losses, abort_spares_later_children, abort_spares_children_after_placed_ones,
                    a_returned_value_is_kept;
                drift: g10_drift_is_caught_and_mended, g10_membership_is_checked,
                    g10_the_end_of_a_child_left_out_is_not_given, g10_a_set_gives_no_end_of_a_child_left_out,
                    g10_an_answer_is_not_anothers,
                    g10_other_steps_may_come_and_go, g10_an_undecodable_value_stands_still,
                    g10_an_undecodable_outcome_stands_still,
                    placed_children_are_found_again, wrong_arguments_are_amended;
                waits: join_all_is_in_spawn_order, join_next_is_in_completion_order,
                    join_settled_brings_every_outcome, join_first_aborts_the_rest,
                    join_some_brings_so_many, join_some_brings_no_more, hopeless_waits_are_errors, empty_sets_return_at_once, every_wait_times_out,
                    a_timeout_names_the_open_children, a_timeout_names_the_oldest_open_children, sets_go_on_after_a_timeout,
                    sets_can_be_used_again;
                values: signals_of_another_type_are_refused, a_bad_signal_is_an_error_of_its_wait,
                    job_retry_forgets_a_bad_signal, g13_named_arguments_have_types;
                weaving: select_takes_the_first_and_records_it, arms_of_a_select_have_timeouts,
                    branches_run_beside_each_other,
                    streams_bring_every_outcome, signals_are_kept_and_taken_in_order,
                    sleep_parks, chains_groups_and_chords, combinators_keep_options;
                bodies: info_tells_of_the_task, a_child_is_signalled_once,
                    a_lost_reply_sends_no_signal_twice, a_parent_is_signalled,
                    a_late_signal_is_nothing, another_signal_is_drift,
                    a_signal_too_soon_says_what_to_write, a_soft_timeout_is_caught,
                    ids_travel_and_handles_are_kept, join_next_tells_the_child;
                job_waits: a_job_is_waited_for, a_detached_job_is_waited_for,
                    how_a_job_ended_is_remembered, waits_for_jobs_say_what_to_write,
                    job_waits_weave, a_retried_task_asks_again, every_end_of_a_job_wakes,
                    many_jobs_wait_for_each_other,
                    a_woken_task_is_told_of_its_job;
                canvas: canvas_partials_carry_arguments_and_options, canvas_combinators_compose,
                    canvas_groups_of_unlike_calls, canvas_failures_are_passed_on,
                    canvas_calls_are_values, canvas_named_calls_are_checked,
                    canvas_a_broken_plan_stands_still, canvas_refusals_come_early,
                    canvas_values_have_a_limit;
                links: canvas_a_failure_is_followed, canvas_a_cancellation_is_followed,
                    canvas_lateness_is_followed, canvas_a_fall_from_above_is_followed,
                    canvas_each_life_is_followed, canvas_links_follow_values,
                    canvas_tasks_of_the_bridge_are_followed;
                policies: fail_fast_aborts_and_fails, tolerate_bears_so_many,
                    tolerate_percent_counts_children, require_needs_so_many,
                    policies_govern_the_closing_join, a_closing_join_fails_as_soon_as_it_must,
                    join_all_fails_as_soon_as_it_must, a_child_failure_is_typed;
                retries: retry_means_resume, budgets_are_renewed_by_progress,
                    fatal_errors_are_final, retry_after_chooses_when, panics_are_failures,
                    a_childs_failure_is_final, job_retry_runs_only_what_failed,
                    job_retry_takes_back_a_timeout, job_retry_reopens_what_was_aborted,
                    job_retry_takes_back_what_a_body_was_told,
                    job_retry_removes_what_was_spawned_after_a_loss,
                    job_retry_leaves_what_was_borne, job_retry_leaves_what_waits_had_lost,
                    job_retry_takes_back_what_branches_were_told,
                    job_retry_leaves_a_taken_key, job_retry_takes_back_a_select;
                signals: job_retry_keeps_what_was_not_taken, job_retry_sends_signals_again,
                job_retry_keeps_what_the_fallen_were_sent,
                    job_retry_keeps_the_order_of_signals, job_retry_leaves_what_was_sent;
                refusals: g10_a_refused_unit_stands_still,
                    g12_what_the_store_cannot_hold_fails_its_task,
                    g12_an_end_that_rests_on_what_was_refused_is_not_taken;
                replays: g10_a_replay_is_compared_with_the_whole_record,
                    g10_what_was_answered_is_not_left_out,
                    g07_handles_and_join_next_share_the_ends,
                    g09_the_closing_join_knows_what_was_given, policies_take_any_number,
                    g07_a_set_is_waited_for_in_one_branch,
                    job_retry_leaves_what_the_body_knew_as_aborted;
                people: children_are_counted_and_found_by_state, sets_have_windows, the_last_lines_of_a_log,
                    parked_tasks_say_what_they_wait_for, pending_tasks_say_what_keeps_them,
                    a_standing_task_says_what_drifted, ended_tasks_say_why, dead_workers_are_told,
                    workers_tell_how_much_they_end, a_retention_removes_ended_jobs;
                telling: failures_are_told, crashes_are_told, lateness_is_told, a_childs_progress_counts, each_attempts_error_is_kept,
                    standstills_are_kept_once, a_mended_task_is_not_stalled,
                    what_nobody_serves_is_told, a_cancellation_says_who_and_why,
                    ids_are_found_by_their_beginnings;
                options: priority_goes_first, delay_and_run_at_wait, a_stretch_times_out,
                    a_deadline_is_final, expiry_is_final, queues_are_served_by_name,
                    queues_are_paused, children_inherit, unregistered_kinds_wait,
                    step_blocking_remembers, overdue_jobs_end_without_a_worker,
                    an_overdue_job_holds_no_key, an_overdue_key_passes_to_one;
                growing: growing_sets_are_joined_whole, growing_sets_give_the_next_until_they_are_drained,
                    growing_sets_keep_their_policies, growing_sets_answer_every_wait,
                    growing_sets_outlive_a_timeout, g06_what_a_member_has_added_is_added_once,
                    g06_a_replayed_parent_is_given_what_was_added, g07_a_growing_set_replays_the_same,
                    aborts_spare_what_later_members_add;
                added: g02_a_frozen_member_adds_nothing, g08_nothing_joins_behind_a_cancellation, job_retry_keeps_what_was_added,
                    g10_growing_is_part_of_the_record, misuse_of_growing_sets;
                input: g12_limits_have_errors, g13_bad_submissions_change_nothing,
                    g13_unknown_ids_are_errors, g13_workers_are_checked, many_spawns_are_held_back,
                    g12_lines_that_wait_for_their_commit_are_bounded;
                doors: g13_values_have_a_depth, g13_what_does_not_parse_is_no_null,
                    g13_numbers_at_their_ends, g13_senseless_numbers_are_refused,
                    g13_names_in_bodies_are_checked, g13_names_of_jobs_are_checked,
                    names_that_look_like_places;
                odd: odd_errors_are_failures, fragile_values_are_failures, zero_bytes_are_written_out,
                    deep_failures_tell_their_cause;
                misuse: outside_a_task, client_verbs_inside, two_operations_at_once,
                    nothing_durable_inside_a_step, steps_beside_each_other, doubled_places, foreign_futures_beside_a_wait,
                    a_tokio_task_has_no_context, handles_of_another_task, foreign_join_all, foreign_streams, plain_io_is_legal,
                    a_stale_waker_is_no_misuse, a_foreign_waker_is_no_misuse, branches_are_bounded;
                workers: shutdown_does_not_wait_for_the_store, shutdown_does_not_wait_for_a_silent_store,
                    shutdown_does_not_wait_for_a_stuck_body, shutdown_may_take_as_long_as_it_takes,
                    a_lease_is_renewed_three_times_in_its_length,
                    a_worker_that_panics_is_dead, a_driver_that_panics_leaves_nothing_running,
                    a_late_answer_about_an_old_id_is_no_news, an_id_is_announced_before_it_is_renewed,
                    a_busy_worker_forgets_old_futures,
                    a_store_that_refuses_is_told_of;
                ahead: what_is_fetched_ahead_is_in_turn, g11_what_had_not_begun_has_crashed_nobody,
                    suspects_are_not_fetched_ahead, what_was_fetched_ahead_goes_back_as_it_was,
                    what_was_fetched_ahead_expires, short_tasks_are_fetched_ahead,
                    long_tasks_are_not_fetched_ahead, a_shutdown_gives_back_what_has_not_begun,
                    a_worker_that_falls_behind_gives_back, what_was_fetched_ahead_starves_nobody, a_lost_reply_makes_no_slot_free, the_only_slot_is_for_the_best, what_has_begun_does_not_expire, cancelled_tasks_are_not_begun,
                    g11_a_dead_worker_is_crashed_by_nothing_that_waited;
            );
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __cases {
    ($resident:expr, $factory:expr; $($group:ident: $($case:ident),+;)+) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let factory = $factory;
                let lab = $crate::testing::conformance::Lab::new(&factory, $resident).await;
                $crate::testing::conformance::bounded(
                    $crate::testing::conformance::$group::$case(lab),
                )
                .await;
            }
        )+)+
    };
}
