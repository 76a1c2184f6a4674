//! Whether those who are told of runs could be told, and whether the hooks could be run. Nobody is told anything, and nothing is run.

use crate::config::{Config, HookSet};
use crate::finding::Finding;
use crate::hooks;
use crate::notify::mail::Mail;
use crate::notify::metrics::Metrics;
use crate::notify::webhook::Webhook;

/// The mail server, the folder of the metrics, the addresses of webhooks.
pub(super) fn look(config: &Config) -> Vec<Finding> {
    let notify = &config.notify;
    let mail = notify.mail.iter().map(|mail| Finding::of("notify.mail", Mail::new(mail).check()));
    let metrics = notify.metrics.iter().map(|metrics| Finding::of("notify.metrics", Metrics::new(metrics).check()));
    let webhooks = notify.webhooks.iter();
    let webhooks =
        webhooks.map(|hook| Finding::of(format!("notify.webhook {}", hook.name), Webhook::new(hook).check()));
    mail.chain(metrics).chain(webhooks).collect()
}

/// The hooks of the run, and of the sources of these items.
pub(super) fn look_at_hooks(config: &Config, wanted: &[String]) -> Vec<Finding> {
    let is_wanted = |id: &str| wanted.iter().any(|item| item.split('/').next() == Some(id));
    let sources = config.hooks.sources.iter().filter(|(id, _)| is_wanted(id));
    let sources = sources.map(|(id, set)| (format!("{id}.hooks"), set));
    std::iter::once(("hooks".to_owned(), &config.hooks.run)).chain(sources).flat_map(look_at_set).collect()
}

fn look_at_set((name, set): (String, &HookSet)) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for command in set.commands() {
        findings.extend(hooks::check(command).err().map(|error| Finding::wrong(name.clone(), error)));
    }
    if findings.is_empty() && !set.is_empty() {
        let count = set.commands().count();
        let plural = if count == 1 { "" } else { "s" };
        findings.push(Finding::of(name, Ok(format!("{count} program{plural} there"))));
    }
    findings
}
