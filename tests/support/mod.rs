//! What the tests of the binary share: an environment of their own, other people's programs, comparison of trees.
//!
//! Every file of `tests/` says `mod support;` and uses what it needs. This file is the one `mod.rs` of the project:
//! cargo would take `tests/support.rs` for a test of its own.
#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may end the test")]

pub mod daemon;
pub mod dockerd;
pub mod engine_proxy;
pub mod env;
pub mod fault;
pub mod http;
pub mod incus_bench;
pub mod incus_proxy;
pub mod incusd;
pub mod iphone;
pub mod mail;
pub mod netns;
pub mod outcome;
pub mod postgres;
pub mod proxy;
pub mod rclone;
pub mod rustic;
pub mod seaweed;
pub mod ssh_agent;
pub mod sshd;
pub mod tree;
