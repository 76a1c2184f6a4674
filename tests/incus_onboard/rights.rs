//! Certificates that a server lets into some projects only.

use crate::setup::Setup;
use crate::support::incusd::LOCAL;

fn lab() -> Setup {
    let setup = Setup::new();
    for server in [&setup.source, &setup.target] {
        let shared = ["-c", "features.profiles=false", "-c", "features.images=false"];
        server.incus(["project", "create", "lab"].iter().chain(&shared));
    }
    setup
}

#[test]
fn restricted_certificate_backs_up_the_projects_it_is_for() {
    let setup = lab();
    setup.source.create("c1", &["--project", "lab"]);
    setup.source.create("hidden", &[]);
    setup.source.volume(LOCAL, "lab/v1", "echo x >x");
    let options = ["--restricted", "--projects", "lab"];
    let tokens = [setup.token(&setup.source, &options), setup.token(&setup.target, &options)];
    let arguments = ["--source-token-file", &tokens[0], "--target-token-file", &tokens[1]];
    setup
        .onboard(&arguments)
        .code(0)
        .stderr_has("it trusts us now, for some projects only: lab.")
        .stderr_has("project lab: 1 instance (c1); 1 volume (v1)")
        .stderr_lacks("hidden");
    assert!(setup.config().contains("name = \"lab\"\n") && !setup.config().contains("default"), "{}", setup.config());
    setup.env.run(["backup", "--no-progress"]).code(0);
    assert_eq!(setup.target.snapshots("lab", "volume", "local/v1").len(), 1);
    assert_eq!(setup.target.snapshots("lab", "instance", "c1").len(), 1);
    setup.env.run(["list"]).code(0).stdout_has("incus.lab/lab/volume/v1").stdout_has("incus.lab/lab/instance/c1");
}

#[test]
fn project_that_a_restricted_certificate_is_not_for_is_refused_with_the_command_that_lets_us_in() {
    let setup = lab();
    let options = ["--restricted", "--projects", "default"];
    let tokens = [setup.token(&setup.source, &options), setup.token(&setup.target, &options)];
    setup
        .onboard(&["--source-token-file", &tokens[0], "--target-token-file", &tokens[1], "--project", "lab"])
        .code(2)
        .stderr_has("our certificate on the source is restricted to other projects than lab: default")
        .stderr_has("--restricted --projects lab");
    assert!(!setup.env.config_file().exists());

    let config = format!(
        "[incus.lab]\nsource = \"{}\"\ntarget = \"{}\"\n[[incus.lab.project]]\nname = \"lab\"\ninstances = [{{ name = \"*\" }}]\n",
        setup.source.url(),
        setup.target.url()
    );
    setup.env.config(&config);
    setup.env.run(["backup"]).code(1).stderr_has("project \"lab\"");
}
