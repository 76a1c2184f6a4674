//! Streams as the real tar writes them, and such as nobody should.

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lgetxattr, lsetxattr, makedev, mknodat};
use tar::{EntryType, Header};

use super::*;

/// How the driver asks a machine's tar for entries.
const CREATE: &str = "--null --verbatim-files-from --no-recursion --format=pax --xattrs --acls --sparse \
                      --hard-dereference --numeric-owner --absolute-names --create --files-from=-";

/// The archive of these entries of a directory, as tar writes it. Without names, of everything in it, by name.
fn archive(directory: &Path, options: &[&str]) -> Vec<u8> {
    let mut names: Vec<Vec<u8>> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path().as_os_str().as_bytes().to_vec()).collect();
    names.sort();
    let mut tar = Command::new("tar")
        .args(CREATE.split_whitespace())
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = tar.stdin.take().unwrap();
    let feeder = thread::spawn(move || input.write_all(&names.join(&0)).unwrap());
    let output = tar.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn members(bytes: &[u8]) -> Members {
    Members::read(Box::new(Cursor::new(bytes.to_vec()))).unwrap()
}

fn content(member: Member) -> io::Result<Vec<u8>> {
    let Some(Content::Read(opener)) = member.content else { panic!("no content") };
    let mut bytes = Vec::new();
    opener.open()?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A member as it was received: name, kind, the rest, content.
type Got = (Vec<u8>, Kind, u64, Vec<u8>, Vec<u8>);

/// Reads everything there is, contents as they come.
fn all(bytes: &[u8]) -> Result<Vec<Got>> {
    let mut members = members(bytes);
    let mut got = Vec::new();
    while let Some(member) = members.next()? {
        let name = member.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default().to_vec();
        let (kind, rdev, target, size) = (member.kind, member.rdev, member.target.clone(), member.size);
        let content = if member.content.is_some() { content(member)? } else { Vec::new() };
        if content.len() as u64 != size {
            bail!("{} bytes of {size}", content.len());
        }
        got.push((name, kind, rdev, target, content));
    }
    Ok(got)
}

/// Runs `work`, which must not take long.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_secs(60)).expect("it hangs, or panicked")
}

#[test]
fn everything_that_a_directory_holds_arrives() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &[u8]| place.path().join(std::ffi::OsStr::from_bytes(name));
    let long_target = "t/".repeat(300);
    fs::create_dir(at(b"directory")).unwrap();
    fs::write(at(b"empty"), "").unwrap();
    fs::write(at(b"new\nline \\ \xff"), "odd").unwrap();
    fs::write(at(&[b'n'; 255]), "long").unwrap();
    symlink(&long_target, at(b"link")).unwrap();
    symlink("short", at(b"link2")).unwrap();
    mknodat(CWD, at(b"fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    mknodat(CWD, at(b"null"), FileType::CharacterDevice, Mode::RUSR, makedev(300, 70_000)).unwrap();
    mknodat(CWD, at(b"disk"), FileType::BlockDevice, Mode::RUSR, makedev(7, 3)).unwrap();
    fs::hard_link(at(b"empty"), at(b"empty2")).unwrap();
    let large: Vec<u8> = (0..3_000_001_u32).map(|n| (n / 7) as u8).collect();
    fs::write(at(b"large"), &large).unwrap();
    let none = Vec::new;
    let expected: Vec<Got> = vec![
        (b"directory".to_vec(), Kind::Directory, 0, none(), none()),
        (b"disk".to_vec(), Kind::BlockDevice, makedev(7, 3), none(), none()),
        (b"empty".to_vec(), Kind::File, 0, none(), none()),
        (b"empty2".to_vec(), Kind::File, 0, none(), none()),
        (b"fifo".to_vec(), Kind::Fifo, 0, none(), none()),
        (b"large".to_vec(), Kind::File, 0, none(), large),
        (b"link".to_vec(), Kind::Symlink, 0, long_target.into_bytes(), none()),
        (b"link2".to_vec(), Kind::Symlink, 0, b"short".to_vec(), none()),
        (b"new\nline \\ \xff".to_vec(), Kind::File, 0, none(), b"odd".to_vec()),
        (vec![b'n'; 255], Kind::File, 0, none(), b"long".to_vec()),
        (b"null".to_vec(), Kind::CharDevice, makedev(300, 70_000), none(), none()),
    ];
    assert!(all(&archive(place.path(), &[])).unwrap() == expected);
    // Without pax, long names and sparse files are written in GNU's older way.
    assert!(all(&archive(place.path(), &["--format=gnu", "--no-xattrs", "--no-acls"])).unwrap() == expected);
}

#[test]
fn paths_are_absolute_and_without_a_slash_at_their_end() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("d")).unwrap();
    let mut members = members(&archive(place.path(), &[]));
    let path = members.next().unwrap().unwrap().path;
    assert_eq!(path, place.path().join("d").as_os_str().as_bytes());
    assert!(members.next().unwrap().is_none());
    assert!(members.next().unwrap().is_none());
}

