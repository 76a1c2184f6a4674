//! `[ssh.NAME]`: directories and files of another machine, pulled over SSH. The machine needs nothing but sshd, and never sees the store.
//!
//! ```text
//!  find -printf ──▶ listing ──▶ compared with the point before ──▶ names of what has changed
//!                                                                        │
//!  entries ◀── listing, saved ◀───── tar ◀── one stream ◀───────────── tar -T -
//! ```
//! One command lists ([`gnu`], [`posix`], [`only_sftp`]), [`plan`] compares, one command reads ([`transfer`], [`super::stream`]), [`tree`] puts both together.
//! Each script runs over a [`connection`], which knows whom it talks to ([`link`], [`host_key`]).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};

use super::{Browsed, Item, OpenOptions, Problem, Readiness, Severity, Source, Tree};
use crate::cleanup::Guard;
use crate::config::{SshConfig, SshDump};
use crate::error::{Annotate, chain};
use crate::extract::{Extracted, Layout, RestoreOptions};
use crate::monitor::Monitor;
use crate::store::SavedTree;

mod auth;
mod back;
mod bridge;
mod browse;
mod caches;
mod client_config;
mod commands;
mod complaints;
mod connection;
pub mod discover;
mod dump;
mod excludes;
mod gnu;
mod host;
mod host_key;
mod key;
mod known_hosts;
mod link;
mod lister;
mod listing;
mod node;
pub mod onboarding;
mod only_sftp;
mod pipe;
mod plain;
mod plan;
mod posix;
mod probe;
mod reading;
mod restore;
mod room;
mod shell;
mod sudoers;
mod transfer;
mod tree;
mod unpack;

use back::Back;
use connection::Connection;
use host::{Host, Way};
use lister::{How, Listed, Lister};
use listing::{FILE, Listing, Stat};
use plan::Plan;
use shell::Shell;
use tree::{Shared, SshTree};

/// Where the outputs of commands are in a snapshot.
const DUMPS: &str = "/dumps";

/// What a thread gives back that lists ahead.
type Ahead = (Host, Connection, Result<Listed>);

/// The driver.
pub struct Ssh {
    id: String,
    config: SshConfig,
    roots: Vec<PathBuf>,
    lister: Lister,
    /// The machine, once it was reached, with a connection that nobody uses.
    reached: Mutex<Option<(Host, Option<Connection>)>>,
    /// Lists it, while something else is done.
    ahead: Mutex<Option<JoinHandle<Ahead>>>,
    /// Runs `after`, once `before` was run.
    after: Mutex<Option<Guard>>,
}

impl Ssh {
    /// The source of this configuration.
    pub fn new(config: &SshConfig) -> Result<Self> {
        let id = format!("ssh.{}", config.common.name);
        let lister = Lister::new(&config.leave_out).with_context(|| format!("understand the excludes of {id}"))?;
        let roots = super::outermost(&config.paths);
        let (reached, ahead, after) = Default::default();
        Ok(Self { id, config: config.clone(), roots, lister, reached, ahead, after })
    }

    /// The machine, with a connection; both are kept for the next piece of work.
    fn reach(&self) -> Result<(Host, Connection)> {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((host, connection)) = reached.as_mut() {
            let host = host.clone();
            let connection = connection.take().filter(Connection::is_fresh).map_or_else(|| host.connect(), Ok)?;
            return Ok((host, connection));
        }
        let (host, connection) = Host::reach(&self.config.login, self.config.sudo)?;
        *reached = Some((host.clone(), None));
        Ok((host, connection))
    }

