//! `holdall ls`: the files in a point.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Context;
use super::mirrors::FromArgs;
use super::names::{Names, NamesArgs};
use super::places::explain_servers;
use crate::error::{Annotate, ExitCode, chain};
use crate::extract::{Chosen, name};
use crate::job::Job;
use crate::output::printable;
use crate::quantity::{rfc3339, show_time};
use crate::store::{Node, NodeType, SavedNode, node};
use crate::timeline::Timeline;

pub(super) mod rows;

use rows::{JsonRows, path_text};

/// Arguments of `ls`.
#[derive(Debug, clap::Args)]
pub struct LsArgs {
    /// A point spec, see [`crate::select`].
    #[arg(
        value_name = "SPEC",
        add = super::completions::specs(),
        help = "What to list: ITEM[@POINT][:PATH]; POINT is latest, latest~N, an id, a date, or live: the machine of an ssh source itself"
    )]
    spec: String,

    /// Show mode, owner, group, size and time (UTC)
    #[arg(short, long)]
    long: bool,

    /// Go down into directories, and show whole paths
    #[arg(short = 'R', long)]
    recursive: bool,

    /// Which repository is read.
    #[command(flatten)]
    from: FromArgs,

    /// How points of devices are shown.
    #[command(flatten)]
    names: NamesArgs,
}

/// Runs `ls`.
pub fn run(args: &LsArgs, context: &Context) -> Result<ExitCode> {
    const STDOUT: &str = "write to standard output";
    let config = context.config()?;
    let mut code = ExitCode::Done;
    let entries = match live(&args.spec)? {
        Some((source, path)) => {
            let browsed = Job::find(&config, &source).exit(ExitCode::Usage)?.source()?.browse(&path, args.recursive)?;
            for problem in browsed.problems {
                tracing::error!("{}: {}", printable(problem.path.as_os_str()), problem.error);
                code = ExitCode::Incomplete;
            }
            Box::new(browsed.entries.into_iter().map(Ok))
        }
        None => {
            let store = args.from.open(context, &config)?;
            let chosen = Chosen::open(&store, &store.points()?, &args.spec);
            let mut chosen = chosen.map_err(|error| explain_servers(&config, &args.spec, error))?;
            code = Names::new(&args.names, context, &config).show(&mut chosen)?.tell();
            entries(&chosen, args.recursive)?
        }
    };
    let readable = entries.filter_map(|entry| {
        entry
            .inspect_err(|error| {
                tracing::error!("{}", chain(error));
                code = ExitCode::Incomplete;
            })
            .ok()
    });
    let mut writer = context.output.writer();
    if context.output.json {
        let mut rows = JsonRows::new(&mut writer);
        for entry in readable {
            rows.push(&row(&entry)).context(STDOUT)?;
        }
        rows.finish().context(STDOUT)?;
    } else {
        for entry in readable {
            writeln!(writer, "{}", line(&entry, args)).context(STDOUT)?;
        }
        writer.flush().context(STDOUT)?;
    }
    Ok(code)
}

/// A source and a path of it as it is now: `ssh.NAME@live:/path`. `None` when a point is meant.
fn live(spec: &str) -> Result<Option<(String, PathBuf)>> {
    let (head, path) = match spec.find(":/") {
        Some(colon) => (&spec[..colon], &spec[colon + 1..]),
        None => (spec, "/"),
    };
    let Some(source) = head.strip_suffix("@live") else { return Ok(None) };
    let names = name::components(Path::new(path)).exit(ExitCode::Usage)?;
    Ok(Some((source.to_owned(), Path::new("/").join(names.iter().collect::<PathBuf>()))))
}

/// What is listed: the content of a directory, or the one thing that was named.
fn entries(chosen: &Chosen, recursive: bool) -> Result<Box<dyn Iterator<Item = Result<SavedNode>> + Send>> {
    let node = chosen.node()?;
    if recursive {
        // Not the first one, whatever it is: of a directory that cannot be read it is the error.
        let start = node.is_dir().then(|| chosen.path().to_path_buf());
        let is_start =
            move |found: &Result<SavedNode>| found.as_ref().is_ok_and(|found| Some(&found.path) == start.as_ref());
        return Ok(Box::new(chosen.saved.walk(chosen.path())?.filter(move |found| !is_start(found))));
    }
    if !node.is_dir() {
        let path = chosen.path().to_path_buf();
        return Ok(Box::new(std::iter::once(Ok(SavedNode { path, node }))));
    }
    let above = name::components(chosen.path())?;
    let children = chosen.saved.children(&node)?.into_iter();
    Ok(Box::new(children.map(move |node| Ok(SavedNode { path: path_of(&above, &node), node }))))
}

/// Put together as bytes, so that a name with a slash cannot replace what is before it.
fn path_of(above: &[std::ffi::OsString], node: &Node) -> PathBuf {
    let name = node.name();
    let names = above.iter().map(|name| name.as_os_str()).chain([&*name]);
    let mut path = std::ffi::OsString::new();
    for name in names {
        path.push("/");
        path.push(name);
    }
    PathBuf::from(path)
}

