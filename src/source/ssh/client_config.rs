//! The hosts that OpenSSH's client knows by name: `~/.ssh/config` and `/etc/ssh/ssh_config`, with what they include.
//!
//! Only what says where a host is: `HostName`, `Port` and `User`, of which the first one that applies counts, as in ssh_config(5). What stands under
//! a `Match` applies to nothing here, for its conditions are those of a connection.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;

/// Deeper includes are a circle.
const DEEPEST: usize = 16;

/// A host that has a name in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// What is typed behind `ssh`.
    pub(super) alias: String,
    /// Name or address; the alias unless there is a `HostName`.
    pub(super) host: String,
    /// 22 unless there is a `Port`.
    pub(super) port: u16,
    pub(super) user: Option<String>,
    /// Where it has its name.
    pub(super) file: PathBuf,
    /// 1-based.
    pub(super) line: usize,
}

/// The hosts of the files, in their order, each alias once. Files are given with the directory that relative includes begin at; one that is missing has
/// no hosts, one that cannot be read is warned about.
pub(super) fn hosts(files: &[(PathBuf, PathBuf)], home: Option<&Path>) -> Vec<Host> {
    let mut reader = Reader { home, sections: Vec::new(), aliases: Vec::new() };
    for (file, base) in files {
        reader.read(file, base, &[], 0);
    }
    let mut hosts: Vec<Host> = Vec::new();
    for (alias, file, line) in &reader.aliases {
        if hosts.iter().any(|host| host.alias == *alias) {
            continue;
        }
        let host = reader.value(alias, "hostname").map(|name| name.replace("%h", alias).replace("%%", "%"));
        hosts.push(Host {
            alias: alias.clone(),
            host: host.unwrap_or_else(|| alias.clone()),
            port: reader.value(alias, "port").and_then(|port| port.parse().ok()).unwrap_or(22),
            user: reader.value(alias, "user").map(str::to_owned),
            file: file.clone(),
            line: *line,
        });
    }
    hosts
}

/// A list of patterns as behind `Host`; one that is empty fits nothing.
type Patterns = Vec<String>;

/// Lines that apply to the same hosts.
struct Section {
    /// All of these must fit: its own, and those of the places that include its file.
    conditions: Vec<Patterns>,
    options: Vec<(String, String)>,
}

struct Reader<'h> {
    home: Option<&'h Path>,
    sections: Vec<Section>,
    /// With file and line.
    aliases: Vec<(String, PathBuf, usize)>,
}

impl Reader<'_> {
    fn read(&mut self, file: &Path, base: &Path, outer: &[Patterns], depth: usize) {
        if depth > DEEPEST {
            tracing::warn!("{} is included too deeply; its hosts are not listed", file.display());
            return;
        }
        let text = match fs::read(file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => {
                tracing::warn!("read {}: {error}; its hosts are not listed", file.display());
                return;
            }
        };
        let mut conditions = outer.to_vec();
        self.begin(&conditions);
        for (position, line) in text.lines().enumerate() {
            let Some((keyword, values)) = option(line) else { continue };
            match keyword.as_str() {
                "host" => {
                    let names = values.iter().filter(|pattern| !pattern.contains(['*', '?', '!']));
                    self.aliases.extend(names.map(|name| (name.clone(), file.to_path_buf(), position + 1)));
                    conditions = [outer, &[values]].concat();
                    self.begin(&conditions);
                }
                "match" => {
                    let is_all = values.iter().map(String::as_str).eq(["all"]);
                    conditions = if is_all { outer.to_vec() } else { [outer, &[Patterns::new()]].concat() };
                    self.begin(&conditions);
                }
                "include" => {
                    let files: Vec<_> = values.iter().flat_map(|pattern| self.included(pattern, base)).collect();
                    for included in files {
                        self.read(&included, base, &conditions, depth + 1);
                    }
                    self.begin(&conditions);
                }
                _ => {
                    if let (Some(section), Some(value)) = (self.sections.last_mut(), values.into_iter().next()) {
                        section.options.push((keyword, value));
                    }
                }
            }
        }
    }

    fn begin(&mut self, conditions: &[Patterns]) {
        self.sections.push(Section { conditions: conditions.to_vec(), options: Vec::new() });
    }

    /// The files that an `Include` means, in the order of their names.
    fn included(&self, pattern: &str, base: &Path) -> Vec<PathBuf> {
        let pattern = match (pattern.strip_prefix("~/"), self.home) {
            (Some(below), Some(home)) => home.join(below),
            _ => base.join(pattern),
        };
        let mut found = vec![PathBuf::new()];
        for component in &pattern {
            let name = component.to_string_lossy();
            if !name.contains(['*', '?', '[']) {
                found.iter_mut().for_each(|path| path.push(component));
                continue;
            }
            let Ok(glob) = GlobBuilder::new(&name).build().map(|glob| glob.compile_matcher()) else {
                return Vec::new();
            };
            let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let fits = |path: &PathBuf| {
                path.file_name().is_some_and(|file| glob.is_match(file)) && (name.starts_with('.') || !is_hidden(path))
            };
            let entries = found.iter().flat_map(|path| fs::read_dir(path).into_iter().flatten().flatten());
            found = entries.map(|entry| entry.path()).filter(fits).collect();
            found.sort();
        }
        found
    }

    /// The first value of an option that applies to a host.
    fn value(&self, alias: &str, option: &str) -> Option<&str> {
        let applies = |section: &&Section| section.conditions.iter().all(|patterns| fit(patterns, alias));
        let mut options = self.sections.iter().filter(applies).flat_map(|section| &section.options);
        options.find(|(keyword, _)| keyword == option).map(|(_, value)| value.as_str())
    }
}

