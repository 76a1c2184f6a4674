//! Which processes belong to the connections of a server, as `/proc` tells.

use std::collections::HashMap;
use std::fs;

use rustix::process::Pid;

/// Everything that the sshd started by `daemon` has started. `daemon` is it, or made it through others that have one child each.
pub(super) fn below(daemon: Pid) -> Vec<Pid> {
    let children = children();
    let of = |parent: i32| children.get(&parent).map_or(&[][..], Vec::as_slice);
    let mut server = daemon.as_raw_nonzero().get();
    while name(server) != "sshd" {
        match of(server) {
            [only] => server = *only,
            // It has ended, or has not got so far.
            _ => return Vec::new(),
        }
    }
    let mut found = of(server).to_vec();
    let mut looked_at = 0;
    while let Some(&parent) = found.get(looked_at) {
        found.extend_from_slice(of(parent));
        looked_at += 1;
    }
    found.into_iter().filter_map(Pid::from_raw).collect()
}

/// All processes by their parent.
fn children() -> HashMap<i32, Vec<i32>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // The name is in parentheses, and may have any character in it; state and parent follow.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        children.entry(parent.unwrap()).or_default().push(process);
    }
    children
}

fn name(process: i32) -> String {
    fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim_end().to_owned()
}
