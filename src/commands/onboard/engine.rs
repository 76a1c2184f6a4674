//! `holdall onboard docker` and `holdall onboard compose`: a stanza for a container engine that answers, and has what is named.

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};

use super::files::{name_is_free, parse_name};
use super::{Context, add_source};
use crate::config::edit::{Edit, Stanza};
use crate::config::{self, SourceConfig};
use crate::error::{Annotate, ExitCode};
use crate::job::Job;
use crate::source::docker::onboarding;

/// How many items are named.
const SHOWN: usize = 20;

/// Where the engine is.
#[derive(Debug, clap::Args)]
struct EngineArgs {
    /// Where the engine is: unix:///PATH or tcp://HOST:PORT
    ///
    /// Without it: $DOCKER_HOST, or the first socket of Docker or podman that is there.
    #[arg(long)]
    host: Option<String>,

    /// The authority that has signed the engine's certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert", requires = "tls_key")]
    tls_ca: Option<PathBuf>,

    /// The certificate to show to the engine
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    tls_cert: Option<PathBuf>,

    /// Its private key
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    tls_key: Option<PathBuf>,

    /// What is done to running containers while what they write to is read: none, pause or stop
    #[arg(long, value_name = "HOW", value_parser = ["none", "pause", "stop"])]
    hold: Option<String>,

    /// Show what would be written; change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Arguments of `onboard docker`.
#[derive(Debug, clap::Args)]
pub(super) struct DockerArgs {
    /// What to call it: a-z, 0-9, `_` and `-`
    #[arg(value_parser = parse_name)]
    name: String,

    #[command(flatten)]
    engine: EngineArgs,

    /// Volumes, by name or glob; may be given several times
    ///
    /// Without any of --volume, --container and --image: all volumes.
    #[arg(long, value_name = "GLOB")]
    volume: Vec<String>,

    /// Containers with what is mounted in them, by name or glob; may be given several times
    #[arg(long, value_name = "GLOB")]
    container: Vec<String>,

    /// Images, by name or glob; may be given several times
    #[arg(long, value_name = "GLOB")]
    image: Vec<String>,

    /// Leave this out: volume/GLOB, container/GLOB or image/GLOB; may be given several times
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
}

/// Arguments of `onboard compose`.
#[derive(Debug, clap::Args)]
pub(super) struct ComposeArgs {
    /// What to call it: a-z, 0-9, `_` and `-`
    #[arg(value_parser = parse_name)]
    name: String,

    #[command(flatten)]
    engine: EngineArgs,

    /// The directory below which every directory with a compose file is a stack
    ///
    /// Without it: the projects that the engine has containers of.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,

    /// Only these stacks, by name or glob; may be given several times
    #[arg(long, value_name = "GLOB")]
    stack: Vec<String>,

    /// Never stop these stacks; may be given several times
    #[arg(long, value_name = "GLOB")]
    keep_running: Vec<String>,
}

pub(super) fn docker(args: &DockerArgs, context: &Context) -> Result<()> {
    let mut stanza = Stanza::new(["docker", &args.name]);
    describe(&args.engine, &mut stanza)?;
    let every_volume = ["*".to_owned()];
    let is_unsaid = args.volume.is_empty() && args.container.is_empty() && args.image.is_empty();
    let volumes = if is_unsaid { &every_volume[..] } else { &args.volume[..] };
    let lists =
        [("volumes", volumes), ("containers", &args.container), ("images", &args.image), ("exclude", &args.exclude)];
    set_lists(&mut stanza, &lists);
    add(&args.name, &stanza, &args.engine, context)
}

pub(super) fn compose(args: &ComposeArgs, context: &Context) -> Result<()> {
    let mut stanza = Stanza::new(["compose", &args.name]);
    describe(&args.engine, &mut stanza)?;
    set_path(&mut stanza, "directory", args.directory.as_ref())?;
    set_lists(&mut stanza, &[("stacks", &args.stack), ("keep-running", &args.keep_running)]);
    add(&args.name, &stanza, &args.engine, context)
}

fn describe(args: &EngineArgs, stanza: &mut Stanza) -> Result<()> {
    // A timer has none of what this shell has in its environment.
    let of_shell = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    if let Some(host) = args.host.clone().or(of_shell) {
        stanza.set("host", host);
    }
    for (key, file) in [("tls-ca", &args.tls_ca), ("tls-cert", &args.tls_cert), ("tls-key", &args.tls_key)] {
        set_path(stanza, key, file.as_ref())?;
    }
    if let Some(hold) = &args.hold {
        stanza.set("hold", hold);
    }
    Ok(())
}

fn set_path(stanza: &mut Stanza, key: &str, path: Option<&PathBuf>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let path = std::path::absolute(path).context("find the current directory")?;
    let text = path.to_str().ok_or_else(|| anyhow!("{path:?} is not UTF-8, which the configuration must be"));
    stanza.set(key, text.exit(ExitCode::Usage)?);
    Ok(())
}

fn set_lists(stanza: &mut Stanza, lists: &[(&str, &[String])]) {
    for (key, list) in lists.iter().filter(|(_, list)| !list.is_empty()) {
        stanza.set_array(key, list.iter().map(String::as_str));
    }
}

/// Looks at the engine as a backup would, says what there is, and writes the stanza.
fn add(name: &str, stanza: &Stanza, args: &EngineArgs, context: &Context) -> Result<()> {
    let file = context.config_file();
    if file.try_exists().unwrap_or(true) {
        name_is_free(name, &config::load(&file)?)?;
    }
    let edit = Edit::add(&file, stanza)?;
    let id = stanza.name();
    let source = edit.config().sources.iter().find(|source| source.id() == id).context("the new table is not there")?;
    let engine = match source {
        SourceConfig::Docker(docker) => &docker.engine,
        SourceConfig::Compose(compose) => &compose.engine,
        _ => return Err(anyhow!("[{id}] is no engine")),
    };
    context.monitor.say(&onboarding::introduce(engine)?);
    let items = Job::find(edit.config(), &id)?.source()?.items()?;
    if items.is_empty() {
        return Err(anyhow!("nothing there is what you named"))
            .hint("`holdall discover docker compose` lists what there is.")
            .exit(ExitCode::Usage);
    }
    for item in items.iter().take(SHOWN) {
        context.monitor.say(&format!("  {}", crate::output::printable(item.id.as_ref())));
    }
    if let Some(more) = items.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        context.monitor.say(&format!("  and {more} more"));
    }
    add_source(stanza, &file, args.dry_run, context)
}
