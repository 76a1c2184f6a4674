//! Puts the commit into `--version`.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-env-changed=HOLDALL_COMMIT");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // A packager without a git checkout sets HOLDALL_COMMIT.
    let commit = std::env::var("HOLDALL_COMMIT").ok().or_else(|| {
        let output = Command::new("git").args(["rev-parse", "--short=10", "HEAD"]).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    });
    match commit.filter(|commit| !commit.is_empty()) {
        Some(commit) => println!("cargo:rustc-env=HOLDALL_VERSION={version} ({commit})"),
        None => println!("cargo:rustc-env=HOLDALL_VERSION={version}"),
    }
}
