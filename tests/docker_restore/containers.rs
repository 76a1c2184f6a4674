//! A container comes back: what was mounted in it, and itself when it is gone.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::env;
use super::support::dockerd::{Dockerd, IMAGE};

const WEB: &str = "docker.nas/container/web";

/// Networks of an engine, which are bridges of this machine: they go with this.
struct Networks<'e>(&'e Dockerd, Vec<&'static str>);

impl<'e> Networks<'e> {
    fn make(engine: &'e Dockerd, networks: &[(&'static str, &[&str])]) -> Self {
        let mut made = Self(engine, Vec::new());
        for (name, options) in networks {
            engine.docker(["network", "create"].iter().chain(*options).chain([name]));
            made.1.push(name);
        }
        made
    }
}

impl Drop for Networks<'_> {
    fn drop(&mut self) {
        let all = self.0.try_docker(["ps", "-aq"]).stdout;
        self.0.try_docker(["rm", "--force"].into_iter().chain(all.split_whitespace()));
        self.0.try_docker(["network", "rm"].iter().chain(&self.1));
    }
}

/// What the engine says of a container or an image.
///
/// The engine lists mounts in another order each time it is asked.
fn inspected(engine: &Dockerd, name: &str) -> Value {
    let mut all: Value = serde_json::from_str(&engine.docker(["inspect", name])).unwrap();
    let mut said = all[0].take();
    if let Some(mounts) = said["Mounts"].as_array_mut() {
        mounts.sort_by_key(|mount| mount["Destination"].as_str().unwrap().to_owned());
    }
    said
}

/// The same without what an engine chooses by itself, and without what is where on its disk.
fn comparable(engine: &Dockerd, name: &str) -> Value {
    let mut said = inspected(engine, name);
    let id = said["Id"].as_str().unwrap()[..12].to_owned();
    for (network, endpoint) in said["NetworkSettings"]["Networks"].as_object().unwrap().clone() {
        let mut endpoint = endpoint;
        endpoint.as_object_mut().unwrap().retain(|key, _| ["IPAMConfig", "Links", "Aliases"].contains(&key.as_str()));
        if endpoint["IPAMConfig"].as_object().is_some_and(serde_json::Map::is_empty) {
            endpoint["IPAMConfig"] = Value::Null;
        }
        if let Some(aliases) = endpoint["Aliases"].as_array_mut() {
            aliases.retain(|alias| *alias != *id);
            aliases.sort_by_key(ToString::to_string);
        }
        said["NetworkSettings"]["Networks"][network] = endpoint;
    }
    let networks = said["NetworkSettings"]["Networks"].clone();
    let mut mounts = said["Mounts"].as_array().unwrap().clone();
    mounts.sort_by_key(|mount| mount["Destination"].to_string());
    for mount in &mut mounts {
        mount.as_object_mut().unwrap().remove("Mode");
    }
    // One that has a name by now is named where it is mounted.
    said["HostConfig"].as_object_mut().unwrap().remove("Binds");
    serde_json::json!({
        "Name": said["Name"], "Image": said["Image"], "Config": said["Config"], "HostConfig": said["HostConfig"],
        "Mounts": mounts, "Networks": networks, "Running": said["State"]["Running"],
    })
}

