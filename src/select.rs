//! Selectors and point specs: which items and which point a command means.
//!
//! A selector names an item or source and everything below it. A selector that matches nothing is an error, never an empty answer: a
//! misspelt name must not look like work that was done.

use anyhow::{Result, anyhow};
use globset::{GlobBuilder, GlobMatcher};

use crate::error::{Annotate, ExitCode};

mod moment;
mod point;

pub use moment::start_of;
pub use point::PointSpec;

/// Which items a command means: `files.host`, `docker.nas/volume/pgdata`, `docker.*`, `compose.stacks/paper*`.
#[derive(Debug, Clone)]
pub struct Selector {
    text: String,
    /// `None` for a name without wildcards.
    glob: Option<GlobMatcher>,
}

impl Selector {
    /// Reads a selector; `*`, `?`, `[…]` and `{…}` are wildcards that do not match a `/`, `**` does.
    ///
    /// # Errors
    ///
    /// Exit code [`ExitCode::Usage`] for an empty selector, or a glob that is none.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim_end_matches('/');
        ensure_usage(!text.is_empty(), || "a selector is empty".to_owned())?;
        let glob = if text.contains(['*', '?', '[', '{']) {
            let glob = GlobBuilder::new(text).literal_separator(true).build();
            Some(glob.map_err(|error| anyhow!("`{text}` is not a glob: {}", error.kind())).exit(ExitCode::Usage)?)
        } else {
            None
        };
        Ok(Self { text: text.to_owned(), glob: glob.map(|glob| glob.compile_matcher()) })
    }

    /// Whether it means the item or source `id`, by its own name or that of something above it.
    pub fn matches(&self, id: &str) -> bool {
        let ends = id.match_indices('/').map(|(end, _)| end).chain([id.len()]);
        ends.into_iter().any(|end| self.names(&id[..end]))
    }

    /// Whether it may mean something below the source `id`.
    pub fn is_below(&self, id: &str) -> bool {
        let source = self.text.split('/').next().unwrap_or_default();
        source.len() < self.text.len() && Self::parse(source).is_ok_and(|source| source.matches(id))
    }

    /// The id that it is, for one without wildcards: what it would mean if nobody can say what there is.
    pub fn example(&self) -> String {
        self.text.clone()
    }

    /// Whether it means `id` itself, not only something above it.
    fn names(&self, id: &str) -> bool {
        self.glob.as_ref().map_or(self.text == id, |glob| glob.is_match(id))
    }
}

/// Those of the `known` items and sources that the selectors mean, each once, in the order of `known`; without selectors all of them.
///
/// # Errors
///
/// Exit code [`ExitCode::Usage`] when a selector matches nothing; the hint names what is near, or what there is.
pub fn resolve(selectors: &[String], known: &[String]) -> Result<Vec<String>> {
    let selectors = selectors.iter().map(|text| Selector::parse(text)).collect::<Result<Vec<_>>>()?;
    let unmatched: Vec<&str> = selectors
        .iter()
        .filter(|selector| !known.iter().any(|id| selector.matches(id)))
        .map(|selector| selector.text.as_str())
        .collect();
    if !unmatched.is_empty() {
        return unknown(&unmatched, known);
    }
    let mut chosen: Vec<String> = Vec::new();
    for id in known {
        let wanted = selectors.is_empty() || selectors.iter().any(|selector| selector.matches(id));
        if wanted && !chosen.contains(id) {
            chosen.push(id.clone());
        }
    }
    Ok(chosen)
}

fn ensure_usage(holds: bool, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(anyhow!(message())).exit(ExitCode::Usage) }
}

/// The error for names that match nothing.
fn unknown<T>(names: &[&str], known: &[String]) -> Result<T> {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let near: Vec<&str> = names.iter().flat_map(|name| near_matches(name, known)).collect();
    let hint = if !near.is_empty() {
        let near: Vec<String> = near.iter().map(|id| format!("`{id}`")).collect();
        format!("Did you mean {}?", near.join(" or "))
    } else if known.is_empty() {
        "There is nothing yet; set something up with `holdall onboard files NAME PATH`.".to_owned()
    } else {
        format!("There is: {}.", some_of(known))
    };
    Err(anyhow!("nothing is called {}", quoted.join(" or "))).hint(hint).exit(ExitCode::Usage)
}

