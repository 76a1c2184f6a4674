//! Paths in compose files, and which of them can be saved.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

/// What is no file of anybody: what kernels, engines and running programs keep.
const NEVER: [&str; 9] = [
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/containerd",
    "/var/lib/kubelet",
];

/// Where Docker has volumes unless it is told otherwise.
const VOLUMES: &str = "/var/lib/docker/volumes";

/// A path that begins at `directory`, unless it is absolute, without `.` and `..` in it. `None` for nothing.
///
/// Compose goes by names, too: what links on the way lead to does not change where `..` leads.
pub(super) fn joined(directory: &Path, path: &str) -> Option<PathBuf> {
    if path.is_empty() || path.contains('\0') {
        return None;
    }
    let mut plain = PathBuf::new();
    for component in directory.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    Some(plain)
}

/// Whether a name of a compose file means one of another machine.
pub(super) fn is_remote(name: &str) -> bool {
    name.contains("://") || name.starts_with("git@") || name.starts_with("github.com/")
}

/// Why what is mounted from a path of the machine is not saved; `None` when it is.
pub(super) fn unsavable(path: &Path) -> Option<&'static str> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if real == Path::new("/") {
        return Some("it is the whole machine");
    }
    // Somebody may have mounted a volume by its path.
    let is_volume = |path: &Path| path.strip_prefix(VOLUMES).is_ok_and(|below| below.components().next().is_some());
    if [path, &real].iter().any(|path| !is_volume(path) && NEVER.iter().any(|never| path.starts_with(never))) {
        return Some("the system makes it anew");
    }
    let found = fs::metadata(&real).ok()?.file_type();
    (found.is_socket() || found.is_char_device() || found.is_block_device() || found.is_fifo())
        .then_some("it is neither a file nor a directory")
}

/// Whether a name can be the name of a file in a snapshot.
pub(super) fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == name)
        && !name.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_directory_and_are_plain() {
        let cases = [
            ("./data", Some("/opt/web/data")),
            ("../shared/x", Some("/opt/shared/x")),
            ("/srv/./x/../y", Some("/srv/y")),
            ("../../../../etc", Some("/etc")),
            (".", Some("/opt/web")),
            ("", None),
            ("a\0b", None),
        ];
        for (path, expected) in cases {
            assert_eq!(joined(Path::new("/opt/web"), path).as_deref(), expected.map(Path::new), "{path}");
        }
    }

    #[test]
    fn what_the_system_keeps_is_not_saved() {
        for path in
            ["/", "/proc", "/sys/fs/cgroup", "/dev/null", "/run/docker.sock", "/var/run/docker.sock", "/var/lib/docker"]
        {
            assert!(unsavable(Path::new(path)).is_some(), "{path}");
        }
        for path in ["/etc", "/etc/passwd", "/srv/nothing", "/development", "/var/lib/docker/volumes/x/_data"] {
            assert_eq!(unsavable(Path::new(path)), None, "{path}");
        }
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(unsavable(&socket).is_some());
        let link = directory.path().join("root");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(unsavable(&link).is_some());
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_plain() {
        for name in ["", ".", "..", "a/b", "/a", "a/", "a\0"] {
            assert!(!is_plain(name), "{name:?}");
        }
        assert!(is_plain("pg_data.1-x"));
    }
}
