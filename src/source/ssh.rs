//! `[ssh.NAME]`: directories and files of another machine, pulled over SSH. The machine needs nothing but sshd, and never sees the store.

mod connection;
mod listing;
mod posix;
mod shell;
