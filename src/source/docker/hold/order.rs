//! Who needs whom, and so in which order containers are started. Stopping them goes the other way round.
//!
//! What a container needs is known from Compose's labels, from links, from whose network it uses, and from whoever has read the compose file.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::docker::engine::Container;

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
/// `SERVICE:CONDITION:RESTART,…`; older Composes write less of it.
const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// Which containers need which, by their numbers. It has no cycles.
#[derive(Debug)]
pub(super) struct Graph {
    needs: Vec<BTreeSet<usize>>,
    joins: Vec<BTreeSet<usize>>,
}

/// A container in the order of starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) container: usize,
    /// Those of one wave do not need each other.
    pub(super) wave: usize,
    /// Those of earlier waves that it needs.
    pub(super) needs: BTreeSet<usize>,
}

impl Graph {
    /// Finds out who needs whom. `depends` are ids, each with that of a container it needs. Where some need each other in a circle, one of these needs is not
    /// heeded; they are the second value.
    pub(super) fn new(all: &[&Container], depends: &[(String, String)]) -> (Self, Vec<(usize, usize)>) {
        let found = |named: &str| all.iter().position(|other| is_named(other, named));
        let joins: Vec<BTreeSet<usize>> =
            all.iter().map(|container| container.joined.iter().filter_map(|named| found(named)).collect()).collect();
        let mut graph = Self { needs: vec![BTreeSet::new(); all.len()], joins: joins.clone() };
        let mut passed_over = Vec::new();
        let services = services(all);
        // A network that is joined has to be there, whatever else is asked for: it comes first.
        let joined = joins.iter().enumerate().flat_map(|(one, others)| others.iter().map(move |&other| (one, other)));
        let labelled = (0..all.len()).flat_map(|one| needed(all[one], &services).into_iter().map(move |o| (one, o)));
        let linked = (0..all.len()).flat_map(|one| linked(all[one]).filter_map(found).map(move |other| (one, other)));
        let told = depends.iter().filter_map(|(one, other)| Some((found(one)?, found(other)?)));
        for (one, other) in joined.chain(labelled).chain(linked).chain(told) {
            if graph.needed_by(other).contains(&one) {
                passed_over.push((one, other));
            } else {
                graph.needs[one].insert(other);
            }
        }
        (graph, passed_over)
    }

    /// Whoever a container needs, directly or not, and the container itself.
    fn needed_by(&self, container: usize) -> BTreeSet<usize> {
        reached(container, |one| self.needs[one].iter().copied().collect())
    }

    /// Whoever lives in the network, the processes or the memory of a container, directly or not.
    pub(super) fn joiners(&self, container: usize) -> BTreeSet<usize> {
        let joiners = |one: usize| (0..self.joins.len()).filter(|&other| self.joins[other].contains(&one)).collect();
        let mut joiners = reached(container, joiners);
        joiners.remove(&container);
        joiners
    }

    /// The order in which these containers are started.
    pub(super) fn waves(&self, held: &BTreeSet<usize>) -> Vec<Placed> {
        let mut placed: BTreeMap<usize, Placed> = BTreeMap::new();
        let mut left: Vec<(usize, BTreeSet<usize>)> = held.iter().map(|&one| (one, self.nearest(one, held))).collect();
        // Without cycles each turn places at least one.
        let mut wave = 0;
        while !left.is_empty() {
            let is_ready = |needs: &BTreeSet<usize>| needs.iter().all(|other| placed.contains_key(other));
            let (ready, waiting): (Vec<_>, Vec<_>) = left.into_iter().partition(|(_, needs)| is_ready(needs));
            if ready.is_empty() {
                break;
            }
            placed.extend(ready.into_iter().map(|(container, needs)| (container, Placed { container, wave, needs })));
            left = waiting;
            wave += 1;
        }
        let mut placed: Vec<Placed> = placed.into_values().collect();
        placed.sort_by_key(|placed| (placed.wave, placed.container));
        placed
    }

    /// Those of `held` that a container needs, also by way of others that are not held.
    fn nearest(&self, container: usize, held: &BTreeSet<usize>) -> BTreeSet<usize> {
        let next = |one: usize| {
            let is_end = one != container && held.contains(&one);
            if is_end { Vec::new() } else { self.needs[one].iter().copied().collect() }
        };
        let reached = reached(container, next);
        reached.into_iter().filter(|one| *one != container && held.contains(one)).collect()
    }
}

/// All that is reached from a beginning, with it.
fn reached(begin: usize, next: impl Fn(usize) -> Vec<usize>) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([begin]);
    let mut open = vec![begin];
    while let Some(one) = open.pop() {
        open.extend(next(one).into_iter().filter(|&other| reached.insert(other)));
    }
    reached
}

fn is_named(container: &Container, named: &str) -> bool {
    let is_short_id = named.len() >= 12 && container.id.starts_with(named);
    container.id == named || container.name == named || is_short_id
}

