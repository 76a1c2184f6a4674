//! What `[docker.NAME]` and `[compose.NAME]` have in common: the engine, how containers are held, and dumps.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use globset::GlobBuilder;
use toml::Spanned;

use super::absolute;
use super::ssh::{DUMPS, plain_file, remote_command};
use crate::config::problem::Collector;
use crate::config::strict::Removed;
use crate::config::{ContainerDump, EngineConfig, Hold, HoldConfig, NameGlob, ReadFrom, TlsFiles, nearest};
use crate::quantity::parse_duration;

/// How long a container may take to become healthy unless it is configured.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// The keys that say where the engine is.
pub(super) struct EngineKeys<'t> {
    pub(super) host: Option<&'t Spanned<String>>,
    pub(super) tls: Option<bool>,
    pub(super) ca: Option<&'t Spanned<String>>,
    pub(super) cert: Option<&'t Spanned<String>>,
    pub(super) private_key: Option<&'t Spanned<String>>,
}

impl EngineKeys<'_> {
    pub(super) fn check(&self, key: &str, problems: &mut Collector) -> EngineConfig {
        let mut file = |name: &str, text: Option<&Spanned<String>>| {
            text.and_then(|text| problems.take(&text.span(), format!("{key}.{name}"), absolute(text.get_ref())))
        };
        let files = (file("tls-ca", self.ca), file("tls-cert", self.cert), file("tls-key", self.private_key));
        let given = [self.ca, self.cert, self.private_key];
        let first_given = given.into_iter().flatten().next();
        if let Some(first) = first_given.filter(|_| given.iter().any(Option::is_none)) {
            problems.report(&first.span(), key, "`tls-ca`, `tls-cert` and `tls-key` belong together; give all three");
        }
        let tls: Option<TlsFiles> = match files {
            (Some(ca), Some(cert), Some(key)) => Some(TlsFiles { ca, cert, key }),
            _ => None,
        };
        let host = self.host.and_then(|host| {
            let checked = engine_host(host.get_ref(), first_given.is_some(), self.tls == Some(false));
            problems.take(&host.span(), format!("{key}.host"), checked)
        });
        if self.host.is_none()
            && let Some(first) = first_given
        {
            problems.report(&first.span(), key, "what is for TLS needs a `host` that begins with tcp://");
        }
        EngineConfig { host, tls }
    }
}

/// Whether this is where an engine can be, and one that proves who it is.
fn engine_host(host: &str, has_tls: bool, may_be_plain: bool) -> Result<String, String> {
    if let Some(path) = host.strip_prefix("unix://") {
        absolute(path)?;
        return if has_tls { Err("a socket of this machine has no TLS".to_owned()) } else { Ok(host.to_owned()) };
    }
    if host.starts_with("ssh://") {
        return Err(
            "ssh:// is not understood by this version; forward the socket with `ssh -L`, and name it with unix://"
                .to_owned(),
        );
    }
    let Some(address) = host.strip_prefix("tcp://") else {
        return Err(format!("`{host}` is no engine; it begins with unix:// or tcp://"));
    };
    let Some((name, port)) = address.trim_end_matches('/').rsplit_once(':') else {
        return Err(format!("`{host}` has no port; write for example tcp://{address}:2376"));
    };
    if port.parse::<u16>().is_err() || name.is_empty() || name.contains(['/', '@']) {
        return Err(format!("`{host}` is no address; write it as tcp://HOST:PORT"));
    }
    let is_own =
        name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if has_tls && may_be_plain {
        return Err("`tls = false` and files for TLS contradict each other; keep one of them".to_owned());
    }
    if !has_tls && !may_be_plain && !is_own {
        return Err(
            "whoever answers there could be anybody: give `tls-ca`, `tls-cert` and `tls-key`, or `tls = false` if the network is your own"
                .to_owned(),
        );
    }
    Ok(host.trim_end_matches('/').to_owned())
}

/// The keys that say how containers are held.
pub(super) struct HoldKeys<'t> {
    pub(super) hold: Option<&'t Spanned<String>>,
    pub(super) stop_timeout: Option<&'t Spanned<String>>,
    pub(super) start_timeout: Option<&'t Spanned<String>>,
    pub(super) honors_offen: bool,
}

impl HoldKeys<'_> {
    pub(super) fn check(&self, key: &str, default: Hold, problems: &mut Collector) -> HoldConfig {
        let hold = one_of(self.hold, key, "hold", &HOLDS, problems);
        let mut duration = |name: &str, text: Option<&Spanned<String>>| {
            text.and_then(|text| problems.take(&text.span(), format!("{key}.{name}"), parse_duration(text.get_ref())))
        };
        HoldConfig {
            hold: hold.unwrap_or(default),
            stop_timeout: duration("stop-timeout", self.stop_timeout),
            start_timeout: duration("start-timeout", self.start_timeout).unwrap_or(START_TIMEOUT),
            honors_offen: self.honors_offen,
        }
    }
}

const HOLDS: [(&str, Hold); 3] = [("none", Hold::None), ("pause", Hold::Pause), ("stop", Hold::Stop)];

const READS: [(&str, ReadFrom); 3] = [("auto", ReadFrom::Auto), ("direct", ReadFrom::Direct), ("api", ReadFrom::Api)];

