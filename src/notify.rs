//! Tells a monitor how a run went; never fails the run.
