//! What `holdall restore` brings back into a container engine: a real one, the real binary.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

mod containers;
mod faults;
mod images;
mod stopping;
#[path = "../support/mod.rs"]
mod support;
mod volumes;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chownat, lsetxattr, mknodat, utimensat,
};
use support::dockerd::Dockerd;
use support::env::TestEnv;
use support::fault::finish_ok;

/// An environment whose source `docker.nas` is this engine.
fn env(engine: &Dockerd, rest: &str) -> TestEnv {
    TestEnv::with_store_and(&format!("[docker.nas]\nhost = \"{}\"\n{rest}", engine.host()))
}

/// Fills a directory with everything that a volume can hold, and gives it an owner, a mode and a time of its own.
fn everything(top: &Path) {
    let file = |name: &str, content: &[u8], mode: u32| {
        let path = top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let own = |path: &Path, user: u32, group: u32| {
        chownat(CWD, path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    own(&file("base/1/16384", &[7; 8192], 0o600), 999, 999);
    own(&file("base/unknown", b"x", 0o640), 54_321, 4_000_000);
    file("base/PG_VERSION", b"15\n", 0o644);
    fs::set_permissions(file("suid", b"x", 0o755), fs::Permissions::from_mode(0o4755)).unwrap();
    file("odd \u{e4}\n'name", b"odd", 0o644);
    let long = format!("deep/{}/{}", "d".repeat(120), "f".repeat(120));
    file(&long, b"long", 0o644);
    fs::write(top.join(std::ffi::OsStr::from_bytes(b"not \xff utf-8")), "x").unwrap();
    let linked = file("linked", b"one file, three names", 0o644);
    fs::hard_link(&linked, top.join("base/linked-too")).unwrap();
    fs::hard_link(&linked, top.join("zz")).unwrap();
    symlink("base/PG_VERSION", top.join("link")).unwrap();
    symlink("/etc/passwd", top.join("link-absolute")).unwrap();
    symlink("../../..", top.join("link-up")).unwrap();
    lsetxattr(top.join("linked"), "user.of", b"holdall\n=%", XattrFlags::empty()).unwrap();
    finish_ok(Command::new("setfacl").args(["-m", "u:7:r--"]).arg(top.join("base/PG_VERSION")));
    for (name, kind, device) in [
        ("fifo", FileType::Fifo, 0),
        ("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        ("loop", FileType::BlockDevice, rustix::fs::makedev(7, 200)),
    ] {
        mknodat(CWD, top.join(name), kind, Mode::from_raw_mode(0o620), device).unwrap();
    }
    let sparse = fs::File::create(top.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", (64 << 20) - 3).unwrap();
    fs::create_dir(top.join("empty")).unwrap();
    fs::set_permissions(top.join("empty"), fs::Permissions::from_mode(0o1777)).unwrap();
    let time = Timespec { tv_sec: 1_222_222_222, tv_nsec: 222_222_222 };
    let times = Timestamps { last_access: time, last_modification: time };
    for path in ["link", "base", "linked", ""] {
        let path = top.join(path);
        utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    own(top, 999, 999);
    fs::set_permissions(top, fs::Permissions::from_mode(0o700)).unwrap();
    utimensat(CWD, top, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A copy of a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    finish_ok(Command::new("cp").arg("--archive").arg(from).arg(to));
}

/// The number of a point, as `--json` tells it.
fn points(env: &TestEnv, item: &str) -> usize {
    env.run(["list", item, "--json"]).code(0).json().as_array().unwrap().len()
}
