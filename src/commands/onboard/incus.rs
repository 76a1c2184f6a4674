//! `holdall onboard incus`: makes ourselves known to one or two Incus servers, looks at what the source has, and writes a stanza for it.
//!
//! The configuration is checked before anybody is asked anything, the key is made before a token is used, and the stanza is written last. Each
//! step can be repeated: a server that trusts us already needs no token.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::files::{name_is_free, parse_name};
use super::{Context, next, show, write};
use crate::config::edit::{Edit, Stanza};
use crate::config::{self, Config, IncusConfig, SourceConfig};
use crate::error::{Annotate, ExitCode};
use crate::incus::api::Role;
use crate::incus::certificate::{self, Made};
use crate::incus::credentials::{Credentials, Identity};
use crate::incus::onboarding::{Standing, Visit, Welcome};
use crate::incus::token::HOW_TO_MAKE_ONE;
use crate::incus::{Replication, Servers};

mod found;
mod import;
mod ready;
mod tokens;

use found::Found;

/// Arguments of `onboard incus`.
#[derive(Debug, clap::Args)]
pub(super) struct IncusArgs {
    /// What to call it: a-z, 0-9, `_` and `-`
    #[arg(value_parser = parse_name)]
    name: String,

    /// Where the server is that is backed up: https://HOST:8443
    ///
    /// Without it the servers of the table NAME are made to trust us anew, and the table stays as it is.
    #[arg(long, value_name = "URL")]
    source_url: Option<String>,

    /// Where the server is that gets the copies; without it everything goes into the store
    #[arg(long, value_name = "URL", requires = "source_url")]
    target_url: Option<String>,

    #[command(flatten)]
    tokens: tokens::TokenArgs,

    /// The directory with our key and what was pinned
    ///
    /// Without it: incus beside the configuration file.
    #[arg(long, value_name = "DIR", requires = "source_url")]
    credentials: Option<PathBuf>,

    /// Only these projects; may be given several times
    ///
    /// Without it: every project that the source lets us see.
    #[arg(long = "project", value_name = "PROJECT", requires = "source_url")]
    projects: Vec<String>,

    /// Which server connects to the other one for a copy: push: the source, pull: the target
    #[arg(long, value_name = "HOW", value_parser = ["push", "pull"], requires = "source_url")]
    mode: Option<String>,

    /// Take over a config.json of IncusAutobackup, with its credentials; needs no tokens
    #[arg(long, value_name = "FILE", conflicts_with_all = ["source_url", "target_url", "source_token", "source_token_file",
        "target_token", "target_token_file", "credentials", "projects", "mode"])]
    import_iab: Option<PathBuf>,

    /// Replace the table if there is one, and pin other certificates than were pinned
    #[arg(long)]
    force: bool,

    /// Show what would be written; make nothing, and use no token
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(super) fn run(args: &IncusArgs, context: &Context) -> Result<()> {
    let file = context.config_file();
    let config = if file.try_exists().unwrap_or(true) { config::load(&file)? } else { Config::empty(&file) };
    match &args.import_iab {
        None if args.source_url.is_none() => return renew(args, &config, context),
        None => {
            name_may_be_used(args, &config)?;
            onboard(args, &file, context)
        }
        Some(iab) => {
            name_may_be_used(args, &config)?;
            import::run(args, iab, &config, context)
        }
    }
}

/// Makes the servers of a table trust us anew, which stays as it is.
fn renew(args: &IncusArgs, config: &Config, context: &Context) -> Result<()> {
    let Ok(incus) = configured(config, &args.name) else {
        let text = format!("--source-url is missing: {} has no [incus.{}]", config.file.display(), args.name);
        return Err(anyhow!(text)).hint("See `holdall onboard incus --help`.").exit(ExitCode::Usage);
    };
    let replication = Replication::new(incus, &config.file);
    let (source, target) = meet(&replication, args, context)?;
    warn_of_ends(&replication, source, target, context);
    context.monitor.say(&format!("[{}] stays as it is.", replication.id));
    if !args.dry_run {
        context.monitor.say(&format!("Next: {}", next(&format!("backup {}", replication.id), context)));
    }
    Ok(())
}

/// The name is free, or with --force that of a table of the same kind.
fn name_may_be_used(args: &IncusArgs, config: &Config) -> Result<()> {
    let id = format!("incus.{}", args.name);
    if !config.sources.iter().any(|source| source.id() == id) {
        return name_is_free(&args.name, config);
    }
    if args.force {
        return Ok(());
    }
    Err(anyhow!("{} has [{id}] already", config.file.display()))
        .hint("Choose another name, or add --force to replace that table, and nothing else in the file.")
        .exit(ExitCode::Usage)
}

fn onboard(args: &IncusArgs, file: &Path, context: &Context) -> Result<()> {
    let draft = Edit::change(file, &[stanza(args, &Found::default())?], args.force)?;
    let replication = Replication::new(configured(draft.config(), &args.name)?, file);
    let (source, target) = meet(&replication, args, context)?;
    let found = match source.standing {
        Standing::ToCome => {
            context.monitor.say("What it has is seen when it trusts us; without -n the token is used for that.");
            Found::default()
        }
        _ => found::look(&source, &args.projects)?,
    };
    found.tell(context);
    if let Some(target) = target.as_ref().filter(|target| target.standing != Standing::ToCome) {
        ready::tell(&source.server, target, &found, context)?;
    }
    warn_of_ends(&replication, source, target, context);
    finish(vec![stanza(args, &found)?], file, args, "", context)
}

