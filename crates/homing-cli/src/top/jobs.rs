//! The list of jobs: one page of it in memory, the newest first, under a filter.

use homing::{JobFilter, JobId, JobView, Status, Time};

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
    /// What was typed, and what it means.
    pub(crate) text: String,
    filter: JobFilter,
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
        JobFilter { after, limit: PAGE + 1, ..self.filter.clone() }
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
    pub(crate) fn filter_by(&mut self, text: &str) -> Result<(), String> {
        let filter = parse(text)?;
        *self = Self { text: text.trim().to_owned(), filter, ..Self::default() };
        Ok(())
    }
}

/// Reads a filter: words `status:…`, `kind:…`, `tag:…`, `queue:…`; the rest is part of the title.
fn parse(text: &str) -> Result<JobFilter, String> {
    let (mut filter, mut title) = (JobFilter::default(), Vec::new());
    for word in text.split_whitespace() {
        let value = |value: &str| Some(value.to_owned());
        match word.split_once(':') {
            Some(("status" | "kind" | "tag" | "queue", "")) => {
                return Err(format!("`{word}` says nothing after the colon"));
            }
            Some(("status", status)) => filter.status = Some(parse_status(status)?),
            Some(("kind", kind)) => filter.kind = value(kind),
            Some(("tag", tag)) => filter.tag = value(tag),
            Some(("queue", queue)) => filter.queue = value(queue),
            _ => title.push(word),
        }
    }
    filter.title = Some(title.join(" ")).filter(|title| !title.is_empty());
    Ok(filter)
}

fn parse_status(text: &str) -> Result<Status, String> {
    match text {
        "open" | "in-progress" => Ok(Status::InProgress),
        "stalled" => Ok(Status::Stalled),
        "completed" => Ok(Status::Completed),
        "completed-with-errors" | "errors" => Ok(Status::CompletedWithErrors),
        "failed" => Ok(Status::Failed),
        "cancelled" => Ok(Status::Cancelled),
        _ => Err("open, stalled, completed, errors, failed or cancelled".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read() {
        let filter = parse("nightly status:open kind:import import tag:a queue:slow").unwrap();
        assert_eq!(filter.title.as_deref(), Some("nightly import"));
        assert_eq!(filter.status, Some(Status::InProgress));
        assert_eq!(filter.kind.as_deref(), Some("import"));
        assert_eq!(filter.tag.as_deref(), Some("a"));
        assert_eq!(filter.queue.as_deref(), Some("slow"));
        // A title may hold a colon of its own.
        assert_eq!(parse("step 2: at 12:30").unwrap().title.as_deref(), Some("step 2: at 12:30"));
        assert_eq!(parse("kind:").unwrap_err(), "`kind:` says nothing after the colon");
        assert!(parse("status:soon").unwrap_err().contains("open, stalled, completed"));
        assert_eq!(parse("  ").unwrap(), JobFilter::default());
    }
}
