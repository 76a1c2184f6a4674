//! Hooks: when they are run, what they are told, and what becomes of a run when they fail, hang, shout or say that this is not the time.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod items;
mod order;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::env::TestEnv;

const HOME: &str = "[files.home]\npaths = [\"{root}/source\"]\n";

/// An environment with a program `say WORD…`, which writes its words down and then does what a script of that name says.
fn hooked(rest: &str) -> TestEnv {
    let env = TestEnv::new().file("file", "x");
    env.onboard_store();
    let root = env.root().to_str().unwrap().to_owned();
    let script = format!("#!/bin/sh\necho \"$*\" >>{root}/said\nif [ -e {root}/do-$1 ]; then . {root}/do-$1; fi\n");
    fs::write(env.path("say"), script).unwrap();
    fs::set_permissions(env.path("say"), fs::Permissions::from_mode(0o755)).unwrap();
    env.configure(rest);
    env
}

/// What `say WORD` does besides.
fn does(env: &TestEnv, word: &str, script: &str) {
    fs::write(env.path(format!("do-{word}")), script.replace("{root}", env.root().to_str().unwrap())).unwrap();
}

/// What was said since the last time.
fn said(env: &TestEnv) -> Vec<String> {
    let text = fs::read_to_string(env.path("said")).unwrap_or_default();
    drop(fs::remove_file(env.path("said")));
    text.lines().map(str::to_owned).collect()
}

/// Three hooks of a table, which say what they are.
fn hooks(table: &str, of: &str) -> String {
    let hook = |event: &str| format!("{event} = [\"{{root}}/say\", \"{event}{of}\"]\n");
    format!("[{table}]\n{}{}{}", hook("before"), hook("after"), hook("on-failure"))
}
