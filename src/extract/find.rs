//! Finds what a person named: a point of the store, and a path in it. Says what is there when it is not.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::name::{self, Trail};
use crate::error::Annotate;
use crate::output::printable;
use crate::select::PointSpec;
use crate::store::{Node, SavedTree, Store};
use crate::timeline::Point;

/// How alike two names must be to suggest one for the other, from 0 to 1: by their beginnings, or by what it takes to make one of the
/// other.
const SAME_START: f64 = 0.8;
const FEW_EDITS: f64 = 0.6;

/// A point that was named, ready to be read.
#[derive(Debug)]
pub struct Chosen {
    /// Its tree.
    pub saved: SavedTree,
    /// The path that was named with it.
    pub path: Option<PathBuf>,
}

impl Chosen {
    /// Opens the point that a point spec means, of all `points` of the store.
    ///
    /// # Errors
    ///
    /// When the spec is not well-formed or means no point, see [`PointSpec`]; when the store cannot be read.
    pub fn open(store: &Store, points: &[Point], spec: &str) -> Result<Self> {
        let spec = PointSpec::parse(spec)?;
        let point = spec.choose(points)?;
        let saved =
            store.tree(point).with_context(|| format!("open the point {} of {}", point.short_id(), point.item))?;
        Ok(Self { saved, path: spec.path })
    }

    /// The path that was named, or the root.
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("/"))
    }

    /// What is at the path.
    ///
    /// # Errors
    ///
    /// When nothing is, see [`find`].
    pub fn node(&self) -> Result<Node> {
        find(&self.saved, self.path())
    }
}

/// The node at `path` in a point.
///
/// # Errors
///
/// When there is none: names what comes near it, and the directory in which it is not.
pub fn find(saved: &SavedTree, path: &Path) -> Result<Node> {
    let mut trail = Trail::default();
    let mut node = saved.find(Path::new("/"))?.context("the point has no tree")?;
    for name in name::components(path)? {
        let children = saved.children(&node).with_context(|| format!("read {}", trail.path().display()))?;
        match children.iter().find(|child| *child.name() == *name) {
            Some(child) => node = child.clone(),
            None => return missing(saved, path, &trail, &node, &children, &name),
        }
        trail.push(&name);
    }
    Ok(node)
}

fn missing(
    saved: &SavedTree,
    path: &Path,
    trail: &Trail,
    parent: &Node,
    children: &[Node],
    name: &OsStr,
) -> Result<Node> {
    let point = saved.point();
    let directory = printable(trail.path().as_os_str());
    let error =
        anyhow!("there is no {} in the point {} of {}", printable(path.as_os_str()), point.short_id(), point.item);
    if parent.is_symlink() {
        let target = printable(parent.node_type.to_link().as_os_str());
        return Err(error).hint(format!("{directory} is a link to {target}; links are not followed in a point."));
    }
    if !parent.is_dir() {
        return Err(error).hint(format!("{directory} is not a directory."));
    }
    let list = format!("`holdall ls {}@{}:{directory}` lists what is in {directory}.", point.item, point.short_id());
    let near: Vec<String> =
        near(name, children).iter().map(|name| printable(trail.path_of(name).as_os_str())).collect();
    if near.is_empty() {
        return Err(error).hint(list);
    }
    Err(error).hint(format!("There is {}. {list}", near.join(", ")))
}

/// Up to three names that are like the wanted one, the likest first.
fn near<'a>(wanted: &OsStr, children: &'a [Node]) -> Vec<std::borrow::Cow<'a, OsStr>> {
    let wanted = wanted.to_string_lossy().to_lowercase();
    let mut found = Vec::new();
    for child in children {
        let name = child.name().to_string_lossy().to_lowercase();
        let start = strsim::jaro_winkler(&wanted, &name);
        let edits = strsim::normalized_damerau_levenshtein(&wanted, &name);
        if start >= SAME_START || edits >= FEW_EDITS {
            found.push((start.max(edits), child.name()));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Metadata, NodeType};

    #[test]
    fn likest_names_come_first() {
        let children: Vec<Node> = ["fstab", "HOSTS", "hosts.allow", "shadow"]
            .map(|name| Node::new_node(OsStr::new(name), NodeType::File, Metadata::default()))
            .into();
        assert_eq!(near(OsStr::new("host"), &children), ["HOSTS", "hosts.allow"].map(OsStr::new));
        assert_eq!(near(OsStr::new("fsatb"), &children), [OsStr::new("fstab")]);
        assert!(near(OsStr::new("zzz"), &children).is_empty());
    }
}
