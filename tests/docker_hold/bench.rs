//! An engine with a volume, containers that tell when they start and stop, and a source that reads the volume.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::dockerd::{Dockerd, IMAGE};
use crate::support::env::TestEnv;
use crate::support::fault::{Fault, Gate};
use crate::support::outcome::Outcome;

/// No run of a test takes this long.
pub const SOON: Duration = Duration::from_secs(120);

/// An engine with the volume `data`, and `docker.nas`, which backs it up.
pub struct Bench {
    pub engine: Dockerd,
    pub env: TestEnv,
}

impl Bench {
    /// `rest` is what the source says besides.
    pub fn new(rest: &str) -> Self {
        let engine = Dockerd::start();
        engine.filled_volume("data", "echo one >file");
        let env = TestEnv::with_store_and(&source(&engine, rest));
        fs::create_dir(env.path("log")).unwrap();
        Self { engine, env }
    }

    /// Another configuration of the source.
    pub fn configure(&self, rest: &str) {
        self.env.configure(&source(&self.engine, rest));
    }

    /// Starts a container that uses the volume, and tells when it starts and when it is asked to stop.
    pub fn writer(&self, name: &str, options: &[&str]) {
        self.teller(name, &[&["--network", "none", "--volume", "data:/data"], options].concat());
    }

    /// The same with nothing but these options.
    pub fn teller(&self, name: &str, options: &[&str]) {
        self.script(name, options, &format!("tell start {name}; wait_for_end"));
    }

    /// The same with a script of its own, for which there are `tell` and `wait_for_end`.
    pub fn script(&self, name: &str, options: &[&str], script: &str) {
        let own = "tell() { echo \"$@\" >>/log/events; }; wait_for_end() { while :; do sleep 0.05; done; }";
        let script = format!("{own}; trap 'tell stop {name}; exit' TERM; {script}");
        let log = format!("type=bind,source={},target=/log", self.env.path("log").display());
        let begin = ["run", "--detach", "--name", name, "--mount", &log];
        self.engine.docker(begin.iter().chain(options).chain(&[IMAGE, "sh", "-c", &script]));
        self.engine.wait_until(name, || self.events().contains(&format!("start {name}")));
    }

    /// What the containers have told, in order.
    pub fn events(&self) -> Vec<String> {
        let text = fs::read_to_string(self.env.path("log/events")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Forgets what they have told.
    pub fn forget(&self) {
        fs::write(self.env.path("log/events"), "").unwrap();
    }

    /// What a container is doing: `running`, `paused`, `exited`.
    pub fn state(&self, name: &str) -> String {
        self.engine.inspect(name, "{{.State.Status}}")
    }

    /// The file in the volume.
    pub fn file(&self) -> PathBuf {
        self.engine.volume("data").join("file")
    }

    /// Runs a backup, and this shell command when the file in the volume is read; `docker` in it is that of the engine.
    pub fn backup_with(&self, command: &str) -> Outcome {
        let script = self.env.path("while-read");
        let host = self.engine.host();
        fs::write(&script, format!("unset LD_PRELOAD; docker() {{ /usr/bin/docker -H {host} \"$@\"; }}; {command}"))
            .unwrap();
        let log = self.env.path("while-read.log");
        let command = format!("sh -e '{}' >'{}' 2>&1", script.display(), log.display());
        Fault::new(&self.env).before_read(1, self.file(), &command).run(["backup"])
    }

    /// The same; gives besides what containers are doing then, as `NAME STATE` in the order of their names.
    pub fn backup_looking(&self) -> (Outcome, Vec<String>) {
        let outcome = self.backup_with("docker ps --all --format '{{.Names}} {{.State}}'");
        let mut states: Vec<String> = self.told_while_read().lines().map(str::to_owned).collect();
        states.sort();
        (outcome, states)
    }

    /// What the command has said that was run while the file was read.
    pub fn told_while_read(&self) -> String {
        fs::read_to_string(self.env.path("while-read.log")).unwrap()
    }

    /// Starts a backup that is reading the volume, and what holds it there.
    pub fn reading(&self) -> (Daemon, File) {
        let gate = Gate::new(&self.env);
        let run = Fault::new(&self.env).before_read(1, self.file(), &gate.command()).start(["backup"]);
        let held = gate.reached();
        (run, held)
    }

    /// How many marks there are of what is held.
    pub fn marks(&self) -> usize {
        self.engine.docker(["volume", "ls", "--quiet", "--filter", "label=holdall.internal=hold"]).lines().count()
    }

    /// How many points there are.
    pub fn points(&self) -> usize {
        self.env.run(["list", "--json"]).code(0).json().as_array().unwrap().len()
    }
}

fn source(engine: &Dockerd, rest: &str) -> String {
    format!("[docker.nas]\nhost = \"{}\"\nvolumes = [\"data\"]\n{rest}\n", engine.host())
}