#[test]
fn attributes_and_acls_are_those_that_the_kernel_has() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("d");
    fs::create_dir(&path).unwrap();
    for (name, value) in [("user.b", &b"a=b\n20 path=/etc/x\n\0\xff"[..]), ("user.a%3D=%", b""), ("trusted.t", b"\n")] {
        lsetxattr(&path, name, value, XattrFlags::empty()).unwrap();
    }
    let capability = [1, 0, 0, 2, 10, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    fs::write(place.path().join("program"), "").unwrap();
    lsetxattr(place.path().join("program"), "security.capability", &capability, XattrFlags::empty()).unwrap();
    for rule in ["u:70000:r,g:70033:rwx", "d:u:70005:rw"] {
        assert!(Command::new("setfacl").args(["-m", rule]).arg(&path).status().unwrap().success());
    }
    let names = ["system.posix_acl_access", "system.posix_acl_default", "trusted.t", "user.a%3D=%", "user.b"];
    let value = |name: &str| {
        let mut buffer = [0; 256];
        let length = lgetxattr(&path, name, &mut buffer).unwrap();
        buffer[..length].to_vec()
    };
    let expected: Vec<(String, Vec<u8>)> = names.iter().map(|name| ((*name).to_owned(), value(name))).collect();
    // A tar that sends no attributes still sends the ACLs, as text. It says names where the machine has some.
    for (options, expected) in [(&[][..], &expected[..]), (&["--xattrs-exclude=*"], &expected[..2])] {
        let mut members = members(&archive(place.path(), options));
        let member = members.next().unwrap().unwrap();
        assert_eq!((member.xattrs.as_slice(), member.complaint), (expected, None), "{options:?}");
        let program = members.next().unwrap().unwrap();
        if options.is_empty() {
            assert_eq!(program.xattrs, [("security.capability".to_owned(), capability.to_vec())]);
        }
    }
}

/// Files with holes at the beginning, at the end, everywhere, and nothing else.
fn make_sparse(directory: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut made = Vec::new();
    for (name, size, data) in [
        ("begin", 1_500_000, &[(1_400_000, 100_000)][..]),
        ("end", 1_500_000, &[(0, 5)]),
        ("everywhere", 9_000_000, &(0..60).map(|n| (n * 150_000 + 4096, 777)).collect::<Vec<_>>()),
        ("hole", 1_000_001, &[]),
        ("small", 300_000, &[(200_000, 10)]),
    ] {
        let file = File::create(directory.join(name)).unwrap();
        file.set_len(size).unwrap();
        let mut content = vec![0; usize::try_from(size).unwrap()];
        for &(offset, length) in data {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 255 + 1) as u8).collect();
            file.write_all_at(&bytes, offset).unwrap();
            content[usize::try_from(offset).unwrap()..][..bytes.len()].copy_from_slice(&bytes);
        }
        assert!(file.metadata().unwrap().blocks() * 512 < size, "this file system has no holes");
        made.push((name.as_bytes().to_vec(), content));
    }
    made
}

#[test]
fn holes_are_filled_with_zeros_whatever_the_format() {
    let place = tempfile::tempdir().unwrap();
    let expected = make_sparse(place.path());
    for options in [
        &["--sparse-version=1.0"][..],
        &["--sparse-version=0.1"],
        &["--sparse-version=0.0"],
        &["--format=gnu", "--no-xattrs", "--no-acls"],
    ] {
        let archive = archive(place.path(), options);
        assert!(archive.len() < 1_000_000, "{options:?}: holes are sent");
        let got: Vec<_> = all(&archive).unwrap().into_iter().map(|(name, .., content)| (name, content)).collect();
        assert!(got == expected, "{options:?}");
    }
}

#[test]
fn file_that_is_larger_than_a_header_can_say_has_its_size() {
    let place = tempfile::tempdir().unwrap();
    let size = (1 << 33) + 5;
    let file = File::create(place.path().join("huge")).unwrap();
    file.set_len(size).unwrap();
    file.write_all_at(b"end", size - 3).unwrap();
    fs::write(place.path().join("next"), "behind").unwrap();
    let mut members = members(&archive(place.path(), &[]));
    let huge = members.next().unwrap().unwrap();
    assert_eq!(huge.size, size);
    let Some(Content::Read(opener)) = huge.content else { panic!("no content") };
    let reader = thread::spawn(move || {
        let mut content = opener.open().unwrap();
        let mut buffer = vec![1; 1 << 20];
        let (mut length, mut tail) = (0, Vec::new());
        loop {
            match content.read(&mut buffer).unwrap() {
                0 => return (length, tail),
                read => {
                    length += read as u64;
                    tail = buffer[read.saturating_sub(4)..read].to_vec();
                }
            }
        }
    });
    assert_eq!(content(members.next().unwrap().unwrap()).unwrap(), b"behind");
    let (length, tail) = reader.join().unwrap();
    assert_eq!(length, size);
    assert!(b"\0end".ends_with(&tail[..]), "{tail:?}");
    assert!(members.next().unwrap().is_none());
}

