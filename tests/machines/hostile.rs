//! A machine that lies: fake programs that say what the test wants. Whatever it is, there is no point that looks whole, and no end without
//! a word.

use std::fs;
use std::io::Write;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::bench::{Machine, problems, sh};
use crate::support::env::finish;

/// Prints the file `archive` for tar, and the file `listing`, if there is one, for find.
const TAR: &str = "case $1 in --create) cat >/dev/null; cat SOURCE/../archive;; *) exec /usr/bin/tar \"$@\";; esac";
const FIND: &str = "case $1 in /*) cat SOURCE/../listing;; *) exec /usr/bin/find \"$@\";; esac";

/// A machine with three files, whose archive is `archive`.
fn liar() -> Machine {
    let machine = Machine::with_programs(&[("tar", TAR)]);
    for name in ["a", "b", "d/c"] {
        machine.write(name, name);
    }
    machine
}

fn add(archive: &mut Builder<Vec<u8>>, path: &Path, kind: EntryType, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(content.len() as u64);
    let name = path.as_os_str().as_encoded_bytes();
    // As it is, also where it leads upwards.
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_cksum();
    archive.append(&header, content).unwrap();
}

/// An archive of these files and directories, whose names end with a slash.
fn archive(machine: &Machine, names: &[&str]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for name in names {
        let path = match name.strip_prefix('!') {
            Some(elsewhere) => elsewhere.into(),
            None if name.is_empty() => machine.source(),
            None => machine.source().join(name),
        };
        let is_directory = name.is_empty() || name.ends_with('/');
        let kind = if is_directory { EntryType::Directory } else { EntryType::Regular };
        add(&mut archive, &path, kind, if is_directory { b"" } else { b"x" });
    }
    archive.into_inner().unwrap()
}

/// Nothing was saved, and it was said why.
#[track_caller]
fn is_refused(machine: &Machine, why: &[&str]) {
    let run = machine.run(["backup", "--json", "ssh.there"]).code(1).stderr_lacks("panicked");
    let item = run.line("item");
    let error = item["error"].as_str().unwrap();
    assert!(why.iter().any(|why| error.contains(why)), "{item}");
    assert_eq!(fs::read_dir(machine.env.store().join("snapshots")).unwrap().count(), 0, "{item}");
}

#[test]
fn names_that_nobody_asked_for_are_refused() {
    let machine = liar();
    let why = &["which it was not asked for"];
    for names in [
        &["", "a", "b", "d/", "d/c", "e"][..],
        &["", "a", "a", "b", "d/", "d/c"],
        &["", "../source/a", "b", "d/", "d/c"],
        &["", "a", "b", "d/../../outside"],
        &["!/etc/passwd"],
        &["!../../etc/passwd"],
    ] {
        fs::write(machine.path("archive"), archive(&machine, names)).unwrap();
        is_refused(&machine, why);
    }
    // What does not come is told of, entry by entry.
    fs::write(machine.path("archive"), archive(&machine, &["", "b", "d/"])).unwrap();
    let item = machine.backup(3);
    let names: Vec<String> = problems(&item, &machine.source()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        (item["outcome"].as_str(), names.as_slice()),
        (Some("incomplete"), ["a", "d/c"].map(str::to_owned).as_slice())
    );
}

#[test]
fn archive_that_is_cut_anywhere_makes_no_point() {
    let machine = Machine::with_programs(&[]);
    for (name, length) in [("a", 3), ("b", 700_000), ("c", 0)] {
        machine.write(name, crate::everything::noise(length));
    }
    let source = machine.source();
    sh(&format!(
        "tar -cPf '{0}' --format=pax --xattrs --acls --sparse --no-recursion '{1}' '{1}/a' '{1}/b' '{1}/c' 2>&1",
        machine.path("whole").display(),
        source.display()
    ));
    machine.set_program("tar", TAR);
    let whole = fs::read(machine.path("whole")).unwrap();
    for length in [0, 700, 2048, 5000, 350_000, whole.len() - 10_000] {
        fs::write(machine.path("archive"), &whole[..length]).unwrap();
        is_refused(&machine, &["archive"]);
    }
    let garbage = crate::everything::noise(100_000);
    fs::write(machine.path("archive"), &garbage).unwrap();
    is_refused(&machine, &["archive"]);
    fs::write(machine.path("archive"), [&whole[..2048], &garbage].concat()).unwrap();
    is_refused(&machine, &["archive"]);
    fs::write(machine.path("archive"), &whole).unwrap();
    machine.backup(0);
}

