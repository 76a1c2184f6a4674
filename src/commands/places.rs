//! Every place that has points: the store, and the servers of each `[incus.NAME]`.
//!
//! A place that cannot be asked hides none of the others: what they have is shown, and the error is told at the end.

use std::sync::Arc;
use std::thread;

use anyhow::{Error, Result, anyhow};

use super::{Context, known_among, open_store};
use crate::config::{Config, SourceConfig};
use crate::error::{ExitCode, chain, hinted, hints};
use crate::incus::Replication;
use crate::incus::api::{Role, Server};
use crate::incus::timeline::{Found, ServerTimeline};
use crate::select::{self, PointSpec, Selector};
use crate::store::Store;
use crate::store::locks::{Held, Purpose};
use crate::timeline::{Place, Point, Timeline, pin_common};

/// What is known of all places that were asked.
#[derive(Debug)]
pub struct Places {
    /// Taken when points are going to be removed; let go of before the store is.
    pub held: Option<Held>,
    /// The store, where one is configured.
    pub store: Option<Arc<Store>>,
    /// The points of all places. The newest that both servers of a replication have is pinned.
    pub points: Vec<Point>,
    /// The servers that were asked and answered.
    pub servers: Vec<Answered>,
    /// What could not be asked, and why.
    pub away: Vec<Away>,
}

/// A server that has told what it has.
#[derive(Debug)]
pub struct Answered {
    /// Of which source it is.
    pub replication: Replication,
    /// Which one of its servers.
    pub server: Server,
    /// What it has of its items, also those without points.
    pub found: Vec<Found>,
}

/// A server that could not be asked.
#[derive(Debug)]
pub struct Away {
    /// Of which source it is: `incus.lab`.
    pub source: String,
    /// Which one of its servers.
    pub role: Role,
    /// Why.
    pub error: Error,
}

impl Places {
    /// Asks every place that one of the selectors can mean; the store always.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, or one is needed and none is configured.
    pub fn look(context: &Context, config: &Config, selectors: &[String]) -> Result<Self> {
        Self::look_and(context, config, selectors, None)
    }

    /// The same, and holds the store before its points are read.
    pub fn look_and(context: &Context, config: &Config, selectors: &[String], hold: Option<Purpose>) -> Result<Self> {
        let asked = replications(config, selectors);
        let (stored, asked) = thread::scope(|scope| {
            let asked = scope.spawn(|| Self::ask(&asked));
            (look_at_store(context, config, hold), asked.join())
        });
        let mut places = asked.map_err(|_| anyhow!("holdall broke off while Incus servers were asked"))?;
        let (store, held, points) = stored?;
        (places.store, places.held) = (store, held);
        places.points.splice(..0, points);
        Ok(places)
    }

    /// Asks the servers of these, all at the same time, and no store.
    pub fn ask(asked: &[Replication]) -> Self {
        let answers: Vec<_> = thread::scope(|scope| {
            let asked: Vec<_> = asked
                .iter()
                .flat_map(|replication| [Role::Source, Role::Target].map(|role| (replication, role)))
                .filter(|(replication, role)| *role == Role::Source || replication.config.target.is_some())
                .map(|(replication, role)| (replication, role, scope.spawn(move || look_at(replication, role))))
                .collect();
            let asked = asked.into_iter().map(|(replication, role, asked)| {
                let answer = asked.join().unwrap_or_else(|_| Err(anyhow!("holdall broke off while it was asked")));
                (replication, role, answer)
            });
            asked.collect()
        });
        let mut places = Self { held: None, store: None, points: Vec::new(), servers: Vec::new(), away: Vec::new() };
        for (replication, role, answer) in answers {
            match answer {
                Ok((server, found)) => {
                    places.points.extend(found.iter().flat_map(|found| found.points.iter().cloned()));
                    places.servers.push(Answered { replication: replication.clone(), server, found });
                }
                Err(error) => places.away.push(Away { source: replication.id.clone(), role, error }),
            }
        }
        pin_common(&mut places.points);
        places
    }

    /// What selectors can mean: see [`super::known_items`], and what the servers have.
    pub fn known(&self, config: &Config) -> Vec<String> {
        let mut items: Vec<String> = self.points.iter().map(|point| point.item.clone()).collect();
        for server in &self.servers {
            let ours = server.found.iter().filter(|found| found.is_ours);
            items.extend(ours.map(|found| found.subject.id(&server.replication.id)));
        }
        known_among(config, items)
    }

