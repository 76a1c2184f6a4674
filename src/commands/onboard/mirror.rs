//! `holdall onboard store --mirror NAME`: a password file, a repository that cuts files as the store does, and `[[mirror]]` in the configuration, in this order.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};

use super::store::{SetUp, StoreArgs, Wanted, agrees, set_up};
use super::{Context, next, show, write};
use crate::commands::mirror::CUTS_OTHERWISE;
use crate::commands::mirrors::about;
use crate::config::edit::{Edit, Stanza};
use crate::config::{self, Config, MirrorConfig, check_name};
use crate::error::{Annotate, ExitCode};
use crate::store::Store;

pub(super) fn run(args: &StoreArgs, name: &str, context: &Context) -> Result<()> {
    check_name(name).map_err(|why| anyhow!(why)).exit(ExitCode::Usage)?;
    let file = context.config_file();
    let config = config::load(&file)?;
    if config.store.is_none() {
        return Err(anyhow!("{} has no [store] that could be mirrored", file.display()))
            .hint("Set one up with `holdall onboard store` first.")
            .exit(ExitCode::Usage);
    }
    match find(&config, name) {
        Some(mirror) => {
            let wanted = Wanted::new(args, &file, "", Some(&mirror.store))?;
            agrees(&wanted, &mirror.store).with_context(|| format!("set up the mirror {name} in {file:?}"))?;
            if args.dry_run {
                context.monitor.say(&format!("The mirror {name} is in {} already; nothing to add.", file.display()));
                return Ok(());
            }
            prove(mirror, &config, context)?;
            context.monitor.say(&format!("The mirror {name} was already set up; the configuration is as it was."));
        }
        None => {
            let stanza = stanza(args, name, &file)?;
            let edit = Edit::add(&file, &stanza)?;
            if args.dry_run {
                return show(&[stanza], &file, context);
            }
            let mirror = find(edit.config(), name).context("read [[mirror]] back")?.clone();
            prove(&mirror, &config, context)?;
            write(edit, &stanza, &file, context)?;
            context.monitor.say(&format!(
                "Keep a copy of its password off this machine, too (it is in {}): it is another one than that of the store.",
                mirror.store.password
            ));
        }
    }
    context.monitor.say(&format!("Next: {}", next(&format!("mirror {name}"), context)));
    Ok(())
}

fn find<'c>(config: &'c Config, name: &str) -> Option<&'c MirrorConfig> {
    config.mirrors.iter().find(|mirror| mirror.name == name)
}

fn stanza(args: &StoreArgs, name: &str, file: &Path) -> Result<Stanza> {
    if args.repository.is_none() {
        return Err(anyhow!("where the mirror {name} is to be is not said"))
            .hint(format!("Name a directory or a URL: `holdall onboard store --mirror {name} REPOSITORY`."))
            .exit(ExitCode::Usage);
    }
    let mut stanza = Stanza::listed("mirror");
    stanza.set("name", name);
    Wanted::new(args, file, name, None)?.fill(&mut stanza);
    Ok(stanza)
}

/// Makes what is missing, and proves that the mirror opens.
fn prove(mirror: &MirrorConfig, config: &Config, context: &Context) -> Result<()> {
    let monitor = &context.monitor;
    let open_store = || Store::open(config.store.as_ref().context("there is no store")?, Arc::clone(monitor));
    let there = set_up(
        &SetUp {
            config: &mirror.store,
            what: "mirror",
            open: &|| Store::open_mirror(mirror, Arc::clone(monitor)),
            make: &|| open_store().context("see how the store cuts files")?.init_mirror(mirror, Arc::clone(monitor)),
        },
        context,
    )?;
    // It is of use all the same, and the store may be out of reach just now.
    if matches!(open_store().and_then(|store| store.cuts_as(&there)), Ok(false)) {
        tracing::warn!("{}: {CUTS_OTHERWISE}", about(mirror));
    }
    Ok(())
}
