//! `holdall onboard store`: a password file, a repository, and `[store]` in the configuration, in this order.
//!
//! The configuration comes last, so that a store it names has been opened with the password it names. A password file is
//! never overwritten or removed: it may be the only key to a repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};

use super::{Context, mirror, next, show, write};
use crate::config::edit::{Edit, Stanza};
use crate::config::{self, Config, StoreConfig, locate};
use crate::error::{Annotate, ExitCode, exit_code};
use crate::secret;
use crate::store::Store;

/// Arguments of `onboard store`.
#[derive(Debug, clap::Args)]
pub(super) struct StoreArgs {
    /// Where to keep it: a directory, or a URL as restic spells it
    ///
    /// Without it: /srv/holdall for root, else $XDG_DATA_HOME/holdall; or what the configuration says.
    pub(super) repository: Option<String>,

    /// File with the password; made with a random one if it is missing
    ///
    /// Without it: store.password beside the configuration file.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Option of the storage service, e.g. region=eu or secret-access-key-file=/etc/holdall/s3.key
    #[arg(short, long = "option", value_name = "KEY=VALUE", value_parser = parse_option)]
    options: Vec<(String, String)>,

    /// Make a mirror of this name instead: a further repository, to which every backup is copied
    ///
    /// Its password file is NAME.password beside the configuration file, unless another one is named.
    #[arg(long, value_name = "NAME")]
    mirror: Option<String>,

    /// Show what would be written; change nothing
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
}

fn parse_option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

pub(super) fn run(args: &StoreArgs, context: &Context) -> Result<()> {
    if let Some(name) = &args.mirror {
        return mirror::run(args, name, context);
    }
    let file = context.config_file();
    let existing = if file.try_exists().unwrap_or(true) { Some(config::load(&file)?) } else { None };
    match existing.as_ref().and_then(|config| config.store.as_ref()) {
        Some(store) => {
            agrees(&Wanted::new(args, &file, "store", Some(store))?, store)
                .with_context(|| format!("set up the store in {file:?}"))?;
            if args.dry_run {
                context.monitor.say(&format!("[store] is in {} already; nothing to add.", file.display()));
                return Ok(());
            }
            prove(store, context)?;
        }
        None => {
            let mut stanza = Stanza::new(["store"]);
            Wanted::new(args, &file, "store", None)?.fill(&mut stanza);
            let edit = Edit::add(&file, &stanza)?;
            if args.dry_run {
                return show(&[stanza], &file, context);
            }
            let store = edit.config().store.clone().context("read [store] back")?;
            prove(&store, context)?;
            write(edit, &stanza, &file, context)?;
        }
    }
    advise(existing.as_ref(), &config::load(&file)?, context);
    Ok(())
}

/// What the arguments ask for.
pub(super) struct Wanted {
    repository: String,
    /// `None`: whatever the configuration has.
    password_file: Option<String>,
    options: Vec<(String, String)>,
}

impl Wanted {
    /// Fills in what the arguments leave open: from what is configured, else with defaults. A password file is called `name`.
    pub(super) fn new(args: &StoreArgs, config: &Path, name: &str, existing: Option<&StoreConfig>) -> Result<Self> {
        let repository = match (&args.repository, existing) {
            (Some(text), _) => absolute_repository(text)?,
            (None, Some(store)) => store.repository.clone(),
            (None, None) => default_repository()?,
        };
        let beside = existing.is_none().then(|| config.with_file_name(format!("{name}.password")));
        let password_file = args.password_file.clone().or(beside);
        let password_file = password_file.as_deref().map(absolute_text).transpose()?;
        Ok(Self { repository, password_file, options: args.options.clone() })
    }

    /// Writes it into a table.
    pub(super) fn fill(&self, stanza: &mut Stanza) {
        stanza.set("repository", &self.repository);
        if let Some(file) = &self.password_file {
            stanza.set("password-file", file);
        }
        for (key, value) in &self.options {
            stanza.set_below("options", key, value);
        }
    }
}

fn default_repository() -> Result<String> {
    let directory = locate::default_repository()
        .ok_or_else(|| anyhow!("there is no home directory to keep a store in"))
        .hint("Name a directory: `holdall onboard store /PATH`.")
        .exit(ExitCode::Usage)?;
    absolute_text(&directory)
}

/// A path may be relative to where the command is typed; anything with a scheme stays as it is.
fn absolute_repository(text: &str) -> Result<String> {
    let has_scheme = text.split_once(':').is_some_and(|(scheme, _)| !scheme.contains('/'));
    if has_scheme { Ok(text.to_owned()) } else { absolute_text(Path::new(text)) }
}

