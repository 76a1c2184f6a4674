//! Where an engine is, and why it does not answer.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow};
use bollard::errors::Error as EngineError;
use bollard::{API_DEFAULT_VERSION, Docker};

use crate::config::{EngineConfig, TlsFiles};
use crate::error::{Annotate, hinted};

/// Where Docker listens unless it is told otherwise.
const DOCKER: &str = "/var/run/docker.sock";

/// Sockets of this machine, the likeliest first: Docker, rootless Docker, podman, rootless podman.
fn sockets() -> Vec<PathBuf> {
    let own = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let below = |path: &str| own.as_ref().map(|own| own.join(path));
    let sockets = [
        Some(DOCKER.into()),
        below("docker.sock"),
        Some("/run/podman/podman.sock".into()),
        below("podman/podman.sock"),
    ];
    sockets.into_iter().flatten().collect()
}

/// Where the engine is: as configured, as `$DOCKER_HOST` has it, or the first socket that is there.
pub(super) fn place(config: &EngineConfig) -> String {
    if let Some(host) = &config.host {
        return host.clone();
    }
    if let Some(host) = env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()) {
        return host;
    }
    let there = sockets().into_iter().find(|socket| socket.exists());
    format!("unix://{}", there.unwrap_or_else(|| DOCKER.into()).display())
}

/// A client for the engine at `place`, which was not asked anything yet.
pub(super) fn client(place: &str, config: &EngineConfig, patience: Duration) -> Result<Docker> {
    let patience = patience.as_secs();
    if let Some(path) = place.strip_prefix("unix://") {
        if let Err(error) = std::os::unix::net::UnixStream::connect(path) {
            return Err(no_socket(error, path));
        }
        return Ok(Docker::connect_with_unix(path, patience, API_DEFAULT_VERSION)?);
    }
    if !place.starts_with("tcp://") {
        return Err(anyhow!("`{place}` is no engine that this version of holdall can ask")).hint(
            "Name it as unix:///PATH or tcp://HOST:PORT. A socket of another machine can be forwarded with `ssh -L`.",
        );
    }
    match config.tls.clone().or_else(|| tls_of_environment(config)) {
        Some(TlsFiles { ca, cert, key }) => {
            for file in [&ca, &cert, &key] {
                std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
            }
            // Other crates bring a second one, and without a choice there is none. It may have been made before.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            Ok(Docker::connect_with_ssl(place, &key, &cert, &ca, patience, API_DEFAULT_VERSION)?)
        }
        None => Ok(Docker::connect_with_http(place, patience, API_DEFAULT_VERSION)?),
    }
}

/// The files that Docker's own client takes, when the place comes from the environment as well.
fn tls_of_environment(config: &EngineConfig) -> Option<TlsFiles> {
    let wanted = env::var_os("DOCKER_TLS_VERIFY").is_some_and(|value| !value.is_empty());
    if config.host.is_some() || !wanted {
        return None;
    }
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".docker"));
    let directory = env::var_os("DOCKER_CERT_PATH").map(PathBuf::from).or_else(home)?;
    Some(TlsFiles { ca: directory.join("ca.pem"), cert: directory.join("cert.pem"), key: directory.join("key.pem") })
}

/// Why nobody answers at a socket.
fn no_socket(error: io::Error, path: &str) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "Run holdall as root, or put its user into the group of {path} (often `docker`). Whoever may use this socket can \
             become root on this machine: it is the same."
        ),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let others: Vec<String> = sockets()
                .iter()
                .filter(|socket| socket.as_path() != Path::new(path) && socket.exists())
                .map(|socket| format!("unix://{}", socket.display()))
                .collect();
            match &others[..] {
                [] => "Is the engine running? `systemctl start docker` starts it; `host` names another one.".to_owned(),
                others => format!("Is the engine running? There is also: {}.", others.join(", ")),
            }
        }
        _ => return error.into(),
    };
    hinted(error, hint)
}

/// What the engine answered, without the client's words around it; a hint where there is one.
pub(super) fn explain(error: EngineError, place: &str) -> Error {
    match error {
        EngineError::DockerResponseServerError { status_code, message } => {
            let message = match message.trim() {
                "" => format!("it answers {status_code}, and does not say why"),
                message => message.to_owned(),
            };
            let refused = Error::new(Refused { status: status_code, message });
            if status_code != 403 {
                return refused;
            }
            let hint = format!(
                "Whoever stands between (a socket proxy at {place}) does not allow it; doc/sources/docker.md lists what has to be allowed."
            );
            hinted(refused, hint)
        }
        EngineError::RequestTimeoutError => anyhow!("the engine does not answer in time"),
        EngineError::DockerStreamError { error } => anyhow!("{error}"),
        other => Error::new(other),
    }
}

/// The same for an error that may be of somebody else.
pub(super) fn explain_any(error: Error, place: &str) -> Error {
    match error.downcast::<EngineError>() {
        Ok(error) => explain(error, place),
        Err(error) => error,
    }
}

/// The engine does not do it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Refused {
    /// As in HTTP.
    status: u16,
    message: String,
}

/// As in HTTP, if it is the engine that has refused.
pub(super) fn status(error: &Error) -> Option<u16> {
    error.chain().find_map(|link| link.downcast_ref::<Refused>()).map(|refused| refused.status)
}
