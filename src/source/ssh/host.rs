//! A machine: how it is reached, and what it has.

use std::sync::Arc;

use anyhow::{Context, Result};
use ssh2::Sftp;

use super::connection::{Connection, RunsNothing};
use super::listing::Found;
use super::only_sftp;
use super::probe::{Tools, probe};
use crate::config::SshLogin;
use crate::error::{Annotate, is_caused_by};
use crate::source::Content;

/// In which way a machine is listed and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// With GNU find and GNU tar.
    Gnu,
    /// With what every Unix has.
    Posix,
    /// Over SFTP; it runs no commands.
    Sftp,
}

/// A machine that was reached before.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) login: SshLogin,
    pub(super) sudo: bool,
    pub(super) tools: Tools,
    pub(super) way: Way,
    /// For content that is read by name.
    sftp: Option<Arc<Sftp>>,
}

impl Host {
    /// Logs in and finds out what the machine has.
    pub(super) fn reach(login: &SshLogin, sudo: bool) -> Result<(Self, Connection)> {
        let mut connection = Connection::open(login)?;
        let host = |tools: Tools, way, sftp| Self { login: login.clone(), sudo, tools, way, sftp };
        match probe(&mut connection) {
            Ok(tools) => {
                let way = if tools.is_gnu() { Way::Gnu } else { Way::Posix };
                Ok((host(tools, way, None), connection))
            }
            // What broke for another reason is no reason to see less of the machine than the last time.
            Err(why) if !is_caused_by::<RunsNothing>(&why) => Err(why),
            Err(why) => {
                // It lets nobody run commands, or has no shell. A connection that failed is not used again.
                let mut again = Connection::open(login)?;
                let Ok(sftp) = again.sftp() else { return Err(why) };
                tracing::debug!("{} gives SFTP only: {why:#}", login.host);
                if sudo {
                    return Err(why.context("sudo is to be used, and no command is run"))
                        .hint("Take out `sudo`, or let this user run commands.");
                }
                let sftp = Some(Arc::new(sftp));
                Ok((
                    host(
                        Tools { system: "a server that gives SFTP only".to_owned(), ..Tools::default() },
                        Way::Sftp,
                        sftp,
                    ),
                    again,
                ))
            }
        }
    }

    /// The same machine, as who logs in there sees it.
    pub(super) fn unprivileged(&self) -> Self {
        Self { sudo: false, ..self.clone() }
    }

    /// A further connection.
    pub(super) fn connect(&self) -> Result<Connection> {
        Connection::open(&self.login)
    }

    /// The content of a file that is read by name.
    pub(super) fn content(&self, file: &Found) -> Result<Content> {
        Ok(only_sftp::content(self.sftp()?, file))
    }

    /// What is spoken with a machine that speaks nothing else.
    pub(super) fn sftp(&self) -> Result<&Arc<Sftp>> {
        self.sftp.as_ref().context("it is not reached over SFTP")
    }

    /// What is put before a program of the shell that must see everything.
    pub(super) fn prefix(&self) -> Vec<u8> {
        if self.needs_sudo() { b"sudo -n ".to_vec() } else { Vec::new() }
    }

    /// Whether `sudo` is put before what is run.
    pub(super) fn needs_sudo(&self) -> bool {
        self.sudo && self.tools.uid != Some(0)
    }
}
