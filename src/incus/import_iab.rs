//! Reads a `config.json` of IncusAutobackup (IAB), so that its user can go on with holdall.
//!
//! What its code does with the file is kept, and not what one might think: the first host of a role wins, every mode but `push` and `relay`
//! means pull, a policy that is empty overrides nothing. What has no place in our configuration is named in [`Iab::notes`], and nothing is
//! dropped without a word.

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::error::{Annotate, ExitCode};
use crate::output::printable;

mod json;
mod retention;

use json::Node;
pub use retention::IabPolicy;

/// What IAB was told.
#[derive(Debug, Default)]
pub struct Iab {
    /// The URL of the server that is backed up.
    pub source: String,
    /// The URL of the server with the copies.
    pub target: String,
    /// Its `iabCredDir`, as it is written.
    pub credentials: String,
    /// Whether instances are stopped for their snapshot.
    pub stops: bool,
    /// Where its healthchecks pings go.
    pub healthchecks: Option<String>,
    /// Whether the target connects to the source.
    pub is_pull: bool,
    /// What is copied, each project once.
    pub projects: Vec<IabProject>,
    /// The retention tree, the general before the specific, without what is empty.
    pub retention: Vec<IabPolicy>,
    /// What was not taken over, or is another thing here; for people.
    pub notes: Vec<String>,
}

/// One of its `projects`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct IabProject {
    /// Its name.
    pub name: String,
    /// Which instances.
    pub instances: Vec<IabThing>,
    /// Which volumes.
    pub volumes: Vec<IabThing>,
}

/// An instance or a volume.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct IabThing {
    /// Its name.
    pub name: String,
    /// Its pool: of an instance that of the root disk on the target. Empty: not said.
    pub pool: String,
    /// Devices that a copy does not get.
    pub exclude_devices: Vec<String>,
}

impl Iab {
    /// Reads the text of the file.
    ///
    /// # Errors
    ///
    /// When it is not of this form, or says what we refuse, all policies in one go; exit code [`ExitCode::Usage`].
    pub fn parse(text: &[u8]) -> Result<Self> {
        read(text).exit(ExitCode::Usage)
    }

    /// The policy that IAB has for an item; `kind` as in [`IabPolicy`].
    pub fn policy_for(&self, role: &str, project: &str, kind: &str, name: &str) -> &str {
        let is = |wanted: Option<&str>, given: &str| wanted.is_none_or(|wanted| wanted == given);
        let applies = |rule: &&IabPolicy| {
            rule.role == role
                && is(rule.project.as_deref(), project)
                && is(rule.kind, kind)
                && is(rule.name.as_deref(), name)
        };
        // The specific stands behind the general.
        self.retention.iter().rfind(applies).map_or("all", |rule| &rule.policy)
    }
}

fn read(text: &[u8]) -> Result<Iab> {
    let value: Value = serde_json::from_slice(text).context("it is not JSON")?;
    let root = Node::root(&value);
    let mut iab = Iab::default();
    let own = root.field("iab")?;
    iab.credentials = own.text("iabCredDir")?;
    if iab.credentials.trim().is_empty() {
        return Err(anyhow!("iab.iabCredDir is missing")).hint("It names the directory with iab_client.key.");
    }
    iab.stops = own.flag("stopInstance")?;
    iab.healthchecks = Some(own.text("healthchecksUrl")?).filter(|url| !url.trim().is_empty());
    if !own.text("gotifyUrl")?.is_empty() {
        iab.notes.push("iab.gotifyUrl is not taken over: holdall does not tell Gotify anything.".to_owned());
    }
    hosts(&root, &mut iab)?;
    let mut modes = Vec::new();
    for project in root.list("projects")? {
        if add_project(&project, &mut iab)? {
            modes.push((project.text("name")?, project.text("mode")?));
        }
    }
    iab.is_pull = mode(&modes, &mut iab.notes);
    let hosts = root.field("retention")?.field("hosts")?;
    iab.retention = retention::read(&hosts, &mut iab.notes)?;
    let mut dropped = own.others(&["iabCredDir", "stopInstance", "healthchecksUrl", "gotifyUrl"]);
    dropped.extend(root.others(&["iab", "hosts", "projects", "retention"]));
    dropped.extend(root.field("retention")?.others(&["hosts"]));
    if !dropped.is_empty() {
        iab.notes.push(format!("Not taken over, since nothing here needs it: {}.", dropped.join(", ")));
    }
    Ok(iab)
}

