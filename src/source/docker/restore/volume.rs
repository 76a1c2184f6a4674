//! Makes volumes, and fills them: where they lie when that is on this machine, else through the engine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rustix::fs::{Access, access};
use serde_json::{Value, json};

use super::plan::{Fill, Place};
use super::{Back, body, check_name};
use crate::config::ReadFrom;
use crate::error::{Annotate, chain};
use crate::extract::{Extracted, RestoreOptions, extract_as};
use crate::source::Failure;
use crate::source::docker::engine::Volume;
use crate::source::docker::helper::{Helper, Mounted};
use crate::source::docker::volume::Reader;
use crate::source::{Problem, Severity};

/// Where something is put.
enum Way {
    /// To a path of this machine.
    Here(PathBuf),
    /// Through the engine; whether nothing was there before.
    Through { mounted: Mounted, is_new: bool },
    /// Nowhere, as it is not there in a dry run.
    Nowhere,
    /// It cannot be put there, and why; the rest can.
    Refused(String),
}

impl Back<'_> {
    /// Fills a place with its part of the point. Files that are there and not in the point stay.
    ///
    /// # Errors
    ///
    /// As [`crate::extract::extract`] has them; when the engine does not make the volume, or does not take its content.
    pub(crate) fn fill(&self, fill: &Fill) -> Result<Extracted> {
        let (way, shown) = match &fill.place {
            Place::Volume(name) => (self.way_to_volume(fill, name)?, format!("the volume {name}")),
            Place::Path(path) => (self.way_to_path(fill, path)?, path.display().to_string()),
        };
        let options = RestoreOptions { path: fill.part.clone(), overwrite: true, ..self.options.clone() };
        let restored = match way {
            Way::Here(path) => extract_as(self.saved, &fill.base, &path, &options, self.monitor),
            Way::Through { mounted, is_new } => self.through(fill, &options, Some((&mounted, is_new))),
            Way::Nowhere => self.through(fill, &options, None),
            Way::Refused(error) => {
                let mut done = Extracted::default();
                done.add(Problem { path: fill.base.clone(), error, severity: Severity::Unread });
                return Ok(done);
            }
        };
        restored.with_context(|| format!("restore {shown}"))
    }

    fn way_to_volume(&self, fill: &Fill, name: &str) -> Result<Way> {
        let (volume, is_new) = match self.engine.volume(name)? {
            Some(volume) => (volume, false),
            None => {
                self.say("would make", "makes", &format!("the volume {name}"));
                if self.options.dry_run {
                    return Ok(Way::Nowhere);
                }
                (self.make_volume(fill, name)?, true)
            }
        };
        match self.is_writable(&volume) {
            Ok(()) => Ok(Way::Here(volume.mountpoint)),
            Err(error) if self.from == ReadFrom::Direct => Err(error)
                .with_context(|| format!("write to the volume {name} at {}", volume.mountpoint.display()))
                .hint("With read = \"auto\" it is written through the engine when it cannot be written there."),
            Err(why) => {
                tracing::debug!("the volume {name} is written through the engine: {why:#}");
                Ok(Way::Through { mounted: Mounted::Volume(volume), is_new })
            }
        }
    }

    fn way_to_path(&self, fill: &Fill, path: &Path) -> Result<Way> {
        let failure = Failure::default();
        let here = match self.from {
            ReadFrom::Api => Err(anyhow!("`read` says so")),
            _ => self.reader(&failure).is_own(),
        };
        if here.is_err() && self.from != ReadFrom::Direct {
            let shown = path.display();
            if !crate::extract::find(self.saved, &fill.base)?.is_dir() {
                return Ok(Way::Refused(format!(
                    "{shown} is a file of the engine's machine, which can only be replaced there"
                )));
            }
            if !self.is_there(path)? {
                return Ok(Way::Refused(format!(
                    "there is no directory {shown} on the engine's machine; make it first"
                )));
            }
            return Ok(Way::Through { mounted: Mounted::Bind(path.to_path_buf()), is_new: false });
        }
        if let Some(above) = path.parent().filter(|_| !self.options.dry_run) {
            // As the engine makes them, so that whoever runs in the container comes through.
            fs::create_dir_all(above).with_context(|| format!("make the directory {}", above.display()))?;
        }
        Ok(Way::Here(path.to_path_buf()))
    }

    /// Whether a volume can be written where it lies.
    fn is_writable(&self, volume: &Volume) -> Result<()> {
        if self.from == ReadFrom::Api {
            return Err(anyhow!("`read` says so"));
        }
        let failure = Failure::default();
        self.reader(&failure).is_here(volume)?;
        fs::read_dir(&volume.mountpoint)?;
        Ok(access(&volume.mountpoint, Access::WRITE_OK)?)
    }

    /// Whether there is something at a path of the engine's machine.
    pub(crate) fn is_there(&self, path: &Path) -> Result<bool> {
        let failure = Failure::default();
        if self.reader(&failure).is_own().is_ok() {
            return Ok(path.symlink_metadata().is_ok());
        }
        match Helper::new(self.engine, self.source, &Mounted::Bind(path.to_path_buf()), false) {
            Ok(_) => Ok(true),
            Err(error) if chain(&error).contains("does not exist") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a volume that is not there, as the point describes it.
    fn make_volume(&self, fill: &Fill, name: &str) -> Result<Volume> {
        check_name(name)?;
        let described = match &fill.described {
            Some(path) => self.described(path)?.unwrap_or_default(),
            None => Value::default(),
        };
        let body = if fill.is_copy { copy_of(&described, name) } else { as_it_was(&described, name) };
        if fill.is_copy && has_own_place(&described) {
            tracing::warn!(
                "{name} is a plain volume of the driver `local`: with the options of the original it would be the same storage"
            );
        }
        self.engine.create_volume(&body).with_context(|| format!("make the volume {name}"))
    }
}

impl Reader<'_> {
    /// Whether it can be seen that nothing is in a volume.
    pub(super) fn is_empty(&self, volume: &Volume) -> bool {
        let is_empty = |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        self.from != ReadFrom::Api && self.is_here(volume).is_ok() && is_empty(&volume.mountpoint)
    }
}