/// The path, absolute, as it can stand in the configuration.
fn absolute_text(path: &Path) -> Result<String> {
    let absolute =
        std::path::absolute(path).with_context(|| format!("make {path:?} absolute")).exit(ExitCode::Usage)?;
    let text = absolute.to_str().ok_or_else(|| anyhow!("{path:?} is not UTF-8, which the configuration must be"));
    text.map(str::to_owned).exit(ExitCode::Usage)
}

/// One spelling for each repository, for comparing.
fn plain(repository: &str) -> &str {
    repository.strip_prefix("local:").unwrap_or(repository).trim_end_matches('/')
}

/// Whether what was asked for explicitly is what stands in the configuration.
pub(super) fn agrees(wanted: &Wanted, store: &StoreConfig) -> Result<()> {
    let mut differences = Vec::new();
    if plain(&wanted.repository) != plain(&store.repository) {
        differences.push(format!("repository = {:?}", store.repository));
    }
    if let Some(file) = &wanted.password_file
        && Some(Path::new(file)) != store.password.path()
    {
        differences.push(format!("the password in {}", store.password));
    }
    for (key, value) in &wanted.options {
        let secret = key.strip_suffix("-file").and_then(|name| store.secret_options.get(name));
        let same = match secret {
            Some(secret) => secret.path() == Some(Path::new(value)),
            None => store.options.get(key) == Some(value),
        };
        if !same {
            let found = store.options.get(key).map_or("nothing".to_owned(), |value| format!("{value:?}"));
            differences.push(format!("{} for the option {key}", secret.map_or(found, ToString::to_string)));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(anyhow!("another store stands there: {}", differences.join(", ")))
        .hint("Change it there by hand, or keep a second configuration with --config FILE.")
        .exit(ExitCode::Usage)
}

fn prove(store: &StoreConfig, context: &Context) -> Result<Store> {
    let monitor = &context.monitor;
    let open = || Store::open(store, Arc::clone(monitor));
    let make = || Store::init(store, Arc::clone(monitor));
    set_up(&SetUp { config: store, what: "store", open: &open, make: &make }, context)
}

/// What is to be set up, and how.
pub(super) struct SetUp<'s> {
    pub(super) config: &'s StoreConfig,
    /// `store` or `mirror`.
    pub(super) what: &'static str,
    pub(super) open: &'s dyn Fn() -> Result<Store>,
    pub(super) make: &'s dyn Fn() -> Result<Store>,
}

/// Makes the password file and the repository, each if it is missing, and proves that one opens the other.
pub(super) fn set_up(wanted: &SetUp<'_>, context: &Context) -> Result<Store> {
    let SetUp { config: store, what, open, make } = wanted;
    let monitor = &context.monitor;
    let made = store.password.path().filter(|path| !path.exists());
    if let Some(path) = made {
        secret::make_file(path)?;
        monitor.say(&format!("Made the password file {}.", path.display()));
    }
    let opened = match open() {
        Err(error) if exit_code(&error) == ExitCode::NoStore => {
            make().map(|made| (made, format!("Made a {what} at {}.", store.repository)))
        }
        other => other.map(|there| (there, format!("The {what} at {} opens with this password.", store.repository))),
    };
    let (there, line) = match (opened, made) {
        (Ok(opened), _) => opened,
        (Err(error), Some(path)) if exit_code(&error) == ExitCode::WrongPassword => {
            let path = path.display();
            return Err(error).hint(format!(
                "{path} was made just now, with a new password. Put the repository's own password into it, then run this again."
            ));
        }
        (Err(error), Some(path)) => {
            return Err(error).hint(format!("{} stays. Run this again to go on.", path.display()));
        }
        (Err(error), None) => return Err(error),
    };
    monitor.say(&line);
    Ok(there)
}

/// What must be kept safe, and what to type next.
fn advise(before: Option<&Config>, now: &Config, context: &Context) {
    let monitor = &context.monitor;
    if before.is_some_and(|config| config.store.is_some()) {
        monitor.say("[store] was already set up; the configuration is as it was.");
    }
    if let Some(store) = &now.store {
        monitor.say(&format!(
            "Keep a copy of the password off this machine (it is in {}). Without it nobody can read the backups, not even you.",
            store.password
        ));
    }
    let command = if now.sources.is_empty() { "onboard files host /etc /home" } else { "backup" };
    monitor.say(&format!("Next: {}", next(command, context)));
}