fn hosts(root: &Node<'_>, iab: &mut Iab) -> Result<()> {
    for host in root.list("hosts")? {
        let (role, url) = (host.text("role")?, host.text("url")?);
        let place = match role.as_str() {
            "source" => &mut iab.source,
            "target" => &mut iab.target,
            _ => {
                iab.notes.push(format!("{} is not taken over: its role is neither source nor target.", host.path()));
                continue;
            }
        };
        if place.is_empty() {
            *place = with_port(&url);
        } else {
            iab.notes.push(format!("{} is not taken over: it is not the first {role}.", host.path()));
        }
    }
    for (role, url) in [("source", &iab.source), ("target", &iab.target)] {
        if url.is_empty() {
            return Err(anyhow!("hosts has no {role} with a URL"));
        }
    }
    Ok(())
}

/// A URL without a port means 443 to IAB, as to every Go program; to ours, as to Incus's own client, 8443.
fn with_port(url: &str) -> String {
    let url = url.trim_end_matches('/');
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    let behind_address = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    if host.is_empty() || behind_address.contains(':') { url.to_owned() } else { format!("{url}:443") }
}

/// Whether anything of it is copied.
fn add_project(project: &Node<'_>, iab: &mut Iab) -> Result<bool> {
    let name = project.text("name")?;
    if name.is_empty() {
        iab.notes.push(format!("{} is not taken over: it has no name.", project.path()));
        return Ok(false);
    }
    let instances = things(&project.list("instances")?, &mut iab.notes)?;
    let volumes = things(&project.list("volumes")?, &mut iab.notes)?;
    if instances.is_empty() && volumes.is_empty() {
        iab.notes.push(format!("The project {} is not taken over: it names nothing.", printable(name.as_ref())));
        return Ok(false);
    }
    match iab.projects.iter_mut().find(|other| other.name == name) {
        Some(other) => {
            other.instances.extend(instances);
            other.volumes.extend(volumes);
        }
        None => iab.projects.push(IabProject { name, instances, volumes }),
    }
    Ok(true)
}

