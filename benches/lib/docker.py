"""A container engine of our own, with a volume that is backed up in two ways: by holdall, and as DockBack does it.

DockBack starts a container of a small image in which the volume and a directory for backups are mounted, and has `tar -czf` of that image write an
archive of the one into the other. Its image is Alpine, whose tar and gzip are busybox's; there is no registry here, so ours has busybox alone.

The content of the volume is in memory, like all trees; the engine's own folder is on the disk.
"""

import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from .common import PLACE, fail
from .network import READY_WITHIN, WITH_THIS_SCRIPT
from .rivals import Rival

DOCKBACK = "DockBack's way"
DIRECT, API = "holdall, where it lies", "holdall, through the engine"
VOLUME, IMAGE, STACK = "data", "bench:latest", "shop"
# They end at once when they are told to, so that what is measured is not the patience of the engine.
IDLE = ["sh", "-c", "trap exit TERM; while :; do sleep 0.05; done"]


class Engine:
    """A running engine."""

    def __init__(self, place: Path):
        self.place = place
        self.host = f"unix://{place}/sock"

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.place), "DOCKER_HOST": self.host}

    def docker(self, *words: str, stdin=None) -> str:
        done = subprocess.run(["docker", *words], env=self.environment(), capture_output=True, text=True, stdin=stdin)
        return done.stdout.strip() if done.returncode == 0 else fail(f"docker {' '.join(words)}: {done.stderr.strip()}")

    def version(self) -> str:
        return self.docker("version", "--format", "Docker Engine {{.Server.Version}}")


class DockBack:
    """A container that packs the volume."""

    def __init__(self, engine: Engine):
        self.name, self.engine = DOCKBACK, engine
        self.place = PLACE / "stores/dockback"

    def begin_again(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)

    def backup(self) -> list[str]:
        mounts = ["--volume", f"{VOLUME}:/volume:ro", "--volume", f"{self.place}:/backup"]
        pack = ["sh", "-c", "tar -czf /backup/volume.tar.gz -C /volume ."]
        return ["docker", "run", "--rm", "--network", "none", *mounts, IMAGE, *pack]

    def environment(self) -> dict[str, str]:
        return self.engine.environment()

    def stored(self) -> int:
        return (self.place / "volume.tar.gz").stat().st_size


class HoldallOnEngine(Rival):
    """holdall, with the engine as its source."""

    def __init__(self, name: str, program: Path, stanza: str):
        super().__init__("holdall", program)
        self.name, self.stanza = name, stanza
        self.place = PLACE / "stores" / name.replace(" ", "")
        self.store = str(self.place / "store")

    def begin_again(self) -> None:
        super().begin_again()
        with open(self.place / "config.toml", "a") as config:
            config.write(f"\n{self.stanza}\n")


def rivals(engine: Engine, program: Path) -> list:
    def stanza(read: str) -> str:
        return f'[docker.nas]\nhost = "{engine.host}"\nvolumes = ["{VOLUME}"]\nread = "{read}"'

    ways = {DIRECT: "direct", API: "api"}
    return [DockBack(engine), *(HoldallOnEngine(name, program, stanza(read)) for name, read in ways.items())]


@contextmanager
def running(tree: Path):
    """An engine with a volume whose content is the tree; gone afterwards."""
    place = PLACE / "docker"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    engine = Engine(place)
    own = ["--data-root", place / "data", "--exec-root", place / "exec", "--pidfile", place / "pid", "-H", engine.host]
    alone = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--shutdown-timeout=1"]
    with open(place / "log", "w") as log:
        daemon = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", "--", "dockerd", *map(str, own), *alone], stdout=log, stderr=log)
    data = place / "data/volumes" / VOLUME / "_data"
    try:
        wait_for(engine, daemon)
        import_image(engine)
        engine.docker("volume", "create", VOLUME)
        subprocess.run(["mount", "--bind", tree, data], check=True)
        yield engine
    finally:
        containers = subprocess.run(["docker", "ps", "-aq"], env=engine.environment(), capture_output=True, text=True).stdout.split()
        if containers:
            subprocess.run(["docker", "rm", "-f", *containers], env=engine.environment(), capture_output=True)
        if data.is_mount():
            subprocess.run(["umount", data], check=True)
        daemon.terminate()
        daemon.wait()
        for mount in sorted((line.split()[1] for line in open("/proc/self/mounts") if f" {place}/" in line), reverse=True):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(place, ignore_errors=True)


def wait_for(engine: Engine, daemon: subprocess.Popen) -> None:
    begun = time.monotonic()
    while subprocess.run(["docker", "version"], env=engine.environment(), capture_output=True).returncode != 0:
        if daemon.poll() is not None or time.monotonic() > begun + READY_WITHIN:
            fail(f"dockerd does not start:\n{(engine.place / 'log').read_text()}")
        time.sleep(0.05)


def import_image(engine: Engine) -> None:
    """An image of busybox."""
    root = engine.place / "image"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin")
    for applet in ("sh", "tar", "gzip", "sleep"):
        (root / "bin" / applet).symlink_to("busybox")
    packed = subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE)
    engine.docker("import", "-", IMAGE, stdin=packed.stdout)


@contextmanager
def stack(engine: Engine):
    """Two containers of one stack, of which one needs the other and has the volume."""
    project = engine.place / "stacks" / STACK
    project.mkdir(parents=True)
    service = f"    image: {IMAGE}\n    network_mode: none\n    command: {json.dumps(IDLE)}\n"
    text = f"services:\n  db:\n{service}    volumes: [{VOLUME}:/data]\n  web:\n{service}    depends_on: [db]\nvolumes:\n  {VOLUME}:\n    external: true\n"
    (project / "docker-compose.yml").write_text(f'version: "3"\n{text}')
    subprocess.run(["/usr/bin/docker-compose", "up", "-d"], cwd=project, env=engine.environment(), check=True, capture_output=True)
    yield project.parent


def containers(engine: Engine) -> list[str]:
    """Of the stack, in the order in which they are started."""
    names = engine.docker("ps", "-a", "--format", "{{.Names}}").split()
    return sorted(names, key=lambda name: "db" not in name)


def stop_and_start(engine: Engine) -> float:
    """How long the stack is down when nothing but stopping and starting is done, in seconds."""
    names = containers(engine)
    for name in reversed(names):
        engine.docker("stop", name)
    for name in names:
        engine.docker("start", name)
    return down(engine)


def down(engine: Engine) -> float:
    """For how long a part of the stack was down when it was stopped last, in seconds."""
    states = [json.loads(engine.docker("inspect", "--format", "{{json .State}}", name)) for name in containers(engine)]
    return max(moment(state["StartedAt"]) for state in states) - min(moment(state["FinishedAt"]) for state in states)


def moment(text: str) -> float:
    """Seconds since 1970. Engines tell nanoseconds, of which six digits are understood here."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")
