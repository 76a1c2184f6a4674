//! One service of a compose file.

use std::path::PathBuf;

use serde_json::Value;

use super::{Place, Project, entries, list, text, warning};
use crate::source::compose::paths::joined;

impl Project {
    /// Adds what a file says of a service to what others have said.
    pub(super) fn service(&mut self, name: &str, says: &Value, at: &Place<'_>, depth: usize) {
        self.services.entry(name.to_owned()).or_default();
        for key in ["env_file", "label_file"] {
            for file in list(&says[key]) {
                self.add_file(if file.is_object() { &file["path"] } else { file }, at);
            }
        }
        let image = text(&says["image"]).and_then(|image| at.env.expand(&image).ok());
        let needs = needs(says);
        let (mut binds, mut problems) = (Vec::new(), Vec::new());
        for mount in list(&says["volumes"]) {
            match bind(mount, at) {
                Ok(path) => binds.extend(path),
                Err(why) => problems.push(warning(at.file, format!("a volume of the service {name}: {why}"))),
            }
        }
        if let Some(known) = self.services.get_mut(name) {
            known.image = image.or(known.image.take());
            known.needs.extend(needs);
            known.binds.extend(binds);
            known.problems.extend(problems);
        }
        self.extends(&says["extends"], name, at, depth);
    }

    /// `extends`: a service of another file, or of the same one, where it is seen anyway.
    fn extends(&mut self, extends: &Value, name: &str, at: &Place<'_>, depth: usize) {
        let Some(file) = self.path(&extends["file"], at).filter(|file| file != at.file) else { return };
        let wanted = text(&extends["service"]).unwrap_or_else(|| name.to_owned());
        let directory = file.parent().unwrap_or(at.directory).to_path_buf();
        let mut other = Self { reads: self.reads, ..Self::default() };
        other.file(&Place { file: &file, directory: &directory, env: at.env, service: Some(&wanted) }, depth + 1);
        // What the other service says counts for this one.
        let extended = self.services.entry(name.to_owned()).or_default();
        for (_, service) in other.services {
            extended.image = extended.image.take().or(service.image);
            extended.binds.extend(service.binds);
            extended.problems.extend(service.problems);
        }
        self.reads = other.reads;
        self.compose_files.extend(other.compose_files);
        self.files.extend(other.files);
        self.problems.extend(other.problems);
    }
}

/// The services that one needs, in all the ways to say so.
fn needs(says: &Value) -> Vec<String> {
    let depends = &says["depends_on"];
    let listed = list(depends).filter_map(Value::as_str);
    let mut needs: Vec<String> = listed.chain(entries(depends).map(|(name, _)| name)).map(str::to_owned).collect();
    for key in ["network_mode", "ipc", "pid"] {
        needs.extend(text(&says[key]).and_then(|mode| mode.strip_prefix("service:").map(str::to_owned)));
    }
    for key in ["links", "volumes_from"] {
        let names = list(&says[key]).filter_map(Value::as_str).filter(|name| !name.starts_with("container:"));
        needs.extend(names.filter_map(|name| name.split(':').next()).map(str::to_owned));
    }
    needs
}

/// The path that a mount takes from the machine; `None` when it takes none.
fn bind(mount: &Value, at: &Place<'_>) -> Result<Option<PathBuf>, String> {
    let source = if mount.is_object() {
        match (mount["type"].as_str(), text(&mount["source"])) {
            (Some("bind"), Some(source)) => source,
            _ => return Ok(None),
        }
    } else {
        let Some(mount) = mount.as_str() else { return Ok(None) };
        mount.to_owned()
    };
    // A default may have colons: it is expanded before it is taken apart.
    let expanded = at.env.expand(&source).map_err(|error| format!("`{source}`: {error}"))?;
    let source = if mount.is_object() {
        expanded
    } else {
        let Some((source, _)) = expanded.split_once(':') else { return Ok(None) };
        if !source.starts_with(['.', '/', '~']) {
            return Ok(None);
        }
        source.to_owned()
    };
    if source.starts_with('~') {
        return Err(format!("`{source}` depends on who runs Compose"));
    }
    Ok(joined(at.directory, &source))
}