/// Makes ourselves known to both servers, and says how they know us.
fn meet(replication: &Replication, args: &IncusArgs, context: &Context) -> Result<(Welcome, Option<Welcome>)> {
    let tokens = args.tokens.read(context)?;
    for token in [&tokens.source, &tokens.target].into_iter().flatten() {
        token.must_hold(context.now())?;
    }
    if let (Some(source), Some(target)) = (&tokens.source, &tokens.target)
        && source.fingerprint == target.fingerprint
    {
        return Err(anyhow!("both tokens are of the same server")).hint(HOW_TO_MAKE_ONE).exit(ExitCode::Usage);
    }
    let [source, target] = [Role::Source, Role::Target].map(|role| visit(role, replication, &tokens, args));
    let source = source.context("find the URL of the source")?;
    if target.is_none() && args.tokens.names_target() {
        return Err(anyhow!("there is a token of the target, and no target"))
            .hint("Say where it is with --target-url.")
            .exit(ExitCode::Usage);
    }
    source.check()?;
    target.iter().try_for_each(Visit::check)?;
    let identity = identity(&replication.credentials, args.dry_run, context)?;
    let source = source.make(&identity)?;
    context.monitor.say(&source.introduce());
    let target = target.map(|visit| visit.make(&identity)).transpose()?;
    if let Some(target) = &target {
        context.monitor.say(&target.introduce());
        ready::are_two(&source.server, &target.server)?;
    }
    Ok((source, target))
}

fn visit<'v>(
    role: Role,
    replication: &'v Replication,
    tokens: &'v tokens::Tokens,
    args: &IncusArgs,
) -> Option<Visit<'v>> {
    let (url, token) = match role {
        Role::Source => (Some(&replication.config.source), tokens.source.as_ref()),
        Role::Target => (replication.config.target.as_ref(), tokens.target.as_ref()),
    };
    Some(Visit {
        role,
        url: url?,
        token,
        credentials: &replication.credentials,
        may_replace_pin: args.force,
        is_dry_run: args.dry_run,
        idle_timeout: replication.config.idle_timeout,
    })
}

/// What servers are shown: what is there, else a new key and certificate, which in a dry run are not kept.
fn identity(credentials: &Credentials, is_dry_run: bool, context: &Context) -> Result<Identity> {
    if credentials.has_identity()? {
        return credentials.identity();
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let made: Made = certificate::make(&host, context.now())?;
    let (file, _) = credentials.identity_files();
    if is_dry_run {
        context.monitor.say(&format!("Would make a key and its certificate {}.", file.display()));
    } else {
        credentials.keep_identity(&made)?;
        context.monitor.say(&format!("Made a key and its certificate {}.", file.display()));
    }
    Identity::of(&made)
}

fn warn_of_ends(replication: &Replication, source: Welcome, target: Option<Welcome>, context: &Context) {
    let servers = Servers { source: source.server, target: target.map(|target| target.server) };
    for line in certificate::expiring(replication, &servers, context.now()) {
        context.monitor.say(&format!("Warning: {line}."));
    }
}

fn configured<'c>(config: &'c Config, name: &str) -> Result<&'c IncusConfig> {
    let found = config.sources.iter().find_map(|source| match source {
        SourceConfig::Incus(incus) if incus.common.name == name => Some(&**incus),
        _ => None,
    });
    found.context("the new table is not there")
}

fn stanza(args: &IncusArgs, found: &Found) -> Result<Stanza> {
    let mut stanza = Stanza::new(["incus", &args.name]);
    stanza.set("source", args.source_url.as_deref().unwrap_or_default());
    if let Some(target) = &args.target_url {
        stanza.set("target", target);
    }
    if let Some(directory) = &args.credentials {
        stanza.set("credentials", absolute(directory)?);
    }
    if let Some(mode) = &args.mode {
        stanza.set("mode", mode);
    }
    if args.target_url.is_none() {
        stanza.set("export", true);
    }
    found.describe(&mut stanza, &args.projects);
    Ok(stanza)
}

fn absolute(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).context("find the current directory")?;
    let text = path.to_str().ok_or_else(|| anyhow!("{path:?} is not UTF-8, which the configuration must be"));
    text.exit(ExitCode::Usage).map(ToOwned::to_owned)
}

/// Writes the tables, of which the first is the source, and says what to type next, `flags` with a backup; in a dry run only shows them.
fn finish(stanzas: Vec<Stanza>, file: &Path, args: &IncusArgs, flags: &str, context: &Context) -> Result<()> {
    let edit = Edit::change(file, &stanzas, args.force)?;
    if args.dry_run {
        return show(&stanzas, file, context);
    }
    let Some(first) = stanzas.first() else { return Ok(()) };
    let config = configured(edit.config(), &args.name)?;
    let command = match config.export && edit.config().store.is_none() {
        true => "onboard store".to_owned(),
        false => format!("backup {} {flags}", first.name()).trim_end().to_owned(),
    };
    if config.target.is_none() {
        context.monitor.say("There is no target: everything is exported into the store (export = true).");
    }
    write(edit, first, file, context)?;
    context.monitor.say(&format!("Next: {}", next(&command, context)));
    Ok(())
}
