//! The containers of a stack that was brought back: started if they are there, else for Compose to make.

use anyhow::{Context, Result};

use super::runs;
use crate::source::compose::labels;
use crate::source::compose::record::Record;
use crate::source::compose::stacks::Stack;
use crate::source::docker::engine::Container;
use crate::source::docker::restore::Back;

/// Starts what ran when the point was made, if all of it is there; else says what to type.
///
/// # Errors
///
/// When one does not start.
pub(super) fn start(back: &Back<'_>, record: &Record, now: Option<&Stack>) -> Result<()> {
    let containers = now.map(|stack| stack.containers.as_slice()).unwrap_or_default();
    let named = |name: &String| containers.iter().find(|container| container.name == *name);
    if record.running.iter().any(|name| named(name).is_none()) || record.services.is_empty() || containers.is_empty() {
        for service in record.services.values() {
            tell_image(back, service.image.as_deref(), service.digests.as_deref())?;
        }
        match &record.working_dir {
            Some(folder) => {
                back.monitor.say(&format!("Now start the stack: {}", record.command(&record.project, folder)));
            }
            None => back.monitor.say("Now start the stack with Compose."),
        }
        return Ok(());
    }
    let wanted: Vec<&Container> =
        record.running.iter().filter_map(named).filter(|container| !runs(container)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let needs = now.map(needs).unwrap_or_default();
    for container in in_order(&wanted, &needs) {
        back.say("would start", "starts", &container.name);
        if !back.options.dry_run {
            back.engine.start(&container.id).with_context(|| format!("start {}", container.name))?;
        }
    }
    Ok(())
}

/// Says which image has to be fetched, as exactly as it is known.
pub(super) fn tell_image(back: &Back<'_>, image: Option<&str>, digests: Option<&[String]>) -> Result<()> {
    let Some(image) = image else { return Ok(()) };
    if back.engine.image(image)?.is_none() {
        let exact = digests.and_then(<[String]>::first).map(|digest| format!("; it was {digest}"));
        back.monitor.say(&format!("The image {image} is not there{}", exact.unwrap_or_default()));
    }
    Ok(())
}

/// Which container needs which, by ids, as the files and labels say.
fn needs(stack: &Stack) -> Vec<(String, String)> {
    let mut needs = stack.depends(&stack.project());
    for container in &stack.containers {
        let needed = stack.containers.iter().filter(|other| labels::depends_on(container, labels::service(other)));
        needs.extend(needed.map(|other| (container.id.clone(), other.id.clone())));
    }
    needs
}

/// Containers, each after those that it needs. What needs each other in a circle comes as it comes.
fn in_order<'c>(containers: &[&'c Container], needs: &[(String, String)]) -> Vec<&'c Container> {
    let (mut ordered, mut rest) = (Vec::new(), containers.to_vec());
    while !rest.is_empty() {
        let is_waiting = |one: &Container| {
            let mut others = rest.iter().filter(|other| other.id != one.id);
            others.any(|other| needs.iter().any(|(id, needed)| *id == one.id && *needed == other.id))
        };
        let next = rest.iter().position(|one| !is_waiting(one)).unwrap_or(0);
        ordered.push(rest.remove(next));
    }
    ordered
}