fn line(entry: &SavedNode, args: &LsArgs) -> String {
    let node = &entry.node;
    let mut name = if args.recursive { printable(entry.path.as_os_str()) } else { printable(&node.name()) };
    if node.is_dir() {
        name.push('/');
    }
    if !args.long {
        return name;
    }
    if let Some(target) = link_target(node) {
        name.push_str(&format!(" -> {}", printable(target)));
    }
    let meta = &node.meta;
    let owner = |name: &Option<String>, id: Option<u32>| {
        let name = name.as_deref().filter(|name| !name.is_empty()).map(|name| printable(OsStr::new(name)));
        name.or(id.map(|id| id.to_string())).unwrap_or_default()
    };
    format!(
        "{} {:<8} {:<8} {:>12} {:19} {name}",
        mode_text(node),
        owner(&meta.user, meta.uid),
        owner(&meta.group, meta.gid),
        meta.size,
        mtime(node).map(show_time).unwrap_or_default()
    )
}

/// The mode as `ls` shows it: `drwxr-sr-x`.
fn mode_text(node: &Node) -> String {
    let mode = node::mode_from_node(node.meta.mode.unwrap_or(0));
    let mut text = String::from(match node.node_type {
        NodeType::File => '-',
        NodeType::Dir => 'd',
        NodeType::Symlink { .. } => 'l',
        NodeType::Dev { .. } => 'b',
        NodeType::Chardev { .. } => 'c',
        NodeType::Fifo => 'p',
        NodeType::Socket => 's',
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn link_target(node: &Node) -> Option<&OsStr> {
    node.is_symlink().then(|| node.node_type.to_link().as_os_str())
}

fn mtime(node: &Node) -> Option<DateTime<Utc>> {
    // Rounded down; the nanoseconds are not shown.
    let nanoseconds = node.meta.mtime?.as_nanosecond();
    DateTime::from_timestamp(i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?, 0)
}

fn row(entry: &SavedNode) -> Value {
    let node = &entry.node;
    let meta = &node.meta;
    json!({
        "path": path_text(&entry.path),
        "type": type_text(&node.node_type),
        "mode": meta.mode.map(|mode| format!("{:04o}", node::mode_from_node(mode))),
        "uid": meta.uid,
        "gid": meta.gid,
        "size": meta.size,
        "mtime": mtime(node).map(rfc3339),
        "target": link_target(node).map(|target| path_text(target.as_ref())),
    })
}

/// The name of a type, as restic writes it.
fn type_text(node_type: &NodeType) -> &'static str {
    match node_type {
        NodeType::File => "file",
        NodeType::Dir => "dir",
        NodeType::Symlink { .. } => "symlink",
        NodeType::Dev { .. } => "dev",
        NodeType::Chardev { .. } => "chardev",
        NodeType::Fifo => "fifo",
        NodeType::Socket => "socket",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Metadata;

    fn entry(node_type: NodeType, mode: u32) -> SavedNode {
        let meta = Metadata {
            mode: Some(node::mode_to_node(mode)),
            mtime: node::timestamp(-1, 0),
            uid: Some(1000),
            gid: Some(0),
            group: Some("root".into()),
            size: 7,
            ..Metadata::default()
        };
        SavedNode { path: "/etc/a".into(), node: Node::new_node(OsStr::new("a"), node_type, meta) }
    }

    fn args(long: bool, recursive: bool) -> LsArgs {
        LsArgs { spec: String::new(), long, recursive, from: FromArgs::default(), names: NamesArgs::default() }
    }

    #[test]
    fn modes_look_as_in_ls() {
        let text = |node_type, mode| mode_text(&entry(node_type, mode).node);
        assert_eq!(text(NodeType::Dir, 0o042_755), "drwxr-sr-x");
        assert_eq!(text(NodeType::Dir, 0o041_776), "drwxrwxrwT");
        assert_eq!(text(NodeType::File, 0o104_644), "-rwSr--r--");
        assert_eq!(text(NodeType::Fifo, 0o010_000), "p---------");
    }

    #[test]
    fn long_line_has_owner_size_time_and_target() {
        let link = entry(NodeType::from_link("b\n".as_ref()), 0o120_777);
        assert_eq!(
            line(&link, &args(true, false)),
            "lrwxrwxrwx 1000     root                7 1969-12-31 23:59:59 a -> b\\n"
        );
        assert_eq!(line(&entry(NodeType::Dir, 0o040_755), &args(false, true)), "/etc/a/");
    }

    #[test]
    fn json_row_has_the_fields_of_the_contract() {
        let row = row(&entry(NodeType::from_link("b".as_ref()), 0o120_777));
        let expected = json!({
            "path": "/etc/a", "type": "symlink", "mode": "0777", "uid": 1000, "gid": 0, "size": 7,
            "mtime": "1969-12-31T23:59:59Z", "target": "b",
        });
        assert_eq!(row, expected);
    }
}