    fn keep(&self, connection: Connection) {
        if let Some((_, kept)) = self.reached.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            *kept = Some(connection);
        }
    }

    /// Lists what is at the roots and below them.
    fn list(&self, host: &Host, connection: &mut Connection, roots: &[PathBuf], how: How) -> Result<Listed> {
        self.lister.list(host, connection, roots, how)
    }

    /// The machine with what is to be backed up there, listed now if nobody has begun to.
    fn listed(&self) -> Result<(Host, Connection, Listed)> {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (host, connection, listed) = match ahead.and_then(|thread| thread.join().ok()) {
            Some(found) => found,
            None => {
                let (host, mut connection) = self.reach_named()?;
                let listed = self.list(&host, &mut connection, &self.roots, How::Wanted);
                (host, connection, listed)
            }
        };
        Ok((host, connection, listed.with_context(|| format!("list {}", self.config.login.host))?))
    }

    fn reach_named(&self) -> Result<(Host, Connection)> {
        self.reach().with_context(|| format!("log in on {}", self.config.login.host))
    }

    /// Every path must be there: a missing one is a disk that is not mounted or a name that is mistyped, and the rest would make a
    /// point that looks whole.
    fn look_at_root(&self, root: &Path, listing: &Listing, problems: &[Problem]) -> Result<()> {
        if listing.has_root(root) {
            return Ok(());
        }
        self.not_listed(root, problems).hint(format!(
            "Is something not mounted there, or may {} not look? Else take {} out of `paths` of {}.",
            self.config.login.user,
            root.display(),
            self.id
        ))
    }

    /// Why there is nothing of a path in a listing.
    fn not_listed<T>(&self, path: &Path, problems: &[Problem]) -> Result<T> {
        let why = problems.iter().find(|problem| problem.path == path && problem.severity == Severity::Unread);
        let why = why.map_or("it is not there", |why| &why.error);
        Err(anyhow!("look at {} on {}: {why}", path.display(), self.config.login.host))
    }

    /// Sees that sudo runs what holdall runs, without a password and without a terminal.
    ///
    /// # Errors
    ///
    /// When it does not, with the lines that its sudoers file needs.
    fn check_sudo(&self, host: &Host, connection: &mut Connection) -> Result<()> {
        let commands = match host.way {
            Way::Gnu if self.roots.is_empty() => return Ok(()),
            Way::Gnu => {
                vec![
                    commands::list(&host.tools, &self.roots, &self.config.leave_out, true),
                    commands::read(&host.tools),
                ]
            }
            Way::Posix => return self.check_programs(host, connection),
            Way::Sftp => return Ok(()),
        };
        self.check_allowed(host, connection, &commands)
    }

    /// The same for a machine without GNU's programs. What they are given there differs from run to run, so sudo must take any arguments.
    fn check_programs(&self, host: &Host, connection: &mut Connection) -> Result<()> {
        if !host.needs_sudo() {
            return Ok(());
        }
        let sudo = self.sudo_of(host)?;
        let posix::sudo::Allowed { programs, refused } = posix::sudo::ask(connection, sudo)?;
        let Some(refused) = refused else { return Ok(()) };
        let (name, user) = (&self.config.login.host, &host.tools.user);
        let lines = to_be_added(&sudoers::programs(user, &programs)?);
        Err(anyhow!("sudo on {name} does not let {user} run {refused}")).hint(format!(
            "{name} lacks GNU find or tar. With both, lines that allow two commands word by word would be enough; without, `find` may run \
             anything as root for {user}. If that is right: {lines}"
        ))
    }

    fn sudo_of<'h>(&self, host: &'h Host) -> Result<&'h str> {
        let none = || anyhow!("{} has no sudo", self.config.login.host);
        host.tools.sudo.as_deref().ok_or_else(none).hint("Install sudo there, log in as root, or take out `sudo`.")
    }

    /// Sees that sudo runs these programs, if it is to be used.
    fn check_allowed(&self, host: &Host, connection: &mut Connection, commands: &[commands::Argv]) -> Result<()> {
        if !host.needs_sudo() {
            return Ok(());
        }
        let (sudo, user) = (self.sudo_of(host)?, &host.tools.user);
        for argv in commands {
            let (ended, _) = connection.capture(&sudoers::trial(sudo, argv), 0)?;
            let said = complaints::said_by_sudo(&ended);
            if ended.status != 0 || said.is_some() {
                let why = said.map_or_else(String::new, |said| format!(": {said}"));
                let program = String::from_utf8_lossy(&argv[0]).into_owned();
                let lines = to_be_added(&sudoers::lines(user, commands)?);
                return Err(anyhow!("sudo on {} does not let {user} run {program}{why}", self.config.login.host))
                    .hint(lines);
            }
        }
        Ok(())
    }

    /// Runs `before`, and sees to it that `after` is run, whatever happens.
    fn begin(&self) -> Result<()> {
        let mut after = self.after.lock().unwrap_or_else(PoisonError::into_inner);
        if after.is_some() {
            return Ok(());
        }
        if !self.config.after.is_empty() {
            let (login, argv) = (self.config.login.clone(), self.config.after.clone());
            *after = Some(Guard::new(move |_| {
                if let Err(error) = run_after(&login, &argv) {
                    tracing::error!("{}", chain(&error));
                }
            }));
        }
        if !self.config.before.is_empty() {
            let (_, mut connection) = self.reach_named()?;
            dump::run(&mut connection, &self.config.before).context("run `before`")?;
            self.keep(connection);
        }
        Ok(())
    }
}

/// What to do with lines for sudoers. They are indented, so that they can be copied from where they are shown.
fn to_be_added(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("\n  {line}")).collect();
    format!("Type there, as root, visudo -f /etc/sudoers.d/holdall and add these lines:{lines}")
}

fn run_after(login: &crate::config::SshLogin, argv: &[String]) -> Result<()> {
    let run = || dump::run(&mut Connection::open(login)?, argv);
    run().with_context(|| format!("run `after` on {}", login.host))
}

