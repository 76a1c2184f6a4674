//! `[docker.NAME]`: which engine, and which of its volumes, containers and images.

use toml::Spanned;

use super::engine::{DumpKeys, EngineKeys, HoldKeys, dumps, names, read};
use super::shared::Shared;
use crate::config::file::DockerTable;
use crate::config::problem::Collector;
use crate::config::strict::Removed;
use crate::config::{DockerConfig, Hold};

/// What an exclude begins with.
const KINDS: [&str; 3] = ["volume/", "container/", "image/"];

pub(super) fn check(
    name: &Spanned<String>,
    table: &DockerTable,
    removed: &Removed,
    problems: &mut Collector,
) -> DockerConfig {
    let timing = [table.every.as_ref(), table.max_age.as_ref()];
    let shared = Shared::of_timing("docker", name, timing, table.allow_empty);
    let key = shared.key.as_str();
    let was_wrong = |name: &str| removed.iter().any(|removed| removed.starts_with(&format!("{key}.{name}")));
    let lists = [("volumes", &table.volumes), ("containers", &table.containers), ("images", &table.images)];
    if lists.iter().all(|(name, list)| list.is_empty() && !was_wrong(name)) {
        let nothing =
            "names nothing to back up; give `volumes`, `containers` or `images`, for example volumes = [\"*\"]";
        problems.report(&name.span(), key, nothing);
    }
    for text in &table.exclude {
        if !KINDS.iter().any(|kind| text.get_ref().starts_with(kind)) && !text.get_ref().starts_with('*') {
            let begin = format!("`{}` begins with none of {}", text.get_ref(), KINDS.join(", "));
            problems.report(&text.span(), format!("{key}.exclude"), begin);
        }
    }
    let [volumes, containers, images] = lists.map(|(name, list)| names(list, &format!("{key}.{name}"), problems));
    let dump_keys: Vec<DumpKeys<'_>> = table
        .dump
        .iter()
        .map(|dump| DumpKeys {
            span: dump.span(),
            container: vec![("container", dump.get_ref().container.as_ref())],
            command: dump.get_ref().command.as_ref(),
            user: dump.get_ref().user.as_ref(),
            file: dump.get_ref().file.as_ref(),
        })
        .collect();
    let dumps = dumps(key, &dump_keys, removed, problems);
    for name in table.dump.iter().filter_map(|dump| dump.get_ref().container.as_ref()) {
        if !containers.iter().any(|container| container.matches(name.get_ref())) {
            let unused = format!("`{}` is not one of `containers`, so that this dump is never made", name.get_ref());
            problems.report(&name.span(), format!("{key}.dump.container"), unused);
        }
    }
    DockerConfig {
        common: shared.common(problems),
        engine: EngineKeys {
            host: table.host.as_ref(),
            tls: table.tls,
            ca: table.tls_ca.as_ref(),
            cert: table.tls_cert.as_ref(),
            private_key: table.tls_key.as_ref(),
        }
        .check(key, problems),
        volumes,
        containers,
        images,
        exclude: names(&table.exclude, &format!("{key}.exclude"), problems),
        hold: HoldKeys {
            hold: table.hold.as_ref(),
            stop_timeout: table.stop_timeout.as_ref(),
            start_timeout: table.start_timeout.as_ref(),
            honors_offen: table.honor_offen_labels,
        }
        .check(key, Hold::None, problems),
        read: read(table.read.as_ref(), key, problems),
        dumps,
    }
}