/// The first names of a list, and how many more there are.
fn some_of(names: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

/// The known names that `name` may be a slip of, nearest first, three at most.
fn near_matches<'k>(name: &str, known: &'k [String]) -> Vec<&'k str> {
    const NEAR: f64 = 0.7;
    let likeness = |id: &str| {
        // `host` for `files.host`, `pgdata` for `docker.nas/volume/pgdata`.
        let last = id.rsplit(['/', '.']).next().unwrap_or(id);
        strsim::normalized_damerau_levenshtein(name, id).max(strsim::normalized_damerau_levenshtein(name, last))
    };
    let mut near: Vec<(f64, &str)> = known.iter().map(|id| (likeness(id), id.as_str())).collect();
    near.retain(|&(likeness, _)| likeness >= NEAR);
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().map(|(_, id)| id).take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit_code, hints};

    fn known() -> Vec<String> {
        [
            "files.host",
            "files.host/before-restore",
            "files.hostel",
            "docker.nas/volume/pgdata",
            "docker.nas/image/me/app:1",
        ]
        .map(ToOwned::to_owned)
        .to_vec()
    }

    fn resolved(selectors: &[&str]) -> Vec<String> {
        let selectors: Vec<String> = selectors.iter().map(|&text| text.to_owned()).collect();
        resolve(&selectors, &known()).unwrap()
    }

    fn refused(selectors: &[&str], known: &[String]) -> (String, Vec<String>) {
        let selectors: Vec<String> = selectors.iter().map(|&text| text.to_owned()).collect();
        let error = resolve(&selectors, known).unwrap_err();
        assert_eq!(exit_code(&error), ExitCode::Usage);
        (error.to_string(), hints(&error).into_iter().map(ToOwned::to_owned).collect())
    }

    #[test]
    fn name_means_itself_and_everything_below_but_no_longer_name() {
        assert_eq!(resolved(&["files.host"]), ["files.host", "files.host/before-restore"]);
        assert_eq!(resolved(&["files.host/"]), ["files.host", "files.host/before-restore"]);
        assert_eq!(resolved(&["docker.nas/volume"]), ["docker.nas/volume/pgdata"]);
    }

    #[test]
    fn selector_of_an_item_may_mean_something_below_its_source() {
        let is_below = |text: &str| Selector::parse(text).unwrap().is_below("docker.nas");
        assert!(is_below("docker.nas/volume/new") && is_below("docker.*/volume") && is_below("*/image/*"));
        assert!(!is_below("docker.nas") && !is_below("docker.nass/volume/x") && !is_below("files.*"));
    }

    #[test]
    fn glob_means_whole_names_and_everything_below_them() {
        assert_eq!(resolved(&["docker.*"]), ["docker.nas/volume/pgdata", "docker.nas/image/me/app:1"]);
        assert_eq!(resolved(&["*/image/*"]), ["docker.nas/image/me/app:1"]);
        assert_eq!(resolved(&["files.host?l"]), ["files.hostel"]);
        assert_eq!(resolved(&["docker.nas/*/pg*"]), ["docker.nas/volume/pgdata"]);
    }

    #[test]
    fn without_selectors_everything_is_meant() {
        assert_eq!(resolved(&[]), known());
        assert_eq!(resolve(&[], &[]).unwrap(), [""; 0]);
    }

    #[test]
    fn several_selectors_give_each_item_once_in_the_known_order() {
        assert_eq!(resolved(&["files.hostel", "files.*"]), ["files.host", "files.host/before-restore", "files.hostel"]);
    }

    #[test]
    fn unknown_name_is_refused_with_near_matches() {
        let (message, hints) = refused(&["files.hots"], &known());
        assert_eq!(message, "nothing is called `files.hots`");
        assert_eq!(hints, ["Did you mean `files.host` or `files.hostel`?"]);
        assert_eq!(refused(&["pgdata"], &known()).1, ["Did you mean `docker.nas/volume/pgdata`?"]);
    }

    #[test]
    fn every_unknown_name_is_named() {
        let (message, hints) = refused(&["files.host", "zzz", "ios.*"], &known()[..2]);
        assert_eq!(message, "nothing is called `zzz` or `ios.*`");
        assert_eq!(hints, ["There is: files.host, files.host/before-restore."]);
    }

    #[test]
    fn long_lists_are_cut() {
        let known: Vec<String> = (0..12).map(|number| format!("files.n{number}")).collect();
        let expected = "There is: files.n0, files.n1, files.n2, files.n3, files.n4, files.n5, files.n6, files.n7, files.n8, files.n9, and 2 more.";
        assert_eq!(refused(&["qqqqqqqqq"], &known).1, [expected]);
    }

    #[test]
    fn selector_is_refused_when_there_is_nothing_at_all() {
        assert_eq!(
            refused(&["files.host"], &[]).1,
            ["There is nothing yet; set something up with `holdall onboard files NAME PATH`."]
        );
    }

    #[test]
    fn empty_selector_and_bad_glob_are_refused() {
        assert_eq!(refused(&[""], &known()).0, "a selector is empty");
        assert_eq!(
            refused(&["files.[a"], &known()).0,
            "`files.[a` is not a glob: unclosed character class; missing ']'"
        );
    }
}
