//! What no device would write: names that lead elsewhere, records that lie, databases that are none.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::desk::{Desk, UDID, directory, file, link, small, with};

/// Every path below a directory, sorted.
fn everything(below: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut ahead = vec![below.to_path_buf()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(below).unwrap().to_str().unwrap().to_owned());
            if path.symlink_metadata().unwrap().is_dir() {
                ahead.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn names_that_lead_elsewhere_are_told_and_nothing_is_made_outside() {
    let desk = Desk::new();
    let outside = desk.at("outside");
    fs::create_dir(&outside).unwrap();
    let long = "n".repeat(4000);
    desk.point(&json!({"files": [
        file("HomeDomain", "../../escaped", "x"),
        file("..", "escaped", "x"),
        file("/", "tmp/escaped", "x"),
        file("HomeDomain", "/etc/escaped", "x"),
        file("HomeDomain", "a\u{0}b", "x"),
        file("HomeDomain", &long, "x"),
        file("HomeDomain", "trailing/", "x"),
        file("HomeDomain", "./dot", "x"),
        link("HomeDomain", "way", &outside),
        file("HomeDomain", "way/escaped", "x"),
        file("HomeDomain", "both", "as a file"),
        file("HomeDomain", "both/inside", "as a directory"),
        file("HomeDomain", "twice", "first"),
        with(file("HomeDomain", "twice", "second"), "salt", "2"),
        link("HomeDomain", "out", "/etc/passwd"),
        link("HomeDomain", "nowhere", ""),
        file("HomeDomain", "good", "good"),
    ]}));
    let room = desk.env.path("room");
    let target = room.join("target");
    let restored = desk.env.run(["restore", "ios.phone", "--to", target.to_str().unwrap(), "--json"]).code(3);
    let problems = restored.json()["problems"].clone();
    let mut told: Vec<String> =
        problems.as_array().unwrap().iter().map(|problem| problem["path"].as_str().unwrap().to_owned()).collect();
    told.sort();
    let mut expected = vec![
        "/..".to_owned(),
        "//".to_owned(),
        "/HomeDomain/".to_owned(),
        "/HomeDomain/.".to_owned(),
        "/HomeDomain/..".to_owned(),
        "/HomeDomain/a\u{0}b".to_owned(),
        "/HomeDomain/both".to_owned(),
        format!("/HomeDomain/{long}"),
        "/HomeDomain/nowhere".to_owned(),
        "/HomeDomain/trailing/".to_owned(),
        "/HomeDomain/twice".to_owned(),
        "/HomeDomain/way".to_owned(),
    ];
    expected.sort();
    assert_eq!(told, expected);
    let made = [
        "target",
        "target/HomeDomain",
        "target/HomeDomain/both",
        "target/HomeDomain/both/inside",
        "target/HomeDomain/good",
        "target/HomeDomain/out",
        "target/HomeDomain/trailing",
        "target/HomeDomain/twice",
        "target/HomeDomain/way",
        "target/HomeDomain/way/escaped",
    ];
    assert_eq!(everything(&room), made);
    assert_eq!(everything(Path::new(&outside)), [""; 0]);
    assert_eq!(fs::read_link(target.join("HomeDomain/out")).unwrap(), Path::new("/etc/passwd"));
    // An archive leaves out the same, and listing shows what is there.
    desk.env.run(["dump", "ios.phone"]).code(3).stderr_has("left out HomeDomain/..").stdout_lacks("escaped\0\0\0\0x");
    desk.env
        .run(["ls", "-R", "ios.phone"])
        .code(0)
        .stdout_has("/HomeDomain/a\\u{0}b\n")
        .stdout_has("/HomeDomain/../../escaped\n");
}

#[test]
fn record_without_a_body_is_shown_and_fails_when_it_is_read() {
    let desk = Desk::new();
    let mut files = small();
    files.push(with(with(file("HomeDomain", "lost", ""), "body", false), "size", 7));
    files.push(with(file("HomeDomain", "nothing", ""), "body", false));
    desk.point(&json!({"files": files}));
    let env = &desk.env;
    env.run(["ls", "-l", "ios.phone:HomeDomain"]).code(0).stdout_has("7 2023-11-14 22:13:20 lost\n");
    env.run(["dump", "ios.phone:HomeDomain/lost"]).code(1).stderr_has("is not in the point");
    assert_eq!(env.run(["dump", "ios.phone:HomeDomain/nothing"]).code(0).stdout, "");
    env.run(["dump", "ios.phone:HomeDomain"]).code(3).stderr_has("left out HomeDomain/lost: its content, ");
    let target = desk.at("target");
    let restored = env.run(["restore", "ios.phone", "--to", &target]).code(3);
    restored.stderr_has("/HomeDomain/lost: its content, ").stderr_has("is not in the point");
    assert!(!Path::new(&target).join("HomeDomain/lost").exists());
    assert!(Path::new(&target).join("HomeDomain/nothing").exists());
}

#[test]
fn size_that_is_not_that_of_the_body_costs_no_byte() {
    let desk = Desk::new();
    desk.point(&json!({"files": [with(file("HomeDomain", "a", "all of it"), "size", 3), with(file("HomeDomain", "b", "short"), "size", 1_u64 << 60)]}));
    let target = desk.at("target");
    let restored = desk.env.run(["restore", "ios.phone", "--to", &target]).code(0);
    restored
        .stderr_has("/HomeDomain/a: the point says that it has 3 bytes, its content has 9")
        .stderr_has("2 warnings");
    assert_eq!(fs::read_to_string(Path::new(&target).join("HomeDomain/a")).unwrap(), "all of it");
    assert_eq!(fs::read_to_string(Path::new(&target).join("HomeDomain/b")).unwrap(), "short");
}

#[test]
fn records_that_cannot_be_read_are_told_and_hide_no_other() {
    let desk = Desk::new();
    let huge = "INSERT INTO Files VALUES ('00112233445566778899aabbccddeeff00112233', 'HomeDomain', 'huge', 1, zeroblob(100000000))";
    let id = "UPDATE Files SET fileID = '../../../../etc/passwd' WHERE relativePath = 'Library/empty'";
    let nameless = "INSERT INTO Files VALUES ('10112233445566778899aabbccddeeff00112233', NULL, NULL, 1, NULL)";
    let again = "INSERT INTO Files SELECT '20112233445566778899aabbccddeeff00112233', domain, relativePath, flags, file FROM Files WHERE relativePath = 'Media'";
    desk.point(&json!({"files": small(), "sql": [huge, id, nameless, again]}));
    let env = &desk.env;
    let listed = env.run(["ls", "-R", "ios.phone"]).code(3);
    listed
        .stdout_has("/HomeDomain/huge\n")
        .stdout_has("/HomeDomain/Library/notes.txt\n")
        .stderr_has("/: row 11 of Manifest.db is damaged: its domain is missing or too long")
        .stderr_has("/CameraRollDomain/Media: it stands more than once in Manifest.db");
    env.run(["dump", "ios.phone:HomeDomain/huge"]).code(1).stderr_has("its attributes are missing or too long");
    env.run(["dump", "ios.phone:HomeDomain/Library/notes.txt"]).code(0);
    env.run(["dump", "ios.phone:HomeDomain/Library"])
        .code(3)
        .stderr_has("left out HomeDomain/Library/empty: row 8 of Manifest.db is damaged");
    let target = desk.at("target");
    let restored = env.run(["restore", "ios.phone", "--to", &target, "--json"]).code(3);
    assert_eq!(restored.json()["problems"].as_array().unwrap().len(), 4);
    assert!(Path::new(&target).join("HomeDomain/Library/notes.txt").exists());
}

type Damage = Box<dyn Fn(&Path)>;

#[test]
fn manifest_that_is_none_says_so_and_raw_works_all_the_same() {
    let cases: [(&str, Damage); 5] = [
        ("read Manifest.db: it is no SQLite database", Box::new(|path| fs::write(path, "no database").unwrap())),
        ("read Manifest.db: it is empty", Box::new(|path| fs::write(path, "").unwrap())),
        (
            "read Manifest.db: it is cut short: ",
            Box::new(|path| {
                let whole = fs::read(path).unwrap();
                fs::write(path, &whole[..whole.len() / 2]).unwrap();
            }),
        ),
        ("there is no Manifest.db in the point", Box::new(|path| fs::remove_file(path).unwrap())),
        ("Manifest.plist", Box::new(|path| fs::write(path.with_file_name("Manifest.plist"), "<plist><dict>").unwrap())),
    ];
    let desk = Desk::new();
    for (error, damage) in cases {
        let folder = desk.folder(&json!({"files": small()}));
        damage(&folder.join("Manifest.db"));
        desk.save(&folder);
        let run = desk.env.run(["ls", "ios.phone"]).code(1);
        run.stderr_has("look into the point")
            .stderr_has(error)
            .stderr_has("hint: With --raw the point is shown as it is stored.");
        desk.env.run(["ls", "--raw", &format!("ios.phone:/{UDID}")]).code(0).stdout_has("Status.plist");
    }
    desk.assert_nothing_left();
}

#[test]
fn database_with_pages_in_a_circle_comes_to_an_end() {
    let desk = Desk::new();
    let mut files = small();
    files.extend((0..400).map(|number| directory("HomeDomain", &format!("Library/directory {number}"))));
    let folder = desk.folder(&json!({"files": files}));
    // The table has one interior page, the children of which all become the first of them (sqlite.org/fileformat2.html, 1.6).
    let path = folder.join("Manifest.db");
    let mut bytes = fs::read(&path).unwrap();
    let number = |bytes: &[u8]| bytes.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
    let page = number(&bytes[16..18]);
    let start = (1..bytes.len() / page).map(|index| index * page).find(|start| bytes[*start] == 0x05).unwrap();
    let cells: Vec<usize> = (0..number(&bytes[start + 3..start + 5]))
        .map(|cell| start + number(&bytes[start + 12 + 2 * cell..start + 14 + 2 * cell]))
        .collect();
    let first = bytes[cells[0]..cells[0] + 4].to_vec();
    for cell in cells {
        bytes[cell..cell + 4].copy_from_slice(&first);
    }
    fs::write(&path, bytes).unwrap();
    desk.save(&folder);
    // The same rows come again and again: what is shown is told to stand more than once.
    desk.env.run(["ls", "-R", "ios.phone"]).code_among(&[1, 3]).stderr_has("Manifest.db");
}