fn things(nodes: &[Node<'_>], notes: &mut Vec<String>) -> Result<Vec<IabThing>> {
    let mut things = Vec::new();
    for node in nodes {
        let mut exclude_devices = Vec::new();
        for device in node.list("excludeDevices")? {
            exclude_devices.push(device.as_text()?);
        }
        let thing = IabThing { name: node.text("name")?, pool: node.text("storage")?, exclude_devices };
        if thing.name.is_empty() {
            notes.push(format!("{} is not taken over: it has no name.", node.path()));
        } else {
            things.push(thing);
        }
    }
    Ok(things)
}

/// Whether the copies are pulled. IAB has a mode for each project, we one for all.
fn mode(modes: &[(String, String)], notes: &mut Vec<String>) -> bool {
    let is_pull = |mode: &str| !matches!(mode, "" | "push" | "relay");
    for (project, mode) in modes {
        let shown = format!("The mode `{}` of the project {}", printable(mode.as_ref()), printable(project.as_ref()));
        match mode.as_str() {
            "" | "push" | "pull" => {}
            "relay" => notes.push(format!("{shown} is push here: servers always copy to each other directly.")),
            _ => notes.push(format!("{shown} is pull, as IncusAutobackup takes it.")),
        }
    }
    let first = modes.first().is_some_and(|(_, mode)| is_pull(mode));
    let others: Vec<String> = modes
        .iter()
        .filter(|(_, mode)| is_pull(mode) != first)
        .map(|(project, _)| printable(project.as_ref()))
        .collect();
    if !others.is_empty() {
        let (one, other) = if first { ("pull", "push") } else { ("push", "pull") };
        notes.push(format!(
            "Projects have different modes, and a table has one: {one} is written, also for {}. If that does not work there, give them a table \
             of their own with mode = \"{other}\".",
            others.join(", ")
        ));
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{chain, exit_code};

    const WHOLE: &str = include_str!("import_iab/example.json");

    #[test]
    fn everything_of_an_example_is_read_or_named() {
        let iab = Iab::parse(WHOLE.as_bytes()).unwrap();
        assert_eq!(
            (iab.source.as_str(), iab.target.as_str()),
            ("https://192.168.1.100:8443", "https://192.168.1.101:8443")
        );
        assert_eq!(iab.credentials, "/root/.config/incusAutobackup");
        assert!(iab.stops && !iab.is_pull);
        assert_eq!(iab.healthchecks.as_deref(), Some("https://hc-ping.com/abc"));
        let thing = |name: &str, pool: &str, devices: &[&str]| IabThing {
            name: name.into(),
            pool: pool.into(),
            exclude_devices: devices.iter().map(|&device| device.to_owned()).collect(),
        };
        let default = IabProject {
            name: "default".into(),
            instances: vec![thing("vm1", "local", &["eth0", "custom-volume-1"]), thing("c2", "", &[])],
            volumes: vec![thing("v1", "local", &[])],
        };
        assert_eq!(iab.projects, [default]);
        assert_eq!(iab.retention.len(), 7);
        assert_eq!(
            iab.notes,
            [
                "iab.gotifyUrl is not taken over: holdall does not tell Gotify anything.",
                "hosts[2] is not taken over: it is not the first target.",
                "The project empty is not taken over: it names nothing.",
                "Not taken over, since nothing here needs it: iab.uuid, version.",
            ]
        );
    }

    #[test]
    fn names_of_keys_are_taken_as_go_takes_them() {
        let text = br#"{"IAB":{"IABCREDDIR":"/c","stopinstance":true,"StopInstance":null},"Hosts":[{"Role":"source","URL":"https://a"},
            {"role":"target","url":"https://b"}],"projects":null}"#;
        let iab = Iab::parse(text).unwrap();
        assert_eq!((iab.credentials.as_str(), iab.source.as_str(), iab.stops), ("/c", "https://a:443", true));
    }

    #[test]
    fn url_without_a_port_means_443() {
        for (url, meant) in [
            ("https://a", "https://a:443"),
            ("https://a:8443/", "https://a:8443"),
            ("https://[fd00::1]/", "https://[fd00::1]:443"),
            ("https://[fd00::1]:8443", "https://[fd00::1]:8443"),
            ("", ""),
        ] {
            assert_eq!(with_port(url), meant);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        let error = |text: &str| {
            let error = Iab::parse(text.as_bytes()).unwrap_err();
            assert_eq!(exit_code(&error), ExitCode::Usage);
            chain(&error)
        };
        assert!(error("{").starts_with("it is not JSON: "));
        assert_eq!(error("{}"), "iab.iabCredDir is missing");
        assert_eq!(error(r#"{"iab":[]}"#), "iab is not an object");
        assert_eq!(error(r#"{"iab":{"iabCredDir":7}}"#), "iab.iabCredDir is not a text");
        assert_eq!(
            error(r#"{"iab":{"iabCredDir":"/c"},"hosts":[{"role":"source","url":"u"}]}"#),
            "hosts has no target with a URL"
        );
        let zero = WHOLE.replace("\"1d2w\"", "\"0\"").replace("\"6,1h2d\"", "\"1x2d\"");
        assert_eq!(
            error(&zero),
            "policies that holdall does not take:\n  retention.hosts.source.default: `x` at position 2: is no unit of time; use s, min, h, d, w, m (30 d) \
             or y (365 d)\n  retention.hosts.source.projects.default.default: `0` at position 1: must be more than zero"
        );
    }

    #[test]
    fn unknown_mode_means_pull_and_relay_push() {
        let mut notes = Vec::new();
        let modes = |texts: &[&str]| texts.iter().map(|mode| ("p".to_owned(), (*mode).to_owned())).collect::<Vec<_>>();
        for (texts, is_pull, told) in [
            (&["", "push"][..], false, 0),
            (&["relay"], false, 1),
            (&["Push"], true, 1),
            (&["pull", "pull"], true, 0),
            (&[], false, 0),
        ] {
            notes.clear();
            assert_eq!((mode(&modes(texts), &mut notes), notes.len()), (is_pull, told), "{texts:?}");
        }
        notes.clear();
        assert!(mode(&modes(&["pull", "push"]), &mut notes));
        assert!(
            notes[0].starts_with("Projects have different modes, and a table has one: pull is written, also for p."),
            "{notes:?}"
        );
    }
}
