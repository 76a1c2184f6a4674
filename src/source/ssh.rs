//! `[ssh.NAME]`: directories and files of another machine, pulled over SSH. The machine needs nothing but sshd, and never sees the store.

mod client_config;
mod connection;
pub mod discover;
mod excludes;
mod known_hosts;
mod listing;
mod shell;
mod sudoers;
