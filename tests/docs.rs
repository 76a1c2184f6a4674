//! The pages are true: the map in `doc/design.md` names what there is, and links lead somewhere.
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between backticks in the map and looks like a path.
fn named_in_map() -> BTreeSet<String> {
    let page = fs::read_to_string(root().join("doc/design.md")).unwrap();
    let map = page.split("\n## ").find(|section| section.starts_with("Map\n")).unwrap();
    let rows = map.lines().filter(|line| line.starts_with('|'));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    quoted.filter(|text| text.contains('/') || *text == "Makefile").map(str::to_owned).collect()
}

/// All pages of the project.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut left = vec![root().join("doc")];
    let at_top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    pages.extend(at_top.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    while let Some(directory) = left.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

#[test]
fn everything_named_in_the_map_is_there() {
    let named = named_in_map();
    assert!(named.contains("src/main.rs"), "the map was not understood: {named:?}");
    let missing: Vec<_> = named.iter().filter(|name| !root().join(name).exists()).collect();
    assert!(missing.is_empty(), "named in doc/design.md, but not there: {missing:?}");
}

#[test]
fn every_module_is_named_in_the_map() {
    let named = named_in_map();
    let modules = fs::read_dir(root().join("src")).unwrap().map(|entry| entry.unwrap().file_name());
    let modules = modules.map(|name| format!("src/{}", name.to_str().unwrap()));
    let drivers = fs::read_dir(root().join("src/source")).unwrap().map(|entry| entry.unwrap().file_name());
    let drivers = drivers.map(|name| format!("src/source/{}", name.to_str().unwrap()));
    let files = modules.chain(drivers).filter(|path| path.ends_with(".rs"));
    let unnamed: Vec<_> = files.filter(|path| !named.contains(path)).collect();
    assert!(unnamed.is_empty(), "not in the map of doc/design.md: {unnamed:?}");
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap();
            if !page.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {target}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}
