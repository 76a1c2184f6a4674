//! A container engine, asked synchronously: the only user of bollard, and of the runtime that it needs.
//!
//! Docker Engine API, <https://docs.docker.com/reference/api/engine/>; podman answers most of it as well. Bodies that may be large are
//! streams ([`streams`]): what goes through here never has to fit into the memory. What engines say of things is kept as they say it
//! ([`model`]).

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bollard::Docker;
use bollard::models::{ContainerCreateBody, VolumeCreateRequest};
use bollard::query_parameters as query;
use futures_util::TryStreamExt;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::config::EngineConfig;

mod connect;
mod exec;
mod lazy;
mod model;
mod network;
mod streams;

pub(crate) use lazy::Lazy;
pub(crate) use model::{Container, Image, Info, MountKind, State, Volume};

use super::ours::this_machine;
use connect::explain;

/// How long an engine may take to answer a question.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long an engine takes to stop a container beyond what it gives the container.
const STOPPING: Duration = Duration::from_secs(60);

/// A time that never passes.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// How long a container is given to stop when nobody says: the engine's own default.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to an engine; cloning it costs nothing.
#[derive(Clone)]
pub(crate) struct Engine(Arc<Inner>);

struct Inner {
    docker: Docker,
    runtime: Runtime,
    /// As `$DOCKER_HOST` would say it.
    place: String,
    /// What it says of itself, once it was asked: that takes it long, and does not change.
    info: OnceLock<Info>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(&self.0.place).finish()
    }
}

