//! A real sshd on the loopback interface that gives SFTP and nothing else, and a session with it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ssh2::{Session, Sftp};
use tempfile::TempDir;

/// How long it may take to be ready; a loaded machine needs some of it.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running server, ended when dropped, and somebody who is logged in.
pub(super) struct Server {
    pub(super) sftp: Arc<Sftp>,
    _session: Session,
    child: Child,
    _directory: TempDir,
}

impl Server {
    pub(super) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for key in ["host_key", "client_key"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(key)));
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let root = directory.path().display();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {root}/host_key\nAuthorizedKeysFile {root}/client_key.pub\nPidFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPermitRootLogin prohibit-password\n\
             StrictModes no\nSubsystem sftp internal-sftp\nForceCommand internal-sftp\n"
        );
        fs::write(at("sshd_config"), config).unwrap();
        if rustix::process::geteuid().is_root() {
            // Where Debian's sshd locks up what it does before a login.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        // A test that is killed drops nothing: then the kernel ends it.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "/usr/sbin/sshd", "-D", "-f"])
            .arg(at("sshd_config"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let session = session(port, &at("client_key"));
        let sftp = Arc::new(session.sftp().unwrap());
        Self { sftp, _session: session, child, _directory: directory }
    }

    /// Ends the server and every connection, as a loss of power would.
    pub(super) fn kill(&mut self) {
        // The connection is served by children of its own.
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let mut pids = vec![self.child.id().to_string()];
        while let Some(pid) = pids.pop() {
            let children = fs::read_to_string(children.replace(&self.child.id().to_string(), &pid)).unwrap_or_default();
            pids.extend(children.split_whitespace().map(str::to_owned));
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn session(port: u16, key: &Path) -> Session {
    let begun = Instant::now();
    let stream = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(begun.elapsed() < READY_WITHIN, "sshd is not ready: {error}"),
        }
        thread::sleep(Duration::from_millis(20));
    };
    let mut session = Session::new().unwrap();
    session.set_tcp_stream(stream);
    session.handshake().unwrap();
    let user = run(Command::new("id").arg("-un"));
    session.userauth_pubkey_file(user.trim(), None, key, None).unwrap();
    session
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run `scripts/deps test`"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
