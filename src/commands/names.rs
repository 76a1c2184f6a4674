//! Points of devices under the names that their files have there: what `ls`, `dump`, `diff` and `restore --to` show and take.
//!
//! Which points these are tells the item; the configuration is only asked for a password.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};

use super::Context;
use crate::config::{Config, SourceConfig};
use crate::error::{Annotate, ExitCode};
use crate::extract::{Chosen, Extracted};
use crate::monitor::Unit;
use crate::output::printable;
use crate::secret::{Revealed, Secret};
use crate::source::Problem;
use crate::source::ios::names;
use crate::store::SavedTree;
use crate::timeline::Point;
use crate::ui;

/// Arguments of the commands that look into points.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct NamesArgs {
    /// Show the point of a device as it is stored: a MobileSync folder, as Finder and iTunes know it, without the names of the files
    #[arg(long)]
    raw: bool,

    /// The password of the encrypted backup of a device; else that of its source is taken, or you are asked
    #[arg(long, value_name = "FILE", conflicts_with = "raw")]
    password_file: Option<PathBuf>,
}

/// Shows points as the arguments want them.
pub(super) struct Names<'a> {
    args: &'a NamesArgs,
    context: &'a Context,
    config: &'a Config,
    /// What somebody typed, by item: nobody is asked twice.
    typed: RefCell<HashMap<String, String>>,
}

/// What of a point could not be shown under real names.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// The first ones.
    pub(super) problems: Vec<Problem>,
    /// How many there were in all.
    pub(super) count: u64,
}

impl<'a> Names<'a> {
    pub(super) fn new(args: &'a NamesArgs, context: &'a Context, config: &'a Config) -> Self {
        Self { args, context, config, typed: RefCell::default() }
    }

    /// Gives the tree of a point of a device real names, unless it is wanted raw; other points are left as they are.
    ///
    /// # Errors
    ///
    /// When the names cannot be read; exit code [`ExitCode::Usage`] when an argument has no meaning for this point.
    pub(super) fn show(&self, chosen: &mut Chosen) -> Result<Refused> {
        let point = chosen.saved.point().clone();
        if !names::is_device(&point.item) {
            return self.refuse_arguments(&point).map(|()| Refused::default());
        }
        if self.args.raw {
            return Ok(Refused::default());
        }
        let task = self.context.monitor.start(&point.item, "read names", Unit::None);
        let named = names::named(&chosen.saved, || self.password(&point))
            .with_context(|| format!("look into the point {} of {}", point.short_id(), point.item))?;
        task.finish();
        chosen.saved = named.saved;
        Ok(Refused { problems: named.problems, count: named.refused })
    }

    fn refuse_arguments(&self, point: &Point) -> Result<()> {
        let flag = match (self.args.raw, &self.args.password_file) {
            (true, _) => "--raw",
            (_, Some(_)) => "--password-file",
            _ => return Ok(()),
        };
        Err(anyhow!("{flag} has no meaning for {}", point.item))
            .hint("It is for points of iPhones and iPads.")
            .exit(ExitCode::Usage)
    }

    /// The password of a point that goes back to its device; `None` when it is no encrypted backup of one.
    ///
    /// # Errors
    ///
    /// When nobody has told it, and when the point cannot be read.
    pub(super) fn password_of(&self, saved: &SavedTree) -> Result<Option<Secret>> {
        let point = saved.point();
        if !names::is_device(&point.item) || !names::is_encrypted(saved)? {
            return Ok(None);
        }
        self.secret(point).map(Some)
    }

    fn password(&self, point: &Point) -> Result<Revealed> {
        self.secret(point)?.read()
    }

    /// From the file that was named, from the configuration, or from a person.
    fn secret(&self, point: &Point) -> Result<Secret> {
        if let Some(file) = &self.args.password_file {
            return Ok(Secret::file(file));
        }
        let source = point.item.split('/').next().unwrap_or(&point.item);
        let configured = self.config.sources.iter().find_map(|config| match config {
            SourceConfig::Ios(ios) if config.id() == source => ios.encryption_password.as_ref(),
            _ => None,
        });
        if let Some(secret) = configured {
            return Ok(secret.clone());
        }
        if let Some(typed) = self.typed.borrow().get(&point.item) {
            return Ok(Secret::literal(typed));
        }
        let question = format!("Password of the encrypted backups of {}:", point.item);
        match ui::ask_secret(&question).context("ask for the password")? {
            Some(typed) => {
                self.typed.borrow_mut().insert(point.item.clone(), typed.clone());
                Ok(Secret::literal(typed))
            }
            None => Err(anyhow!("the backup is encrypted, and nobody has told its password")).hint(format!(
                "Add --password-file FILE, or set `encryption-password-file` in [{source}]. Without a password, --raw shows it as it is stored."
            )),
        }
    }
}

impl Refused {
    /// Counts them as not restored.
    pub(super) fn add_to(self, extracted: &mut Extracted) {
        let told = Extracted { unrestored: self.count, problems: self.problems, ..Extracted::default() };
        extracted.take_in(told);
    }

    /// Logs every problem; how a command ends that has no other place to tell them.
    pub(super) fn tell(&self) -> ExitCode {
        for problem in &self.problems {
            tracing::error!("{}: {}", printable(problem.path.as_os_str()), printable(problem.error.as_ref()));
        }
        let more = self.count - (self.problems.len() as u64).min(self.count);
        if more > 0 {
            tracing::error!("and {more} more that cannot be shown");
        }
        if self.count == 0 { ExitCode::Done } else { ExitCode::Incomplete }
    }
}
