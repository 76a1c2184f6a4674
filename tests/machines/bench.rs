//! A machine to be backed up, a store, and what the tests look at afterwards.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use holdall::config::StoreConfig;
use holdall::monitor::Silent;
use holdall::secret::Secret;
use holdall::store::{Node, Store};
use holdall::timeline::Timeline;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::env::{TestEnv, finish};
use crate::support::outcome::Outcome;
use crate::support::sshd::{Account, Builder, KeyType, Sshd};

/// A machine, and an environment with a store and the source `ssh.there`, which is it.
pub(crate) struct Machine {
    pub(crate) env: TestEnv,
    pub(crate) server: Sshd,
    /// Where that lies which is on it; other machines may have it, too.
    place: TempDir,
    /// What its users do not see of the path of what is on it.
    hidden: PathBuf,
}

impl Machine {
    /// Starts a machine of which [`Machine::source`] is backed up; `lines` are further ones of its table.
    pub(crate) fn start(builder: Builder, lines: &str) -> Self {
        Self::of(builder.start(), |_| PathBuf::new(), lines)
    }

    /// The same for one with busybox only.
    pub(crate) fn start_busybox(builder: Builder, lines: &str) -> Self {
        Self::of(builder.busybox().start(), Sshd::machine_root, lines)
    }

