//! `[[mirror]]`: names that are places of their own, and repositories that nothing else uses.

use toml::Spanned;

use super::sources::check_name;
use super::store::{self, Keys};
use crate::config::file::MirrorTable;
use crate::config::problem::Collector;
use crate::config::strict::Removed;
use crate::config::{MirrorConfig, StoreConfig};
use crate::select::Selector;

/// What other places are called, and what stands for none.
const TAKEN: [&str; 4] = ["store", "source", "target", "live"];

pub(super) fn check(
    tables: &[Spanned<MirrorTable>],
    main: Option<&StoreConfig>,
    removed: &Removed,
    problems: &mut Collector,
) -> Vec<MirrorConfig> {
    let mut mirrors: Vec<MirrorConfig> = Vec::new();
    for (position, table) in tables.iter().enumerate() {
        let MirrorTable { name: written, repository, password_file, password_command, options, items } =
            table.get_ref();
        let name = written.as_ref().map_or("", |name| name.get_ref());
        match written {
            Some(spanned) => {
                problems.take(&spanned.span(), "mirror.name", name_of(name, &mirrors));
            }
            None if removed.contains(&format!("mirror[{position}].name")) => {}
            None => problems.report(
                &table.span(),
                "mirror.name",
                "missing; `restore --from` and rules of retention call it by this name",
            ),
        }
        let keys = Keys {
            table: "mirror",
            is_repository_removed: removed.contains(&format!("mirror[{position}].repository")),
            credential: format!("mirror-{name}-password"),
            repository: repository.as_ref(),
            password_file: password_file.as_ref(),
            password_command: password_command.as_ref(),
            options,
        };
        let store = store::check_keys(&table.span(), &keys, problems);
        if let Some(spanned) = repository
            && !store.repository.is_empty()
        {
            let others = main.map(|main| ("[store]".to_owned(), main)).into_iter();
            let others = others.chain(mirrors.iter().map(|other| (format!("`{}`", other.name), &other.store)));
            for (other, _) in others.filter(|(_, other)| is_same(&other.repository, &store.repository)) {
                let text = format!("{other} has this repository; a mirror is a copy in another place");
                problems.report(&spanned.span(), "mirror.repository", text);
            }
        }
        let items = items.iter().filter_map(|text| {
            let selector = Selector::parse(text.get_ref()).map_err(|error| format!("{error:#}"));
            problems.take(&text.span(), "mirror.items", selector)
        });
        let items = items.collect();
        mirrors.push(MirrorConfig { name: String::leak(name.to_owned()), store, items });
    }
    mirrors
}

fn name_of(name: &str, others: &[MirrorConfig]) -> Result<(), String> {
    check_name(name)?;
    if TAKEN.contains(&name) {
        return Err(format!("`{name}` cannot be the name of a mirror: it is that of another place"));
    }
    if others.iter().any(|other| other.name == name) {
        return Err(format!("the name `{name}` is used by another mirror as well"));
    }
    Ok(())
}

/// Whether two spellings are of one repository, as far as the text tells.
fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
