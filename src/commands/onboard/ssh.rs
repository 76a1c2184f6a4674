//! `holdall onboard ssh`: a `[ssh.NAME]` for a machine that is the one that was meant, lets us in, and can be read.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::files::{name_is_free, parse_exclude, parse_name};
use super::{Context, add_source};
use crate::config::edit::{Edit, Stanza};
use crate::config::{self, SourceConfig, SshConfig, SshHostKey, SshJump, SshLogin};
use crate::error::{Annotate, ExitCode, chain, hints};
use crate::output::printable;
use crate::process::shell_word;
use crate::quantity::show_bytes;
use crate::secret::Secret;
use crate::source::ssh::onboarding::{self, ShownKey};
use crate::ui;

/// How long the machine may take to answer here; the configuration has its own limits.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `onboard ssh`.
#[derive(Debug, clap::Args)]
pub(super) struct SshArgs {
    /// What to call it: a-z, 0-9, `_` and `-`
    #[arg(value_parser = parse_name)]
    name: String,

    /// Name or address of the machine
    #[arg(long)]
    host: String,

    /// Whom to log in as
    #[arg(long, default_value = "root")]
    user: String,

    /// Port of its SSH server
    #[arg(long, default_value_t = 22)]
    port: u16,

    /// The fingerprint of its host key; without it the key is shown and you are asked
    #[arg(long, value_name = "SHA256:…")]
    fingerprint: Option<String>,

    /// Go through this machine: USER@HOST:PORT, for which the same key is used
    #[arg(long, value_name = "MACHINE")]
    jump: Option<String>,

    /// The fingerprint of the host key of the machine on the way
    #[arg(long, value_name = "SHA256:…", requires = "jump")]
    jump_fingerprint: Option<String>,

    /// The private key to log in with; made if it is missing
    ///
    /// Without it: ssh/id_ed25519 beside the configuration file.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// File with the user's password, to install the key with; not needed afterwards
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Read and write there with sudo
    #[arg(long)]
    sudo: bool,

    /// Leave this out, as in a .gitignore at the root of the file system; may be given several times
    #[arg(long, value_name = "GLOB", value_parser = parse_exclude)]
    exclude: Vec<String>,