#[test]
fn small_contents_are_read_in_any_order() {
    let place = tempfile::tempdir().unwrap();
    for n in 0..50 {
        fs::write(place.path().join(format!("{n:02}")), format!("content {n}")).unwrap();
    }
    let mut members = members(&archive(place.path(), &[]));
    let mut waiting = Vec::new();
    while let Some(member) = members.next().unwrap() {
        waiting.push(member);
    }
    for (n, member) in waiting.into_iter().enumerate().rev() {
        assert_eq!(content(member).unwrap(), format!("content {n}").as_bytes());
    }
}

#[test]
fn small_contents_take_no_more_memory_than_there_is_for_them() {
    let place = tempfile::tempdir().unwrap();
    let size = 400 << 10;
    for n in 0..100 {
        fs::write(place.path().join(format!("{n:02}")), vec![n; size]).unwrap();
    }
    let bytes = archive(place.path(), &[]);
    in_time(move || {
        let mut members = members(&bytes);
        let budget = Arc::clone(&members.budget);
        let (sender, receiver) = channel::<Member>();
        let reader = thread::spawn(move || receiver.into_iter().map(|member| content(member).unwrap().len()).sum());
        while let Some(member) = members.next().unwrap() {
            assert!(budget.used() <= 32 << 20);
            sender.send(member).unwrap();
        }
        drop(sender);
        let read: usize = reader.join().unwrap();
        assert_eq!(read, 100 * size);
        assert_eq!(budget.used(), 0);
    });
}

#[test]
fn content_that_nobody_wants_is_passed_over() {
    let place = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(place.path().join(name), vec![7; 20 << 20]).unwrap();
    }
    let bytes = archive(place.path(), &[]);
    in_time(move || {
        let mut members = members(&bytes);
        drop(members.next().unwrap().unwrap());
        let begun = members.next().unwrap().unwrap();
        let Some(Content::Read(opener)) = begun.content else { panic!("no content") };
        let mut reader = opener.open().unwrap();
        reader.read_exact(&mut [0; 1000]).unwrap();
        drop(reader);
        let last = members.next().unwrap().unwrap();
        assert_eq!(content(last).unwrap().len(), 20 << 20);
        assert!(members.next().unwrap().is_none());
    });
}

#[test]
fn every_place_where_an_archive_is_cut_off_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("d")).unwrap();
    fs::write(place.path().join("f"), "content").unwrap();
    symlink("t".repeat(150), place.path().join("l")).unwrap();
    let file = File::create(place.path().join("a")).unwrap();
    file.set_len(1 << 20).unwrap();
    file.write_all_at(b"x", 600_000).unwrap();
    let bytes = archive(place.path(), &[]);
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap().next_multiple_of(512);
    in_time(move || {
        for length in 0..used + 1024 {
            assert!(all(&bytes[..length]).is_err(), "cut off after {length} bytes of {used} and two blocks");
        }
        assert_eq!(all(&bytes[..used + 1024]).unwrap().len(), 4);
    });
}

#[test]
fn content_that_breaks_off_is_an_error_and_so_is_what_comes_next() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("large"), vec![7; 2 << 20]).unwrap();
    let mut bytes = archive(place.path(), &[]);
    bytes.truncate(1 << 20);
    let mut members = members(&bytes);
    let error = content(members.next().unwrap().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the stream ended in the middle");
    assert!(format!("{:#}", members.next().unwrap_err()).contains("ended in the middle"));
    assert!(members.next().is_err(), "and it stays broken");
}

#[test]
fn error_of_the_stream_is_told_as_it_is() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the machine is silent"))
        }
    }
    let error = Members::read(Box::new(Fails)).unwrap().next().unwrap_err();
    assert!(format!("{error:#}").contains("the machine is silent"));
}

