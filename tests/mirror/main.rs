//! Mirrors: further repositories that receive copies. restic is the judge of what is in them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod copying;
mod faults;
mod onboarding;
mod reading;
mod retention;
#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use support::env::{TestEnv, finish};
use support::outcome::Outcome;
use support::tree::noise;

/// The password of the mirrors, another one than that of the store.
const PASSWORD: &str = "another horse";

/// The table of the mirror that the tests use.
const OFFSITE: &str =
    "[[mirror]]\nname = \"offsite\"\nrepository = \"{root}/offsite\"\npassword-file = \"{root}/offsite.password\"\n";

const HOME: &str = "[files.home]\npaths = [\"{root}/source\"]\n";

/// A store with a mirror at `offsite`, which is empty, and a source.
fn mirrored() -> TestEnv {
    let env = TestEnv::with_store_and(&format!("{OFFSITE}{HOME}"));
    env.write_secret("offsite.password", PASSWORD);
    env.run(["onboard", "store", "--mirror", "offsite"]).code(0).stderr_has("Made a mirror at ");
    env
}

/// The same, after one backup of a small file and of one of several packs' content.
fn backed_up() -> TestEnv {
    let env = mirrored();
    env.write("small", "small");
    env.write("large", noise(7, 3 << 20));
    env.run(["backup"]).code(0);
    env
}

/// restic on the mirror.
fn restic<S: AsRef<OsStr>>(env: &TestEnv, arguments: impl IntoIterator<Item = S>) -> Outcome {
    restic_at(env, env.path("offsite").as_os_str(), arguments)
}

fn restic_at<S: AsRef<OsStr>>(env: &TestEnv, repository: &OsStr, arguments: impl IntoIterator<Item = S>) -> Outcome {
    let mut command = env.command("restic");
    command.arg("--no-cache").arg("--password-file").arg(env.path("offsite.password"));
    command.arg("--repo").arg(repository).args(arguments);
    finish(command)
}

/// What restic says of a mirror that is whole.
fn is_whole(env: &TestEnv) {
    restic(env, ["check", "--read-data"]).code(0).stdout_has("no errors were found");
}

/// How many snapshots restic finds in the mirror.
fn snapshots(env: &TestEnv) -> usize {
    restic(env, ["snapshots", "--json"]).code(0).json().as_array().unwrap().len()
}

/// The one line that a run writes of a mirror.
fn line(outcome: &Outcome) -> serde_json::Value {
    outcome.line("mirror")
}

/// The pack files of a repository on this machine.
fn packs(repository: &Path) -> Vec<PathBuf> {
    let below = |directory: PathBuf| fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    below(repository.join("data")).flat_map(below).collect()
}