    /// Show what would be written; install and make nothing
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// What to back up there
    ///
    /// Without it: /etc, /home and /root, as far as they are there.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

pub(super) fn run(args: &SshArgs, context: &Context) -> Result<()> {
    let file = context.config_file();
    if file.try_exists().unwrap_or(true) {
        name_is_free(&args.name, &config::load(&file)?)?;
    }
    let beside = file.parent().unwrap_or(Path::new("/")).join("ssh/id_ed25519");
    let key_file =
        std::path::absolute(args.key_file.as_ref().unwrap_or(&beside)).context("find the current directory")?;
    let stanza =
        |fingerprint: &str, jump: Option<&str>, paths: &[PathBuf]| stanza(args, &key_file, fingerprint, jump, paths);

    // The configuration is checked before anybody is asked anything; what is not known yet is made up.
    let unknown = format!("SHA256:{}", "A".repeat(43));
    let default_paths = ["/etc", "/home", "/root"].map(PathBuf::from).to_vec();
    let paths = if args.paths.is_empty() { &default_paths } else { &args.paths };
    let mut config =
        configured(&Edit::add(&file, &stanza(&unknown, args.jump.as_ref().map(|_| unknown.as_str()), paths)?)?, args)?;
    config.login.connect_timeout = PATIENCE;
    config.login.idle_timeout = config.login.idle_timeout.max(PATIENCE);

    if let Some(mut jump) = config.login.jump.take() {
        let login = to_jump(&config.login, &jump);
        let key = choose(&login, args.jump_fingerprint.as_deref(), "--jump-fingerprint", context)?;
        jump.host_key = SshHostKey::Fingerprint(key);
        config.login.jump = Some(jump);
    }
    let fingerprint = choose(&config.login, args.fingerprint.as_deref(), "--fingerprint", context)?;
    config.login.host_key = SshHostKey::Fingerprint(fingerprint.clone());
    let jump_key = config.login.jump.as_ref().map(|jump| match &jump.host_key {
        SshHostKey::Fingerprint(fingerprint) => fingerprint.clone(),
        SshHostKey::KnownHosts(_) => String::new(),
    });

    be_let_in(args, &mut config, &key_file, context)?;
    if args.paths.is_empty() {
        config.paths = default_paths;
    }
    let found = look(&config, !args.paths.is_empty(), context)?;
    let stanza = stanza(&fingerprint, jump_key.as_deref(), &found)?;
    add_source(&stanza, &file, args.dry_run, context)
}

/// The source as it is written, read back.
fn configured(edit: &Edit, args: &SshArgs) -> Result<SshConfig> {
    let sources = edit.config().sources.iter();
    let found = sources.into_iter().find_map(|source| match source {
        SourceConfig::Ssh(ssh) if ssh.common.name == args.name => Some(SshConfig::clone(ssh)),
        _ => None,
    });
    found.context("the new table is not there")
}

fn stanza(args: &SshArgs, key_file: &Path, fingerprint: &str, jump: Option<&str>, paths: &[PathBuf]) -> Result<Stanza> {
    let text = |path: &Path| {
        path.to_str()
            .map(ToOwned::to_owned)
            .ok_or_else(|| anyhow!("{path:?} is not UTF-8, which the configuration must be"))
    };
    let mut stanza = Stanza::new(["ssh", &args.name]);
    stanza.set("host", args.host.as_str());
    if args.port != 22 {
        stanza.set("port", i64::from(args.port));
    }
    stanza.set("user", args.user.as_str());
    stanza.set("key-file", text(key_file)?);
    stanza.set("host-key", fingerprint);
    if let (Some(machine), Some(key)) = (&args.jump, jump) {
        stanza.set("jump", machine.as_str());
        stanza.set("jump-host-key", key);
    }
    if args.sudo {
        stanza.set("sudo", true);
    }
    let paths = paths.iter().map(|path| text(path)).collect::<Result<Vec<_>>>()?;
    stanza.set_array("paths", paths.iter().map(String::as_str));
    if !args.exclude.is_empty() {
        stanza.set_array("exclude", args.exclude.iter().map(String::as_str));
    }
    Ok(stanza)
}

/// The way to the machine on the way.
fn to_jump(login: &SshLogin, jump: &SshJump) -> SshLogin {
    let SshJump { user, host, port, host_key } = jump.clone();
    SshLogin { user, host, port, host_key, jump: None, ..login.clone() }
}

/// The fingerprint to pin: the one that was given, if the machine shows it, or the one that somebody says yes to.
fn choose(login: &SshLogin, given: Option<&str>, option: &str, context: &Context) -> Result<String> {
    let host = &login.host;
    let keys = onboarding::host_keys(login).with_context(|| format!("ask {host} for its host key"))?;
    let show = |key: &ShownKey| format!("  {:<8} {}", key.kind, key.fingerprint);
    let shown: Vec<String> = keys.iter().map(show).collect();
    let Some(first) = keys.first() else { bail!("{host} shows no host key") };
    if let Some(given) = given {
        let given = given.trim_end_matches('=');
        if keys.iter().any(|key| key.fingerprint == given) {
            return Ok(given.to_owned());
        }
        return Err(anyhow!("{host} has no host key {given}; it has\n{}", shown.join("\n")))
            .hint("Somebody may be in between, or the fingerprint is another machine's. Nothing was sent.");
    }
    context.monitor.say(&format!("{host}, port {}, shows these host keys:\n{}", login.port, shown.join("\n")));
    let question = format!(
        "Compare one with what the machine itself says: ssh-keygen -lf /etc/ssh/ssh_host_{}_key.pub\n\
         Is it this machine? Type `yes` to pin its {} key:",
        first.kind.to_lowercase(),
        first.kind
    );
    match ui::ask(&question).context("ask for confirmation")? {
        Some(answer) if answer == "yes" => Ok(first.fingerprint.clone()),
        Some(_) => bail!("not confirmed; nothing was changed"),
        None => Err(anyhow!("whether that is {host} has to be confirmed, and there is no terminal to ask on"))
            .hint(format!("If it is: {option} {}", first.fingerprint))
            .exit(ExitCode::Usage),
    }
}

/// Sees that the machine lets us in with the key; makes and installs one if need be.
fn be_let_in(args: &SshArgs, config: &mut SshConfig, key_file: &Path, context: &Context) -> Result<()> {
    let has_key = key_file.try_exists().with_context(|| format!("look at {}", key_file.display()))?;
    if has_key {
        match onboarding::log_in(&config.login) {
            Ok(()) => {
                context.monitor.say(&format!("{} lets {} in with {}.", args.host, args.user, key_file.display()));
                return Ok(());
            }
            Err(error) if !hints(&error).iter().any(|hint| hint.starts_with("The server offers")) => return Err(error),
            Err(_) => {}
        }
    }
    if args.dry_run {
        return Err(anyhow!("{} does not let {} in with {} yet", args.host, args.user, key_file.display()))
            .hint("A dry run installs no key: run it without --dry-run.");
    }
    if !has_key {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        onboarding::make(key_file, &format!("holdall@{name}"))?;
        context.monitor.say(&format!("Made a key: {}", key_file.display()));
    }
    let line = onboarding::public_line(key_file)?;
    let mut with_password = config.login.clone();
    with_password.key_file = None;
    with_password.passphrase = None;
    with_password.agent = std::env::var_os("SSH_AUTH_SOCK").is_some();
    with_password.password = match &args.password_file {
        Some(file) => Some(Secret::file(std::path::absolute(file).context("find the current directory")?)),
        None => ui::ask_secret(&format!("Password of {} on {}:", args.user, args.host))
            .context("ask for the password")?
            .map(Secret::literal),
    };
    if with_password.password.is_none() && !with_password.agent {
        return Err(anyhow!("{} does not let {} in with {} yet", args.host, args.user, key_file.display())).hint(format!(
            "Name the user's password with --password-file, or add this line to ~/.ssh/authorized_keys of {} there and run this again:\n{line}",
            args.user
        ));
    }
    onboarding::install_key(&with_password, &line)?;
    onboarding::log_in(&config.login).context("log in with the key that was installed")?;
    context.monitor.say(&format!(
        "{} lets {} in with {} now; the password is not needed any more.",
        args.host,
        args.user,
        shell_word(key_file)
    ));
    Ok(())
}

/// Looks at the machine as a backup would and says what is there; the paths that are.
fn look(config: &SshConfig, must_be_there: bool, context: &Context) -> Result<Vec<PathBuf>> {
    let survey = onboarding::survey(config, !must_be_there)?;
    context.monitor.say(&format!("It is {}; read with {}.", printable(OsStr::new(&survey.system)), survey.way));
    let mut there = Vec::new();
    for (path, found) in survey.paths {
        match found {
            Ok((files, bytes)) => {
                context.monitor.say(&format!("  {}: {files} files, {}", path.display(), show_bytes(bytes)));
                there.push(path);
            }
            Err(error) if must_be_there => return Err(error),
            Err(error) => context.monitor.say(&format!("  left out: {}", chain(&error))),
        }
    }
    if survey.unread > 0 {
        let hint = if config.sudo { "" } else { "; root, or --sudo where there is sudo, may read more" };
        let entries = if survey.unread == 1 { "entry" } else { "entries" };
        context.monitor.say(&format!("  {} {entries} cannot be read by {}{hint}", survey.unread, config.login.user));
    }
    if there.is_empty() {
        bail!("none of /etc, /home and /root can be read; name what to back up");
    }
    Ok(there)
}