impl Source for Ssh {
    fn preflight(&self) -> Result<Readiness> {
        let doing = || format!("log in on {}", self.config.login.host);
        match self.reach() {
            Ok((host, mut connection)) => {
                self.check_sudo(&host, &mut connection)?;
                self.keep(connection);
                Ok(Readiness::Ready)
            }
            Err(error) if self.config.optional && link::is_unreachable(&error) => Ok(Readiness::Away(chain(&error))),
            Err(error) => Err(error).with_context(doing),
        }
    }

    fn anticipate(&self) {
        // Not before the machine is as it shall be backed up.
        if !self.config.before.is_empty() {
            return;
        }
        let Ok((host, mut connection)) = self.reach() else { return };
        let (lister, roots) = (self.lister.clone(), self.roots.clone());
        let thread = thread::Builder::new().name("ssh-list".to_owned()).spawn(move || {
            let listed = lister.list(&host, &mut connection, &roots, How::Wanted);
            (host, connection, listed)
        });
        // Without a thread it is listed when it is asked for.
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = thread.ok();
    }

    fn items(&self) -> Result<Vec<Item>> {
        let mut paths = self.roots.clone();
        if !self.config.dumps.is_empty() {
            paths.push(DUMPS.into());
        }
        Ok(vec![Item { id: self.id.clone(), source: self.id.clone(), paths }])
    }

    fn open(&self, _item: &Item, options: &OpenOptions<'_>, monitor: &dyn Monitor) -> Result<Box<dyn Tree>> {
        if options.dry_run {
            if !self.config.before.is_empty() || !self.config.after.is_empty() || !self.config.dumps.is_empty() {
                monitor.say(&format!("{}: `before`, `after` and dumps are not run in a dry run", self.id));
            }
        } else {
            self.begin()?;
        }
        let (host, mut connection, listed) = self.listed()?;
        let Listed { mut listing, problems, devices } = listed;
        self.roots.iter().try_for_each(|root| self.look_at_root(root, &listing, &problems))?;
        // Before anything is left out: the listing is put into order anew, with all that it has.
        let dumps = if options.dry_run { HashMap::new() } else { add_dumps(&mut listing, &self.config.dumps)? };
        if self.config.leave_out.exclude_caches {
            connection = caches::leave_out(&host, connection, &mut listing).context("look for cache directories")?;
        }
        let mut plan = Plan::new(listing, options.previous, false);
        devices.into_iter().for_each(|(path, device)| plan.set_device(Path::new(OsStr::from_bytes(&path)), device));
        Ok(Box::new(SshTree(Arc::new(Shared {
            host,
            plan,
            problems,
            follows_whole: options.previous.is_some_and(|previous| previous.point().complete),
            dumps,
            connection: Mutex::new(Some(connection)),
            failure: Mutex::default(),
        }))))
    }

    fn overwritten(
        &self,
        item: &Item,
        saved: &SavedTree,
        path: Option<&Path>,
        _opening: &OpenOptions<'_>,
        _monitor: &dyn Monitor,
    ) -> Result<Option<Box<dyn Tree>>> {
        self.to_be_overwritten(item, saved, path)
    }

    fn restore(
        &self,
        _item: &Item,
        saved: &SavedTree,
        options: &RestoreOptions,
        monitor: &dyn Monitor,
    ) -> Result<Extracted> {
        self.bring_back(&Back { saved, directory: None, layout: Layout::WholePath, options }, monitor)
    }

    fn restore_to(
        &self,
        saved: &SavedTree,
        directory: &Path,
        layout: Layout,
        options: &RestoreOptions,
        monitor: &dyn Monitor,
    ) -> Result<Extracted> {
        self.bring_back(&Back { saved, directory: Some(directory), layout, options }, monitor)
    }

    fn browse(&self, path: &Path, is_recursive: bool) -> Result<Browsed> {
        self.look_around(path, is_recursive)
    }

    fn wants_previous(&self) -> bool {
        true
    }

    fn close(&self) -> Result<()> {
        let guard = self.after.lock().unwrap_or_else(PoisonError::into_inner).take();
        match guard {
            Some(guard) => {
                guard.disarm();
                run_after(&self.config.login, &self.config.after)
            }
            None => Ok(()),
        }
    }
}

/// Adds the files that commands will fill.
fn add_dumps(listing: &mut Listing, dumps: &[SshDump]) -> Result<HashMap<listing::Row, SshDump>> {
    let now = chrono::Utc::now();
    let mtime = (now.timestamp(), now.timestamp_subsec_nanos());
    let mut rows = HashMap::new();
    for dump in dumps {
        let path = Path::new(DUMPS).join(&dump.file);
        let row = listing.add_file(&path, Stat { mode: FILE | 0o600, mtime, ..Stat::default() })?;
        rows.insert(row, dump.clone());
    }
    listing.sort();
    Ok(rows)
}