#[test]
fn sizes_that_lie_do_no_harm() {
    let machine = liar();
    let source = machine.source();
    let sparse = |real: &str| {
        let mut archive = Builder::new(Vec::new());
        add(&mut archive, &source, EntryType::Directory, b"");
        let name = source.join("a").display().to_string();
        let records = [
            ("GNU.sparse.major", "0"),
            ("GNU.sparse.minor", "1"),
            ("GNU.sparse.name", &*name),
            ("GNU.sparse.size", real),
        ];
        let map = [("GNU.sparse.numblocks", "0"), ("GNU.sparse.map", "")];
        let records = records.into_iter().chain(map).map(|(key, value)| (key, value.as_bytes()));
        archive.append_pax_extensions(records).unwrap();
        add(&mut archive, Path::new("GNUSparseFile.0/a"), EntryType::Regular, b"");
        add(&mut archive, &source.join("b"), EntryType::Regular, b"b");
        add(&mut archive, &source.join("d/"), EntryType::Directory, b"");
        add(&mut archive, &source.join("d/c"), EntryType::Regular, b"c");
        fs::write(machine.path("archive"), archive.into_inner().unwrap()).unwrap();
    };
    // More than there was, and more than any disk has.
    for real in ["9223372036854775808", "1099511627776"] {
        sparse(real);
        let run = machine.run(["backup", "--json", "ssh.there"]).code_among(&[1, 3]).stderr_lacks("panicked");
        let item = run.line("item");
        assert_ne!(item["outcome"], "saved", "{real}: {item}");
    }
    // A header that says more than there is, and one that says more than the stream can have.
    for size in [1 << 20, u64::MAX / 2] {
        let mut bytes = archive(&machine, &["", "a", "b", "d/", "d/c"]);
        let mut header = Header::from_byte_slice(&bytes[512..1024]).clone();
        header.set_size(size);
        header.set_cksum();
        bytes[512..1024].copy_from_slice(header.as_bytes());
        fs::write(machine.path("archive"), bytes).unwrap();
        let run = machine.run(["backup", "--json", "ssh.there"]).code(1).stderr_lacks("panicked");
        assert_eq!(run.line("item")["outcome"], "failed");
    }
}

/// A machine whose listing is the file `listing`.
fn fabulist() -> Machine {
    let machine = liar();
    machine.set_program("find", FIND);
    machine
}

/// Entries as find would print them: letter, path below the source or from the root, and where it leads.
fn listing(machine: &Machine, entries: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut listing = Vec::new();
    for (kind, name, target) in entries {
        let path = match name.strip_prefix('!') {
            Some(elsewhere) => elsewhere.into(),
            None if name.is_empty() => machine.source(),
            None => machine.source().join(name),
        };
        write!(listing, "7/1/1.0/1.0/{kind}/755/0/0/1/1\0{target}\0{}\0", path.display()).unwrap();
    }
    listing
}

#[test]
fn listing_of_what_cannot_be_there_is_refused() {
    let machine = fabulist();
    for entries in [
        &[("d", "", ""), ("f", "!/etc/passwd", "")][..],
        &[("d", "", ""), ("f", "../outside", "")],
        &[("d", "", ""), ("f", "no/such/directory", "")],
        &[("d", "", ""), ("l", "link", "/etc"), ("f", "link/passwd", "")],
        &[("d", "", ""), ("f", "a", ""), ("f", "a/b", "")],
        &[("d", "", ""), ("f", "!", "")],
        &[("d", "", ""), ("x", "a", "")],
        &[("d", "", ""), ("f/-1", "a", "")],
    ] {
        fs::write(machine.path("listing"), listing(&machine, entries)).unwrap();
        is_refused(&machine, &["cannot be there", "not understood"]);
    }
    let whole = listing(&machine, &[("d", "", ""), ("f", "a", "")]);
    for bad in [&b"garbage"[..], &[0; 10_000], &whole[..whole.len() - 1], &vec![b'x'; 1 << 20], b"E0\0\0\0E0\0\0\0"] {
        fs::write(machine.path("listing"), bad).unwrap();
        machine.run(["backup", "--json", "ssh.there"]).code(1).stderr_lacks("panicked");
    }
    assert_eq!(machine.run(["list", "--json"]).code(0).json(), serde_json::json!([]));
}

#[test]
fn listing_without_end_does_not_use_up_the_memory() {
    let machine = fabulist();
    let entries = "my $i = 0; while (1) { print \"7/1/1.0/1.0/f/644/0/0/1/1\\0\\0SOURCE/\", $i++, \"\\0\" }";
    let begin = "printf '7/1/1.0/1.0/d/755/0/0/1/1\\0\\0SOURCE\\0'";
    machine.set_program(
        "find",
        &format!("case $1 in /*) {begin}; exec perl -e '{entries}';; *) exec /usr/bin/find \"$@\";; esac"),
    );
    // What is small when it is packed is large for who unpacks it.
    sh(&format!("head -c 100000000 /dev/zero | tr '\\0' x | xz -0 > {}", machine.path("bomb").display()));
    for (xz, why) in
        [("exec /usr/bin/xz \"$@\"", "free memory"), ("cat >/dev/null & exec cat SOURCE/../bomb", "too long")]
    {
        machine.set_program("xz", xz);
        let mut command = machine.env.command("prlimit");
        let plain = machine.env.holdall(["backup", "--json", "ssh.there"]);
        command.arg("--data=300000000").arg(plain.get_program()).args(plain.get_args());
        let item = finish(command).code(1).stderr_lacks("panicked").line("item");
        assert!(item["error"].as_str().unwrap().contains(why), "{item}");
    }
}

#[test]
fn complaints_that_are_not_understood_are_not_passed_over() {
    let machine = liar();
    // As if it were one that does not know what happened.
    machine.set_program(
        "tar",
        "case $1 in --create) /usr/bin/tar \"$@\"; echo 'tar: woe' >&2; exit 2;; *) exec /usr/bin/tar \"$@\";; esac",
    );
    is_refused(&machine, &["tar ended with 2: tar: woe"]);
    let flood = "yes 'tar: woe woe woe woe woe woe woe woe woe woe woe woe woe woe woe' | head -c 30000000 >&2";
    machine.set_program("tar", &format!("case $1 in --create) {flood};; esac\nexec /usr/bin/tar \"$@\""));
    let item = machine.backup(3);
    assert_eq!(
        problems(&item, Path::new("/")),
        [(String::new(), "tar complained of more than can be told".to_owned())]
    );
}
