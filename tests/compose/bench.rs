//! An engine, a directory of stacks, and `compose.s`, which backs them up.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::dockerd::Dockerd;
use crate::support::env::TestEnv;
use crate::support::outcome::Outcome;

/// What a service does that only waits to be told to end.
pub const IDLE: &str =
    "image: 'bb:latest'\n    network_mode: none\n    command: [sh, -c, 'trap exit TERM; while :; do sleep 0.05; done']";

pub struct Bench {
    pub engine: Dockerd,
    pub env: TestEnv,
}

impl Bench {
    /// `rest` is what the source says besides.
    pub fn new(rest: &str) -> Self {
        let engine = Dockerd::start();
        let env = TestEnv::with_store_and(&source(&engine, rest));
        fs::create_dir(env.path("stacks")).unwrap();
        Self { engine, env }
    }

    /// The directory of the stacks.
    pub fn stacks(&self) -> PathBuf {
        self.env.path("stacks")
    }

    /// Writes a file below the environment, with its directories; `{idle}` and `{root}` in it are [`IDLE`] and the environment. Returns its folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.env.path(name);
        let folder = path.parent().unwrap().to_path_buf();
        fs::create_dir_all(&folder).unwrap();
        fs::write(path, text.replace("{idle}", IDLE).replace("{root}", self.env.root().to_str().unwrap())).unwrap();
        folder
    }

    /// Writes the compose file of a stack and brings it up. Returns its folder.
    pub fn up(&self, name: &str, text: &str) -> PathBuf {
        let folder = self.write(&format!("stacks/{name}/docker-compose.yml"), text);
        self.engine.compose(&folder, ["up", "--detach"]);
        folder
    }

    /// Which containers were stopped and started since they were made, in order: `stop web_a_1`.
    pub fn events(&self) -> Vec<String> {
        // What happens in this second may not be told yet: until its end is waited for.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let until = (now + 1).to_string();
        let arguments = ["events", "--since", "1", "--until", &until, "--filter", "type=container"];
        let which = ["--filter", "event=stop", "--filter", "event=start", "--filter", "event=pause"];
        let format = ["--format", "{{.Action}} {{.Actor.Attributes.name}}"];
        let text = self.engine.docker(arguments.iter().chain(&which).chain(&format));
        text.lines().map(str::to_owned).collect()
    }

    /// Backs up; returns what is told of the items, by the name of the stack and the outcome.
    pub fn backup(&self) -> Outcome {
        self.env.run(["backup", "--json"])
    }

    /// The items of the newest points.
    pub fn items(&self) -> Vec<String> {
        let listed = self.env.run(["list", "--json"]).code(0).json();
        let mut items: Vec<String> =
            listed.as_array().unwrap().iter().map(|point| point["item"].as_str().unwrap().to_owned()).collect();
        items.sort();
        items.dedup();
        items
    }

    /// Restores the newest point of a stack to a new directory.
    pub fn restored(&self, stack: &str) -> PathBuf {
        let target = self.env.path(format!("restored-{stack}"));
        drop(fs::remove_dir_all(&target));
        self.env.run(["restore", &format!("compose.s/{stack}"), "--to", target.to_str().unwrap()]).code(0);
        target
    }

    /// Restores the newest point of a stack, or a part of it, with these options.
    pub fn restore(&self, spec: &str, options: &[&str]) -> Outcome {
        let spec = format!("compose.s/{spec}");
        self.env.run(["restore", &spec, "--yes"].iter().chain(options))
    }

    /// What is in a file below the environment.
    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.env.path(path)).unwrap()
    }

    /// What is in a file of a volume.
    pub fn in_volume(&self, volume: &str, file: &str) -> String {
        fs::read_to_string(self.engine.volume(volume).join(file)).unwrap()
    }
}

/// All files below a directory, by their relative paths.
pub fn files(directory: &Path) -> Vec<String> {
    fn walk(directory: &Path, below: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &name, found);
            } else {
                found.push(name.display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, Path::new(""), &mut found);
    found.sort();
    found
}

/// A file of JSON.
pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// What was told of a stack.
pub fn item(outcome: &Outcome, stack: &str) -> Value {
    let lines = outcome.json_lines();
    lines.into_iter().find(|line| line["item"] == format!("compose.s/{stack}")).unwrap()
}

fn source(engine: &Dockerd, rest: &str) -> String {
    let directory = if rest.contains("directory =") { "" } else { "directory = \"{root}/stacks\"\n" };
    format!("[compose.s]\nhost = \"{}\"\n{directory}{rest}\n", engine.host())
}
