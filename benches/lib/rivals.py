"""The two programs that are measured, each with a store, a cache and a configuration of its own."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from .common import PLACE, fail
from .measure import run

OLDEST_RESTIC = (0, 18)
LATER_SUITE = "trixie"
PASSWORD = "benchmark"


class Rival:
    """One of the two programs, with a store in a directory."""

    def __init__(self, name: str, program: Path, *sources: Path):
        self.name = name
        self.program = str(program)
        self.sources = [str(source) for source in sources]
        self.place = PLACE / "stores" / name
        self.store = str(self.place / "store")

    def begin_again(self) -> None:
        """Goes back to an empty store and an empty cache, set up as a user would."""
        shutil.rmtree(self.place, ignore_errors=True)
        for directory in ("cache", "run", "home"):
            (self.place / directory).mkdir(parents=True)
        password_file = self.place / "password"
        password_file.write_text(PASSWORD)
        password_file.chmod(0o600)
        if self.name == "restic":
            self.run("init")
        else:
            self.run("onboard", "store", self.store, "--password-file", str(password_file))
            for number, source in enumerate(self.sources):
                self.run("onboard", "files", f"tree{number}", source)

    def command(self, *words: str) -> list[str]:
        if self.name == "restic":
            password, cache = f"{self.place}/password", f"{self.place}/cache"
            return [self.program, "--repo", self.store, "--password-file", password, "--cache-dir", cache, *words]
        return [self.program, "--config", f"{self.place}/config.toml", *words]

    def backup(self) -> list[str]:
        if self.name == "restic":
            return self.command("--quiet", "backup", *self.sources)
        return self.command("--no-progress", "--quiet", "backup")

    def listing(self) -> list[str]:
        return self.command("snapshots" if self.name == "restic" else "list")

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": f"{self.place}/home",
            "CACHE_DIRECTORY": f"{self.place}/cache",
            "RUNTIME_DIRECTORY": f"{self.place}/run",
        }

    def run(self, *words: str) -> None:
        run(self.command(*words), self.environment())

    def stored(self) -> int:
        """Bytes in the files of the store."""
        return sum(file.stat().st_size for file in Path(self.store).rglob("*") if file.is_file())


class RivalOnS3(Rival):
    """One of the two programs, with a store behind the slow line of `server`."""

    def __init__(self, name: str, program: Path, source: Path, server):
        self.server = server
        super().__init__(name, program, source)

    def begin_again(self) -> None:
        self.store = self.server.fresh_bucket(self.name)
        super().begin_again()

    def command(self, *words: str) -> list[str]:
        return self.server.inside(super().command(*words))

    def environment(self) -> dict[str, str]:
        return super().environment() | self.server.credentials()

    def stored(self) -> int:
        return self.server.size_of_bucket(self.name)


def restic_program() -> Path:
    """The restic on PATH, or that of a later suite of Debian when it is too old."""
    found = shutil.which("restic")
    if found and version_of(found) >= OLDEST_RESTIC:
        return Path(found)
    unpacked = PLACE / "restic/usr/bin/restic"
    if not unpacked.exists():
        fetch_later_restic()
    if version_of(unpacked) < OLDEST_RESTIC:
        fail(f"{unpacked} is older than restic {'.'.join(map(str, OLDEST_RESTIC))}")
    return unpacked


def version_of(program) -> tuple[int, ...]:
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in re.search(r"(\d+)\.(\d+)", said).groups())


def fetch_later_restic() -> None:
    """Unpacks restic from a later suite of the Debian mirror that this machine uses; apt's own state stays as it is."""
    wanted = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(COMPONENT)", "Created-By: Packages"]
    lines = subprocess.run(wanted, capture_output=True, text=True, check=True).stdout.splitlines()
    mirrors = [line.split()[0] for line in lines if line.endswith(" main") and "security" not in line]
    if not mirrors:
        fail("apt on this machine names no Debian mirror: put restic 0.18 or newer on PATH")
    apt = PLACE / "apt"
    for directory in ("lists/partial", "cache/archives/partial", "parts"):
        (apt / directory).mkdir(parents=True, exist_ok=True)
    (apt / "sources.list").write_text(f"deb {mirrors[0]} {LATER_SUITE} main\n")
    options = [f"Dir::Etc::SourceList={apt}/sources.list", f"Dir::Etc::SourceParts={apt}/parts"]
    options += [f"Dir::State::Lists={apt}/lists", f"Dir::Cache={apt}/cache", "APT::Sandbox::User=root"]
    get = ["apt-get", "--quiet=2"] + [part for option in options for part in ("-o", option)]
    subprocess.run([*get, "update"], check=True)
    for old in apt.glob("restic_*.deb"):
        old.unlink()
    subprocess.run([*get, "download", "restic"], check=True, cwd=apt)
    (package,) = apt.glob("restic_*.deb")
    subprocess.run(["dpkg-deb", "-x", package, PLACE / "restic"], check=True)
