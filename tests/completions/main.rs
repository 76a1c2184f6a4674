//! Completion in real shells, on a real terminal: what the Tab key makes of words that are begun.

#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Stdio;

use support::env::{TestEnv, finish};

/// Types the first argument into the shell that is the rest of them, and waits until the second one is on the screen. Bytes that control the screen are no part of what is shown.
const TYPE: &str = r#"
import os, pty, re, select, sys, time

keys, wanted, shell = sys.argv[1], sys.argv[2], sys.argv[3:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(shell[0], shell)
shown = b""

def see(until, seconds):
    global shown
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                return False
        if until in re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", b"", shown):
            return True
    return False

started = see(b"ready> ", 60)
shown = b""
# One key at a time, as people type; and once more what asks for completion, should the shell not have been listening yet.
os.write(terminal, keys.encode())
found = started and (see(wanted.encode(), 20) or os.write(terminal, b"\t") and see(wanted.encode(), 40))
if not found:
    sys.stderr.write(f"started: {started}, shown: {shown!r}\n")
os.kill(child, 9)
os.waitpid(child, 0)
sys.exit(0 if found else 1)
"#;

/// A store with two points of `files.home`, and one of an item that is no longer configured.
fn env() -> TestEnv {
    let env = TestEnv::with_store().file("a", "one");
    env.run(["onboard", "files", "old", env.source().to_str().unwrap()]).code(0);
    env.run(["backup"]).code(0);
    env.configure(&format!("[files.home]\npaths = [{:?}]\n", env.source()));
    env.write("a", "two");
    env.run(["backup"]).code(0);
    for shell in ["bash", "zsh", "fish"] {
        std::fs::write(env.path(format!("script.{shell}")), env.run(["completions", shell]).code(0).stdout).unwrap();
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_holdall")).parent().unwrap();
    let file = env.config_file();
    env.path_first(programs).variable("HOLDALL_CONFIG", file).variable("TERM", "dumb")
}

fn newest(env: &TestEnv) -> String {
    let points = env.run(["list", "--json", "files.home"]).code(0).json();
    points.as_array().unwrap().last().unwrap()["point"].as_str().unwrap()[..8].to_owned()
}

/// In a shell that is started so, these keys lead to that on the screen.
#[track_caller]
fn leads(env: &TestEnv, shell: &[&str], keys: &str, wanted: &str) {
    let mut command = env.command("python3");
    command.args(["-c", TYPE, keys, wanted]).args(shell).stdin(Stdio::null());
    finish(command).code(0);
}

#[test]
fn bash_completes_commands_sources_items_and_points() {
    let env = env();
    std::fs::write(env.path("bashrc"), "source ~/../script.bash\nbind 'set bell-style none'\nPS1='ready> '\n").unwrap();
    let rc = env.path("bashrc");
    let bash = ["bash", "--noprofile", "--rcfile", rc.to_str().unwrap(), "-i"];
    leads(&env, &bash, "holdall ver\t", "holdall verify ");
    leads(&env, &bash, "holdall backup files.h\t", "holdall backup files.home ");
    leads(&env, &bash, "holdall ls files.o\t", "holdall ls files.old ");
    leads(&env, &bash, "holdall restore files.home@la\t", "holdall restore files.home@latest ");
    leads(&env, &bash, "holdall dump files.home@\t\t", &newest(&env));
    // Where bash does not cut words they are completed as well.
    let uncut = env.path("uncut");
    std::fs::write(&uncut, format!("COMP_WORDBREAKS=' '\nsource {}\n", rc.display())).unwrap();
    let bash = ["bash", "--noprofile", "--rcfile", uncut.to_str().unwrap(), "-i"];
    leads(&env, &bash, "holdall ls files.home@la\t", "holdall ls files.home@latest ");
}

#[test]
fn zsh_completes_as_a_function_that_is_loaded_when_it_is_needed() {
    let env = env();
    std::fs::create_dir(env.path("functions")).unwrap();
    std::fs::copy(env.path("script.zsh"), env.path("functions/_holdall")).unwrap();
    let rc = "fpath=(~/../functions $fpath)\nautoload -U compinit\ncompinit -u -d ~/zcompdump\nPS1='ready> '\nunsetopt zle_bracketed_paste beep prompt_sp\n";
    std::fs::write(env.path("home/.zshrc"), rc).unwrap();
    let zsh = ["zsh", "--no-globalrcs", "-i"];
    leads(&env, &zsh, "holdall backup files.h\t", "holdall backup files.home ");
    leads(&env, &zsh, "holdall restore files.home@la\t", "holdall restore files.home@latest ");
    leads(&env, &zsh, "holdall dump files.home@\t\t", &newest(&env));
}

#[test]
fn fish_completes_commands_sources_items_and_points() {
    let env = env();
    let complete = |line: &str| {
        let mut command = env.command("fish");
        command.args(["--no-config", "-c", &format!("source ~/../script.fish; complete -C'{line}'")]);
        finish(command).code(0).stdout
    };
    assert!(complete("holdall ver").starts_with("verify\t"), "{}", complete("holdall ver"));
    assert!(complete("holdall backup files.h").starts_with("files.home\tnewest "));
    assert!(complete("holdall ls files.o").starts_with("files.old\t"));
    let points = complete("holdall dump files.home@");
    assert!(points.starts_with("files.home@latest\t") && points.contains(&newest(&env)), "{points}");
}

#[test]
fn nothing_is_offered_and_nothing_said_when_nothing_can_be_known() {
    let env = env();
    let complete = || {
        let mut command = env.command("holdall");
        command.env("_HOLDALL_COMPLETE", "fish").args(["--", "holdall", "ls", ""]);
        finish(command)
    };
    assert!(complete().code(0).stdout.contains("files.home"));
    env.write_secret("store.password", "another one");
    let outcome = complete().code(0);
    // Sources are known from the configuration.
    assert!(outcome.stdout.contains("files.home\t") && !outcome.stdout.contains("files.old"), "{outcome:?}");
    assert_eq!(outcome.stderr, "");
    std::fs::write(env.config_file(), "no configuration").unwrap();
    let outcome = complete().code(0);
    assert!(!outcome.stdout.contains("files.") && outcome.stderr.is_empty(), "{outcome:?}");
}
