//! Where a muxer listens, in the words of libusbmuxd.

use std::env;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::super::way::Socket;
use anyhow::{Result, anyhow};
use tokio::net::{TcpStream, UnixStream};

use crate::error::{Annotate, ExitCode};

/// The variable that libusbmuxd reads.
const VARIABLE: &str = "USBMUXD_SOCKET_ADDRESS";
const DEFAULT: &str = "/var/run/usbmuxd";

/// Where a muxer listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source::ios) enum Address {
    /// At a socket of this machine.
    Unix(PathBuf),
    /// At a port of a host, which is a name or an address.
    Tcp(String, u16),
}

impl Address {
    /// What `$USBMUXD_SOCKET_ADDRESS` says, or the default socket.
    ///
    /// # Errors
    ///
    /// When it is no address; exit code 2.
    pub(super) fn of_environment() -> Result<Self> {
        match env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => Self::parse(&text),
            Err(env::VarError::NotUnicode(_)) => Self::parse("\u{fffd}"),
            _ => Ok(Self::Unix(DEFAULT.into())),
        }
    }

    /// Reads `UNIX:/path`, `host:port` or `[v6]:port`; a path alone is one, too.
    fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Err(anyhow!("{VARIABLE} is {text:?}, which is no address of usbmuxd"))
                .hint("Write UNIX:/path/of/the/socket, HOST:PORT or [ADDRESS]:PORT.")
                .exit(ExitCode::Usage)
        };
        let path = text.strip_prefix("UNIX:").unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Self::Unix(path.into()));
        }
        let Some((host, port)) = text.rsplit_once(':') else { return wrong() };
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_name = |host: &str| !host.is_empty() && host != "UNIX" && !host.contains([':', '/', '[', ']', ' ']);
        let host = match inner {
            Some(inner) if inner.contains(':') => inner,
            None if is_name(host) => host,
            _ => return wrong(),
        };
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self::Tcp(host.to_owned(), port)),
            _ => wrong(),
        }
    }

    /// Connects.
    pub(super) async fn open(&self) -> io::Result<Socket> {
        Ok(match self {
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit_code;

    #[test]
    fn addresses_are_read_as_libusbmuxd_reads_them() {
        let unix = |path: &str| Address::Unix(path.into());
        let tcp = |host: &str, port| Address::Tcp(host.to_owned(), port);
        for (text, expected) in [
            ("UNIX:/run/usbmuxd", unix("/run/usbmuxd")),
            ("UNIX:/run/with:colon", unix("/run/with:colon")),
            ("/run/usbmuxd", unix("/run/usbmuxd")),
            ("127.0.0.1:27015", tcp("127.0.0.1", 27015)),
            ("nas.lan:27015", tcp("nas.lan", 27015)),
            ("[::1]:27015", tcp("::1", 27015)),
            ("[fe80::1%eth0]:27015", tcp("fe80::1%eth0", 27015)),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address, expected, "{text}");
            assert_eq!(Address::parse(&address.to_string()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_forms() {
        for text in [
            "UNIX:",
            "UNIX:relative",
            "host",
            ":27015",
            "host:",
            "host:0",
            "host:70000",
            "::1:27015",
            "[]:1",
            "[host]:1",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert_eq!(exit_code(&error), ExitCode::Usage, "{text}");
            assert!(error.to_string().contains(text), "{error:#}");
        }
    }
}
