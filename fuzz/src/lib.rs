//! The modules that read hostile bytes.
//!
//! They are compiled here once more, because only what this workspace compiles is watched by the fuzzer (`scripts/fuzz`).

#[path = "../../src/store"]
pub mod store {
    pub mod format;
}
pub use store::format;
