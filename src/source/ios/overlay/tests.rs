//! The folder of a session, without a device and without a point before.

use super::*;
use crate::source::ios::place::Unfit;

const UDID: &str = "00008110-000000000000001E";
const ONE: &str = "ab/ab12000000000000000000000000000000000000";
const OTHER: &str = "cd/cd12000000000000000000000000000000000000";

fn place(path: &str) -> Place {
    let parsed: Result<Place, Unfit> = Place::parse(UDID, &format!("{UDID}/{path}"));
    parsed.unwrap()
}

/// A folder, and the directory that its files are in.
fn folder() -> (tempfile::TempDir, Overlay) {
    let above = tempfile::tempdir().unwrap();
    let staging = Staging::begin(&above.path().join("staging")).unwrap();
    (above, Overlay::empty(UDID, staging))
}

fn put(folder: &mut Overlay, path: &str, text: &str) {
    let staged = folder.staging().keep(text.as_bytes()).unwrap();
    folder.put(&place(path), Stowed::new(staged)).unwrap();
}

fn text(folder: &Overlay, path: &str) -> Option<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut folder.open(&place(path), None).ok()?, &mut text).unwrap();
    Some(text)
}

fn names(folder: &Overlay, path: &str) -> Vec<String> {
    let path = if path.is_empty() { Place::Top } else { place(path) };
    folder.list(&path).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn what_is_moved_out_of_the_snapshot_takes_the_place_of_what_was_there() {
    let (_above, mut folder) = folder();
    put(&mut folder, ONE, "old");
    put(&mut folder, &format!("Snapshot/{ONE}"), "new");
    folder.make_folder(&place("Snapshot/ab")).unwrap();
    assert_eq!(names(&folder, ""), ["Snapshot", "ab"]);
    folder.rename(&place(&format!("Snapshot/{ONE}")), &place(ONE)).unwrap();
    assert_eq!(text(&folder, ONE).as_deref(), Some("new"));
    assert_eq!(text(&folder, &format!("Snapshot/{ONE}")), None);
    folder.remove(&place("Snapshot")).unwrap();
    assert_eq!(names(&folder, ""), ["ab"]);
    assert_eq!(names(&folder, "ab"), [&ONE[3..]]);
    assert_eq!(folder.ids().len(), 1);
}

#[test]
fn copy_and_original_go_their_own_ways() {
    let (_above, mut folder) = folder();
    put(&mut folder, ONE, "content");
    folder.copy(&place(ONE), &place(OTHER)).unwrap();
    put(&mut folder, ONE, "changed");
    assert_eq!(text(&folder, OTHER).as_deref(), Some("content"));
    folder.rename(&place(OTHER), &place(OTHER)).unwrap();
    assert_eq!(text(&folder, OTHER).as_deref(), Some("content"));
    folder.remove(&place("cd")).unwrap();
    assert_eq!(text(&folder, OTHER), None);
}

#[test]
fn what_is_not_there_or_no_file_is_refused() {
    let (_above, mut folder) = folder();
    assert_eq!(folder.rename(&place(ONE), &place(OTHER)), Err(Refused::missing()));
    assert_eq!(folder.copy(&place("Status.plist"), &place(ONE)), Err(Refused::missing()));
    put(&mut folder, ONE, "content");
    assert_eq!(folder.copy(&place("ab"), &place(OTHER)).unwrap_err().code, device::IS_FOLDER);
    assert_eq!(folder.open(&place("ab"), None).unwrap_err().code, device::IS_FOLDER);
    assert_eq!(folder.remove(&Place::Top).unwrap_err().code, device::OTHER);
    // Removing what is not there does no harm, and making what is there neither.
    assert_eq!(folder.remove(&place(OTHER)), Ok(()));
    assert_eq!(folder.make_folder(&place("ab")), Ok(()));
    assert_eq!(text(&folder, ONE).as_deref(), Some("content"));
}

#[test]
fn files_in_folders_that_nobody_made_are_listed() {
    let (_above, mut folder) = folder();
    put(&mut folder, "Status.plist", "status");
    put(&mut folder, "Snapshot/Manifest.db", "manifest");
    assert_eq!(names(&folder, ""), ["Snapshot", "Status.plist"]);
    assert_eq!(folder.list(&Place::Snapshot)[0].0, "Manifest.db");
    assert!(matches!(folder.list(&Place::Snapshot)[0].1, Listed::File(8, _)));
    assert_eq!(names(&folder, "cd"), Vec::<String>::new());
}

#[test]
fn there_is_an_end_to_folders() {
    let (_above, mut folder) = folder();
    let scratch = |number: usize| Place::parse(UDID, &format!("/.b/{number}")).unwrap();
    for number in 0..MOST_NAMED {
        folder.make_folder(&scratch(number)).unwrap();
    }
    assert_eq!(folder.make_folder(&scratch(MOST_NAMED)).unwrap_err().code, device::OTHER);
    assert_eq!(folder.make_folder(&scratch(0)), Ok(()));
}
