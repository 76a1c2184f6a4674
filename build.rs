//! Puts the commit into `--version`.

use std::process::Command;

fn main() {
    // HEAD names a branch and stays the same from commit to commit; its log grows with each. Both are elsewhere in a linked work tree.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    println!("cargo:rerun-if-env-changed=HOLDALL_COMMIT");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // A packager without a git checkout sets HOLDALL_COMMIT.
    let commit = std::env::var("HOLDALL_COMMIT").ok().or_else(|| git(&["rev-parse", "--short=10", "HEAD"]));
    match commit.filter(|commit| !commit.is_empty()) {
        Some(commit) => println!("cargo:rustc-env=HOLDALL_VERSION={version} ({commit})"),
        None => println!("cargo:rustc-env=HOLDALL_VERSION={version}"),
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
