//! What `make install` lays down, and that `make uninstall` takes it away again.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use support::env::{TestEnv, finish};

fn make(env: &TestEnv, target: &str) {
    let mut command = env.command("make");
    command.arg("-C").arg(env!("CARGO_MANIFEST_DIR")).arg(target);
    command.arg(format!("DESTDIR={}", env.path("image").display())).arg("PREFIX=/opt/holdall");
    command.arg(format!("BINARY={}", env!("CARGO_BIN_EXE_holdall")));
    finish(command).code(0);
}

/// Paths of all files below `directory`, relative to it, sorted.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                left.push(entry.path());
            } else {
                found.extend(entry.path().strip_prefix(directory).map(Path::to_path_buf));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn install_lays_down_everything_and_uninstall_takes_it_away() {
    let env = TestEnv::new();
    let image = env.path("image");
    make(&env, "install");
    let installed = files(&image);
    for expected in [
        "etc/holdall/config.toml.example",
        "opt/holdall/bin/holdall",
        "opt/holdall/lib/systemd/system/holdall.service",
        "opt/holdall/lib/systemd/system/holdall.timer",
        "opt/holdall/lib/systemd/system/holdall-verify.service",
        "opt/holdall/lib/systemd/system/holdall-verify.timer",
        "opt/holdall/share/bash-completion/completions/holdall",
        "opt/holdall/share/doc/holdall/LICENSE",
        "opt/holdall/share/fish/vendor_completions.d/holdall.fish",
        "opt/holdall/share/man/man1/holdall.1",
        "opt/holdall/share/man/man1/holdall-backup.1",
        "opt/holdall/share/zsh/site-functions/_holdall",
    ] {
        assert!(installed.contains(&PathBuf::from(expected)), "{expected} is not in {installed:#?}");
    }
    for file in &installed {
        let mode = fs::metadata(image.join(file)).unwrap().permissions().mode() & 0o777;
        let expected = if file.ends_with("bin/holdall") { 0o755 } else { 0o644 };
        assert_eq!(mode, expected, "mode of {}", file.display());
    }

    // What an administrator put there is not ours to remove.
    fs::write(image.join("etc/holdall/config.toml"), "").unwrap();
    make(&env, "uninstall");
    assert_eq!(files(&image), [PathBuf::from("etc/holdall/config.toml")]);
}

#[test]
fn units_start_the_program_where_it_was_installed() {
    let env = TestEnv::new();
    make(&env, "install");
    let units = env.path("image/opt/holdall/lib/systemd/system");
    for unit in ["holdall.service", "holdall-verify.service"] {
        let text = fs::read_to_string(units.join(unit)).unwrap();
        let starts: Vec<_> = text.lines().filter(|line| line.starts_with("ExecStart=")).collect();
        assert_eq!(starts.len(), 1, "{unit}");
        assert!(starts[0].starts_with("ExecStart=/opt/holdall/bin/holdall "), "{}", starts[0]);
    }
}
