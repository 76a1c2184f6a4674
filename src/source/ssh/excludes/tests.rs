//! What GNU find leaves out, next to what our own rules leave out.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use super::*;

/// Names that find, the shell or a regular expression could trip over.
const NAMES: [&[u8]; 22] = [
    b"a",
    b"b",
    b"ab",
    b"A",
    b"aXb",
    b"a.tmp",
    b"b.tmp",
    b".cache",
    b"a b",
    b" ",
    b"a\nb",
    b"x*y",
    b"[ab]",
    b"{a,b}",
    b"!a",
    b"#a",
    b"\\",
    b"-name",
    b"a+",
    b"^a$",
    "é".as_bytes(),
    b"a\xff",
];

/// Pieces of globs; those that cannot be globs together are left out.
const PIECES: [&str; 32] = [
    "a",
    "b",
    "ab",
    ".cache",
    ".tmp",
    "é",
    " ",
    "+",
    "^",
    "$",
    "(",
    "*",
    "*",
    "?",
    "??",
    "**",
    "**/",
    "/**/",
    "[ab]",
    "[!a]",
    "[^b/]",
    "[a-c]",
    "[]a]",
    "[!]]",
    "[é]",
    "\\*",
    "\\[",
    "\\\\",
    "{a,b}",
    "{a,.cache}",
    "\\!a",
    "\\#a",
];

/// A tree with every name in every directory, two levels deep.
fn tree() -> TempDir {
    let world = tempfile::Builder::new().prefix("holdall").rand_bytes(8).tempdir().unwrap();
    for (position, name) in NAMES.iter().enumerate() {
        let path = world.path().join(OsStr::from_bytes(name));
        if position % 3 == 2 {
            fs::write(&path, name).unwrap();
            continue;
        }
        fs::create_dir(&path).unwrap();
        for (position, name) in NAMES.iter().enumerate() {
            let path = path.join(OsStr::from_bytes(name));
            match position % 4 {
                0 => fs::create_dir_all(path.join("a").join(".cache")).unwrap(),
                1 => std::os::unix::fs::symlink("a", path).unwrap(),
                _ => fs::write(path, name).unwrap(),
            }
        }
    }
    world
}

/// What find lists below the roots with these arguments.
fn find(roots: &[PathBuf], words: &[Vec<u8>]) -> BTreeSet<PathBuf> {
    let words = words.iter().map(|word| OsStr::from_bytes(word));
    let mut command = Command::new("find");
    let output = command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .args(roots)
        .args(words)
        .arg("-print0")
        .output();
    let output = output.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = output.stdout.split(|&byte| byte == 0).filter(|line| !line.is_empty());
    lines.map(|line| PathBuf::from(std::ffi::OsString::from_vec(line.to_vec()))).collect()
}

/// What our own rules let through of it.
fn kept(exclude: &[String], roots: &[PathBuf], all: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let mut builder = GitignoreBuilder::new("/");
    for line in exclude {
        builder.add_line(None, line).unwrap();
    }
    let rules: Gitignore = builder.build().unwrap();
    let mut kept = BTreeSet::new();
    // Parents come before their children.
    for path in all {
        let is_directory = fs::symlink_metadata(path).unwrap().is_dir();
        let is_reached = path.parent().is_some_and(|parent| kept.contains(parent));
        if roots.contains(path) || is_reached && !rules.matched(path, is_directory).is_ignore() {
            kept.insert(path.clone());
        }
    }
    kept
}

/// Whether every line is told to find.
fn is_all_said(exclude: &[String]) -> bool {
    exclude.iter().filter_map(|line| Line::read(line)).all(|line| line.test().is_some())
}

fn strings(lines: &[&str]) -> Vec<String> {
    lines.iter().map(ToString::to_string).collect()
}

/// A line for a tree at `place`: with a slash inside or at its beginning it stands for a path from the root.
fn line(place: &Path, (sign, anchored, pieces, slash): (&str, bool, Vec<&str>, &str)) -> String {
    let inner = pieces.concat();
    let anchored = anchored || inner.trim_end_matches('/').contains('/') && !inner.starts_with("**/");
    let begin = if anchored { format!("{}/", place.display()) } else { String::new() };
    format!("{sign}{begin}{inner}{slash}")
}

