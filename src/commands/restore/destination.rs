//! What `--to` names: a directory of this machine, or one of a machine that is a source.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use crate::config::Config;
use crate::error::{Annotate, ExitCode};
use crate::extract::name;

/// Where a point is restored to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// A directory of this machine.
    Here(PathBuf),
    /// A directory of the machine of this source.
    Machine { source: String, directory: PathBuf },
}

impl Destination {
    /// Reads `DIR` or `ssh.NAME:/DIR`. The latter is a source that is configured, or looks like one; `./ssh.NAME:/DIR` is a directory here.
    ///
    /// # Errors
    ///
    /// Exit code [`ExitCode::Usage`] when there is no such source, or the directory is the root or leads upwards.
    pub(super) fn parse(to: &Path, config: &Config) -> Result<Self> {
        let here = || Ok(Self::Here(to.to_path_buf()));
        let Some((source, directory)) = to.to_str().and_then(|to| to.split_once(":/")) else { return here() };
        let sources: Vec<String> = config.sources.iter().map(|source| source.id()).collect();
        if !sources.iter().any(|id| id == source) {
            if !source.starts_with("ssh.") || source.contains('/') {
                return here();
            }
            let machines: Vec<&str> =
                sources.iter().map(String::as_str).filter(|source| source.starts_with("ssh.")).collect();
            let there_are = match &machines[..] {
                [] => "None is configured".to_owned(),
                machines => format!("There is {}", machines.join(", ")),
            };
            return Err(anyhow!("no source {source} is configured"))
                .hint(format!("{there_are}. For a directory of this machine write ./{}.", to.display()))
                .exit(ExitCode::Usage);
        }
        let names = name::components(Path::new(directory)).exit(ExitCode::Usage)?;
        if names.is_empty() {
            return Err(anyhow!("`{}` is a whole machine, and no directory to restore to", to.display()))
                .hint("Name a directory of it. Back to where it came from: --in-place.")
                .exit(ExitCode::Usage);
        }
        let directory = Path::new("/").join(names.iter().collect::<PathBuf>());
        Ok(Self::Machine { source: source.to_owned(), directory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FilesConfig, SourceCommon, SourceConfig};

    fn parse(to: &str) -> Result<Destination> {
        let mut config = Config::empty(Path::new("config.toml"));
        let common = SourceCommon { name: "pi".to_owned(), every: None, max_age: None, allow_empty: false };
        let files = FilesConfig { common, paths: Vec::new(), leave_out: crate::config::LeaveOut::default() };
        config.sources.push(SourceConfig::Files(files));
        Destination::parse(Path::new(to), &config)
    }

    #[test]
    fn directories_of_this_machine_are_taken_as_they_are() {
        for to in ["/tmp/x", "x", "./ssh.pi:/x", "a:/b", "/a:/b", "files.other:/x", "files.pi", "ssh.pi"] {
            assert_eq!(parse(to).unwrap(), Destination::Here(to.into()), "{to}");
        }
    }

    #[test]
    fn directory_of_a_source_is_on_its_machine() {
        for to in ["files.pi:/srv/x", "files.pi://srv//./x/"] {
            let machine = Destination::Machine { source: "files.pi".to_owned(), directory: "/srv/x".into() };
            assert_eq!(parse(to).unwrap(), machine, "{to}");
        }
    }

    #[test]
    fn machine_that_is_not_known_and_directory_that_is_none_are_refused() {
        for to in ["ssh.pi:/srv", "files.pi:/", "files.pi:/srv/../etc"] {
            assert!(parse(to).is_err(), "{to}");
        }
    }
}