    /// The items that the selectors mean, see [`select::resolve`].
    ///
    /// # Errors
    ///
    /// When one means nothing, though everything was asked that could know it.
    pub fn resolve(&self, config: &Config, selectors: &[String]) -> Result<Vec<String>> {
        let known = self.known(config);
        let parsed = selectors.iter().filter_map(|text| Selector::parse(text).ok());
        let may_be_away = |selector: &Selector| {
            let is_below = |away: &Away| selector.is_below(&away.source);
            self.away.iter().any(is_below) && !known.iter().any(|item| selector.matches(item))
        };
        let away: Vec<String> = parsed.filter(may_be_away).map(|selector| selector.example()).collect();
        let mut wanted = select::resolve(selectors, &[known.clone(), away].concat())?;
        wanted.retain(|item| known.contains(item));
        Ok(wanted)
    }

    /// Whether this place could not be asked for points of an item. Of the store none is away: then the command fails.
    pub fn is_away(&self, item: &str, place: Place) -> bool {
        let source = item.split('/').next().unwrap_or(item);
        let is_meant = |away: &&Away| away.source == source && Place::from(away.role) == place;
        self.away.iter().any(|away| is_meant(&away))
    }

    /// Tells what could not be asked; how the command ends for it.
    pub fn tell_away(&self) -> ExitCode {
        for away in &self.away {
            tell(&away.error);
        }
        if self.away.is_empty() { ExitCode::Done } else { ExitCode::Failed }
    }
}

/// Tells an error that does not end the command.
pub fn tell(error: &Error) {
    let hints: String = hints(error).iter().map(|hint| format!("; hint: {hint}")).collect();
    tracing::error!("{}{hints}", chain(error));
}

/// Says of an item of Incus that is not in the store where its files are.
pub fn explain_servers(config: &Config, spec: &str, error: Error) -> Error {
    let parsed = PointSpec::parse(spec).ok();
    let Some(selector) = parsed.as_ref().and_then(PointSpec::selector) else { return error };
    if !selector.starts_with("incus.") || replications(config, &[selector.to_owned()]).is_empty() {
        return error;
    }
    let hint = format!(
        "Only what the store has can be looked into: `export = true` saves instances and volumes there. \
         From a server: holdall restore {selector} --to DIR."
    );
    hinted(error, hint)
}

/// Whether something is configured that only a store can keep.
pub fn needs_store(config: &Config) -> bool {
    let is_enough = |source: &SourceConfig| matches!(source, SourceConfig::Incus(incus) if !incus.export);
    config.store.is_some() || config.sources.is_empty() || !config.sources.iter().all(is_enough)
}

/// The replications that a selector can mean; without selectors all.
pub fn replications(config: &Config, selectors: &[String]) -> Vec<Replication> {
    // One that is none is told when all that it could mean is known.
    let selectors: Vec<Selector> = selectors.iter().filter_map(|text| Selector::parse(text).ok()).collect();
    let is_meant = |id: &str| {
        selectors.is_empty() || selectors.iter().any(|selector| selector.matches(id) || selector.is_below(id))
    };
    let incus = config.sources.iter().filter_map(|source| match source {
        SourceConfig::Incus(incus) => Some(Replication::new(incus, &config.file)),
        _ => None,
    });
    incus.filter(|replication| is_meant(&replication.id)).collect()
}

fn look_at(replication: &Replication, role: Role) -> Result<(Server, Vec<Found>)> {
    let server = replication.server(role)?.ok_or_else(|| anyhow!("{} has no {}", replication.id, role.word()))?;
    let found = ServerTimeline::new(replication, &server).look()?;
    Ok((server, found))
}

type Stored = (Option<Arc<Store>>, Option<Held>, Vec<Point>);

fn look_at_store(context: &Context, config: &Config, hold: Option<Purpose>) -> Result<Stored> {
    if !needs_store(config) {
        return Ok((None, None, Vec::new()));
    }
    let store = open_store(context, config)?;
    let held = hold.map(|purpose| super::hold_store(context, &store, purpose)).transpose()?;
    let points = store.points()?;
    Ok((Some(Arc::new(store)), held, points))
}
