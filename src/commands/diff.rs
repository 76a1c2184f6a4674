//! `holdall diff`: what changed between two points.
//!
//! Both trees are walked at once. A directory that has the same id in both is the same down to the last byte and is not even read. Points of
//! Incus servers have no tree that could be walked: [`settings`] compares what they are.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Context;
use super::ls::rows::{JsonRows, path_text};
use super::mirrors::FromArgs;
use super::names::{Names, NamesArgs};
use crate::error::ExitCode;
use crate::extract::{Chosen, name};
use crate::output::printable;
use crate::store::{Node, NodeType, SavedTree};
use crate::timeline::Timeline;

mod settings;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "+ added  - removed  M other content  U other owner, mode, time or attributes only  T other type\n\nOf instances and volumes \
                  of Incus the settings are compared; there POINT may be live: what the source has now."
)]
pub struct DiffArgs {
    /// A point spec, see [`crate::select`].
    #[arg(
        value_name = "OLD",
        add = super::completions::specs(),
        help = "The older point: ITEM[@POINT][:PATH]; POINT is latest, latest~N, an id or a date"
    )]
    old: String,

    /// The newer point; without a PATH, that of the older one
    #[arg(value_name = "NEW", add = super::completions::specs())]
    new: String,

    /// Which repository is read.
    #[command(flatten)]
    from: FromArgs,

    /// How points of devices are shown.
    #[command(flatten)]
    names: NamesArgs,
}

/// Runs `diff`.
pub fn run(args: &DiffArgs, context: &Context) -> Result<ExitCode> {
    const STDOUT: &str = "write to standard output";
    let config = context.config()?;
    if args.from.from.is_none() && settings::are_meant(&config, args) {
        return settings::run(args, context, &config);
    }
    let store = args.from.open(context, &config)?;
    let points = store.points()?;
    let mut old = Chosen::open(&store, &points, &args.old)?;
    let mut new = Chosen::open(&store, &points, &args.new)?;
    let names = Names::new(&args.names, context, &config);
    for refused in [names.show(&mut old)?, names.show(&mut new)?] {
        refused.tell();
    }
    new.path = new.path.or_else(|| old.path.clone());
    old.path = old.path.or_else(|| new.path.clone());

    let mut totals = BTreeMap::new();
    let mut writer = context.output.writer();
    if context.output.json {
        let mut rows = JsonRows::new(&mut writer);
        compare(&old, &new, &mut |letter, path, is_directory| {
            *totals.entry(letter).or_insert(0_u64) += 1;
            rows.push(&json!({"path": path_text(&shown(path, is_directory)), "change": letter})).context(STDOUT)
        })?;
        rows.finish().context(STDOUT)?;
    } else {
        compare(&old, &new, &mut |letter, path, is_directory| {
            *totals.entry(letter).or_insert(0_u64) += 1;
            writeln!(writer, "{letter} {}", printable(shown(path, is_directory).as_os_str())).context(STDOUT)
        })?;
        writer.flush().context(STDOUT)?;
    }
    context.monitor.say(&summary(&totals));
    Ok(ExitCode::Done)
}

fn shown(path: &Path, is_directory: bool) -> PathBuf {
    let mut path = path.as_os_str().to_os_string();
    if is_directory && path != "/" {
        path.push("/");
    }
    PathBuf::from(path)
}

fn summary(totals: &BTreeMap<char, u64>) -> String {
    let words =
        [('+', "added"), ('-', "removed"), ('M', "modified"), ('U', "with other metadata"), ('T', "of another type")];
    let counts: Vec<String> =
        words.iter().filter_map(|(letter, word)| totals.get(letter).map(|count| format!("{count} {word}"))).collect();
    if counts.is_empty() { "no difference".to_owned() } else { counts.join(", ") }
}

type Tell<'a> = dyn FnMut(char, &Path, bool) -> Result<()> + 'a;

/// One name in a directory, with what it is in the older and in the newer point.
type Pair = (OsString, Option<Node>, Option<Node>);

/// A directory on the way: where it is, and what is left of it.
struct Level {
    path: OsString,
    pairs: std::vec::IntoIter<Pair>,
}

/// Tells every difference: its letter, its path, and whether it is a directory.
fn compare(old: &Chosen, new: &Chosen, tell: &mut Tell<'_>) -> Result<()> {
    let mut path = OsString::new();
    // Points of different items may have the same thing in different places; then the paths are those in the newer one.
    for name in name::components(new.path())? {
        path.push("/");
        path.push(name);
    }
    let mut levels = Vec::new();
    let (old_node, new_node) = (Some(old.node()?), Some(new.node()?));
    levels.extend(visit(old, new, path, old_node, new_node, tell)?);
    while let Some(level) = levels.last_mut() {
        let Some((name, old_node, new_node)) = level.pairs.next() else {
            levels.pop();
            continue;
        };
        let mut path = level.path.clone();
        path.push("/");
        path.push(name);
        levels.extend(visit(old, new, path, old_node, new_node, tell)?);
    }
    Ok(())
}

