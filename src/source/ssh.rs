//! `[ssh.NAME]`: directories and files of another machine, pulled over SSH. The machine needs nothing but sshd, and never sees the store.

mod commands;
mod connection;
mod listing;
mod pipe;
mod restore;
mod shell;
mod stream;
