//! Dumps: commands run in a container whose output is a file of the snapshot.
//!
//! Which ones: those that are configured, and those that the label `holdall.dump` of a container names ([`presets`]). The output is a stream
//! that the engine hands on, and a connection that is cut looks like its end. So the command is run by the container's shell, if it has one, which says
//! behind the output that it was all, and with which status it ended ([`trailer`]).

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};

use super::engine::{Container, Engine, State};
use crate::config::{ContainerDump, locate};
use crate::error::Annotate;
use crate::source::Failure;
use crate::source::parts::{Missing, Output};
use crate::source::{Content, Problem, Severity};

mod presets;
mod trailer;

use trailer::Trailed;

/// A command in a container whose output is a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dump {
    /// What it is called when it fails.
    pub(crate) program: String,
    pub(crate) command: Vec<String>,
    /// Whom to run it as; `None`: whom the container runs as.
    pub(crate) user: Option<String>,
    /// The name of the file, relative.
    pub(crate) file: PathBuf,
}

/// The dumps of a container: those that are configured, and those that its label names.
///
/// # Errors
///
/// When the label means nothing, or a file would be there twice.
pub(crate) fn wanted<'c>(
    container: &Container,
    configured: impl IntoIterator<Item = &'c ContainerDump>,
) -> Result<Vec<Dump>> {
    let mut dumps: Vec<Dump> = configured
        .into_iter()
        .map(|ContainerDump { command, user, file, .. }| Dump {
            program: command.first().cloned().unwrap_or_default(),
            command: command.clone(),
            user: user.clone(),
            file: file.clone(),
        })
        .collect();
    let labelled = presets::of_labels(&container.labels).with_context(|| format!("container {}", container.name))?;
    for dump in labelled {
        if dumps.iter().any(|other| other.file.starts_with(&dump.file) || dump.file.starts_with(&other.file)) {
            return Err(anyhow!("the dump {} of container {} is there twice", dump.file.display(), container.name))
                .hint("It is configured, and its label holdall.dump names it as well: keep one of them.");
        }
        dumps.push(dump);
    }
    Ok(dumps)
}

impl Dump {
    /// Begins to run it.
    fn start(&self, engine: &Engine, container: &Container) -> Result<Box<dyn Read + Send>> {
        if container.state != State::Running {
            return Err(anyhow!("the container does not run"))
                .hint("Start it, or take the dump out of the configuration or of its label holdall.dump.");
        }
        if !engine.has_path(&container.id, "/bin/sh")? {
            return Ok(Box::new(engine.exec(&container.id, &self.command, self.user.as_deref(), &self.program)?));
        }
        let trailer = trailer::make();
        let command = trailer::command(&self.command, &trailer);
        let exec = engine.exec(&container.id, &command, self.user.as_deref(), &self.program)?;
        Ok(Box::new(Trailed::new(exec, trailer, self.program.clone())))
    }

    fn doing(&self, container: &Container) -> String {
        format!("dump {} in container {}", self.file.display(), container.name)
    }

    /// Its output as a file of a tree, as it comes while it is read. When the command fails, `failure` hears of it.
    pub(crate) fn streamed(
        self,
        engine: &Engine,
        container: &Container,
        failure: &Failure,
    ) -> Output<impl Fn() -> Content + Send + Sync + use<>> {
        let (engine, container, failure) = (engine.clone(), container.clone(), failure.clone());
        Output(move || {
            let (dump, engine, container) = (self.clone(), engine.clone(), container.clone());
            failure.watch(self.doing(&container), move || dump.start(&engine, &container))
        })
    }

    /// What stands in its place in a dry run: a command may change something.
    pub(crate) fn passed_over(&self, at: &Path) -> Missing {
        let error = format!("{} is not run in a dry run", self.program);
        Missing(Problem { path: at.to_path_buf(), error, severity: Severity::Warning })
    }

    /// Its output as a file of a tree, taken now: for a container that is held while the tree is read. It waits, packed, in a file without a name in the directory for such files.
    pub(crate) fn taken(
        &self,
        engine: &Engine,
        container: &Container,
    ) -> Result<Output<impl Fn() -> Content + Send + Sync + use<>>> {
        let take = || -> Result<_> {
            let mut output = self.start(engine, container)?;
            let directory = locate::cache_dir().unwrap_or_else(std::env::temp_dir);
            std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
            let file = tempfile::tempfile_in(&directory)
                .with_context(|| format!("make a temporary file in {}", directory.display()))?;
            let mut packed = zstd::Encoder::new(file, 1).context("pack it")?;
            io::copy(&mut output, &mut packed)?;
            Ok(packed.finish()?)
        };
        let file = Arc::new(take().with_context(|| self.doing(container))?);
        Ok(Output(move || {
            let file = file.try_clone();
            Content::unsized_stream(move || {
                let mut file = file?;
                file.seek(SeekFrom::Start(0))?;
                Ok(Box::new(zstd::Decoder::new(file)?))
            })
        }))
    }
}
