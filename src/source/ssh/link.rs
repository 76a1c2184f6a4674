//! The way to a machine: TCP, perhaps through another machine, and the handshake, at whose end it is known who answers.

use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow};
use rustix::net::sockopt::{set_tcp_quickack, set_tcp_user_timeout};
use ssh2::{BlockDirections, MethodType, Session};
use thiserror::Error;

use super::auth;
use super::bridge;
use super::host_key::{self, Judgement, ShownKey, TYPES};
use crate::config::{SshHostKey, SshLogin};
use crate::error::{Annotate, is_caused_by};

/// The cipher that is asked for first: of those that OpenSSH and libssh2 share the one that costs the least (40 % less than AES-GCM here).
const FIRST_CIPHER: &str = "chacha20-poly1305@openssh.com";

/// The machine does not answer: it is off, asleep, or elsewhere.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Unreachable(String);

/// Whether an error says that a machine does not answer.
pub(super) fn is_unreachable(error: &Error) -> bool {
    is_caused_by::<Unreachable>(error)
}

/// A server has nothing of what it was asked for in the exchange of keys.
#[derive(Debug, Error)]
#[error("{0}")]
struct NothingInCommon(String);

/// A session with a machine that is the one that was meant; nobody is logged in yet.
pub(super) struct Link {
    pub(super) session: Session,
    /// To wait on, and to cut the line with.
    pub(super) socket: OwnedFd,
}

/// One machine on the way.
struct Stage<'l> {
    host: &'l str,
    port: u16,
    host_key: &'l SshHostKey,
    /// The key of the configuration that pins it.
    setting: &'static str,
}

/// Connects and checks who answers.
pub(super) fn connect(login: &SshLogin) -> Result<Link> {
    let goal = Stage { host: &login.host, port: login.port, host_key: &login.host_key, setting: "host-key" };
    verified(&goal, |types| shake_hands(login, types))
}

/// The keys that a machine shows, of each type; nothing is compared, and nobody logs in there.
///
/// # Errors
///
/// When the machine, or one on the way to it, cannot be reached.
pub fn host_keys(login: &SshLogin) -> Result<Vec<ShownKey>> {
    let first = shake_hands(login, &TYPES.join(","))?;
    let mut keys = vec![host_key::shown(&first.session)?];
    for types in TYPES {
        let link = match shake_hands(login, types) {
            Ok(link) => link,
            // It has no key of this type.
            Err(error) if is_caused_by::<NothingInCommon>(&error) => continue,
            Err(error) => return Err(error),
        };
        let key = host_key::shown(&link.session)?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// Of which types the keys are that machines were recognised by, in this run: asked for first, they are shown at once. A server may shut out
/// who shakes hands and goes away too often (`PerSourcePenalties` of OpenSSH).
static RECOGNISED: Mutex<BTreeMap<(String, u16), &'static str>> = Mutex::new(BTreeMap::new());

/// Shakes hands until the pinned key was shown, or all that there are.
fn verified(stage: &Stage<'_>, shake: impl Fn(&str) -> Result<Link>) -> Result<Link> {
    let machine = (stage.host.to_owned(), stage.port);
    let recognised = || RECOGNISED.lock().unwrap_or_else(PoisonError::into_inner);
    let first = recognised().get(&machine).copied();
    let mut seen = Vec::new();
    let mut types = TYPES.to_vec();
    types.sort_by_key(|&names| Some(names) != first);
    loop {
        let link = match shake(&types.join(",")) {
            Ok(link) => link,
            // It has no key of a type that was not tried.
            Err(error) if !seen.is_empty() && is_caused_by::<NothingInCommon>(&error) => break,
            Err(error) => return Err(error),
        };
        let name = link.session.methods(MethodType::HostKey).unwrap_or_default().to_owned();
        let is_of = |names: &&str| names.split(',').any(|one| one == name);
        if host_key::judge(&link.session, stage.host, stage.port, stage.host_key)? == Judgement::Right {
            if let Some(names) = types.into_iter().find(is_of) {
                recognised().insert(machine, names);
            }
            return Ok(link);
        }
        seen.push(host_key::shown(&link.session)?);
        types.retain(|names| !is_of(names));
        if types.is_empty() {
            break;
        }
    }
    Err(host_key::changed(stage.host, stage.host_key, stage.setting, &seen))
}

/// Connects to the goal, if need be through the machine on the way, and shakes hands; asks for host keys of these types.
fn shake_hands(login: &SshLogin, types: &str) -> Result<Link> {
    let deadline = Instant::now() + login.connect_timeout;
    let Some(jump) = &login.jump else {
        let stream = tcp(&login.host, login.port, login)?;
        return handshake(stream, &login.host, types, login.connect_timeout);
    };
    let stage = Stage { host: &jump.host, port: jump.port, host_key: &jump.host_key, setting: "jump-host-key" };
    let doing = || format!("go through {}", jump.host);
    let link = verified(&stage, |types| {
        handshake(tcp(&jump.host, jump.port, login)?, &jump.host, types, login.connect_timeout)
    })
    .with_context(doing)?;
    auth::log_in(&link.session, &jump.user, &jump.host, login).with_context(doing)?;
    let stream = bridge::open(link, &login.host, login.port).or_else(|error| {
        let why = error.message();
        let text = format!("{} cannot reach {}:{}: {why}", jump.host, login.host, login.port);
        if why.contains("administratively prohibited") {
            return Err(anyhow!(text)).hint(
                "It forbids to go on from there: see `AllowTcpForwarding` in its sshd_config, and add `port-forwarding` where its authorized_keys say `restrict`.",
            );
        }
        Err(Error::new(Unreachable(text))).hint("Is it on, and is its SSH server at this port?")
    })?;
    handshake(stream, &login.host, types, deadline.saturating_duration_since(Instant::now()))
}

/// Opens a TCP connection, to the first of the host's addresses that answers.
fn tcp(host: &str, port: u16, login: &SshLogin) -> Result<TcpStream> {
    let unreachable = |error: std::io::Error| Error::new(Unreachable(format!("cannot reach {host}:{port}: {error}")));
    let deadline = Instant::now() + login.connect_timeout;
    let addresses =
        (host, port).to_socket_addrs().map_err(unreachable).hint("Is the name right? An address will do.")?;
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true).context("set up the connection")?;
                // What was sent and is not acknowledged for so long: the line is cut.
                let limit = u32::try_from(login.idle_timeout.as_millis()).unwrap_or(u32::MAX);
                set_tcp_user_timeout(&stream, limit).context("set up the connection")?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last)).hint("Is it on, and is its SSH server at this port?")
}

