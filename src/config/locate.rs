//! Where things are on this machine: the configuration, the cache, the directory for locks, a default store.
//!
//! The only reader of environment variables that name directories. Every answer is a pure function of a [`Surroundings`], so that
//! tests need not change the process; the functions without one ask the process. Nothing here needs `$HOME`.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::error::Annotate;

/// What the answers depend on.
#[derive(Clone, Copy)]
struct Surroundings<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    exists: &'a dyn Fn(&Path) -> bool,
    root: bool,
}

impl Surroundings<'_> {
    fn of_process() -> Surroundings<'static> {
        Surroundings {
            variable: &|name| std::env::var_os(name),
            exists: &|path| path.exists(),
            root: geteuid().is_root(),
        }
    }

    fn get(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// The first directory that systemd passes in `name`: it may hold several, separated by colons.
    fn systemd(&self, name: &str) -> Option<PathBuf> {
        let value = self.get(name)?;
        let first = value.as_bytes().split(|&byte| byte == b':').next()?;
        Some(PathBuf::from(OsString::from_vec(first.to_vec())))
    }

    /// A directory of the XDG base directory specification, which says to ignore relative ones.
    fn xdg(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    fn xdg_or_home(&self, name: &str, below_home: &str) -> Option<PathBuf> {
        let base = self.xdg(name).or_else(|| self.xdg("HOME").map(|home| home.join(below_home)))?;
        Some(base.join("holdall"))
    }

    fn config_file(&self, given: Option<&Path>) -> PathBuf {
        // What is named explicitly is used also when it is missing: anything else would back up by a file nobody meant.
        if let Some(file) = given.map(Path::to_path_buf).or_else(|| self.get("HOLDALL_CONFIG").map(PathBuf::from)) {
            return file;
        }
        let system = Path::new("/etc/holdall/config.toml");
        let users = self.xdg_or_home("XDG_CONFIG_HOME", ".config").map(|directory| directory.join("config.toml"));
        let units = self.systemd("CONFIGURATION_DIRECTORY").map(|directory| directory.join("config.toml"));
        let existing =
            [units, users.clone(), Some(system.to_path_buf())].into_iter().flatten().find(|f| (self.exists)(f));
        existing.or_else(|| users.filter(|_| !self.root)).unwrap_or_else(|| system.to_path_buf())
    }

    fn cache_dir(&self) -> Option<PathBuf> {
        self.systemd("CACHE_DIRECTORY")
            .or_else(|| self.xdg_or_home("XDG_CACHE_HOME", ".cache"))
            .or_else(|| self.root.then(|| PathBuf::from("/var/cache/holdall")))
    }

    fn runtime_dir(&self) -> Option<PathBuf> {
        self.systemd("RUNTIME_DIRECTORY")
            .or_else(|| self.root.then(|| PathBuf::from("/run/holdall")))
            .or_else(|| self.xdg("XDG_RUNTIME_DIR").map(|directory| directory.join("holdall")))
    }

    fn default_repository(&self) -> Option<PathBuf> {
        if self.root {
            return Some("/srv/holdall".into());
        }
        self.xdg_or_home("XDG_DATA_HOME", ".local/share")
    }
}

/// The configuration file: the one given, else the first that exists, else where a new one belongs.
pub fn config_file(given: Option<&Path>) -> PathBuf {
    Surroundings::of_process().config_file(given)
}

/// Where what can be fetched again is kept; `None` when there is no such place, and no cache then.
pub fn cache_dir() -> Option<PathBuf> {
    Surroundings::of_process().cache_dir()
}

/// Where a store of this machine's own goes unless the user says otherwise; `None` without a home.
pub fn default_repository() -> Option<PathBuf> {
    Surroundings::of_process().default_repository()
}

/// The home directory of the user; `None` when there is none, as for a service.
pub fn home_dir() -> Option<PathBuf> {
    Surroundings::of_process().xdg("HOME")
}

/// The directory in which systemd passes credentials to this unit.
pub fn credentials_dir() -> Option<PathBuf> {
    Surroundings::of_process().get("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// Where locks are, the same for every run of one user. It exists afterwards.
///
/// # Errors
///
/// When it cannot be made, or is somebody else's.
pub fn runtime_dir() -> Result<PathBuf> {
    if let Some(directory) = Surroundings::of_process().runtime_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("make the runtime directory {directory:?}"))?;
        return Ok(directory);
    }
    let directory = std::env::temp_dir().join(format!("holdall-{}", geteuid()));
    private_dir(&directory).hint("Set $XDG_RUNTIME_DIR to a directory that only you can write.")?;
    Ok(directory)
}

/// Makes a directory in a place where anybody can make one, and sees to it that it is ours alone.
fn private_dir(directory: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("make the runtime directory {directory:?}"));
        }
        _ => {}
    }
    // Not following a link: somebody else may have put one there.
    let found = fs::symlink_metadata(directory).with_context(|| format!("look at {directory:?}"))?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
        bail!("{directory:?} is not a directory that only this user can write");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// Asks under these variables, existing files, and as root or not.
    fn within<T>(variables: &[(&str, &str)], files: &[&str], root: bool, ask: impl Fn(Surroundings) -> T) -> T {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        let exists = |path: &Path| files.iter().any(|file| Path::new(file) == path);
        ask(Surroundings { variable: &variable, exists: &exists, root })
    }

    fn config(variables: &[(&str, &str)], files: &[&str], root: bool) -> String {
        within(variables, files, root, |around| around.config_file(None)).display().to_string()
    }

    const SYSTEM: &str = "/etc/holdall/config.toml";
    const USERS: &str = "/home/u/.config/holdall/config.toml";

    #[test]
    fn first_existing_configuration_is_used() {
        let variables = [("CONFIGURATION_DIRECTORY", "/etc/unit:/etc/other"), ("HOME", "/home/u")];
        assert_eq!(config(&variables, &["/etc/unit/config.toml", USERS, SYSTEM], true), "/etc/unit/config.toml");
        assert_eq!(config(&variables, &[USERS, SYSTEM], true), USERS);
        assert_eq!(config(&variables, &[SYSTEM], false), SYSTEM);
        assert_eq!(
            config(&[("HOME", "/home/u"), ("XDG_CONFIG_HOME", "/c")], &["/c/holdall/config.toml"], false),
            "/c/holdall/config.toml"
        );
    }

    #[test]
    fn new_configuration_belongs_to_the_system_for_root_and_to_the_user_otherwise() {
        assert_eq!(config(&[("HOME", "/root")], &[], true), SYSTEM);
        assert_eq!(config(&[("HOME", "/home/u")], &[], false), USERS);
        assert_eq!(config(&[], &[], false), SYSTEM);
    }

    #[test]
    fn named_configuration_is_used_even_if_missing() {
        let given = |given: Option<&str>| {
            within(&[("HOLDALL_CONFIG", "/x/h.toml")], &[SYSTEM], true, |around| {
                around.config_file(given.map(Path::new))
            })
        };
        assert_eq!(given(Some("mine.toml")), Path::new("mine.toml"));
        assert_eq!(given(None), Path::new("/x/h.toml"));
    }

    #[test]
    fn empty_variables_and_relative_xdg_directories_do_not_count() {
        assert_eq!(config(&[("HOLDALL_CONFIG", ""), ("XDG_CONFIG_HOME", "c"), ("HOME", "/home/u")], &[], false), USERS);
    }

    #[test]
    fn cache_needs_neither_home_nor_systemd() {
        let cache = |variables: &[(&str, &str)], root| within(variables, &[], root, |around| around.cache_dir());
        let both = [("CACHE_DIRECTORY", "/var/cache/unit"), ("XDG_CACHE_HOME", "/c")];
        assert_eq!(cache(&both, true), Some("/var/cache/unit".into()));
        assert_eq!(cache(&both[1..], true), Some("/c/holdall".into()));
        assert_eq!(cache(&[("HOME", "/home/u")], false), Some("/home/u/.cache/holdall".into()));
        assert_eq!(cache(&[], true), Some("/var/cache/holdall".into()));
        assert_eq!(cache(&[], false), None);
    }

    #[test]
    fn runs_of_root_meet_in_one_runtime_directory() {
        let runtime = |variables: &[(&str, &str)], root| within(variables, &[], root, |around| around.runtime_dir());
        assert_eq!(runtime(&[("RUNTIME_DIRECTORY", "/run/holdall")], true), Some("/run/holdall".into()));
        assert_eq!(runtime(&[("XDG_RUNTIME_DIR", "/run/user/0")], true), Some("/run/holdall".into()));
        assert_eq!(runtime(&[("XDG_RUNTIME_DIR", "/run/user/7")], false), Some("/run/user/7/holdall".into()));
        assert_eq!(runtime(&[], false), None);
    }

    #[test]
    fn default_store_is_in_srv_for_root_and_below_home_otherwise() {
        let store =
            |variables: &[(&str, &str)], root| within(variables, &[], root, |around| around.default_repository());
        assert_eq!(store(&[("HOME", "/root")], true), Some("/srv/holdall".into()));
        assert_eq!(store(&[("HOME", "/home/u")], false), Some("/home/u/.local/share/holdall".into()));
        assert_eq!(store(&[], false), None);
    }

    #[test]
    fn runtime_directory_in_a_public_place_must_be_ours_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("holdall-0");
        private_dir(&directory).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        private_dir(&directory).unwrap();

        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(private_dir(&directory).is_err());

        let link = scratch.path().join("link");
        symlink(scratch.path(), &link).unwrap();
        assert!(private_dir(&link).is_err());
    }
}