#[test]
fn simple_globs_leave_out_on_the_machine_all_that_they_leave_out_here() {
    let world = tree();
    let roots = [world.path().to_path_buf()];
    let all = find(&roots, &[]);
    let anchored = |glob: &str| format!("{}{glob}", world.path().display());
    let excludes = [
        strings(&["*.tmp"]),
        strings(&[".cache"]),
        strings(&[".cache/", "ab/"]),
        strings(&["a?b", "[!a-z]*"]),
        strings(&["\\!a", "\\#a", "\\[ab\\]"]),
        strings(&["é", "**/a b"]),
        strings(&["*.tmp", "!a.tmp"]),
        strings(&["*", "!*a*", "ab"]),
        vec![anchored("/*/.cache")],
        vec![anchored("/a/**")],
        vec![anchored("/**/a/.cache/"), "b".to_owned()],
        vec![anchored("/{a,b}/?"), format!("!{}", anchored("/a/b"))],
    ];
    for exclude in excludes {
        assert!(is_all_said(&exclude), "{exclude:?}");
        let kept = kept(&exclude, &roots, &all);
        assert!(kept.len() < all.len(), "{exclude:?} leaves nothing out");
        assert_eq!(find(&roots, &prune(&exclude, &roots)), kept, "{exclude:?}");
    }
}

#[test]
fn nothing_to_leave_out_needs_no_arguments() {
    let roots = [PathBuf::from("/etc")];
    for exclude in [&[][..], &["# x", " "], &["!x"], &["[é]"], &["*.tmp", "![é]"]] {
        assert_eq!(prune(&strings(exclude), &roots), Vec::<Vec<u8>>::new(), "{exclude:?}");
    }
}

#[test]
fn arguments_are_an_expression_of_find() {
    let words = |exclude: &[&str], roots: &[&str]| {
        let roots: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
        String::from_utf8(prune(&strings(exclude), &roots).join(&b' ')).unwrap()
    };
    assert_eq!(
        words(&["*.tmp", "/home/*/.cache/"], &["/etc", "/srv/a.b"]),
        r"-regextype posix-extended ( -regex .*/[^/]*\.tmp -o -type d -regex /home/[^/]*/\.cache ) ! ( -regex /etc -o -regex /srv/a\.b ) -prune -o"
    );
    assert_eq!(
        words(&["a", "!b/", "c"], &["/"]),
        "-regextype posix-extended ( ! ( -type d -regex .*/b ) ( -regex .*/a ) -o -regex .*/c ) ! ( -regex / ) -prune -o"
    );
}

#[test]
fn roots_are_never_left_out() {
    let world = tree();
    let roots =
        [b"a".as_slice(), b"{a,b}", b"^a$", b"a\nb", b"\\"].map(|name| world.path().join(OsStr::from_bytes(name)));
    let words = prune(&strings(&["*"]), &roots);
    assert_eq!(find(&roots, &words), BTreeSet::from(roots.clone()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn find_never_leaves_out_more_than_our_own_rules(
        lines in prop::collection::vec(
            (select(vec!["", "", "!"]), any::<bool>(), prop::collection::vec(select(PIECES.to_vec()), 1..4), select(vec!["", "", "/"])),
            1..4,
        ),
    ) {
        thread_local!(static WORLD: TempDir = tree());
        let world = WORLD.with(|world| world.path().to_path_buf());
        let exclude: Vec<String> = lines.into_iter().map(|parts| line(&world, parts)).collect();
        let exclude: Vec<String> = exclude.into_iter().filter(|line| crate::config::check_exclude(line).is_ok()).collect();
        let roots = ["a", "ab", "#a", "\\"].map(|name| world.join(name));
        let all = find(&roots, &[]);
        let (listed, kept) = (find(&roots, &prune(&exclude, &roots)), kept(&exclude, &roots, &all));
        prop_assert!(kept.is_subset(&listed), "{:?} leaves out more there: {:?}", exclude, kept.difference(&listed));
        if is_all_said(&exclude) {
            prop_assert_eq!(listed, kept, "{:?}", exclude);
        }
    }
}
