//! A machine for the tests: this one, with the programs of busybox and no others.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::Result;
use tempfile::TempDir;

use crate::source::ssh::connection::Ended;
use crate::source::ssh::shell::Shell;

/// Runs scripts on this machine.
pub(super) struct Local {
    /// Where its programs are.
    programs: TempDir,
    sh: PathBuf,
    /// How much of its output arrives, in bytes.
    pub(super) cut: usize,
}

impl Local {
    /// With the programs of busybox, and no others.
    pub(super) fn busybox() -> Self {
        let programs = tempfile::tempdir().unwrap();
        let list = Command::new("busybox").arg("--list").output().expect("run `scripts/deps test`");
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| PathBuf::from(path).exists()).unwrap();
        for name in String::from_utf8(list.stdout).unwrap().lines() {
            symlink(busybox, programs.path().join(name)).unwrap();
        }
        let sh = programs.path().join("sh");
        Self { programs, sh, cut: usize::MAX }
    }

    /// The same with another shell, which must be an absolute path. Other than the one of busybox, and its `xargs`, it takes the programs that are there,
    /// and not those that are built in.
    pub(super) fn with_shell(self, sh: &str) -> Self {
        for (name, program) in [("sh", sh), ("xargs", "/usr/bin/xargs")] {
            fs::remove_file(self.programs.path().join(name)).unwrap();
            symlink(program, self.programs.path().join(name)).unwrap();
        }
        Self { sh: sh.into(), ..self }
    }

    /// The same without a program.
    pub(super) fn without(self, name: &str) -> Self {
        fs::remove_file(self.programs.path().join(name)).unwrap();
        self
    }

    /// The same with a program: a script. The shell must be another one than busybox's.
    pub(super) fn with_program(self, name: &str, script: &str) -> Self {
        let path = self.programs.path().join(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, format!("#!{}/sh\n{script}", self.programs.path().display())).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }
}

impl Shell for Local {
    fn run(
        &mut self,
        script: &[u8],
        input: &mut dyn Read,
        output: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Ended> {
        let mut all = Vec::new();
        input.read_to_end(&mut all)?;
        let mut child = Command::new(&self.sh)
            .arg("-c")
            .arg(OsStr::from_bytes(script))
            .env_clear()
            .env("PATH", self.programs.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (mut stdin, mut stdout, mut stderr) =
            (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let writer = thread::spawn(move || {
            let _ = stdin.write_all(&all);
        });
        let reader = thread::spawn(move || {
            let mut complaints = Vec::new();
            stderr.read_to_end(&mut complaints).map(|_| complaints)
        });
        let mut buffer = vec![0; 20_000];
        let mut left = self.cut;
        let ran = loop {
            let read = stdout.read(&mut buffer)?.min(left);
            if read == 0 {
                break Ok(());
            }
            left -= read;
            if let Err(error) = output(&buffer[..read]) {
                break Err(error);
            }
        };
        // Who still writes is ended by that.
        drop(stdout);
        writer.join().unwrap();
        let complaints = reader.join().unwrap()?;
        let status = child.wait()?.code().unwrap_or(-1);
        ran.map(|()| Ended { status, complaints })
    }
}
