//! Helper containers: what lets the engine read and write a volume, or a path of its machine, that cannot be reached here.
//!
//! One is made of an image without a single file, which holdall imports itself; it is never started, so that nothing runs in it. It bears the label
//! [`LABEL`] and the name of its source, and goes when it is dropped, also on a signal. What a killed run has left is removed by the next
//! run of the source ([`sweep`]).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Error, Result, anyhow, bail};
use serde_json::json;

use super::engine::{Engine, Image, Volume};
use super::ours::{EMPTY_IMAGE, LABEL, MACHINE, SOURCE, this_machine};
use crate::cleanup::Guard;
use crate::error::Annotate;

/// Where what it is for is mounted.
pub(crate) const DATA: &str = "/data";

/// What the label says of helpers.
const HELPER: &str = "helper";

/// An archive without a file: two blocks of zeros.
const EMPTY_ARCHIVE: usize = 1024;

/// What a helper is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mounted {
    /// A volume.
    Volume(Volume),
    /// A path of the engine's machine.
    Bind(PathBuf),
}

/// A container that is there as long as this is.
#[derive(Debug)]
pub(crate) struct Helper {
    id: String,
    _guard: Guard,
}

impl Helper {
    /// Makes a container in which this is mounted at [`DATA`], for this source.
    ///
    /// # Errors
    ///
    /// When the engine does not make it, or the thing is not there.
    pub(crate) fn new(engine: &Engine, source: &str, mounted: &Mounted, is_writable: bool) -> Result<Self> {
        let image = empty_image(engine)?;
        let mut mount = match mounted {
            Mounted::Volume(volume) => {
                // One that was removed just now is made anew, and then it bears this label.
                let options = json!({"NoCopy": true, "Labels": {LABEL: HELPER}});
                json!({"Type": "volume", "Source": volume.name, "VolumeOptions": options})
            }
            Mounted::Bind(path) => json!({"Type": "bind", "Source": path}),
        };
        mount["Target"] = json!(DATA);
        mount["ReadOnly"] = json!(!is_writable);
        let body = json!({
            "Image": image,
            // An engine makes no container without one.
            "Cmd": ["/never-started"],
            "Labels": {LABEL: HELPER, SOURCE: source, MACHINE: this_machine()},
            "NetworkDisabled": true,
            "HostConfig": {"Mounts": [mount], "NetworkMode": "none"},
        });
        let made = Arc::new(Mutex::new(None));
        let guard = Guard::new({
            let (engine, made) = (engine.clone(), Arc::clone(&made));
            move |_| {
                let Some(id) = lock(&made).take() else { return };
                if let Err(error) = engine.remove_container(&id) {
                    tracing::warn!("the helper container {id} is still there, the next run removes it: {error:#}");
                }
            }
        });
        let id = {
            // Held until the engine answers: a signal that comes meanwhile waits for the id of what it has to remove.
            let mut made = lock(&made);
            let id = engine.create_container(None, &body).context("make a helper container")?;
            made.insert(id).clone()
        };
        let helper = Self { id, _guard: guard };
        if let Mounted::Volume(volume) = mounted {
            was_there(engine, volume)?;
        }
        Ok(helper)
    }

    /// The id of the container.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

fn lock(made: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    made.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sees that a volume was not made with the container, empty, because it had been removed in between.
fn was_there(engine: &Engine, volume: &Volume) -> Result<()> {
    match engine.volume(&volume.name)? {
        Some(now) if !now.is_ours() => Ok(()),
        Some(_) => Err(anyhow!("the volume {} was removed just now", volume.name))
            .hint(format!("There is an empty one of its name in its place: docker volume rm {}", volume.name)),
        None => bail!("the volume {} was removed just now", volume.name),
    }
}

/// The id of the image for helpers, which is imported if it is not there. It is not asked for by name, of which podman makes another one.
fn empty_image(engine: &Engine) -> Result<String> {
    let own = |engine: &Engine| Ok::<_, Error>(engine.images()?.into_iter().find(Image::is_ours));
    if let Some(image) = own(engine)? {
        return Ok(image.id);
    }
    engine.import_image(vec![0; EMPTY_ARCHIVE], EMPTY_IMAGE)?;
    let image = own(engine)?.with_context(|| format!("the image {EMPTY_IMAGE} is not there after it was imported"))?;
    Ok(image.id)
}

/// The ids of the helpers of this source that a killed run on this machine has left, unless a run is under way.
pub(crate) fn left(engine: &Engine, source: &str) -> Result<Vec<String>> {
    let found = engine.containers_labelled(LABEL, HELPER)?.into_iter().filter(|container| {
        let is = |label: &str, value: &str| container.labels.get(label).is_some_and(|own| own == value);
        is(SOURCE, source) && is(MACHINE, &this_machine())
    });
    Ok(found.map(|container| container.id).collect())
}

/// Removes the helpers of this source that a killed run on this machine has left.
pub(crate) fn sweep(engine: &Engine, source: &str) -> Result<()> {
    left(engine, source)?
        .iter()
        .try_for_each(|id| engine.remove_container(id))
        .context("remove a helper container that a run that was killed had left")
}
