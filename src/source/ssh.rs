//! `[ssh.NAME]`: directories and files of another machine, pulled over SSH. The machine needs nothing but sshd, and never sees the store.

mod connection;
mod excludes;
mod listing;
mod shell;
mod sudoers;