impl Engine {
    /// Connects to an engine, and agrees with it on a version of its interface.
    ///
    /// # Errors
    ///
    /// When nobody answers there, or it may not be asked; hints say what to do.
    pub(crate) fn connect(config: &EngineConfig) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("engine")
            .build()
            .context("start a runtime")?;
        let place = connect::place(config);
        let connecting = || {
            // The client registers its timers where it is made.
            let _inside = runtime.enter();
            let docker = connect::client(&place, config, PATIENCE)?;
            runtime.block_on(docker.negotiate_version()).map_err(|error| explain(error, &place))
        };
        let docker = connecting().with_context(|| format!("connect to the container engine at {place}"))?;
        Ok(Self(Arc::new(Inner { docker, runtime, place, info: OnceLock::new() })))
    }

    /// Where the engine of a configuration is, as `$DOCKER_HOST` would say it.
    pub(crate) fn place_of(config: &EngineConfig) -> String {
        connect::place(config)
    }

    /// Where it is, as `$DOCKER_HOST` would say it.
    pub(crate) fn place(&self) -> &str {
        &self.0.place
    }

    /// Whether it is asked over a socket of this machine.
    fn has_socket(&self) -> bool {
        self.0.place.starts_with("unix://")
    }

    fn docker(&self) -> &Docker {
        &self.0.docker
    }

    fn wait<T>(&self, future: impl Future<Output = Result<T, bollard::errors::Error>>) -> Result<T> {
        self.0.runtime.block_on(future).map_err(|error| explain(error, &self.0.place))
    }

    /// What there is to know of the engine itself.
    pub(crate) fn info(&self) -> Result<&Info> {
        if let Some(info) = self.0.info.get() {
            return Ok(info);
        }
        let info = self.wait(self.docker().info()).context("ask the engine about itself")?;
        let info = Info::new(&serde_json::to_value(info)?).context("understand what the engine says of itself")?;
        Ok(self.0.info.get_or_init(|| info))
    }

    /// Whether it is this machine's: its paths are paths here.
    pub(crate) fn is_here(&self) -> Result<bool> {
        Ok(self.has_socket() && self.info()?.host == this_machine())
    }

    /// All volumes, by name.
    pub(crate) fn volumes(&self) -> Result<Vec<Volume>> {
        let listed =
            self.wait(self.docker().list_volumes(None::<query::ListVolumesOptions>)).context("list volumes")?;
        let volumes = listed.volumes.unwrap_or_default().into_iter().map(|volume| Volume::new(to_value(volume)?));
        let mut volumes = volumes.collect::<Result<Vec<_>>>().context("list volumes")?;
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// One volume; `None` when there is none of this name.
    pub(crate) fn volume(&self, name: &str) -> Result<Option<Volume>> {
        let asked = if_there(self.wait(self.docker().inspect_volume(&escaped(name))));
        let doing = || format!("look at the volume {name}");
        asked.with_context(doing)?.map(|volume| Volume::new(to_value(volume)?)).transpose().with_context(doing)
    }

    /// All containers, by name, running or not.
    pub(crate) fn containers(&self) -> Result<Vec<Container>> {
        self.list_containers(query::ListContainersOptionsBuilder::new().all(true).build())
    }

    /// All containers with this value of a label, running or not.
    pub(crate) fn containers_labelled(&self, label: &str, value: &str) -> Result<Vec<Container>> {
        let filters = HashMap::from([("label", vec![format!("{label}={value}")])]);
        self.list_containers(query::ListContainersOptionsBuilder::new().all(true).filters(&filters).build())
    }

    /// The containers in which a volume is mounted, by name, running or not.
    pub(crate) fn users(&self, volume: &str) -> Result<Vec<Container>> {
        let filters = HashMap::from([("volume", vec![volume])]);
        let mut users =
            self.list_containers(query::ListContainersOptionsBuilder::new().all(true).filters(&filters).build())?;
        // A path in a container that is the name of a volume is found as well.
        users.retain(|container| container.volumes().any(|name| name == volume));
        Ok(users)
    }

    fn list_containers(&self, options: query::ListContainersOptions) -> Result<Vec<Container>> {
        let listed = self.wait(self.docker().list_containers(Some(options))).context("list containers")?;
        let mut containers = Vec::new();
        for id in listed.into_iter().filter_map(|container| container.id) {
            // One that was removed in between is not there.
            containers.extend(self.container(&id)?);
        }
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// One container, by name or id; `None` when there is none.
    pub(crate) fn container(&self, name: &str) -> Result<Option<Container>> {
        let asked = if_there(self.wait(self.docker().inspect_container(name, None::<query::InspectContainerOptions>)));
        let doing = || format!("look at the container {name}");
        asked.with_context(doing)?.map(|container| Container::new(to_value(container)?)).transpose().with_context(doing)
    }

    /// All images that have a name, one for each name.
    pub(crate) fn images(&self) -> Result<Vec<Image>> {
        let listed = self.wait(self.docker().list_images(None::<query::ListImagesOptions>)).context("list images")?;
        let mut images = Vec::new();
        for image in listed {
            for name in image.repo_tags.iter().filter(|name| !name.contains("<none>")) {
                images.push(Image { name: name.clone(), id: image.id.clone(), size: image.size.unsigned_abs() });
            }
        }
        images.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    /// What the engine says of an image; `None` when there is none of this name or id.
    pub(crate) fn image(&self, name: &str) -> Result<Option<Value>> {
        let asked = if_there(self.wait(self.docker().inspect_image(&escaped(name))));
        asked.and_then(|image| image.map(to_value).transpose()).with_context(|| format!("look at the image {name}"))
    }

    /// An image as `docker save` has it.
    pub(crate) fn export_image(&self, name: &str) -> Box<dyn Read + Send> {
        Box::new(streams::incoming(&self.0.runtime, self.docker().export_images(&[name])))
    }

    /// Stops a container; nothing when it does not run.
    pub(crate) fn stop(&self, id: &str, timeout: Option<Duration>) -> Result<()> {
        let seconds = timeout.map(|timeout| i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX));
        let options = query::StopContainerOptions { t: seconds, ..Default::default() };
        let docker = self.docker().clone().with_timeout(timeout.unwrap_or(STOP_TIMEOUT).saturating_add(STOPPING));
        self.wait(docker.stop_container(id, Some(options)))
    }

    /// Starts a container; nothing when it runs.
    pub(crate) fn start(&self, id: &str) -> Result<()> {
        self.wait(self.docker().start_container(id, None::<query::StartContainerOptions>))
    }

    /// Freezes a container.
    pub(crate) fn pause(&self, id: &str) -> Result<()> {
        self.wait(self.docker().pause_container(id))
    }

    /// Lets a frozen container go on.
    pub(crate) fn unpause(&self, id: &str) -> Result<()> {
        self.wait(self.docker().unpause_container(id))
    }

    /// Makes a container, which does not run, and returns its id. `body` is as for `POST /containers/create`.
    pub(crate) fn create_container(&self, name: Option<&str>, body: &Value) -> Result<String> {
        let body: ContainerCreateBody = serde_json::from_value(body.clone()).context("describe the container")?;
        let options = name.map(|name| query::CreateContainerOptionsBuilder::new().name(name).build());
        Ok(self.wait(self.docker().create_container(options, body))?.id)
    }

    /// Removes a container that does not run, and none of its volumes; nothing when it is gone.
    pub(crate) fn remove_container(&self, id: &str) -> Result<()> {
        if_there(self.wait(self.docker().remove_container(id, None::<query::RemoveContainerOptions>))).map(drop)
    }

    /// Makes a volume. `body` is as for `POST /volumes/create`.
    pub(crate) fn create_volume(&self, body: &Value) -> Result<Volume> {
        let body: VolumeCreateRequest = serde_json::from_value(body.clone()).context("describe the volume")?;
        Volume::new(to_value(self.wait(self.docker().create_volume(body))?)?)
    }

    /// Removes a volume; nothing when it is gone.
    pub(crate) fn remove_volume(&self, name: &str) -> Result<()> {
        if_there(self.wait(self.docker().remove_volume(&escaped(name), None::<query::RemoveVolumeOptions>))).map(drop)
    }

    /// What is at a path in a container, as an archive; the container need not run. The names in it begin with the last one of the path.
    pub(crate) fn archive(&self, id: &str, path: &str) -> Box<dyn Read + Send> {
        let options = query::DownloadFromContainerOptionsBuilder::new().path(path).build();
        Box::new(streams::incoming(&self.0.runtime, self.docker().download_from_container(id, Some(options))))
    }

    /// Unpacks an archive, which `write` writes, in a directory of a container; the container need not run.
    pub(crate) fn unpack(
        &self,
        id: &str,
        directory: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        let options = query::UploadToContainerOptionsBuilder::new().path(directory).build();
        // How long it takes depends on how much it is.
        let (docker, id) = (self.docker().clone().with_timeout(FOR_EVER), id.to_owned());
        let sending = |pieces| async move {
            docker.upload_to_container(&id, Some(options), bollard::body_try_stream(pieces)).await
        };
        streams::outgoing(&self.0.runtime, write, sending).map_err(|error| connect::explain_any(error, &self.0.place))
    }

    /// Takes images as `docker save` has them, which `write` writes.
    pub(crate) fn load_image(&self, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let docker = self.docker().clone().with_timeout(FOR_EVER);
        let sending = |pieces| async move {
            let options = query::ImportImageOptionsBuilder::new().quiet(true).build();
            let body = bollard::body_try_stream(pieces);
            docker.import_image(options, body, None).try_collect::<Vec<_>>().await.map(drop)
        };
        streams::outgoing(&self.0.runtime, write, sending).map_err(|error| connect::explain_any(error, &self.0.place))
    }

    /// Makes an image of an archive of files, under this name.
    pub(crate) fn import_image(&self, archive: Vec<u8>, name: &str) -> Result<()> {
        let (repository, tag) = name.split_once(':').ok_or_else(|| anyhow!("{name} has no tag"))?;
        let options = query::CreateImageOptionsBuilder::new().from_src("-").repo(repository).tag(tag).build();
        let body = bollard::body_full(archive.into());
        let imported = self.docker().create_image(Some(options), Some(body), None).try_collect::<Vec<_>>();
        self.wait(imported).map(drop).with_context(|| format!("import the image {name}"))
    }
}

fn to_value(answer: impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(answer).context("understand the engine's answer")
}

/// A name as a part of an URL. Those of images have slashes.
fn escaped(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte);
    let escape = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    // Such a name would lead to something else of the interface.
    let name = if name.split('/').any(|part| part.is_empty() || part == "." || part == "..") { "%" } else { name };
    name.bytes().map(escape).collect()
}

/// `None` when there is no such thing.
fn if_there<T>(asked: Result<T>) -> Result<Option<T>> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if connect::status(&error) == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}