/// The keyword of a line in small letters, and its values: none when they cannot be read, so that a `Host` like that fits nothing. `None` for a line
/// that says nothing.
fn option(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let values = words(rest.strip_prefix('=').unwrap_or(rest));
    Some((keyword.to_ascii_lowercase(), values.unwrap_or_default()))
}

/// Words as OpenSSH splits them: quoted with either quote, a backslash before a quote, a backslash or a blank, a comment at the end. `None` when
/// a quote is not closed.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (_, '\\') => {
                let escaped = chars.next_if(|next| "\"'\\".contains(*next) || quote.is_none() && *next == ' ');
                word.get_or_insert_default().push(escaped.unwrap_or('\\'));
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Whether a host is one of a list: one of its patterns fits, and none of those behind a `!`.
fn fit(patterns: &[String], host: &str) -> bool {
    let is_refused = patterns.iter().filter_map(|p| p.strip_prefix('!')).any(|pattern| fits(pattern, host));
    !is_refused && patterns.iter().any(|pattern| !pattern.starts_with('!') && fits(pattern, host))
}

/// Whether a pattern fits, in which `*` and `?` are the only wildcards.
fn fits(pattern: &str, text: &str) -> bool {
    let mut rest = text.chars();
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => fits(&pattern[1..], text) || rest.next().is_some_and(|_| fits(pattern, rest.as_str())),
        Some(c) => {
            rest.next().is_some_and(|found| c == '?' || c == found) && fits(&pattern[c.len_utf8()..], rest.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hosts of a configuration with other files beside it, as `ALIAS USER@HOST:PORT LINE`.
    fn found(config: &str, others: &[(&str, &str)]) -> Vec<String> {
        let home = tempfile::tempdir().unwrap();
        let ssh = home.path().join(".ssh");
        for (name, text) in [("config", config)].iter().chain(others) {
            let file = ssh.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let show = |host: Host| {
            let user = host.user.map(|user| format!("{user}@")).unwrap_or_default();
            let file = host.file.strip_prefix(&ssh).unwrap().display();
            format!("{} {user}{}:{} {file}:{}", host.alias, host.host, host.port, host.line)
        };
        hosts(&[(ssh.join("config"), ssh.clone())], Some(home.path())).into_iter().map(show).collect()
    }

    #[test]
    fn first_value_that_applies_counts() {
        let config = "User first\nHost pi\n  HostName 192.0.2.7\n  Port 2222\n  User second\n\nHost pi nas\nPort 23\nHostName %h.lan\nHost *\nPort 24\n";
        assert_eq!(found(config, &[]), ["pi first@192.0.2.7:2222 config:2", "nas first@nas.lan:23 config:7"]);
    }

    #[test]
    fn odd_spellings_are_read_as_ssh_reads_them() {
        let config = "# Host no\n\tHOST=\"a b\"  'c' # d\n  hostname = \"x.example\" # comment\nport=\t77\nHost e#f g\\\"h\nUser \"DOM\\\\me\"\n\nHost \"open\nPort 9\nHost\nHost i\r\n Port 5\r\n";
        assert_eq!(
            found(config, &[]),
            [
                "a b x.example:77 config:2",
                "c x.example:77 config:2",
                "e#f DOM\\me@e#f:22 config:5",
                "g\"h DOM\\me@g\"h:22 config:5",
                "i i:5 config:11"
            ]
        );
    }

    #[test]
    fn patterns_are_no_hosts_and_negated_ones_take_out() {
        let config = "Host *.lan !pi.lan web?\nUser lan\nHost pi.lan nas.lan web1 web12\n";
        assert_eq!(
            found(config, &[]),
            [
                "pi.lan pi.lan:22 config:3",
                "nas.lan lan@nas.lan:22 config:3",
                "web1 lan@web1:22 config:3",
                "web12 web12:22 config:3"
            ]
        );
    }

    #[test]
    fn match_blocks_apply_to_nothing_but_all() {
        let config = "Host a\nMatch host a exec \"true\"\nUser no\nMatch all\nUser yes\n";
        assert_eq!(found(config, &[]), ["a yes@a:22 config:1"]);
    }

    #[test]
    fn included_files_are_read_in_the_place_of_the_line() {
        let config = "Include conf.d/*.conf missing ~/.ssh/more\nHost z\nInclude inner\nPort 9\n";
        let others = [
            ("conf.d/20.conf", "Host b\n Port 2\n"),
            ("conf.d/10.conf", "Host a\n"),
            ("conf.d/.hidden.conf", "Host hidden\n"),
            ("conf.d/other", "Host other\n"),
            ("more", "Host c\n"),
            ("inner", "User inner\nHost a\nPort 7\n"),
        ];
        assert_eq!(
            found(config, &others),
            ["a a:22 conf.d/10.conf:1", "b b:2 conf.d/20.conf:1", "c c:22 more:1", "z inner@z:9 config:2"]
        );
    }

    #[test]
    fn circle_of_includes_ends() {
        assert_eq!(found("Host a\nInclude config\n", &[]), ["a a:22 config:1"]);
    }

    #[test]
    fn missing_file_has_no_hosts() {
        assert_eq!(hosts(&[("/nonexistent/config".into(), "/nonexistent".into())], None), []);
    }
}
