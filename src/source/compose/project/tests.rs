//! What compose files of all kinds say.

use std::fs;

use super::*;

/// A folder with these files, and what the first of them says.
struct Read {
    folder: tempfile::TempDir,
    project: Project,
}

fn read(files: &[(&str, &str)]) -> Read {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut env = Env::default();
    if let Ok(text) = fs::read_to_string(folder.path().join(".env")) {
        env.add(&text);
    }
    let project = Project::read(folder.path(), &[folder.path().join(files[0].0)], &env);
    Read { folder, project }
}

impl Read {
    /// Paths as they are below the folder.
    fn below<'p>(&self, paths: impl IntoIterator<Item = &'p PathBuf>) -> Vec<String> {
        let shown = |path: &PathBuf| path.strip_prefix(self.folder.path()).unwrap_or(path).display().to_string();
        paths.into_iter().map(shown).collect()
    }
}

#[test]
fn services_are_understood_in_all_their_spellings() {
    let read = read(&[
        (
            "compose.yaml",
            r#"
name: $NAME
services:
  web:
    image: "app:${TAG:-1}"
    env_file: web.env
    depends_on: [db]
    volumes:
      - ./data:/data:ro
      - ${HERE:-./conf}:/conf
      - named:/named
      - /anonymous
      - {type: bind, source: ../outside, target: /x}
      - {type: volume, source: named, target: /y}
      - {type: tmpfs, target: /z}
  db:
    env_file: [db.env, {path: more.env, required: false}]
    network_mode: "service:proxy"
    depends_on:
      cache: {condition: service_healthy}
    links: ["queue:q"]
    volumes: ["${UNSET}/db:/db", "~/db:/db2", "$HOME_OF_DB/x:/db3"]
  proxy:
volumes:
  named:
  ours: {name: "${NAME}-data"}
  theirs: {external: true}
  old: {external: {name: other}}
configs:
  c: {file: ./c.conf}
  inline: {content: x}
secrets:
  s: {file: s.txt}
  e: {environment: X}
"#,
        ),
        (".env", "NAME=shop\nHOME_OF_DB=/srv/db\n"),
    ]);
    let project = &read.project;
    assert_eq!(project.name.as_deref(), Some("shop"));
    assert_eq!(project.services["web"].image.as_deref(), Some("app:1"));
    assert_eq!(read.below(&project.files), ["c.conf", "db.env", "more.env", "s.txt", "web.env"]);
    let outside = read.folder.path().parent().unwrap().join("outside").display().to_string();
    let mut binds = read.below(&project.services["web"].binds);
    binds.sort();
    let mut expected = vec!["conf".to_owned(), "data".to_owned(), outside];
    expected.sort();
    assert_eq!(binds, expected);
    assert_eq!(read.below(&project.services["db"].binds), ["/srv/db/x"]);
    assert_eq!(project.services["db"].problems.len(), 2);
    assert_eq!(project.services["db"].needs, ["cache", "proxy", "queue"].map(str::to_owned).into());
    assert_eq!(project.services["web"].needs, ["db".to_owned()].into());
    let mut volumes = project.volume_names("shop");
    volumes.sort();
    assert_eq!(volumes, ["other", "shop-data", "shop_named", "theirs"]);
    assert_eq!(project.problems, []);
}

#[test]
fn included_and_extended_files_are_read_where_they_are() {
    let read = read(&[
        (
            "compose.yaml",
            "include:\n  - a/one.yaml\n  - {path: [b/two.yaml], project_directory: c, env_file: v.env}\n  - oci://x/y\n\
             services:\n  web:\n    extends: {file: base/common.yaml, service: base}\n",
        ),
        ("a/one.yaml", "services:\n  one: {volumes: ['./x:/x', '$A:/a']}\n"),
        ("a/.env", "A=./a\n"),
        ("b/two.yaml", "services:\n  two: {volumes: ['$B:/x']}\n"),
        ("v.env", "B=./from-v\n"),
        (
            "base/common.yaml",
            "services:\n  base: {env_file: base.env, volumes: ['./d:/d'], extends: {file: deeper.yaml, service: root}}\n  other: {env_file: not.env}\n",
        ),
        ("base/deeper.yaml", "services:\n  root: {env_file: root.env}\n"),
    ]);
    let project = &read.project;
    assert_eq!(
        read.below(&project.compose_files),
        ["a/one.yaml", "b/two.yaml", "base/common.yaml", "base/deeper.yaml", "compose.yaml"]
    );
    assert_eq!(read.below(&project.files), ["a/.env", "base/base.env", "base/root.env", "v.env"]);
    assert_eq!(read.below(&project.services["one"].binds), ["a/a", "a/x"]);
    assert_eq!(read.below(&project.services["two"].binds), ["c/from-v"]);
    assert_eq!(read.below(&project.services["web"].binds), ["base/d"]);
    assert!(!project.services.contains_key("base"));
    assert_eq!(project.problems, []);
}

#[test]
fn files_that_lead_in_circles_end() {
    let read = read(&[
        ("compose.yaml", "include: [other.yaml]\nservices: {a: {extends: {file: other.yaml, service: b}}}\n"),
        ("other.yaml", "include: [compose.yaml]\nservices: {b: {extends: {file: compose.yaml, service: a}}}\n"),
    ]);
    assert_eq!(read.below(&read.project.compose_files), ["compose.yaml", "other.yaml"]);
    assert!(read.project.problems.iter().all(|problem| problem.severity == Severity::Warning));
}

#[test]
fn what_is_not_understood_is_a_warning_that_names_the_file() {
    let read = read(&[("compose.yaml", "services: [\n")]);
    let [problem] = read.project.problems.as_slice() else { panic!("{:?}", read.project.problems) };
    assert_eq!(problem.path, read.folder.path().join("compose.yaml"));
    assert_eq!(problem.severity, Severity::Warning);
    // Such files mean something else than what is expected, or nothing at all.
    let understood = |text| self::read(&[("compose.yaml", text)]).project.problems;
    for odd in [
        "",
        "services: 3",
        "services: {web: }",
        "[1, 2]",
        "services: {web: {volumes: {a: b}, depends_on: 7, env_file: [[1]]}}",
    ] {
        assert_eq!(understood(odd), []);
    }
}