/// What an engine is told to make a volume as it was described.
fn as_it_was(described: &Value, name: &str) -> Value {
    let mut body = json!({"Name": name, "Driver": described["Driver"].as_str().unwrap_or("local")});
    for (key, told) in [("Options", "DriverOpts"), ("Labels", "Labels")] {
        if let Some(values) = described[key].as_object() {
            body[told] = json!(values);
        }
    }
    body
}

/// The same for one beside the original: never with options, which may name where its content is.
fn copy_of(described: &Value, name: &str) -> Value {
    json!({"Name": name, "Driver": "local", "Labels": body::without_memberships(&described["Labels"])})
}

/// Whether its content may be elsewhere than in the engine's own folder.
fn has_own_place(described: &Value) -> bool {
    let has_options = described["Options"].as_object().is_some_and(|options| !options.is_empty());
    has_options || described["Driver"].as_str().is_some_and(|driver| driver != "local")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_is_made_as_it_was_and_its_copy_with_storage_of_its_own() {
        let described = json!({
            "Name": "data", "Driver": "local", "Mountpoint": "/x", "Scope": "local",
            "Labels": {"a": "b", "com.docker.compose.volume": "data"},
            "Options": {"type": "none", "device": "/srv/data", "o": "bind"},
        });
        let again = as_it_was(&described, "data");
        assert_eq!(again["DriverOpts"]["device"], "/srv/data");
        assert_eq!(again["Labels"]["com.docker.compose.volume"], "data");
        let copy = copy_of(&described, "copy");
        assert_eq!(copy, json!({"Name": "copy", "Driver": "local", "Labels": {"a": "b"}}));
        assert!(has_own_place(&described));
        assert!(!has_own_place(&json!({"Driver": "local", "Options": null})));
        assert_eq!(as_it_was(&Value::Null, "x"), json!({"Name": "x", "Driver": "local"}));
    }
}
