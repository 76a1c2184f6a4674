//! How often servers are asked: it must not creep up.

use std::thread;
use std::time::Duration;

use crate::lab::EVERYTHING;
use crate::support::incus_bench::Bench;
use crate::support::incusd::LOCAL;

/// The requests of a run, but for waiting, which takes as many as it takes.
fn requests(bench: &Bench) -> usize {
    // A name that is taken takes more.
    thread::sleep(Duration::from_millis(1100));
    let outcome = bench.run(["backup", "--log-level", "debug"]).code(0);
    let is_request = |line: &&str| {
        let line = line.trim_start_matches("debug: ");
        ["GET ", "POST ", "PUT ", "PATCH ", "DELETE "].iter().any(|method| line.starts_with(method))
    };
    outcome.stderr.lines().filter(is_request).filter(|line| !line.contains("/1.0/operations/")).count()
}

fn per_item(bench: &Bench, make: impl Fn(usize), expected: [usize; 2]) {
    make(0);
    let first_of_one = requests(bench);
    let again_of_one = requests(bench);
    (1..5).for_each(make);
    // Four of them for the first time, one again.
    let first = (requests(bench) - again_of_one) / 4;
    let again = (requests(bench) - again_of_one) / 4;
    assert_eq!([first, again], expected);
    assert!(first_of_one < 20 && again_of_one < 20, "{first_of_one} {again_of_one}");
}

#[test]
fn volume_takes_five_requests() {
    let bench = Bench::without_store(EVERYTHING);
    per_item(&bench, |number| bench.source.volume(LOCAL, &format!("v{number}"), "echo x >file"), [4, 5]);
}

#[test]
fn instance_takes_five_requests() {
    let bench = Bench::without_store(EVERYTHING);
    per_item(&bench, |number| bench.source.create(&format!("c{number}"), &[]), [4, 5]);
}
