//! What a shell is told that a word on the command line may become: sources of the configuration, items and points of the store.
//!
//! Somebody waits for it with a finger on the Tab key. What cannot be had at once is left out, and nothing is ever said about it: a configuration that this user may
//! not read, a store that does not answer, a password that a program has to be asked for.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use super::super::known_items;
use crate::config::{self, Config, StoreConfig, locate};
use crate::monitor::Silent;
use crate::quantity::show_time;
use crate::store::Store;
use crate::timeline::{Point, Timeline};

/// How long somebody waits for the store.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many points of an item are offered, the newest ones.
const POINTS: usize = 30;

/// Completes a selector: sources, and the items that have points.
pub fn selectors() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| offered(word, items))
}

/// Completes a point spec: an item, and behind `@` its points.
pub fn specs() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        offered(word, |word, config, points| match word.split_once('@') {
            Some((item, _)) => of_item(item, points),
            None => items(word, config, points),
        })
    })
}

/// What begins with the word.
fn offered(
    word: &OsStr,
    candidates: impl FnOnce(&str, &Config, &[Point]) -> Vec<(String, String)>,
) -> Vec<CompletionCandidate> {
    let Some(word) = word.to_str() else { return Vec::new() };
    let Ok(config) = config::load(&locate::config_file(config_flag(std::env::args_os()).as_deref())) else {
        return Vec::new();
    };
    let points = config.store.clone().and_then(points).unwrap_or_default();
    let candidates = candidates(word, &config, &points).into_iter().filter(|(value, _)| value.starts_with(word));
    candidates.map(|(value, help)| CompletionCandidate::new(value).help(Some(help.into()))).collect()
}

fn items(_: &str, config: &Config, points: &[Point]) -> Vec<(String, String)> {
    let mut items = known_items(config, points);
    items.extend(config.sources.iter().map(config::SourceConfig::id));
    items.sort_unstable();
    items.dedup();
    let newest = |item: &str| {
        let newest = points.iter().filter(|point| point.item == item).max_by_key(|point| point.time);
        newest.map_or_else(String::new, |point| format!("newest {}", show_time(point.time)))
    };
    items.into_iter().map(|item| (item.clone(), newest(&item))).collect()
}

/// The points of an item, the newest first.
fn of_item(item: &str, points: &[Point]) -> Vec<(String, String)> {
    let mut own: Vec<&Point> = points.iter().filter(|point| point.item == item).collect();
    own.sort_by_key(|point| std::cmp::Reverse(point.time));
    let latest = own.first().map(|point| (format!("{item}@latest"), show_time(point.time)));
    let others = own.iter().take(POINTS).map(|point| (format!("{item}@{}", point.short_id()), show_time(point.time)));
    latest.into_iter().chain(others).collect()
}

/// The points of the store, if they can be had without asking anybody, and soon.
fn points(store: StoreConfig) -> Option<Vec<Point>> {
    store.password.path()?;
    let (found, waiting) = channel();
    // Left to itself when it takes too long: the program ends then.
    thread::spawn(move || {
        let points = Store::open(&store, Arc::new(Silent)).and_then(|store| store.points());
        drop(found.send(points.ok()));
    });
    waiting.recv_timeout(PATIENCE).ok().flatten()
}

/// The file that `--config` names among the words of a command line that is not finished yet.
fn config_flag(words: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let mut words = words.skip_while(|word| word != "--").skip(1);
    while let Some(word) = words.next() {
        let text = word.to_str().unwrap_or_default();
        if ["-c", "--config"].contains(&text) {
            return words.next().map(PathBuf::from);
        }
        if let Some(file) = text.strip_prefix("--config=") {
            return Some(PathBuf::from(file));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_the_one_that_is_named() {
        let found = |line: &str| config_flag(line.split(' ').map(OsString::from));
        assert_eq!(found("holdall -- holdall -c /a ls "), Some("/a".into()));
        assert_eq!(found("holdall -- holdall ls --config=/b files"), Some("/b".into()));
        assert_eq!(found("holdall -- holdall ls --config"), None);
        assert_eq!(found("holdall -c /x -- holdall ls"), None);
    }
}
