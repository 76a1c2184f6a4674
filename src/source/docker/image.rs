//! The content of images: as `docker save` writes them.

use super::engine::Engine;
use crate::source::Content;
use crate::source::Failure;
use crate::source::parts::Output;

/// An image as an archive, which the engine makes. When it is not whole, `failure` hears of it.
pub(super) fn part(
    engine: &Engine,
    name: &str,
    failure: &Failure,
) -> Output<impl Fn() -> Content + Send + Sync + use<>> {
    let (engine, name, failure) = (engine.clone(), name.to_owned(), failure.clone());
    Output(move || {
        let (engine, name) = (engine.clone(), name.clone());
        failure.watch(format!("save the image {name}"), move || Ok(engine.export_image(&name)))
    })
}
