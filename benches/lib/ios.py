"""A virtual iPhone of our own, backed up by holdall into a store, and by idevicebackup2 into a folder.

Both speak with it through a muxer that the phone brings, with the same pairing record. How much of holdall's staging directory is in use is looked at while it runs.
"""

import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

from .common import PLACE, ROOT, fail

PEER = "idevicebackup2"
UDID = "00008110-000A1B2C3D4E5F60"
PROGRAM = ROOT / "target/release/examples/virtual-iphone"


class Phone:
    """A running phone."""

    def __init__(self, place: Path, files: int, size: int):
        socket = place / "usbmuxd"
        self.address = f"UNIX:{socket}"
        command = [str(PROGRAM), str(socket), "--udid", UDID, "--files", str(files), "--bytes", str(size)]
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hear("ready")

    def hear(self, word: str) -> None:
        line = self.process.stdout.readline().strip()
        if not line.startswith(word):
            fail(f"the virtual iPhone says {line!r} instead of {word!r}")

    def change(self, percent: int) -> None:
        """Changes this part of its files, each to other content of the same size."""
        self.process.stdin.write(f"change {percent}\n")
        self.process.stdin.flush()
        self.hear("changed")


class Client:
    """idevicebackup2, into a folder."""

    name = PEER

    def __init__(self, place: Path, phone: Phone):
        self.phone, self.place = phone, place
        (place / "home").mkdir(parents=True)
        done = subprocess.run(["idevicepair", "--udid", UDID, "pair"], env=self.environment(), capture_output=True, text=True)
        if done.returncode != 0:
            fail(f"idevicepair: {done.stdout.strip()}")
        self.begin_again()

    def begin_again(self) -> None:
        shutil.rmtree(self.place / "backup", ignore_errors=True)
        (self.place / "backup").mkdir()

    def backup(self) -> list[str]:
        return [PEER, "--udid", UDID, "backup", str(self.place / "backup")]

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.place / "home"), "USBMUXD_SOCKET_ADDRESS": self.phone.address}

    def stored(self) -> int:
        return size_of(self.place / "backup")


class Holdall:
    """holdall, into a store on the same disk."""

    name = "holdall"

    def __init__(self, place: Path, phone: Phone, program: Path):
        self.phone, self.place, self.program = phone, place, program
        for name in ("run", "cache"):
            (place / name).mkdir(parents=True)
        self.begin_again()

    def begin_again(self) -> None:
        for name in ("store", "cache", "config.toml", "store.password"):
            path = self.place / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        (self.place / "cache").mkdir()
        command = self.command("onboard", "store", str(self.place / "store"))
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            fail(f"holdall onboard store: {done.stderr.strip()}")
        with open(self.place / "config.toml", "a") as config:
            config.write(f'\n[ios.phone]\nudid = "{UDID}"\nstaging = "{self.staging()}"\n')

    def command(self, *words: str) -> list[str]:
        return [str(self.program), "--config", f"{self.place}/config.toml", *words]

    def backup(self) -> list[str]:
        return self.command("--no-progress", "--quiet", "backup")

    def environment(self) -> dict[str, str]:
        own = {"RUNTIME_DIRECTORY": f"{self.place}/run", "CACHE_DIRECTORY": f"{self.place}/cache"}
        return {"PATH": os.environ["PATH"], "HOME": str(self.place), "USBMUXD_SOCKET_ADDRESS": self.phone.address, **own}

    def staging(self) -> Path:
        return self.place / "staging"

    def stored(self) -> int:
        return size_of(self.place / "store")


class Watch:
    """The most bytes that a directory had while this was open."""

    def __init__(self, directory: Path):
        self.directory, self.most = directory, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self) -> None:
        while not self.over.wait(0.2):
            self.most = max(self.most, size_of(self.directory))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def size_of(directory: Path) -> int:
    """The bytes of all files below it; those that go meanwhile are none."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                pass
    return total


@contextmanager
def running(name: str, files: int, size: int, holdall: Path):
    """A phone with so many files of so many bytes together, and both rivals; gone afterwards."""
    built = subprocess.run(["cargo", "build", "--quiet", "--release", "--locked", "--example", "virtual-iphone"], cwd=ROOT)
    if built.returncode != 0:
        fail("the virtual iPhone cannot be built")
    place = PLACE / "ios" / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    phone = Phone(place, files, size)
    try:
        yield phone, Client(place / "client", phone), Holdall(place / "holdall", phone, holdall)
    finally:
        phone.process.kill()
        phone.process.wait()
        shutil.rmtree(place, ignore_errors=True)


def version() -> str:
    said = subprocess.run([PEER, "--version"], capture_output=True, text=True).stdout.strip()
    return said or PEER
