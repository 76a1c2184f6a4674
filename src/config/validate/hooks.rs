//! `[hooks]` and `[KIND.NAME.hooks]`: what is run here before and after.

use toml::{Spanned, Value};

use super::command;
use crate::config::file::{File, HooksTable};
use crate::config::problem::Collector;
use crate::config::{HookSet, HooksConfig};
use crate::quantity::parse_duration;

pub(super) fn check(written: &File, problems: &mut Collector) -> HooksConfig {
    let files = written.files.iter().map(|(name, table)| ("files", name, &table.hooks));
    let ssh = written.ssh.iter().map(|(name, table)| ("ssh", name, &table.hooks));
    let docker = written.docker.iter().map(|(name, table)| ("docker", name, &table.hooks));
    let compose = written.compose.iter().map(|(name, table)| ("compose", name, &table.hooks));
    let incus = written.incus.iter().map(|(name, table)| ("incus", name, &table.hooks));
    let ios = written.ios.iter().map(|(name, table)| ("ios", name, &table.hooks));
    let all = files.chain(ssh).chain(docker).chain(compose).chain(incus).chain(ios);
    let given = all.filter_map(|(kind, name, hooks)| Some((format!("{kind}.{}", name.get_ref()), hooks.as_ref()?)));
    HooksConfig {
        run: written.hooks.as_ref().map(|table| set(table, "hooks", problems)).unwrap_or_default(),
        sources: given
            .map(|(id, table)| {
                let set = set(table, &format!("{id}.hooks"), problems);
                (id, set)
            })
            .collect(),
    }
}

fn set(table: &Spanned<HooksTable>, key: &str, problems: &mut Collector) -> HookSet {
    let HooksTable { before, after, on_failure, timeout } = table.get_ref();
    let mut commands = |name: &str, value: &Option<Spanned<Value>>| {
        let value = value.as_ref()?;
        problems.take(&value.span(), format!("{key}.{name}"), commands(value.get_ref()))
    };
    let mut set = HookSet {
        before: commands("before", before).unwrap_or_default(),
        after: commands("after", after).unwrap_or_default(),
        on_failure: commands("on-failure", on_failure).unwrap_or_default(),
        ..HookSet::default()
    };
    if let Some(text) = timeout {
        let checked = parse_duration(text.get_ref()).and_then(|timeout| {
            (!timeout.is_zero()).then_some(timeout).ok_or_else(|| "no command ends within no time".to_owned())
        });
        set.timeout = problems.take(&text.span(), format!("{key}.timeout"), checked).unwrap_or(set.timeout);
    }
    set
}

/// One command as a list of words, or several as a list of such lists.
fn commands(value: &Value) -> Result<Vec<Vec<String>>, &'static str> {
    const WRITE: &str = "must be a command, [\"program\", \"argument\"], or a list of such; no shell reads it";
    let Value::Array(elements) = value else { return Err(WRITE) };
    let is_one = elements.iter().any(Value::is_str);
    let lists: Vec<&[Value]> = if is_one {
        vec![elements]
    } else {
        elements.iter().map(|element| element.as_array().map(Vec::as_slice)).collect::<Option<_>>().ok_or(WRITE)?
    };
    let words = |list: &[Value]| list.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    lists.into_iter().map(|list| command(&words(list).ok_or(WRITE)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Vec<String>>, &'static str> {
        let table: toml::Table = format!("x = {text}").parse().unwrap();
        commands(&table["x"])
    }

    #[test]
    fn one_command_or_several() {
        assert_eq!(read(r#"["mount", "/mnt"]"#).unwrap(), [["mount", "/mnt"]]);
        assert_eq!(read(r#"[["a"], ["b"]]"#).unwrap(), [["a"], ["b"]]);
        assert_eq!(read("[]").unwrap(), Vec::<Vec<String>>::new());
        for wrong in [r#""mount /mnt""#, r#"["a", ["b"]]"#, "[[]]", r#"[[""]]"#, "[1]", r#"[["a", 1]]"#, "{ x = 1 }"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
