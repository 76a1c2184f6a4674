//! A database under load: saved as a part of its stack, destroyed, brought back, and started again with its rows.

use crate::bench::Bench;
use crate::support::dockerd::Dockerd;
use crate::support::postgres;

/// A stack of PostgreSQL and of a program that writes rows as fast as it can.
fn stack() -> String {
    let environment = "      PATH: /usr/lib/postgresql/15/bin:/bin\n      PGDATA: /data/pg\n";
    let service = |name: &str, command: &str, rest: &str| {
        let image =
            format!("    image: {}\n    user: \"{}\"\n    network_mode: none\n", postgres::IMAGE, postgres::USER);
        let volumes = "    volumes: [\"data:/data\", \"socket:/var/run/postgresql\"]\n";
        format!("  {name}:\n{image}{volumes}    environment:\n{environment}    command: {command}\n{rest}")
    };
    let db = service("db", "[\"sh\", \"/entry\"]", "    labels: {holdall.dump: postgres}\n");
    // Each row is one transaction; what was not written the first time is written the next.
    let script = "n=0; while :; do n=$$((n + 1)); until psql -U postgres -qc \\\"insert into rows values ($$n, repeat('x', 500))\\\"; do sleep 0.1; done; done";
    let writer = service("writer", &format!("[\"sh\", \"-c\", \"{script}\"]"), "    depends_on: [db]\n");
    format!("version: '3'\nservices:\n{db}{writer}volumes:\n  data:\n  socket:\n")
}

fn count(engine: &Dockerd) -> u64 {
    postgres::query(engine, "shop_db_1", "select count(*) from rows").parse().unwrap()
}

#[test]
fn database_under_load_comes_back_with_its_rows() {
    let bench = Bench::new("");
    let engine = &bench.engine;
    postgres::import(engine);
    engine.filled_volume("shop_data", "chown 999:999 .");
    engine.filled_volume("shop_socket", "chmod 1777 .");
    let folder = bench.write("stacks/shop/docker-compose.yml", &stack());
    engine.compose(&folder, ["up", "--detach", "db"]);
    postgres::wait(engine, "shop_db_1");
    postgres::query(engine, "shop_db_1", "create table rows (n int, filling text)");
    engine.compose(&folder, ["up", "--detach"]);
    engine.wait_until("rows are written", || count(engine) > 200);
    let before = count(engine);
    bench.backup().code(0).stderr_has("stops shop_writer_1, shop_db_1");
    postgres::wait(engine, "shop_db_1");
    engine.wait_until("it goes on", || count(engine) > before + 100);

    engine.compose(&folder, ["down", "--volumes"]);
    std::fs::remove_dir_all(&folder).unwrap();
    bench.restore("shop", &["--in-place"]).code(0).stderr_has("up -d");
    engine.compose(&folder, ["up", "--detach", "db"]);
    postgres::wait(engine, "shop_db_1");
    // Stopped in order: everything that was written until then is there, and no row is half there.
    let rows = postgres::query(
        engine,
        "shop_db_1",
        "select count(*), count(distinct n), max(n), min(length(filling)) from rows",
    );
    let numbers: Vec<u64> = rows.split('|').map(|number| number.parse().unwrap()).collect();
    assert!(numbers[0] >= before, "{rows}, and there were {before}");
    assert_eq!(numbers[3], 500, "{rows}");
    let dump = bench.env.run(["dump", "compose.s/shop:/dumps/db/postgres.sql"]).code(0).stdout;
    assert!(dump.contains("CREATE TABLE public.rows"), "{}", &dump[..dump.len().min(500)]);
}
