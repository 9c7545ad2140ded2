//! The list of jobs: one page of it in memory, the newest first, under a filter.

use homing::{JobFilter, JobId, JobView, Time};
use homing_view::query::Query;

use super::scroll::{Move, Scroll};

/// Jobs on a page.
pub(crate) const PAGE: usize = 100;

/// The newest jobs: a page of them.
pub(crate) fn first() -> JobFilter {
    JobFilter { limit: PAGE, ..JobFilter::default() }
}

/// The list of jobs.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    /// What was typed, what it means, and when: ages are counted from then.
    pub(crate) text: String,
    asked: Time,
    query: Query,
    /// The last jobs of the pages before this one.
    before: Vec<(Time, JobId)>,
    /// The page; `None` before the first look at it.
    page: Option<Vec<JobView>>,
    more: bool,
    pub(crate) scroll: Scroll,
    /// The job that stays selected when others come; none at the top of the list.
    chosen: Option<JobId>,
}

impl Jobs {
    /// What to ask the store for: one more than a page has, to know whether there are more.
    pub(crate) fn wanted(&self) -> JobFilter {
        let after = self.before.last().copied();
        JobFilter { after, limit: PAGE + 1, ..self.query.filter(self.asked) }
    }

    /// Takes a page in, if it is still the one that is wanted.
    pub(crate) fn take(&mut self, filter: &JobFilter, mut rows: Vec<JobView>) {
        if *filter != self.wanted() {
            return;
        }
        self.more = rows.len() > PAGE;
        rows.truncate(PAGE);
        if let Some(at) = rows.iter().position(|job| Some(job.id) == self.chosen) {
            self.scroll.selected = at;
        }
        self.page = Some(rows);
    }

    /// The jobs of the page.
    pub(crate) fn rows(&self) -> &[JobView] {
        self.page.as_deref().unwrap_or_default()
    }

    /// Whether the page is there.
    pub(crate) fn is_known(&self) -> bool {
        self.page.is_some()
    }

    /// The number of the page, from 1 on, and whether there is another.
    pub(crate) fn place(&self) -> (usize, bool) {
        (self.before.len() + 1, self.more)
    }

    /// The selected job.
    pub(crate) fn selected(&self) -> Option<&JobView> {
        self.rows().get(self.scroll.selected)
    }

    /// Moves the selection, over the edge to the next page. Whether another page is wanted.
    pub(crate) fn go(&mut self, to: Move) -> bool {
        let len = self.rows().len();
        let moved = self.scroll.go(to, len);
        let turned = !moved && self.turn(to);
        let top = self.before.is_empty() && self.scroll.selected == 0;
        if !turned {
            self.chosen = self.selected().map(|job| job.id).filter(|_| !top);
        }
        turned
    }

    fn turn(&mut self, to: Move) -> bool {
        let turned = match to {
            Move::Down | Move::PageDown if self.more => {
                self.before.extend(self.rows().last().map(|job| (job.created, job.id)));
                self.scroll = Scroll::default();
                true
            }
            Move::Up | Move::PageUp if !self.before.is_empty() => {
                self.before.pop();
                self.scroll.selected = PAGE - 1;
                true
            }
            Move::First if !self.before.is_empty() => {
                self.before.clear();
                self.scroll = Scroll::default();
                true
            }
            _ => false,
        };
        if turned {
            (self.page, self.more, self.chosen) = (None, false, None);
        }
        turned
    }

    /// Sets the filter that a text means.
    ///
    /// # Errors
    /// What is wrong with the text; the filter stays as it was.
    pub(crate) fn filter_by(&mut self, text: &str, now: Time) -> Result<(), String> {
        let query = Query::parse(text)?;
        *self = Self { text: text.trim().to_owned(), asked: now, query, ..Self::default() };
        Ok(())
    }
}