/// How volumes are read.
pub(super) fn read(text: Option<&Spanned<String>>, key: &str, problems: &mut Collector) -> ReadFrom {
    one_of(text, key, "read", &READS, problems).unwrap_or_default()
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(
    text: Option<&Spanned<String>>,
    key: &str,
    name: &str,
    words: &[(&str, T)],
    problems: &mut Collector,
) -> Option<T> {
    let text = text?;
    let found = words.iter().find(|(word, _)| word == text.get_ref()).map(|(_, meaning)| *meaning);
    let checked = found.ok_or_else(|| {
        let there_is: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let near = nearest(text.get_ref(), words.iter().map(|(word, _)| *word));
        let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        format!("`{}` is none of {}{near}", text.get_ref(), there_is.join(", "))
    });
    problems.take(&text.span(), format!("{key}.{name}"), checked)
}

/// Names and globs of names.
pub(super) fn names(texts: &[Spanned<String>], key: &str, problems: &mut Collector) -> Vec<NameGlob> {
    texts.iter().filter_map(|text| problems.take(&text.span(), key, name_glob(text.get_ref()))).collect()
}

fn name_glob(text: &str) -> Result<NameGlob, String> {
    if text.is_empty() {
        return Err("is empty and names nothing".to_owned());
    }
    let glob = if text.contains(['*', '?', '[', '{']) {
        let glob =
            GlobBuilder::new(text).build().map_err(|error| format!("`{text}` is not a glob: {}", error.kind()))?;
        Some(glob.compile_matcher())
    } else {
        None
    };
    Ok(NameGlob { text: text.to_owned(), glob })
}

/// One `[[….dump]]` as it is written.
pub(super) struct DumpKeys<'t> {
    /// The whole table.
    pub(super) span: std::ops::Range<usize>,
    /// The container: its keys with their values.
    pub(super) container: Vec<(&'static str, Option<&'t Spanned<String>>)>,
    pub(super) command: Option<&'t Spanned<Vec<String>>>,
    pub(super) user: Option<&'t Spanned<String>>,
    pub(super) file: Option<&'t Spanned<String>>,
}

/// Checks the dumps of a source. `None` of them may have the file of another one of the same snapshot.
pub(super) fn dumps(
    key: &str,
    tables: &[DumpKeys<'_>],
    removed: &Removed,
    problems: &mut Collector,
) -> Vec<ContainerDump> {
    let mut dumps: Vec<ContainerDump> = Vec::new();
    for (position, table) in tables.iter().enumerate() {
        let was_wrong = |name: &str| removed.iter().any(|r| r.starts_with(&format!("{key}.dump[{position}].{name}")));
        let mut missing = |name: &str, is_there: bool, what: &str| {
            if !is_there && !was_wrong(name) {
                problems.report(&table.span, format!("{key}.dump.{name}"), format!("missing; {what}"));
            }
        };
        for (name, value) in &table.container {
            missing(name, value.is_some(), "write in what the command is run");
        }
        missing("command", table.command.is_some(), "write it as [\"program\", \"argument\"]");
        missing(
            "file",
            table.file.is_some(),
            &format!("write the name that the file has below {DUMPS} in the snapshot"),
        );
        let parts: Vec<&str> =
            table.container.iter().filter_map(|(_, value)| value.map(|value| value.get_ref().as_str())).collect();
        let container = parts.join("/");
        let command = table.command.and_then(|argv| {
            problems.take(&argv.span(), format!("{key}.dump.command"), remote_command(argv.get_ref()))
        });
        let file = table.file.and_then(|text| {
            let checked = plain_file(text.get_ref()).and_then(|file| free(file, &container, &dumps));
            problems.take(&text.span(), format!("{key}.dump.file"), checked)
        });
        let user = table.user.map(|user| user.get_ref().clone());
        dumps.extend(file.map(|file| ContainerDump { container, command: command.unwrap_or_default(), user, file }));
    }
    dumps
}

/// The file, when no other dump of the same snapshot is at its place, above it or below it.
fn free(file: PathBuf, container: &str, dumps: &[ContainerDump]) -> Result<PathBuf, String> {
    let snapshot = |container: &str| container.split('/').next().map(str::to_owned);
    let same = dumps.iter().filter(|dump| snapshot(&dump.container) == snapshot(container)).map(|dump| &dump.file);
    match same.into_iter().find(|other| other.starts_with(&file) || file.starts_with(other)) {
        None => Ok(file),
        Some(other) => {
            Err(format!("`{}` and `{}` of another dump cannot both be files", file.display(), other.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_is_a_socket_or_proves_who_it_is() {
        for (host, has_tls, may_be_plain) in [
            ("unix:///var/run/docker.sock", false, false),
            ("tcp://127.0.0.1:2375", false, false),
            ("tcp://[::1]:2375", false, false),
            ("tcp://localhost:2375", false, false),
            ("tcp://nas.lan:2376", true, false),
            ("tcp://proxy:2375", false, true),
        ] {
            assert_eq!(engine_host(host, has_tls, may_be_plain), Ok(host.to_owned()));
        }
        for (host, has_tls, may_be_plain) in [
            ("tcp://nas.lan:2375", false, false),
            ("tcp://nas.lan", true, false),
            ("tcp://:2376", true, false),
            ("tcp://a@b:1", true, false),
            ("tcp://nas.lan:2376", true, true),
            ("unix://docker.sock", false, false),
            ("unix:///docker.sock", true, false),
            ("ssh://nas.lan", false, false),
            ("/var/run/docker.sock", false, false),
            ("", false, false),
        ] {
            assert!(engine_host(host, has_tls, may_be_plain).is_err(), "{host}");
        }
    }

    #[test]
    fn wildcards_match_any_character_and_names_only_themselves() {
        let matches = |text: &str, name: &str| name_glob(text).unwrap().matches(name);
        assert!(matches("*", "registry.lan:5000/team/app:1.2"));
        assert!(matches("app:*", "app:1.2") && !matches("app:*", "apps:1"));
        assert!(matches("pgdata", "pgdata") && !matches("pgdata", "pgdata2"));
        assert!(name_glob("").is_err() && name_glob("[a").is_err());
    }
}
