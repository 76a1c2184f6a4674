//! A tree with everything that a Linux machine can hold.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chownat, lsetxattr, mknodat, utimensat,
};

use crate::bench::sh;

/// Names that programs of a shell may stumble over.
pub(crate) const NAMES: &[&[u8]] = &[
    b"-leading-dash",
    b"--to-command=reboot",
    b"new\nline",
    b"\nnewline first and last\n",
    b"tab\tbell\x07escape\x1b[31m",
    b"quote'\"`",
    b"back\\slash\\n\\101",
    b"not-utf8-\xff\xfe",
    b"\xc3\xa4-composed",
    b"*?[glob]",
    b" blank ",
    b"...",
    b"~",
    b"$HOME `id`",
    b"a: b",
    b"link -> elsewhere",
    b"=+!#%",
];

pub(crate) fn set_modified(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn set_owner(path: &Path, user: u32, group: u32) {
    chownat(CWD, path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)), AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub(crate) fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// A file with its directories.
fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Bytes that are not all the same, and which no compression makes much fewer.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).take(length.div_ceil(8)).flatten().take(length).collect()
}

/// What every way can read and bring back: no devices, attributes or hard links, and times in whole seconds.
pub(crate) fn plain(top: &Path) {
    let file = |name: &[u8], content: &[u8]| {
        let path = top.join(OsStr::from_bytes(name));
        write(&path, content);
        path
    };
    for name in NAMES {
        file(&[b"names/", *name].concat(), name);
    }
    file(&[b"names/", &[b'x'; 255][..]].concat(), b"255 bytes");
    fs::create_dir(top.join(OsStr::from_bytes(b"names/directory-\xff\n"))).unwrap();
    file(b"content/empty", b"");
    fs::create_dir(top.join("content/empty-directory")).unwrap();
    file(b"content/large", &noise((3 << 20) + 1));
    file(b"content/of-a-piece", &noise(512 << 10));
    set_mode(&file(b"modes/suid", b"x"), 0o4755);
    set_mode(&file(b"modes/sgid", b"x"), 0o2711);
    set_mode(&file(b"modes/all", b"x"), 0o777);
    fs::create_dir_all(top.join("modes/sticky")).unwrap();
    set_mode(&top.join("modes/sticky"), 0o1777);
    symlink("modes/all", top.join("link")).unwrap();
    symlink("/etc/passwd", top.join("link-absolute")).unwrap();
    symlink("../../../nowhere", top.join("link-dangling")).unwrap();
    symlink(OsStr::from_bytes(b" odd ' -> \n\xff"), top.join("link-odd")).unwrap();
    symlink("x".repeat(4000), top.join("link-long")).unwrap();
}

/// Everything.
pub(crate) fn everything(top: &Path) {
    plain(top);
    let at = |name: &str| top.join(name);
    let file = |name: &str, content: &[u8]| -> PathBuf {
        write(&at(name), content);
        at(name)
    };
    set_mode(&file("modes/none", b"x"), 0o000);
    set_owner(&file("owners/known", b"x"), 1, 2);
    set_owner(&file("owners/unknown", b"x"), 54_321, 4_000_000_000);
    set_owner(&at("link"), 3, 3);

    let linked = file("links/a/one", b"linked");
    fs::create_dir_all(at("links/b")).unwrap();
    fs::hard_link(&linked, at("links/a/two")).unwrap();
    fs::hard_link(&linked, at("links/b/three")).unwrap();

    let attributes = file("attributes/file", b"x");
    let long = noise(3000);
    for (name, value) in [
        ("user.text", &b"value"[..]),
        ("user.bytes", b"\0\xff\n=\n12 x=y\n"),
        ("user.empty", b""),
        ("user.long", &long),
        ("user.a=b", b"c"),
        ("trusted.holdall", b"\0"),
    ] {
        set_attribute(&attributes, name, value);
    }
    set_attribute(&at("attributes"), "user.of-a-directory", b"\0\0");
    let capable = file("attributes/capable", b"x");
    sh(&format!(
        "setfacl -m u:1:rw,g:2:r,m::rwx '{0}'; setfacl -d -m u:1:rwx '{1}'",
        attributes.display(),
        at("attributes").display()
    ));
    // cap_net_raw+ep as setcap(8) writes it (linux/capability.h).
    set_attribute(&capable, "security.capability", &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    symlink("file", at("attributes/link")).unwrap();
    set_attribute(&at("attributes/link"), "trusted.of-a-link", b"y");

    fs::create_dir(at("special")).unwrap();
    let special = |name: &str, kind, device| {
        mknodat(CWD, at("special").join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    };
    special("fifo", FileType::Fifo, 0);
    special("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    special("disk", FileType::BlockDevice, rustix::fs::makedev(259, 300));

    let sparse = File::create(at("content/sparse")).unwrap();
    sparse.set_len(80 << 20).unwrap();
    for (number, at) in [40_u64 << 20, (40 << 20) + 100_000, 70 << 20].into_iter().enumerate() {
        sparse.write_at(format!("island {number}").as_bytes(), at).unwrap();
    }
    let hole = File::create(at("content/hole")).unwrap();
    hole.set_len(1 << 20).unwrap();
    let many = File::create(at("content/many-islands")).unwrap();
    (0..40).for_each(|number: u64| many.write_at(b"island", number * 65536 + 4096).map(drop).unwrap());

    set_modified(&at("link"), 1_000_000_000, 123_456_789);
    set_modified(&at("content/empty"), 0, 1);
    set_modified(&at("content/large"), -1_000, 999_999_999);
    set_modified(&at("content/of-a-piece"), 5_000_000_000, 5);
    set_modified(&at("content/empty-directory"), -2_000_000_000, 0);
    set_modified(&at("modes/all"), -1, 1);
    set_modified(&at("special/fifo"), 1_234_567_890, 1);
    set_modified(&at("links/b"), 1_111_111_111, 111_111_111);
}

/// Makes a socket, which stays when nobody listens any more.
pub(crate) fn socket(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
}
