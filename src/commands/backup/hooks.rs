//! The hooks of a run and of its sources: when they are run, and how what comes of them is told.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::{Ended, Opened, Run, is_concerned};
use crate::config::HookSet;
use crate::error::complain;
use crate::hooks::{Answer, Around, Came, Occasion, Ran, Start, shown};
use crate::job::Job;
use crate::report::{Outcome, Report};
use crate::secret;
use crate::select::Selector;

/// The kinds whose source is one item: whether it is due is known without asking it.
const ONE_ITEM: [&str; 3] = ["files", "ssh", "ios"];

/// Where the part of a report begins that is one source's.
pub(super) struct Mark {
    items: usize,
    errors: usize,
    begun: Instant,
}

impl Mark {
    /// Behind what is in it now.
    pub(super) fn behind(report: &Report) -> Self {
        Self { items: report.items.len(), errors: report.errors.len(), begun: Instant::now() }
    }
}

impl Run<'_> {
    /// Does the work of the run between its hooks.
    pub(super) fn around_run(
        &self,
        jobs: &[Job],
        selectors: &[Selector],
        work: impl FnOnce() -> Result<Ended>,
    ) -> Result<Ended> {
        let has_hooks = !self.config.hooks.run.is_empty() || !self.config.hooks.sources.is_empty();
        if has_hooks && !self.args.dry_run {
            secret::know(self.config.secrets());
        }
        let mut around = self.around(None);
        let result = match self.begin(&mut around) {
            None => work(),
            Some(Outcome::Away(why)) => self.all_away(jobs, selectors, &why),
            Some(Outcome::Failed(error)) => Err(error),
            Some(_) => Ok(Ended::default()),
        };
        match result {
            Ok(mut ended) => {
                ended.report.elapsed = self.begun.elapsed();
                let errors = around.finish(Came::of(&ended.report), |ran| self.tell(ran));
                ended.report.errors.extend(errors);
                Ok(ended)
            }
            Err(error) => {
                let errors = around.finish(Came::of_error(&error), |ran| self.tell(ran));
                errors.iter().for_each(complain);
                Err(error)
            }
        }
    }

    /// Nothing is done, and nothing is wrong.
    fn all_away(&self, jobs: &[Job], selectors: &[Selector], why: &str) -> Result<Ended> {
        let mut report = Report::default();
        for job in jobs.iter().filter(|job| is_concerned(selectors, &job.id)) {
            self.add(&mut report, &job.id, Outcome::Away(why.to_owned()), Duration::ZERO)?;
        }
        Ok(Ended { report, standing: None })
    }

    /// The hooks of a source, or of the run. In a dry run there are none; see [`Run::begin`].
    pub(super) fn around(&self, source: Option<&str>) -> Around {
        let set = match source {
            Some(id) => self.config.hooks.of(id),
            None => self.config.hooks.run.clone(),
        };
        Around::new(set, Occasion { source: source.map(str::to_owned), config: self.config.file.clone() })
    }

    /// Runs `before`, once; says what comes of the work when it does not begin. In a dry run it says what would be run.
    pub(super) fn begin(&self, around: &mut Around) -> Option<Outcome> {
        if around.has_begun() {
            return None;
        }
        if self.args.dry_run {
            self.say_what_would_run(around.set());
            return None;
        }
        match around.before(|ran| self.tell(ran)) {
            Start::Go => None,
            Start::NotNow(why) => Some(Outcome::Away(why)),
            Start::Failed(error) => Some(Outcome::Failed(error)),
        }
    }

    /// Runs what comes after a source, told what came of what was added to the report.
    pub(super) fn end(&self, around: Around, mark: &Mark, report: &mut Report) {
        if self.args.dry_run || around.set().is_empty() {
            return;
        }
        // A part of the report, for as long as it is asked.
        let own = Report {
            items: report.items.split_off(mark.items),
            errors: report.errors.split_off(mark.errors),
            elapsed: mark.begun.elapsed(),
            ..Report::default()
        };
        let failed = around.finish(Came::of(&own), |ran| self.tell(ran));
        report.items.extend(own.items);
        report.errors.extend(own.errors);
        report.errors.extend(failed);
    }

    /// Whether a source that is one item is due; of others that is known when they were asked what they have.
    pub(super) fn is_due_unasked(&self, job: &Job, opened: &Opened) -> bool {
        let kind = job.id.split('.').next().unwrap_or_default();
        ONE_ITEM.contains(&kind) && self.not_due(job, &opened.points_of(&job.id)).is_none()
    }

    fn say_what_would_run(&self, set: &HookSet) {
        for (when, commands) in [("before", &set.before), ("after", &set.after), ("on failure", &set.on_failure)] {
            for command in commands {
                self.context.monitor.say(&format!("would run {when}: {}", shown(command)));
            }
        }
    }

    /// Tells of a hook that was run: what failed is told by the report besides.
    fn tell(&self, ran: &Ran) {
        let program = ran.command.first().map(String::as_str).unwrap_or_default();
        let of = ran.source.as_ref().map_or(String::new(), |source| format!(" of {source}"));
        let detail = ran.output.join("\n");
        tracing::info!(detail, "hook {}{of}: {program}", ran.event.word());
        if self.context.output.json {
            let outcome = match &ran.result {
                Ok(Answer::Done) => "ok",
                Ok(Answer::NotNow) => "not-now",
                Err(_) => "failed",
            };
            let line = json!({
                "type": "hook",
                "event": ran.event.word(),
                "source": ran.source,
                "command": program,
                "outcome": outcome,
                "seconds": (ran.elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
                "output": ran.output,
            });
            if let Err(error) = self.context.output.json_line(&line) {
                complain(&error);
            }
        }
    }
}
