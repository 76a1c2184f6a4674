//! What every place that keeps points must hold to, asserted of each in the same words. A new one adds one line to `timelines`.

use std::collections::HashSet;
use std::sync::Arc;

use holdall::config::{SourceConfig, load};
use holdall::incus::Replication;
use holdall::incus::api::{Role, Server};
use holdall::incus::timeline::ServerTimeline;
use holdall::monitor::Silent;
use holdall::store::Store;
use holdall::timeline::{Place, Point, Timeline};

use crate::support::env::TestEnv;
use crate::support::incus_bench::Bench;
use crate::support::incusd::IMAGE;

/// How many points each has: three of each of two items.
const POINTS: usize = 6;

/// A place with [`POINTS`] points, and whatever it needs kept alive.
struct Fixture {
    place: Place,
    open: Box<dyn Fn() -> Opened>,
    /// Adds a snapshot of this name, as somebody else would.
    add: Box<dyn Fn(&str)>,
    /// Whether that is there.
    has: Box<dyn Fn(&str) -> bool>,
}

/// The place, ready to be asked.
enum Opened {
    Store(Box<Store>),
    Server(Box<(Replication, Server)>),
}

impl Opened {
    fn with<T>(&self, ask: impl FnOnce(&dyn Timeline) -> T) -> T {
        match self {
            Self::Store(store) => ask(&**store),
            Self::Server(server) => ask(&ServerTimeline::new(&server.0, &server.1)),
        }
    }
}

impl Fixture {
    fn points(&self) -> Vec<Point> {
        (self.open)().with(|timeline| timeline.points().unwrap())
    }

    fn remove(&self, points: &[Point]) {
        (self.open)().with(|timeline| timeline.remove(points).unwrap());
    }
}

fn timelines() -> Vec<Fixture> {
    vec![store(), incus(Role::Source), incus(Role::Target)]
}

fn store() -> Fixture {
    let env = Arc::new(TestEnv::with_store());
    let source = env.source().display().to_string();
    env.run(["onboard", "files", "other", &source]).code(0);
    for round in 0..POINTS / 2 {
        std::fs::write(env.source().join("file"), round.to_string()).unwrap();
        env.run(["backup"]).code(0);
    }
    let of_open = Arc::clone(&env);
    let open = move || {
        let config = load(&of_open.config_file()).unwrap();
        Opened::Store(Box::new(Store::open(&config.store.unwrap(), Arc::new(Silent)).unwrap()))
    };
    let of_add = Arc::clone(&env);
    let add = move |name: &str| {
        of_add.restic(["backup", "--tag", name, &source]).code(0);
    };
    let has = move |name: &str| {
        let there = env.restic(["snapshots", "--json", "--tag", name]).code(0).json();
        there.as_array().unwrap().len() == 1
    };
    Fixture { place: Place::Store, open: Box::new(open), add: Box::new(add), has: Box::new(has) }
}

fn incus(role: Role) -> Fixture {
    let bench = Arc::new(Bench::without_store("[[incus.lab.project]]\ninstances = [{ name = \"*\" }]\n"));
    let server = move |bench: &Bench, arguments: &[&str]| {
        match role {
            Role::Source => bench.source.incus(arguments),
            Role::Target => bench.target.incus(arguments),
        };
    };
    for item in ["vm1", "vm2"] {
        server(&bench, &["create", IMAGE, item]);
        // Of the source nobody looks at it.
        let mark = format!("user.holdall.source=incus.lab/default/instance/{item}");
        server(&bench, &["config", "set", item, &mark]);
        for day in 1..=POINTS / 2 {
            server(&bench, &["snapshot", "create", item, &format!("IAB_2026010{day}-000000")]);
        }
    }
    let of_open = Arc::clone(&bench);
    let open = move || {
        let config = load(&of_open.env.config_file()).unwrap();
        let Some(SourceConfig::Incus(incus)) = config.sources.first() else { panic!("nothing is configured") };
        let replication = Replication::new(incus, &config.file);
        let server = replication.server(role).unwrap().unwrap();
        Opened::Server(Box::new((replication, server)))
    };
    let of_add = Arc::clone(&bench);
    let add = move |name: &str| server(&of_add, &["snapshot", "create", "vm1", name]);
    let has = move |name: &str| {
        let server = if role == Role::Source { &bench.source } else { &bench.target };
        server.snapshots("default", "instance", "vm1").iter().any(|snapshot| snapshot == name)
    };
    Fixture { place: role.into(), open: Box::new(open), add: Box::new(add), has: Box::new(has) }
}

#[test]
fn points_come_oldest_first_each_of_an_item_in_its_place_and_only_once() {
    for fixture in timelines() {
        let points = fixture.points();
        assert_eq!(points.len(), POINTS, "{:?}", fixture.place);
        assert!(points.is_sorted_by_key(|point| point.time), "{points:?}");
        assert!(points.iter().all(|point| point.place == fixture.place && point.complete && !point.id.is_empty()));
        let items: HashSet<&str> = points.iter().map(|point| point.item.as_str()).collect();
        assert_eq!(items.len(), 2, "{items:?}");
        let names: HashSet<(&str, &str)> =
            points.iter().map(|point| (point.item.as_str(), point.id.as_str())).collect();
        assert_eq!(names.len(), POINTS, "{names:?}");
    }
}

#[test]
fn two_looks_at_a_place_give_the_same() {
    for fixture in timelines() {
        let opened = (fixture.open)();
        let [one, other] = [(); 2].map(|()| opened.with(|timeline| timeline.points().unwrap()));
        assert_eq!(one, other, "{:?}", fixture.place);
    }
}

#[test]
fn only_what_is_named_is_removed_and_nothing_when_nothing_is() {
    for fixture in timelines() {
        let before = fixture.points();
        fixture.remove(&[]);
        assert_eq!(fixture.points(), before, "{:?}", fixture.place);
        let (gone, left): (Vec<Point>, Vec<Point>) =
            before.into_iter().enumerate().fold((Vec::new(), Vec::new()), |(mut gone, mut left), (at, point)| {
                if at % 3 == 1 {
                    gone.push(point)
                } else {
                    left.push(point)
                }
                (gone, left)
            });
        fixture.remove(&gone);
        assert_eq!(fixture.points(), left, "{:?}", fixture.place);
    }
}

#[test]
fn what_others_made_is_no_point_and_stays() {
    for fixture in timelines() {
        let before = fixture.points();
        (fixture.add)("somebody-elses");
        assert_eq!(fixture.points(), before, "{:?}", fixture.place);
        fixture.remove(&before);
        assert_eq!(fixture.points(), [], "{:?}", fixture.place);
        assert!((fixture.has)("somebody-elses"), "{:?}", fixture.place);
    }
}