/// Tells the difference at one path, and returns the directory to go down into, if it is one on either side.
fn visit(
    old: &Chosen,
    new: &Chosen,
    path: OsString,
    old_node: Option<Node>,
    new_node: Option<Node>,
    tell: &mut Tell<'_>,
) -> Result<Option<Level>> {
    let is_directory = new_node.as_ref().or(old_node.as_ref()).is_some_and(Node::is_dir);
    let mut letter = difference(old_node.as_ref(), new_node.as_ref());
    // What cannot be read to compare it stays what its blobs say: other content.
    if let (Some('M'), Some(before), Some(after)) = (letter, &old_node, &new_node)
        && before.is_file()
        && old.saved.shows_same(before, &new.saved, after).unwrap_or(false)
    {
        letter = (!same_metadata(before, after)).then_some('U');
    }
    if let Some(letter) = letter {
        let shown = if path.is_empty() { Path::new("/") } else { Path::new(&path) };
        tell(letter, shown, is_directory)?;
    }
    let [old_directory, new_directory] = [&old_node, &new_node].map(|node| node.as_ref().filter(|node| node.is_dir()));
    match (old_directory, new_directory) {
        (None, None) => return Ok(None),
        (Some(old), Some(new)) if old.subtree == new.subtree => return Ok(None),
        _ => {}
    }
    let mut pairs: BTreeMap<OsString, (Option<Node>, Option<Node>)> = BTreeMap::new();
    for node in children(&old.saved, old_directory, &path)? {
        let name = node.name().into_owned();
        pairs.entry(name).or_default().0 = Some(node);
    }
    for node in children(&new.saved, new_directory, &path)? {
        let name = node.name().into_owned();
        pairs.entry(name).or_default().1 = Some(node);
    }
    let pairs: Vec<Pair> = pairs.into_iter().map(|(name, (old, new))| (name, old, new)).collect();
    Ok(Some(Level { path, pairs: pairs.into_iter() }))
}

fn children(saved: &SavedTree, directory: Option<&Node>, path: &OsStr) -> Result<Vec<Node>> {
    let Some(directory) = directory else { return Ok(Vec::new()) };
    saved.children(directory).with_context(|| format!("compare {}", printable(path)))
}

/// The letter that says what changed, or nothing.
fn difference(old: Option<&Node>, new: Option<&Node>) -> Option<char> {
    match (old, new) {
        (None, _) => Some('+'),
        (_, None) => Some('-'),
        (Some(old), Some(new)) if !same_type(&old.node_type, &new.node_type) => Some('T'),
        (Some(old), Some(new)) if old.node_type != new.node_type || (!old.is_dir() && old.content != new.content) => {
            Some('M')
        }
        (Some(old), Some(new)) => (!same_metadata(old, new)).then_some('U'),
    }
}

fn same_type(old: &NodeType, new: &NodeType) -> bool {
    std::mem::discriminant(old) == std::mem::discriminant(new)
}

/// Access times, inode numbers and the like change without anybody's doing and do not count; the time of a directory only says that
/// something in it changed, which is told there.
fn same_metadata(old: &Node, new: &Node) -> bool {
    let key = |node: &Node| {
        let meta = node.meta.clone();
        let mtime = meta.mtime.filter(|_| !node.is_dir());
        (meta.mode, meta.uid, meta.gid, mtime, meta.extended_attributes)
    };
    key(old) == key(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Metadata;

    fn node(node_type: NodeType, mode: u32) -> Node {
        Node::new_node(OsStr::new("a"), node_type, Metadata { mode: Some(mode), ..Metadata::default() })
    }

    fn letter(old: &Node, new: &Node) -> Option<char> {
        difference(Some(old), Some(new))
    }

    #[test]
    fn each_kind_of_change_has_its_letter() {
        let file = node(NodeType::File, 0o644);
        let mut longer = file.clone();
        longer.content = Some(Vec::new());
        assert_eq!(letter(&file, &file), None);
        assert_eq!(letter(&file, &longer), Some('M'));
        assert_eq!(letter(&file, &node(NodeType::File, 0o600)), Some('U'));
        assert_eq!(letter(&file, &node(NodeType::Fifo, 0o644)), Some('T'));
        let links = ["b", "c"].map(|target| node(NodeType::from_link(target.as_ref()), 0o777));
        assert_eq!(letter(&links[0], &links[1]), Some('M'));
        assert_eq!(difference(None, Some(&file)), Some('+'));
        assert_eq!(difference(Some(&file), None), Some('-'));
    }

    #[test]
    fn time_counts_for_files_and_not_for_directories() {
        for (node_type, expected) in [(NodeType::File, Some('U')), (NodeType::Dir, None)] {
            let old = node(node_type, 0o755);
            let mut new = old.clone();
            new.meta.mtime = crate::store::node::timestamp(1, 0);
            assert_eq!(letter(&old, &new), expected);
        }
    }

    #[test]
    fn totals_name_only_what_there_is() {
        assert_eq!(summary(&BTreeMap::new()), "no difference");
        assert_eq!(summary(&BTreeMap::from([('+', 2), ('M', 1)])), "2 added, 1 modified");
    }
}