/// Shakes hands over a stream.
fn handshake<S>(stream: S, host: &str, types: &str, limit: Duration) -> Result<Link>
where
    S: AsRawFd + Into<OwnedFd> + Stream + 'static,
{
    let mut session = Session::new().context("begin an SSH session")?;
    let socket = stream.duplicate().context("set up the connection")?;
    session.method_pref(MethodType::HostKey, types).context("choose the type of host key")?;
    for direction in [MethodType::CryptCs, MethodType::CryptSc] {
        let mut ciphers = session.supported_algs(direction)?;
        ciphers.sort_by_key(|cipher| *cipher != FIRST_CIPHER);
        session.method_pref(direction, &ciphers.join(",")).context("choose a cipher")?;
    }
    session.set_tcp_stream(stream);
    session.set_timeout(u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1));
    session.handshake().map_err(|error| failed_handshake(host, &error))?;
    Ok(Link { session, socket })
}

fn failed_handshake(host: &str, error: &ssh2::Error) -> Error {
    // LIBSSH2_ERROR_TIMEOUT, LIBSSH2_ERROR_SOCKET_TIMEOUT (libssh2.h)
    if matches!(error.code(), ssh2::ErrorCode::Session(-9 | -30)) {
        return Error::new(Unreachable(format!("{host} takes the connection and says nothing")));
    }
    let why = error.message().to_owned();
    // LIBSSH2_ERROR_KEX_FAILURE, LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE
    let error = match error.code() {
        ssh2::ErrorCode::Session(-5 | -8) => Error::new(NothingInCommon(why)),
        _ => anyhow!(why),
    };
    error.context(format!("begin an SSH session with {host}"))
}

/// What a session runs over.
trait Stream {
    fn duplicate(&self) -> std::io::Result<OwnedFd>;
}

impl Stream for TcpStream {
    fn duplicate(&self) -> std::io::Result<OwnedFd> {
        Ok(self.try_clone()?.into())
    }
}

impl Stream for UnixStream {
    fn duplicate(&self) -> std::io::Result<OwnedFd> {
        Ok(self.try_clone()?.into())
    }
}

/// Waits until the session can go on, or for so long.
pub(super) fn wait(session: &Session, socket: &OwnedFd, limit: Duration) -> std::io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let flags = match session.block_directions() {
        BlockDirections::Outbound => PollFlags::OUT,
        BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
        BlockDirections::None | BlockDirections::Inbound => PollFlags::IN,
    };
    // An answer that is held back for the next piece to go with it would wait for our word that this one has come, and that for 40 ms.
    let _ = set_tcp_quickack(socket, true);
    let limit =
        Timespec { tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: limit.subsec_nanos().into() };
    match poll(&mut [PollFd::new(socket, flags)], Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