/// A header and what follows it, as a tar that lies would write it.
fn lie(kind: EntryType, size: u64, data: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_path("name").unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[test]
fn headers_that_lie_are_errors_and_take_no_memory() {
    let end = [0; 1024];
    let pax = |records: &str| lie(EntryType::XHeader, records.len() as u64, records.as_bytes());
    let archives = [
        [lie(EntryType::Regular, 1 << 40, b"short"), end.to_vec()].concat(),
        [lie(EntryType::Regular, u64::MAX, b"short"), end.to_vec()].concat(),
        [lie(EntryType::XHeader, u64::MAX, b"short"), end.to_vec()].concat(),
        [lie(EntryType::GNULongName, 1 << 30, b"short"), end.to_vec()].concat(),
        [pax("28 size=1844674407370955161\n"), lie(EntryType::Regular, 5, b"short"), end.to_vec()].concat(),
        // A member is announced, and then there is none.
        [pax("6 a=b\n"), end.to_vec()].concat(),
        // One block of zeros is no end.
        [lie(EntryType::Regular, 5, b"right"), vec![0; 512], lie(EntryType::Regular, 5, b"right"), end.to_vec()]
            .concat(),
        [
            pax("22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n31 GNU.sparse.realsize=9999999\n"),
            lie(EntryType::Regular, 512, b"99999999999\n0\n0\n"),
            end.to_vec(),
        ]
        .concat(),
        [
            pax("22 GNU.sparse.major=9\n22 GNU.sparse.minor=0\n31 GNU.sparse.realsize=9999999\n"),
            lie(EntryType::Regular, 512, b"0\n"),
            end.to_vec(),
        ]
        .concat(),
        vec![b'x'; 2048],
    ];
    for (number, bytes) in archives.into_iter().enumerate() {
        in_time(move || assert!(all(&bytes).is_err(), "{number}"));
    }
}

#[test]
fn size_in_a_record_counts_even_behind_a_binary_attribute() {
    let records = b"24 SCHILY.xattr.user.a=\n\n\n\n10 size=5\n".to_vec();
    let records = [b"27 ", &records[3..]].concat();
    let bytes = [
        lie(EntryType::XHeader, records.len() as u64, &records),
        lie(EntryType::Regular, 0, b"right"),
        lie(EntryType::Regular, 4, b"next"),
        vec![0; 1024],
    ]
    .concat();
    let contents: Vec<_> = all(&bytes).unwrap().into_iter().map(|got| got.4).collect();
    assert_eq!(contents, [&b"right"[..], b"next"]);
}

#[test]
fn random_damage_neither_panics_nor_hangs() {
    let place = tempfile::tempdir().unwrap();
    make_sparse(place.path());
    fs::write(place.path().join("file"), "content").unwrap();
    lsetxattr(place.path().join("file"), "user.x", b"1\n2", XattrFlags::empty()).unwrap();
    let formats: [&[&str]; 3] = [&[], &["--sparse-version=0.0"], &["--format=gnu", "--no-xattrs", "--no-acls"]];
    let archives: Vec<Vec<u8>> = formats.iter().map(|options| archive(place.path(), options)).collect();
    in_time(move || {
        let mut random = StdRng::seed_from_u64(4);
        for round in 0..600 {
            let mut bytes = archives[round % archives.len()].clone();
            for _ in 0..random.random_range(1..20) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            repair(&mut bytes);
            let mut members = members(&bytes);
            while let Ok(Some(member)) = members.next() {
                // A size may be anything. What is in the stream is read, and holes as long as a test may take.
                if let Some(Content::Read(opener)) = member.content {
                    let _ = io::copy(&mut opener.open().unwrap().take(10 << 20), &mut io::sink());
                }
            }
        }
    });
}

/// Corrects the checksums of what looks like a header, so that damage is not only found by them.
fn repair(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

/// A stream that goes on and on, and tells when it is let go.
struct Endless(std::sync::mpsc::Sender<()>, Cursor<Vec<u8>>);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.1.read(buffer)? {
            0 => {
                self.1.set_position(0);
                self.1.read(buffer)
            }
            read => Ok(read),
        }
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn thread_ends_when_nobody_wants_the_rest() {
    for size in [0, 1000, 500 << 10, 3 << 20] {
        let data = lie(EntryType::Regular, size, &vec![1; usize::try_from(size).unwrap()]);
        for taken in [0, 1, 5] {
            let (sender, ended) = channel();
            let mut members = Members::read(Box::new(Endless(sender, Cursor::new(data.clone())))).unwrap();
            for _ in 0..taken {
                members.next().unwrap().unwrap();
            }
            drop(members);
            ended.recv_timeout(Duration::from_secs(60)).expect("the thread goes on");
        }
    }
}

#[test]
fn content_that_is_given_up_is_not_taken_for_whole() {
    let data = lie(EntryType::Regular, 1 << 40, b"");
    let (sender, ended) = channel();
    let mut members = Members::read(Box::new(Endless(sender, Cursor::new(data)))).unwrap();
    let member = members.next().unwrap().unwrap();
    drop(members);
    in_time(move || assert!(content(member).is_err()));
    ended.recv_timeout(Duration::from_secs(60)).expect("the thread goes on");
}