/// The containers of each service of each project.
fn services<'c>(all: &[&'c Container]) -> BTreeMap<(&'c str, &'c str), Vec<usize>> {
    let mut services: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (number, container) in all.iter().enumerate() {
        if let (Some(project), Some(service)) = (container.labels.get(PROJECT), container.labels.get(SERVICE)) {
            services.entry((project.as_str(), service.as_str())).or_default().push(number);
        }
    }
    services
}

/// What Compose's label says that a container needs: all containers of the services that it names.
fn needed(container: &Container, services: &BTreeMap<(&str, &str), Vec<usize>>) -> Vec<usize> {
    let (Some(project), Some(text)) = (container.labels.get(PROJECT), container.labels.get(DEPENDS_ON)) else {
        return Vec::new();
    };
    let named = text.split(',').map(|one| one.split(':').next().unwrap_or_default().trim());
    named.filter_map(|service| services.get(&(project.as_str(), service))).flatten().copied().collect()
}

/// What it is linked with: `/OTHER:/OWN/ALIAS`.
fn linked(container: &Container) -> impl Iterator<Item = &str> {
    let links = container.inspect.pointer("/HostConfig/Links").and_then(serde_json::Value::as_array);
    let texts = links.into_iter().flatten().filter_map(serde_json::Value::as_str);
    texts.filter_map(|text| Some(text.split_once(':')?.0.trim_start_matches('/')))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A container that runs, with the id `id-NAME`, of which an engine says `more`.
    pub(crate) fn container(name: &str, more: Value) -> Container {
        let mut inspect = json!({"Id": format!("id-{name}"), "Name": format!("/{name}"), "State": {"Running": true}});
        for (key, value) in more.as_object().unwrap() {
            inspect[key] = value.clone();
        }
        Container::new(inspect).unwrap()
    }

    fn service(name: &str, depends_on: &str) -> Container {
        let labels = json!({PROJECT: "p", SERVICE: name, DEPENDS_ON: depends_on});
        container(name, json!({"Config": {"Labels": labels}}))
    }

    /// The names of what is started, one text for each wave.
    fn order(all: &[Container], depends: &[(&str, &str)], held: &[usize]) -> Vec<String> {
        let all: Vec<&Container> = all.iter().collect();
        let depends: Vec<_> = depends.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect();
        let placed = Graph::new(&all, &depends).0.waves(&held.iter().copied().collect());
        let waves = placed.last().map_or(0, |last| last.wave + 1);
        let names = |wave| placed.iter().filter(move |p| p.wave == wave).map(|p| all[p.container].name.as_str());
        (0..waves).map(|wave| names(wave).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn services_start_behind_what_they_depend_on() {
        let all = [
            service("app", "db:service_healthy:false,cache:service_started:true"),
            service("cache", ""),
            service("db", ""),
            service("web", "app"),
        ];
        assert_eq!(order(&all, &[], &[0, 1, 2, 3]), ["cache db", "app", "web"]);
        // Also by way of one that is not held.
        assert_eq!(order(&all, &[], &[2, 3]), ["db", "web"]);
        assert_eq!(order(&all, &[], &[]), [""; 0]);
    }

    #[test]
    fn services_of_other_projects_are_not_meant() {
        let labels = json!({PROJECT: "q", SERVICE: "db"});
        let all = [service("app", "db"), container("db", json!({"Config": {"Labels": labels}}))];
        assert_eq!(order(&all, &[], &[0, 1]), ["app db"]);
    }

    #[test]
    fn needs_are_known_from_links_networks_and_compose_files_too() {
        let linked = container("linked", json!({"HostConfig": {"Links": ["/one:/linked/db"]}}));
        let joined = container("joined", json!({"HostConfig": {"NetworkMode": "container:id-linked"}}));
        let all = [container("file", json!({})), joined, linked, container("one", json!({}))];
        let depends = [("id-file", "id-joined"), ("id-file", "id-nobody")];
        assert_eq!(order(&all, &depends, &[0, 1, 2, 3]), ["one", "linked", "joined", "file"]);
    }

    #[test]
    fn circle_is_broken_and_told_and_a_network_comes_first() {
        let all = [service("a", "b"), service("b", "c"), service("c", "a")];
        assert_eq!(order(&all, &[], &[0, 1, 2]), ["c", "b", "a"]);
        let all: Vec<&Container> = all.iter().collect();
        assert_eq!(Graph::new(&all, &[]).1, [(2, 0)]);

        let mut guest = service("guest", "");
        guest.joined = vec!["id-host".to_owned()];
        let all = [guest, service("host", "guest"), service("self", "self")];
        assert_eq!(order(&all, &[], &[0, 1, 2]), ["host self", "guest"]);
    }

    #[test]
    fn each_knows_whom_it_waits_for() {
        let all = [service("app", "db"), service("db", ""), service("web", "app")];
        let all: Vec<&Container> = all.iter().collect();
        let placed = Graph::new(&all, &[]).0.waves(&BTreeSet::from([0, 1, 2]));
        let needs: Vec<_> = placed.iter().map(|p| p.needs.iter().copied().collect::<Vec<_>>()).collect();
        assert_eq!(needs, [vec![], vec![1], vec![0]]);
    }
}
