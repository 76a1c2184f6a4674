//! `[compose.NAME]`: which engine, and which stacks.

use toml::Spanned;

use super::absolute;
use super::engine::{DumpKeys, EngineKeys, HoldKeys, dumps, names, read};
use super::shared::{Shared, check_exclude};
use crate::config::file::ComposeTable;
use crate::config::problem::Collector;
use crate::config::strict::Removed;
use crate::config::{ComposeConfig, Hold};

pub(super) fn check(
    name: &Spanned<String>,
    table: &ComposeTable,
    removed: &Removed,
    problems: &mut Collector,
) -> ComposeConfig {
    let timing = [table.every.as_ref(), table.max_age.as_ref()];
    let shared = Shared::of_timing("compose", name, timing, table.allow_empty);
    let key = shared.key.as_str();
    let directory = table
        .directory
        .as_ref()
        .and_then(|text| problems.take(&text.span(), format!("{key}.directory"), absolute(text.get_ref())));
    let mut exclude = Vec::new();
    for text in &table.exclude {
        let checked = check_exclude(text.get_ref()).map(|()| text.get_ref().clone());
        exclude.extend(problems.take(&text.span(), format!("{key}.exclude"), checked));
    }
    let every_stack = Spanned::new(0..0, "*".to_owned());
    let stacks = table.stacks.as_ref().map_or(std::slice::from_ref(&every_stack), |stacks| stacks.get_ref().as_slice());
    let dump_keys: Vec<DumpKeys<'_>> = table
        .dump
        .iter()
        .map(|dump| DumpKeys {
            span: dump.span(),
            container: vec![("stack", dump.get_ref().stack.as_ref()), ("service", dump.get_ref().service.as_ref())],
            command: dump.get_ref().command.as_ref(),
            user: dump.get_ref().user.as_ref(),
            file: dump.get_ref().file.as_ref(),
        })
        .collect();
    ComposeConfig {
        common: shared.common(problems),
        engine: EngineKeys {
            host: table.host.as_ref(),
            tls: table.tls,
            ca: table.tls_ca.as_ref(),
            cert: table.tls_cert.as_ref(),
            private_key: table.tls_key.as_ref(),
        }
        .check(key, problems),
        directory,
        stacks: names(stacks, &format!("{key}.stacks"), problems),
        exclude,
        include_data: table.include_data.unwrap_or(true),
        hold: HoldKeys {
            hold: table.hold.as_ref(),
            stop_timeout: table.stop_timeout.as_ref(),
            start_timeout: table.start_timeout.as_ref(),
            honors_offen: table.honor_offen_labels,
        }
        .check(key, Hold::Stop, problems),
        keep_running: names(&table.keep_running, &format!("{key}.keep-running"), problems),
        read: read(table.read.as_ref(), key, problems),
        dumps: dumps(key, &dump_keys, removed, problems),
    }
}
