//! One stack as a tree: its files, its volumes, its dumps, and what there is to know of it.
//!
//! Nothing is held longer than it takes to read: what can be looked up is looked up before, and dumps, which need a running container, are taken before.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use super::describe::{Manner, describe};
use super::excludes::Excludes;
use super::places::{PROJECT, Places, Wanted, bind_path};
use super::project::Project;
use super::stacks::Stack;
use super::{labels, paths};
use crate::config::{ComposeConfig, ContainerDump, Hold, LeaveOut};
use crate::error::Annotate;
use crate::monitor::Monitor;
use crate::source::docker::dump;
use crate::source::docker::engine::{Container, Engine, State, Volume};
use crate::source::docker::hold::{self, Failures, Holder, Holding};
use crate::source::docker::volume::Reader;
use crate::source::files::Local;
use crate::source::parts::{Missing, Parts, Text};
use crate::source::{Problem, Severity};

/// How one stack is read.
pub(super) struct Reading<'r> {
    /// `compose.stacks/paperless`
    pub(super) item: &'r str,
    pub(super) stack: &'r Stack,
    pub(super) config: &'r ComposeConfig,
    pub(super) excludes: Excludes<'r>,
    pub(super) reader: &'r Reader<'r>,
    /// Every container of the engine.
    pub(super) all: &'r [Container],
    pub(super) failures: &'r Failures,
    pub(super) monitor: &'r dyn Monitor,
}

