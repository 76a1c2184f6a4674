//! Selectors and point specs: which items and which point a command means.