    fn of(server: Sshd, hidden: impl Fn(&Sshd) -> PathBuf, lines: &str) -> Self {
        let hidden = hidden(&server);
        let place = if hidden.as_os_str().is_empty() { std::env::temp_dir() } else { hidden.join("tmp") };
        let place = tempfile::Builder::new().prefix("holdall-machine-").tempdir_in(place).unwrap();
        let machine = Self { env: TestEnv::with_store_and(""), server, place, hidden };
        fs::create_dir(machine.source()).unwrap();
        for path in [machine.place.path(), &machine.source()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        machine.configure(lines);
        machine
    }

    /// Puts another machine in the place of this one, with the same files.
    pub(crate) fn replace(&mut self, builder: Builder, lines: &str) {
        self.server = builder.start();
        self.configure(lines);
    }

    /// A machine on which root finds these programs of his own first; each is given its arguments, and is what follows `#!/bin/sh`.
    ///
    /// `SOURCE` in it is [`Machine::source`].
    pub(crate) fn with_programs(programs: &[(&str, &str)]) -> Self {
        let root = Account::new("root").shell("/bin/bash").file(".bashrc", "export PATH=\"$HOME/bin:$PATH\"\n");
        let machine = Self::start(Sshd::builder().account(root), "");
        programs.iter().for_each(|(name, text)| machine.set_program(name, text));
        machine
    }

    /// Gives root such a program.
    pub(crate) fn set_program(&self, name: &str, text: &str) {
        let directory = self.server.home("root").join("bin");
        fs::create_dir_all(&directory).unwrap();
        let text = text.replace("SOURCE", self.source().to_str().unwrap());
        fs::write(directory.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Without more: everything is there, and root logs in.
    pub(crate) fn new() -> Self {
        Self::start(Sshd::builder(), "")
    }

    /// What is backed up, as the test sees it.
    pub(crate) fn source(&self) -> PathBuf {
        self.path("source")
    }

    /// A path of the machine that all its users get to, beside the source, as the test sees it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// A path as the users of the machine see it.
    pub(crate) fn seen(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.hidden).map_or_else(|_| path.to_path_buf(), |rest| Path::new("/").join(rest))
    }

    /// Writes the configuration: `ssh.there`, which is [`Machine::source`] there, with further lines, and `files.here`, which is the same read from here.
    pub(crate) fn configure(&self, lines: &str) {
        self.configure_paths(&[&self.source()], lines);
    }

    /// The same for other paths, as the test sees them.
    pub(crate) fn configure_paths(&self, paths: &[&Path], lines: &str) {
        let list = |paths: &[PathBuf]| format!("{paths:?}");
        let seen: Vec<PathBuf> = paths.iter().map(|path| self.seen(path)).collect();
        let here: Vec<PathBuf> = paths.iter().map(|path| path.to_path_buf()).collect();
        let lines_here: String = lines
            .lines()
            .filter(|line| line.starts_with("exclude") || line.starts_with("one-file-system"))
            .map(|line| format!("{line}\n"))
            .collect();
        self.env.configure(&format!(
            "[ssh.there]\n{}paths = {}\n{lines}\n\n[files.here]\npaths = {}\n{lines_here}",
            self.login(),
            list(&seen),
            list(&here),
        ));
    }

    /// The lines that say how to log in.
    pub(crate) fn login(&self) -> String {
        let Sshd { host, port, user, .. } = &self.server;
        format!(
            "host = \"{host}\"\nport = {port}\nuser = \"{user}\"\nkey-file = \"{}\"\nhost-key = \"{}\"\n",
            self.server.key_file().display(),
            self.server.fingerprint(KeyType::Ed25519),
        )
    }

    /// A file below [`Machine::source`].
    pub(crate) fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.source().join(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs holdall.
    #[must_use = "assert the exit code at least"]
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        self.env.run(arguments)
    }

    /// Saves `ssh.there`; what is reported of it.
    #[track_caller]
    pub(crate) fn backup(&self, code: i32) -> Value {
        self.run(["backup", "--json", "ssh.there"]).code(code).line("item")
    }

    /// Saves, with nothing to complain of, and returns new, changed and unmodified files, and added bytes.
    #[track_caller]
    pub(crate) fn counts(&self) -> [u64; 4] {
        let item = self.backup(0);
        assert_eq!(item["problems"], serde_json::json!([]), "{item}");
        counts(&item)
    }

    /// Saves, and sees that all files are as they were and nothing comes into the store but what directories above the source tell of themselves.
    #[track_caller]
    pub(crate) fn has_not_changed(&self, files: u64) {
        let [new, changed, unmodified, added] = self.counts();
        assert_eq!([new, changed, unmodified], [0, 0, files]);
        assert!(added < 2000, "{added} bytes were added");
    }

    /// Everything in the newest point of an item below [`Machine::source`], by its path from there, as far as it must be the same on every way.
    pub(crate) fn saved(&self, item: &str) -> BTreeMap<PathBuf, Node> {
        self.saved_below(item, &self.seen(&self.source()))
    }

    pub(crate) fn saved_below(&self, item: &str, top: &Path) -> BTreeMap<PathBuf, Node> {
        let config = StoreConfig {
            repository: self.env.store().to_str().unwrap().to_owned(),
            password: Secret::file(self.env.password_file()),
            options: Default::default(),
            secret_options: Default::default(),
        };
        let store = Store::open(&config, Arc::new(Silent)).unwrap();
        let points = store.points().unwrap();
        let newest = points.iter().filter(|point| point.item == item).max_by_key(|point| point.time).unwrap();
        let tree = store.tree(newest).unwrap();
        let mut found = BTreeMap::new();
        for saved in tree.walk(top).unwrap() {
            let saved = saved.unwrap();
            let mut node = saved.node;
            // The names of owners hang on the machine, and with them the ids of trees.
            (node.meta.user, node.meta.group, node.subtree) = (None, None, None);
            // No order of attributes means anything.
            node.meta.extended_attributes.sort_by(|one, other| one.name.cmp(&other.name));
            found.insert(saved.path.strip_prefix(top).unwrap().to_path_buf(), node);
        }
        found
    }

    /// Reads the same from here, and sees that it is just what was pulled.
    #[track_caller]
    pub(crate) fn is_saved_like_files(&self) {
        self.run(["backup", "files.here"]).code(0);
        let (there, here) = (self.saved("ssh.there"), self.saved("files.here"));
        let missing: Vec<&PathBuf> = here.keys().filter(|path| !there.contains_key(*path)).collect();
        assert!(missing.is_empty(), "not pulled: {missing:?}");
        for (path, node) in &there {
            assert_eq!(Some(node), here.get(path), "{path:?}");
        }
    }

    /// Brings `ssh.there` back below a directory here, and returns where [`Machine::source`] came out.
    pub(crate) fn restored(&self) -> PathBuf {
        let target = self.env.path("restored");
        drop(fs::remove_dir_all(&target));
        let arguments = ["restore", "ssh.there", "--verify", "--to"].map(OsStr::new);
        self.run(arguments.into_iter().chain([target.as_os_str()])).code(0);
        target.join(self.seen(&self.source()).strip_prefix("/").unwrap())
    }
}

/// New, changed and unmodified files of a report, and the bytes that were added.
pub(crate) fn counts(item: &Value) -> [u64; 4] {
    ["files_new", "files_changed", "files_unmodified", "bytes_added"].map(|key| item[key].as_u64().unwrap())
}

/// The problems of a report: paths below `top`, and what is said of each.
pub(crate) fn problems(item: &Value, top: &Path) -> Vec<(String, String)> {
    let below = |path: &Value| {
        let path = Path::new(path.as_str().unwrap());
        path.strip_prefix(top).unwrap_or(path).to_str().unwrap().to_owned()
    };
    let problems = item["problems"].as_array().unwrap();
    let mut problems: Vec<_> =
        problems.iter().map(|one| (below(&one["path"]), one["error"].as_str().unwrap().to_owned())).collect();
    problems.sort();
    problems
}

/// Runs a shell command as who runs the tests.
#[track_caller]
pub(crate) fn sh(command: &str) -> Outcome {
    let mut sh = Command::new("sh");
    sh.args(["-ec", command]);
    finish(sh).code(0)
}
