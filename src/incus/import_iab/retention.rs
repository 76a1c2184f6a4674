//! IAB's retention tree, as rules that each say all they apply to.
//!
//! IAB begins with nothing and goes from the role over the project and the kind to the name; each policy that is not empty takes the place of the one
//! before. Ours are compared in just this order (`src/retention/applies.rs`), so one rule for each policy of the tree says the same. Where the tree
//! has nothing for a role, IAB keeps everything: that has to be written, for a rule without a role could apply there.

use anyhow::{Result, anyhow};

use super::json::Node;
use crate::error::Annotate;
use crate::retention::Policy;

/// What our policy is called that removes nothing.
const KEEP_ALL: &str = "all";

const ROLES: [&str; 2] = ["source", "target"];

/// IAB's word for a kind, and ours.
const KINDS: [(&str, &str); 2] = [("instances", "instance"), ("volumes", "volume")];

/// One policy of the tree, with all it applies to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IabPolicy {
    /// `source` or `target`.
    pub role: String,
    /// The project.
    pub project: Option<String>,
    /// `instance` or `volume`.
    pub kind: Option<&'static str>,
    /// The instance or volume.
    pub name: Option<String>,
    /// As we write it.
    pub policy: String,
}

/// Reads `retention.hosts`.
pub(super) fn read(hosts: &Node<'_>, notes: &mut Vec<String>) -> Result<Vec<IabPolicy>> {
    let mut found = Reading::default();
    for role in ROLES {
        let tree = hosts.entries()?.into_iter().find(|(key, _)| *key == role).map(|(_, tree)| tree);
        let start = IabPolicy { role: role.to_owned(), ..IabPolicy::default() };
        match &tree {
            Some(tree) => found.role(tree, &start)?,
            None => found.rules.push(IabPolicy { policy: KEEP_ALL.to_owned(), ..start }),
        }
    }
    for (key, node) in hosts.entries()? {
        if !ROLES.contains(&key) {
            notes.push(format!("{} is not taken over: IncusAutobackup uses it for nothing, either.", node.path()));
        }
    }
    if found.wrong.is_empty() {
        return Ok(found.rules);
    }
    Err(anyhow!("policies that holdall does not take:\n  {}", found.wrong.join("\n  "))).hint(
        "Change them in the file. `0` would remove every snapshot, and holdall always keeps the newest: write 1 for it alone, or nothing \
         to keep all.",
    )
}

#[derive(Default)]
struct Reading {
    rules: Vec<IabPolicy>,
    wrong: Vec<String>,
}

impl Reading {
    fn role(&mut self, tree: &Node<'_>, start: &IabPolicy) -> Result<()> {
        if !self.policy(tree, "default", start)? {
            self.rules.push(IabPolicy { policy: KEEP_ALL.to_owned(), ..start.clone() });
        }
        for (project, tree) in tree.field("projects")?.entries()? {
            let of_project = IabPolicy { project: Some(project.to_owned()), ..start.clone() };
            self.policy(&tree, "default", &of_project)?;
            for (word, kind) in KINDS {
                let tree = tree.field(word)?;
                let of_kind = IabPolicy { kind: Some(kind), ..of_project.clone() };
                self.policy(&tree, "default", &of_kind)?;
                for (name, node) in tree.field("byName")?.entries()? {
                    let of_name = IabPolicy { name: Some(name.to_owned()), ..of_kind.clone() };
                    self.add(&node.as_text()?, node.path(), of_name);
                }
            }
        }
        Ok(())
    }

    /// Whether there is a policy below this name.
    fn policy(&mut self, tree: &Node<'_>, name: &str, start: &IabPolicy) -> Result<bool> {
        let text = tree.text(name)?;
        Ok(self.add(&text, &format!("{}.{name}", tree.path()), start.clone()))
    }

    /// Whether it is a policy, and not empty.
    fn add(&mut self, text: &str, path: &str, rule: IabPolicy) -> bool {
        if text.is_empty() {
            return false;
        }
        // Blanks are not empty, and mean to IAB that nothing is removed.
        let policy = if text.trim().is_empty() { KEEP_ALL } else { text.trim() };
        match Policy::parse(policy) {
            Ok(_) => self.rules.push(IabPolicy { policy: policy.to_owned(), ..rule }),
            Err(error) => self.wrong.push(format!("{path}: {error}")),
        }
        true
    }
}