#[test]
fn lost_container_is_made_again_as_it_was_with_its_data() {
    let engine = Dockerd::start();
    let _networks = Networks::make(&engine, &[("front", &[]), ("back", &["--subnet", "10.211.7.0/24"])]);
    let bind = engine.root().join("etc");
    fs::create_dir(&bind).unwrap();
    fs::write(bind.join("app.conf"), "right\n").unwrap();
    fs::write(engine.root().join("motto"), "one file\n").unwrap();
    let options = format!(
        "run --detach --name web --hostname web.lan --domainname lan --network back --ip 10.211.7.9 --network-alias www \
         --publish 127.0.0.1:38471:80/tcp --expose 81 --volume data:/data --volume /anonymous --volume {etc}:/etc/app:ro \
         --volume {motto}:/motto --tmpfs /scratch:size=1m --label a=b --label holdall.hold=none --env X=y=z --user 7:8 \
         --workdir /data --restart unless-stopped --memory 64m --cap-add NET_ADMIN --stop-signal INT --stop-timeout 3 \
         --log-opt max-size=1m --ulimit nofile=1000:2000 --sysctl net.ipv4.ip_forward=0 --add-host a:10.0.0.1 --init \
         --dns 10.0.0.2 --read-only --shm-size 8m --health-interval 7s --entrypoint /bin/sleep {IMAGE} 1000",
        etc = bind.display(),
        motto = engine.root().join("motto").display(),
    );
    engine.filled_volume("data", "echo rows >rows; chown 7:8 rows; chmod 600 rows");
    engine.docker(options.split_whitespace());
    engine.docker(["network", "connect", "--alias", "shop", "front", "web"]);
    let anonymous =
        engine.inspect("web", r#"{{range .Mounts}}{{if eq .Destination "/anonymous"}}{{.Name}}{{end}}{{end}}"#);
    fs::write(engine.volume(&anonymous).join("kept"), "kept\n").unwrap();
    let env = env(&engine, "containers = [\"web\"]");
    env.run(["backup"]).code(0);
    let before = comparable(&engine, "web");

    engine.docker(["rm", "--force", "--volumes", "web"]);
    engine.docker(["volume", "rm", "data"]);
    fs::remove_dir_all(&bind).unwrap();
    fs::write(engine.root().join("motto"), "other\n").unwrap();
    env.run(["restore", WEB, "--in-place", "-n"])
        .code(0)
        .stderr_has("would make the container web of the image bb:latest")
        .stderr_has("would make the volume data")
        .stdout_has("+ data:/rows");
    assert_eq!(engine.docker(["ps", "-aq"]), "");
    env.run(["restore", WEB, "--in-place", "--yes", "--verify"])
        .code(0)
        .stderr_has("web is started, as it was running");
    let after = comparable(&engine, "web");
    assert_eq!(after, before, "{before:#}\n{after:#}");
    assert_eq!(fs::read_to_string(engine.volume("data").join("rows")).unwrap(), "rows\n");
    assert_eq!(fs::read_to_string(engine.volume(&anonymous).join("kept")).unwrap(), "kept\n");
    assert_eq!(fs::read_to_string(bind.join("app.conf")).unwrap(), "right\n");
    assert_eq!(
        engine.docker(["exec", "web", "cat", "/etc/app/app.conf", "/motto", "/anonymous/kept"]),
        "right\none file\nkept"
    );
    // And once more: there is nothing left in which it could differ.
    env.run(["restore", WEB, "--in-place", "--yes", "--stop"]).code(0).stderr_lacks("What differs");
    assert!(engine.is_running("web"));
}

#[test]
fn container_that_is_there_is_left_as_it_is_and_its_data_comes_back() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo old >a");
    engine.idle("web", &["--volume", "data:/data", "--volume", "/anonymous", "--env", "A=1"]);
    let env = env(&engine, "containers = [\"web\"]");
    let anonymous =
        || engine.inspect("web", r#"{{range .Mounts}}{{if eq .Destination "/anonymous"}}{{.Name}}{{end}}{{end}}"#);
    fs::write(engine.volume(&anonymous()).join("kept"), "kept\n").unwrap();
    env.run(["backup"]).code(0);
    // As an update makes it: another container of the same name.
    engine.docker(["rm", "--force", "--volumes", "web"]);
    engine.idle("web", &["--volume", "data:/data", "--volume", "/anonymous", "--env", "A=2"]);
    let id = inspected(&engine, "web")["Id"].clone();
    engine.docker(["exec", "web", "sh", "-c", "echo new >/data/a"]);
    env.run(["restore", WEB, "--in-place", "--yes"]).code(1).stderr_has("web is running and uses");
    let done = env.run(["restore", WEB, "--in-place", "--yes", "--stop"]).code(0);
    done.stderr_has("the container web is not made as it was").stderr_has("Config.Env");
    assert_eq!(inspected(&engine, "web")["Id"], id);
    assert!(engine.is_running("web"));
    let read = |volume: &str, name: &str| fs::read_to_string(engine.volume(volume).join(name)).unwrap();
    assert_eq!(read("data", "a"), "old\n");
    // What the engine had named for the lost one goes to what it has named for this one.
    assert_eq!(read(&anonymous(), "kept"), "kept\n");
    // Only a part, as well.
    engine.docker(["exec", "web", "sh", "-c", "echo new >/data/a; echo new >/anonymous/kept"]);
    env.run(["restore", &format!("{WEB}:/volumes/data"), "--in-place", "--yes", "--stop"]).code(0);
    assert_eq!((read("data", "a"), read(&anonymous(), "kept")), ("old\n".into(), "new\n".into()));
}

#[test]
fn stopped_container_is_made_again_and_not_started() {
    let engine = Dockerd::start();
    engine.filled_volume("data", "echo old >a");
    engine.docker(["create", "--name", "web", "--network", "none", "--volume", "data:/data", IMAGE, "sleep", "9"]);
    let env = env(&engine, "containers = [\"web\"]");
    env.run(["backup"]).code(0);
    engine.docker(["rm", "web"]);
    env.run(["restore", WEB, "--in-place", "--yes"]).code(0).stderr_has("not running, not started");
    assert_eq!(engine.inspect("web", "{{.State.Status}}"), "created");
}

#[test]
fn image_that_is_missing_comes_out_of_the_store_and_the_one_it_was_made_from() {
    let engine = Dockerd::start();
    let hostname = Path::new("/etc/hostname");
    engine.import("app:1", &[("/first", hostname)]);
    let env = env(&engine, "containers = [\"web\"]\nimages = [\"app:1\"]");
    let made = inspected(&engine, "app:1")["Id"].as_str().unwrap().to_owned();
    engine.docker(["create", "--name", "web", "--network", "none", "app:1", "sleep", "9"]);
    env.run(["backup"]).code(0);
    // Its name goes to another one, which is saved as well; then both are lost.
    engine.import("app:1", &[("/second", hostname)]);
    env.run(["backup", "docker.nas/image/*"]).code(0);
    engine.docker(["rm", "web"]);
    engine.docker(["rmi", "app:1", &made]);
    env.run(["restore", WEB, "--in-place", "--yes", "-n"])
        .code(0)
        .stderr_has("would load the image app:1 from the store");
    env.run(["restore", WEB, "--in-place", "--yes"]).code(0).stderr_has("loads the image app:1 from the store");
    assert_eq!(inspected(&engine, "web")["Image"], made);
    assert_eq!(engine.inspect("web", "{{.Config.Image}}"), "app:1");
}

#[test]
fn what_is_missing_beside_it_is_told_with_what_to_type_before_anything_is_touched() {
    let engine = Dockerd::start();
    let networks = Networks::make(&engine, &[("back", &["--subnet", "10.211.8.0/24"])]);
    engine.import("app:1", &[]);
    engine.filled_volume("data", "echo old >a");
    let web = "run --detach --name web --network back --ip 10.211.8.9 --volume data:/data app:1 sleep 900";
    engine.docker(web.split(' '));
    let env = env(&engine, "containers = [\"web\"]");
    env.run(["backup"]).code(0);
    engine.docker(["rm", "--force", "web"]);
    engine.docker(["volume", "rm", "data"]);
    drop(networks);
    env.run(["restore", WEB, "--in-place", "--yes"])
        .code(1)
        .stderr_has("it was connected to the network back, which is not there")
        .stderr_has("docker network create --subnet 10.211.8.0/24 back");
    engine.docker(["rmi", "app:1"]);
    env.run(["restore", WEB, "--in-place", "--yes"])
        .code(1)
        .stderr_has("there is no image app:1, neither in the engine nor in the store")
        .stderr_has("docker pull app:1");
    assert_eq!(engine.docker(["volume", "ls", "-q"]), "");
    let _networks = Networks::make(&engine, &[("back", &["--subnet", "10.211.8.0/24"])]);
    engine.import("app:1", &[]);
    env.run(["restore", WEB, "--in-place", "--yes"]).code(0);
    assert_eq!(engine.inspect("web", "{{.NetworkSettings.Networks.back.IPAMConfig.IPv4Address}}"), "10.211.8.9");
}

#[test]
fn port_that_is_taken_fails_the_start_and_leaves_the_container_made() {
    let engine = Dockerd::start();
    let _networks = Networks::make(&engine, &[("front", &[])]);
    let publish = ["run", "--detach", "--network", "front", "--publish", "127.0.0.1:38472:80", "--name"];
    engine.docker(publish.iter().chain(&["web", IMAGE, "sleep", "100"]));
    let env = env(&engine, "containers = [\"web\"]");
    env.run(["backup"]).code(0);
    engine.docker(["rm", "--force", "web"]);
    engine.docker(publish.iter().chain(&["other", IMAGE, "sleep", "100"]));
    env.run(["restore", WEB, "--in-place", "--yes"])
        .code(1)
        .stderr_has("start the container web")
        .stderr_has("38472")
        .stderr_has("docker start web");
    engine.docker(["rm", "--force", "other"]);
    engine.docker(["start", "web"]);
}

#[test]
fn rehearsal_runs_beside_the_original_and_cannot_disturb_it() {
    let engine = Dockerd::start();
    let _networks = Networks::make(&engine, &[("front", &[])]);
    let bind = engine.root().join("etc");
    fs::create_dir(&bind).unwrap();
    fs::write(bind.join("app.conf"), "right\n").unwrap();
    fs::write(engine.root().join("motto"), "one file\n").unwrap();
    engine.filled_volume("data", "echo old >a");
    let options = format!(
        "run --detach --name web --network front --publish 127.0.0.1:38473:80 --volume data:/data --volume {}:/etc/app \
         --volume {}:/motto --volume {}:/run/docker.sock --label com.docker.compose.project=p --label mine=1 --restart always \
         {IMAGE} sleep 1000",
        bind.display(),
        engine.root().join("motto").display(),
        engine.socket().display(),
    );
    engine.docker(options.split_whitespace());
    let env = env(&engine, "containers = [\"web\"]");
    env.run(["backup"]).code(0);
    let before = inspected(&engine, "web");
    env.run(["restore", WEB, "--as", "try"])
        .code(0)
        .stderr_has("the copy has nothing at /run/docker.sock")
        .stderr_has("docker start try");
    assert_eq!(engine.inspect("try", "{{.State.Status}}"), "created");
    engine.docker(["start", "try"]);
    assert_eq!(engine.docker(["exec", "try", "cat", "/data/a", "/etc/app/app.conf", "/motto"]), "old\nright\none file");
    let script = "echo lost >/data/a; echo lost >/etc/app/app.conf; ! echo lost 2>/dev/null >/motto";
    engine.docker(["exec", "try", "sh", "-c", script]);
    assert_eq!(fs::read_to_string(engine.volume("data").join("a")).unwrap(), "old\n");
    assert_eq!(fs::read_to_string(bind.join("app.conf")).unwrap(), "right\n");
    assert_eq!(fs::read_to_string(engine.root().join("motto")).unwrap(), "one file\n");
    assert_eq!(inspected(&engine, "web"), before);
    let copy = inspected(&engine, "try");
    assert_eq!(copy["Config"]["Labels"], serde_json::json!({"mine": "1"}));
    assert_eq!(copy["HostConfig"]["RestartPolicy"]["Name"], "no");
    assert_eq!(engine.docker(["volume", "ls", "-q"]), "data\ntry_bind0\ntry_data");
    env.run(["restore", WEB, "--as", "try"]).code(1).stderr_has("there is a container try already");
}

#[test]
fn what_was_mounted_from_the_engines_machine_goes_back_through_the_engine() {
    let engine = Dockerd::start();
    let bind = engine.root().join("etc");
    fs::create_dir(&bind).unwrap();
    fs::write(bind.join("app.conf"), "right\n").unwrap();
    let file = engine.root().join("motto");
    fs::write(&file, "one file\n").unwrap();
    let options = [format!("{}:/etc/app", bind.display()), format!("{}:/motto", file.display())];
    let create = [
        "create",
        "--name",
        "web",
        "--network",
        "none",
        "--volume",
        &options[0],
        "--volume",
        &options[1],
        IMAGE,
        "sleep",
        "9",
    ];
    engine.docker(create);
    let env = env(&engine, "containers = [\"web\"]\nread = \"api\"");
    env.run(["backup"]).code(0);
    fs::write(bind.join("app.conf"), "wrong\n").unwrap();
    env.run(["restore", &format!("{WEB}:/binds/0"), "--in-place", "--yes", "--verify"]).code(0);
    assert_eq!(fs::read_to_string(bind.join("app.conf")).unwrap(), "right\n");
    // A file cannot be exchanged under the mount of a helper.
    env.run(["restore", WEB, "--in-place", "--yes"]).code(3).stderr_has("which can only be replaced there");
    fs::remove_dir_all(&bind).unwrap();
    env.run(["restore", WEB, "--in-place", "--yes"]).code(3).stderr_has("make it first");
    assert!(!bind.exists());
}

#[test]
fn restore_of_a_container_is_undone_by_its_safety_point() {
    let engine = Dockerd::start();
    let bind = engine.root().join("etc");
    fs::create_dir(&bind).unwrap();
    fs::write(bind.join("app.conf"), "old\n").unwrap();
    engine.filled_volume("data", "echo old >a");
    let mount = format!("{}:/etc/app", bind.display());
    engine.docker([
        "create",
        "--name",
        "web",
        "--network",
        "none",
        "--volume",
        "data:/data",
        "--volume",
        &mount,
        IMAGE,
        "sleep",
        "9",
    ]);
    let env = env(&engine, "containers = [\"web\"]");
    env.run(["backup"]).code(0);
    engine.filled_volume("data", "echo new >a");
    fs::write(bind.join("app.conf"), "new\n").unwrap();
    let read =
        || [engine.volume("data").join("a"), bind.join("app.conf")].map(|file| fs::read_to_string(file).unwrap());
    let done = env.run(["restore", WEB, "--in-place", "--yes"]).code(0);
    assert_eq!(read(), ["old\n", "old\n"]);
    let safety = done.stderr.split("holdall restore ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    // Also when the container itself is gone by now.
    engine.docker(["rm", "web"]);
    env.run(["restore", &safety, "--in-place", "--yes", "--no-safety"]).code(0).stderr_has("makes the container web");
    assert_eq!(read(), ["new\n", "new\n"]);
}
