"""Two Incus servers of our own, with volumes that are copied from one to the other: by holdall, and by Incus's own client called for each of them.

Each program has volumes of its own, so that the snapshots of one are nothing new for the other. The pools are btrfs in files on the disk.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from .common import PLACE, fail
from .network import READY_WITHIN

INCUSD = "/usr/libexec/incus/incusd"
CLIENT, WITH_SNAPSHOT = "incus copy", "incus snapshot, copy"
POOL = "local"


class Server:
    """A running server."""

    def __init__(self, place: Path):
        self.place = place
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        # The one client has both servers as remotes.
        return {"PATH": os.environ["PATH"], "HOME": str(self.place), "INCUS_DIR": str(self.place / "incus"), "INCUS_CONF": str(self.place.parent / "client")}

    def incus(self, *words: str, stdin: str | None = None) -> str:
        done = subprocess.run(["incus", *words], env=self.environment(), capture_output=True, text=True, input=stdin)
        return done.stdout.strip() if done.returncode == 0 else fail(f"incus {' '.join(words)}: {done.stderr.strip()}")


class Client:
    """Incus's own client, called for each volume in turn."""

    def __init__(self, name: str, servers: tuple[Server, Server], volumes: list[str]):
        self.name, self.servers, self.volumes = name, servers, volumes

    def backup(self) -> list[str]:
        lines = []
        for volume in self.volumes:
            if self.name == WITH_SNAPSHOT:
                lines.append(f"incus storage volume snapshot create source:{POOL} {volume}")
            lines.append(f"incus --quiet storage volume copy source:{POOL}/{volume} target:{POOL}/{volume} --refresh")
        return ["sh", "-ec", "\n".join(lines)]

    def environment(self) -> dict[str, str]:
        return self.servers[0].environment()


class Holdall:
    """holdall, as somebody without a store uses it."""

    def __init__(self, program: Path, servers: tuple[Server, Server], pattern: str):
        self.name, self.program, self.servers = "holdall", program, servers
        self.place = servers[0].place.parent / "holdall"
        for name in ("run", "cache"):
            (self.place / name).mkdir(parents=True)
        token = [server.incus("config", "trust", "add", "holdall", "--quiet").splitlines()[-1] for server in servers]
        for role, text in zip(("source", "target"), token):
            (self.place / role).write_text(text)
        self.run("onboard", "incus", "lab", *(word for role, server in zip(("source", "target"), servers) for word in (f"--{role}-url", server.url, f"--{role}-token-file", str(self.place / role))))
        # Only its own volumes.
        config = self.place / "config.toml"
        text = config.read_text().partition("[[incus.lab.project]]")[0]
        config.write_text(f'{text}[[incus.lab.project]]\nname = "default"\nvolumes = [{{ name = "{pattern}" }}]\n')

    def run(self, *words: str) -> None:
        done = subprocess.run(self.command(*words), env=self.environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            fail(f"holdall {' '.join(words)}: {done.stderr.strip()}")

    def command(self, *words: str) -> list[str]:
        return [str(self.program), "--config", f"{self.place}/config.toml", *words]

    def backup(self) -> list[str]:
        return self.command("--no-progress", "--quiet", "backup")

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.place), "RUNTIME_DIRECTORY": f"{self.place}/run", "CACHE_DIRECTORY": f"{self.place}/cache"}


@contextmanager
def running():
    """Two servers that the client of the first one knows as `source` and `target`; gone afterwards."""
    place = PLACE / "incus"
    clear(place)
    servers = []
    try:
        for name in ("source", "target"):
            servers.append(start(place / name))
        for name, (server, daemon) in zip(("source", "target"), servers):
            set_up(server, daemon)
            token = server.incus("config", "trust", "add", "client", "--quiet").splitlines()[-1]
            server.incus("remote", "add", name, token)
        yield tuple(server for server, _ in servers)
    finally:
        for server, daemon in servers:
            shutdown = [INCUSD, "shutdown", "--force", "--timeout=20"]
            subprocess.run(shutdown, env=server.environment(), capture_output=True, check=False)
            daemon.kill()
            daemon.wait()
        clear(place)


def start(place: Path) -> tuple[Server, subprocess.Popen]:
    (place / "incus").mkdir(parents=True)
    (place.parent / "client").mkdir(exist_ok=True)
    server = Server(place)
    with open(place / "log", "w") as log:
        daemon = subprocess.Popen(["setpriv", "--pdeathsig", "PWR", "--", INCUSD, "--group", "root"], env=server.environment(), stdout=log, stderr=log)
    return server, daemon


def set_up(server: Server, daemon: subprocess.Popen) -> None:
    ready = subprocess.run([INCUSD, "waitready", f"--timeout={int(READY_WITHIN)}"], env=server.environment(), capture_output=True)
    if ready.returncode != 0 or daemon.poll() is not None:
        fail(f"incusd does not start:\n{(server.place / 'log').read_text()}")
    pools = [{"name": POOL, "driver": "btrfs", "config": {"size": "4GiB"}}]
    config = {"core.https_address": f"127.0.0.1:{server.port}", "images.auto_update_interval": "0"}
    server.incus("admin", "init", "--preseed", stdin=json.dumps({"config": config, "storage_pools": pools}))


def make_volumes(server: Server, prefix: str, count: int, size: int) -> list[str]:
    """Volumes with something in them that no compression makes smaller; `size` in bytes."""
    names = [f"{prefix}-{number}" for number in range(count)]
    for name in names:
        server.incus("storage", "volume", "create", POOL, name)
        (server.place / "incus/storage-pools" / POOL / "custom" / f"default_{name}" / "data").write_bytes(os.urandom(size))
    return names


def clear(place: Path) -> None:
    """Unmounts and removes what a run has left, also one that was killed."""
    for mount in sorted((line.split()[1] for line in open("/proc/self/mounts") if f" {place}/" in line), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)
    # A loop device goes with its last mount, but not at once.
    begun = time.monotonic()
    while f"{place}/" in subprocess.run(["losetup", "--list"], capture_output=True, text=True).stdout and time.monotonic() < begun + 5:
        time.sleep(0.05)
    shutil.rmtree(place, ignore_errors=True)