impl Reading<'_> {
    /// Puts the stack together, and holds it as it is configured.
    ///
    /// # Errors
    ///
    /// When it is not clear what belongs to it; when a dump fails, or a container cannot be held; when a volume cannot be read.
    pub(super) fn open(&self) -> Result<(Parts, Holding)> {
        self.stack.is_one()?;
        let is_own = self.is_own_machine()?;
        let project = self.stack.project();
        let volumes = self.volumes(&project)?;
        let with_data = self.config.include_data;
        let wanted = Wanted { stack: self.stack, project: &project, excludes: &self.excludes, with_data, is_own };
        let places = Places::find(&wanted)?;
        let mut parts = Parts::default();
        let users = self.users(&volumes);
        let depends = self.stack.depends(&project);
        let held = self.held(&users, &depends)?;
        self.put_dumps(&held, &mut parts)?;
        let holding = self.hold(&users, &depends, &held)?;
        // Only now: with the last that uses it the engine may take away what is mounted for a volume.
        self.put_files(&places, &mut parts)?;
        for volume in &volumes {
            let at = Path::new("/volumes").join(&volume.name);
            if with_data {
                self.reader.put(volume, &at, &mut parts)?;
            } else {
                parts.put(at.join("volume.json"), Text::json(&volume.inspect));
            }
        }
        let names: Vec<String> = volumes.into_iter().map(|volume| volume.name).collect();
        let manner = Manner {
            files: places.listed(),
            held: if self.reader.is_dry_run { "none" } else { self.how(&held) },
            keeps_running: self.keeps_running(),
            with_data,
        };
        parts.put("/stack.json", Text::json(&describe(self.stack, &project, &names, manner, self.reader.engine)?));
        Ok((parts, holding))
    }

    fn engine(&self) -> &Engine {
        self.reader.engine
    }

    /// Whether the engine is this machine's.
    ///
    /// # Errors
    ///
    /// When it is not, and the files of the stack are there.
    fn is_own_machine(&self) -> Result<bool> {
        let is_own = self.engine().is_here()?;
        if is_own || self.stack.is_below {
            return Ok(is_own);
        }
        let host = &self.engine().info()?.host;
        Err(anyhow!("the files of the stack {} are on {host}, which is not this machine", self.stack.name)).hint(
            "Run holdall on that machine, or have `directory` say where the folders of the stacks are here. \
             Its volumes alone are saved by a [docker.NAME], and its files by an [ssh.NAME].",
        )
    }

    fn keeps_running(&self) -> bool {
        self.config.keep_running.iter().any(|stack| stack.matches(&self.stack.name))
    }

    /// The volumes of the stack: those that its containers use, that were made for it, and that its files name.
    fn volumes(&self, project: &Project) -> Result<Vec<Volume>> {
        let mut names: BTreeSet<String> = project.volume_names(&self.stack.name).into_iter().collect();
        names.extend(self.stack.containers.iter().flat_map(Container::volumes).map(str::to_owned));
        let volumes = self.engine().volumes()?.into_iter().filter(|volume| !volume.is_ours());
        let own = volumes.filter(|volume| {
            names.contains(&volume.name) || labels::project_of(volume) == Some(self.stack.name.as_str())
        });
        let own: Vec<Volume> = own.collect();
        match own.iter().find(|volume| !paths::is_plain(&volume.name)) {
            Some(odd) => Err(anyhow!("a volume has a name that no volume can have: {:?}", odd.name)),
            None => Ok(own),
        }
    }

    /// Whoever writes to what is read: the containers of the stack, and others that share its volumes.
    fn users(&self, volumes: &[Volume]) -> Vec<Container> {
        if !self.config.include_data || self.keeps_running() {
            return Vec::new();
        }
        let is_own = |container: &Container| self.stack.containers.iter().any(|own| own.id == container.id);
        let shares =
            |container: &Container| container.volumes().any(|name| volumes.iter().any(|volume| volume.name == name));
        let users = self.all.iter().filter(|container| is_own(container) || shares(container));
        users.filter(|container| !container.is_ours()).cloned().collect()
    }

    fn holder(&self) -> Holder<'_> {
        Holder { engine: self.engine(), source: self.reader.source, config: &self.config.hold }
    }

    /// Ids of the containers that are held while the stack is read.
    fn held(&self, users: &[Container], depends: &[(String, String)]) -> Result<Vec<String>> {
        if users.is_empty() { Ok(Vec::new()) } else { self.holder().would_hold(users, self.all, depends) }
    }

    fn hold(&self, users: &[Container], depends: &[(String, String)], held: &[String]) -> Result<Holding> {
        if held.is_empty() {
            return Ok(Holding::default());
        }
        if self.reader.is_dry_run {
            hold::say_in_dry_run(self.item, held, self.all, self.monitor);
            return Ok(Holding::default());
        }
        Ok(Holding::new(self.holder().hold(users, self.all, depends, self.monitor)?, self.failures))
    }

    /// What is done to those that are held, as it is written down.
    fn how(&self, held: &[String]) -> &'static str {
        match self.config.hold.hold {
            _ if held.is_empty() => "none",
            Hold::Pause => "pause",
            Hold::Stop | Hold::None => "stop",
        }
    }

    /// Puts the dumps of the services into the tree. Those of containers that are going to be held are taken now.
    fn put_dumps(&self, held: &[String], parts: &mut Parts) -> Result<()> {
        let own = format!("{}/", self.stack.name);
        let mut configured: Vec<(&str, &ContainerDump)> = Vec::new();
        for dump in &self.config.dumps {
            configured.extend(dump.container.strip_prefix(&own).map(|service| (service, dump)));
        }
        let mut services: BTreeSet<&str> = self.stack.containers.iter().map(labels::service).collect();
        services.extend(configured.iter().map(|(service, _)| *service));
        for service in services {
            let of_service = || self.stack.containers.iter().filter(|one| labels::service(one) == service);
            let own = configured.iter().filter(|(wanted, _)| *wanted == service).map(|(_, dump)| *dump);
            // Several containers of one service share what they work on: one of them tells it.
            let running = of_service().find(|container| container.state == State::Running);
            let Some(container) = running.or_else(|| of_service().next()) else {
                own.for_each(|dump| put_missing(service, &dump.file, "the service has no container", parts));
                continue;
            };
            let wanted = dump::wanted(container, own)?;
            if !wanted.is_empty() && !paths::is_plain(service) {
                return Err(anyhow!("a service has a name that none can have: {service:?}"));
            }
            for dump in wanted {
                let at = Path::new("/dumps").join(service).join(&dump.file);
                if running.is_none() {
                    put_missing(service, &dump.file, "its container does not run", parts);
                } else if self.reader.is_dry_run {
                    parts.put(&at, dump.passed_over(&at));
                } else if held.contains(&container.id) {
                    parts.put(at, dump.taken(self.engine(), container)?);
                } else {
                    parts.put(at, dump.streamed(self.engine(), container, self.reader.failure));
                }
            }
        }
        Ok(())
    }

    /// Puts the files of the stack into the tree, and what its containers have mounted from elsewhere.
    fn put_files(&self, places: &Places, parts: &mut Parts) -> Result<()> {
        let mut never = self.reader.never.to_vec();
        never.extend(self.stack.others.iter().cloned());
        let mut problems = places.problems.clone();
        for (source, at) in &places.files {
            let is_whole = at == Path::new(PROJECT);
            let exclude = match &self.stack.directory {
                Some(directory) if is_whole => self.excludes.below(directory)?,
                _ => Vec::new(),
            };
            let leave_out = LeaveOut { exclude, ..LeaveOut::default() };
            match Local::new(source, &leave_out, &never) {
                Ok(local) => parts.put(at, local),
                // Without its folder there is no stack.
                Err(error) if is_whole => return Err(error).with_context(|| format!("read {}", source.display())),
                Err(error) => problems.push(unread(source, crate::error::chain(&error))),
            }
        }
        for (number, bind) in places.binds.iter().enumerate() {
            let at = bind_path(number);
            if !bind.is_file {
                self.reader.put_bind(&bind.source, &at, parts);
                continue;
            }
            match Local::new(&bind.source, &LeaveOut::default(), self.reader.never) {
                Ok(local) => parts.put(at, local),
                Err(error) => problems.push(unread(&bind.source, crate::error::chain(&error))),
            }
        }
        let table = places.table();
        if table.as_array().is_some_and(|lines| !lines.is_empty()) {
            parts.put("/binds.json", Text::json(&table));
        }
        for (number, problem) in problems.into_iter().enumerate() {
            parts.put(format!("/{number}.problem"), Missing(problem));
        }
        Ok(())
    }
}

fn put_missing(service: &str, file: &Path, why: &str, parts: &mut Parts) {
    let path = Path::new("/dumps").join(service).join(file);
    parts.put(path.clone(), Missing(unread(&path, why.to_owned())));
}

fn unread(path: &Path, error: String) -> Problem {
    Problem { path: path.to_path_buf(), error, severity: Severity::Unread }
}
