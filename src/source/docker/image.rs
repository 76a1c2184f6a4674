//! The content of images: as `docker save` writes them.

use super::engine::Engine;
use crate::source::Content;
use crate::source::parts::Output;

/// An image as an archive, which the engine makes.
pub(super) fn part(engine: &Engine, name: &str) -> Output<impl Fn() -> Content + Send + Sync + use<>> {
    let (engine, name) = (engine.clone(), name.to_owned());
    Output(move || {
        let (engine, name) = (engine.clone(), name.clone());
        Content::unsized_stream(move || Ok(engine.export_image(&name)))
    })
}
