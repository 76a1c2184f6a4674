//! Stacks of folders and of containers, without an engine.

use super::*;
use crate::source::docker::engine::State;

fn container(name: &str, labels: &[(&str, &str)]) -> Container {
    let labels =
        labels.iter().map(|(name, value)| (format!("com.docker.compose.{name}"), (*value).to_owned())).collect();
    Container {
        id: name.to_owned(),
        name: name.to_owned(),
        image: String::new(),
        labels,
        state: State::Running,
        health: None,
        mounts: Vec::new(),
        joined: Vec::new(),
        is_removed_on_stop: false,
        stop_timeout: None,
        inspect: serde_json::Value::Null,
    }
}

/// A directory with folders of stacks, and files in them.
fn directory(files: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in files {
        let path = directory.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    directory
}

fn names(stacks: &[Stack]) -> Vec<&str> {
    stacks.iter().map(|stack| stack.name.as_str()).collect()
}

#[test]
fn name_of_the_containers_counts_and_not_that_of_the_folder() {
    let directory = directory(&["web/compose.yaml", "db/docker-compose.yml", "none/readme", "compose.md"]);
    let at = directory.path().join("web");
    let labels = [("project", "shop"), ("project.working_dir", at.to_str().unwrap()), ("service", "a")];
    let found = find(&[container("one", &labels), container("other", &[])], Some(directory.path())).unwrap();
    assert_eq!(names(&found), ["db", "shop"]);
    assert_eq!(found[1].directory.as_deref(), Some(at.as_path()));
    assert!(found[1].is_below && found[1].containers.len() == 1);
    assert_eq!(found[1].compose_files, [at.join("compose.yaml")]);
    assert!(found.iter().all(|stack| stack.is_one().is_ok()));
}

#[test]
fn files_are_those_of_the_labels_from_the_working_directory() {
    let elsewhere = directory(&["a.yml", "sub/b.yml"]);
    let labels = [
        ("project", "x"),
        ("project.working_dir", elsewhere.path().to_str().unwrap()),
        ("project.config_files", "a.yml,/srv/c.yml,sub/../sub/b.yml,-"),
        ("project.environment_file", "/srv/x.env"),
    ];
    let found = find(&[container("one", &labels)], None).unwrap();
    let [stack] = found.as_slice() else { panic!("{found:?}") };
    let at = |name: &str| elsewhere.path().join(name);
    assert_eq!(stack.compose_files, [at("a.yml"), PathBuf::from("/srv/c.yml"), at("sub/b.yml")]);
    assert_eq!(stack.env_files, [PathBuf::from("/srv/x.env")]);
    assert!(!stack.is_below);
}

#[test]
fn containers_of_single_commands_and_odd_names_are_no_stacks() {
    let found = find(
        &[
            container("a", &[("project", "x"), ("oneoff", "True")]),
            container("b", &[("project", "../../etc")]),
            container("c", &[("project", "")]),
        ],
        None,
    );
    assert!(found.unwrap().is_empty());
}

#[test]
fn two_stacks_of_one_name_are_named() {
    let directory = directory(&["web/compose.yaml", "Web/compose.yaml", "db/compose.yaml"]);
    let found = find(&[], Some(directory.path())).unwrap();
    assert_eq!(names(&found), ["db", "web"]);
    found[0].is_one().unwrap();
    let error = found[1].is_one().unwrap_err().to_string();
    assert!(error.contains("/web") && error.contains("/Web"), "{error}");
}

#[test]
fn folder_that_was_moved_is_the_same_stack() {
    let directory = directory(&["web/compose.yaml"]);
    let labels = [
        ("project", "web"),
        ("project.working_dir", "/nowhere/web"),
        ("project.config_files", "/nowhere/web/compose.yaml"),
    ];
    let found = find(&[container("one", &labels)], Some(directory.path())).unwrap();
    let [stack] = found.as_slice() else { panic!("{found:?}") };
    stack.is_one().unwrap();
    assert_eq!(stack.compose_files, [directory.path().join("web/compose.yaml")]);
    assert!(stack.is_below);
}

#[test]
fn stack_of_the_directory_itself_leaves_the_others_alone() {
    let directory = directory(&["compose.yaml", "web/compose.yaml", "config/x"]);
    let found = find(&[], Some(directory.path())).unwrap();
    let outer = found.iter().find(|stack| stack.directory.as_deref() == Some(directory.path())).unwrap();
    assert_eq!(outer.others, [directory.path().join("web")]);
}

#[test]
fn directory_that_is_not_there_is_an_error() {
    let error = find(&[], Some(Path::new("/nowhere/stacks"))).unwrap_err();
    assert_eq!(error.to_string(), "look for stacks in /nowhere/stacks");
}
