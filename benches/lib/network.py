"""An S3 server behind a slow line: SeaweedFS in a network namespace, with `delay.py` between it and the rivals.

The namespace has no name. It is that of the process that delays, and ends with the last process in it; all of them are told
by the kernel to end with this script (PDEATHSIG), so that nothing remains however it ends.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from . import delay
from .common import PLACE, ROOT, fail, say

# The ports are our own in the namespace, but SeaweedFS also makes sockets in /tmp that are named after them.
PORTS = {"master": 23333, "volume": 28080, "filer": 28888, "s3": 28333}
ACCESS_KEY_ID, SECRET_ACCESS_KEY = "holdall-bench", "not-so-secret-7c1f"
READY_WITHIN = 60
WITH_THIS_SCRIPT = ["setpriv", "--pdeathsig", "KILL", "--"]


class SlowS3:
    """A running server; what is called "inside" runs in its namespace and reaches it at delay.FAR."""

    def __init__(self, place: Path, line: subprocess.Popen):
        self.place = place
        self.line = line
        self.weed = str(ROOT / "target/venv/bin/weed")
        if not Path(self.weed).exists():
            fail("SeaweedFS is not installed: run `scripts/deps bench`")
        self.buckets = {}

    def inside(self, command: list[str]) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.line.pid}/ns/net", "--", *command]

    def credentials(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY, "AWS_REGION": "us-east-1"}

    def command(self) -> list[str]:
        keys = [{"accessKey": ACCESS_KEY_ID, "secretKey": SECRET_ACCESS_KEY}]
        identity = {"name": "bench", "credentials": keys, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        (self.place / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (self.place / "data").mkdir()
        return [
            *(self.weed, f"-logdir={self.place}", "server", "-s3", f"-dir={self.place}/data", f"-s3.config={self.place}/s3.json"),
            # Its parts speak to each other on the loopback device, which is not slow.
            *("-ip=127.0.0.1", "-ip.bind=0.0.0.0", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            # Volumes are made on demand, seven at a time for a bucket, and go with it.
            *("-master.volumeSizeLimitMB=1024", "-volume.max=100", "-volume.preStopSeconds=0"),
            *(f"-{part}.port={port}" for part, port in PORTS.items()),
        ]

    def shell(self, script: str) -> str:
        """What SeaweedFS's own shell says to a command."""
        shell = [self.weed, "shell", f"-master=127.0.0.1:{PORTS['master']}", f"-filer=127.0.0.1:{PORTS['filer']}"]
        done = subprocess.run(self.inside(shell), input=script + "\n", capture_output=True, text=True, cwd=self.place)
        return done.stdout + done.stderr

    def fresh_bucket(self, owner: str) -> str:
        """An empty bucket, as restic and holdall spell it; the one that this rival had before goes."""
        if owner in self.buckets:
            self.shell(f"s3.bucket.delete -name {self.buckets[owner]}")
        number = int(self.buckets.get(owner, "-0").rpartition("-")[2]) + 1
        self.buckets[owner] = f"{owner}-{number}"
        said = self.shell(f"s3.bucket.create -name {self.buckets[owner]}")
        if "created bucket" not in said:
            fail(f"SeaweedFS made no bucket: {said}")
        return f"s3:http://{delay.FAR}:{PORTS['s3']}/{self.buckets[owner]}/store"

    def size_of_bucket(self, owner: str) -> int:
        """Bytes of all objects in the newest bucket of this rival."""
        said = self.shell(f"fs.du /buckets/{self.buckets[owner]}")
        size = re.search(r"logical size:\s*(\d+)", said)
        return int(size.group(1)) if size else fail(f"SeaweedFS does not say how large a bucket is: {said}")

    def listening(self) -> set[int]:
        """Ports that anybody listens to in the namespace."""
        lines = [line.split() for kind in ("tcp", "tcp6") for line in open(f"/proc/{self.line.pid}/net/{kind}")]
        return {int(words[1].rpartition(":")[2], 16) for words in lines if words[3] == "0A"}

    def wait_until_ready(self, server: subprocess.Popen) -> None:
        begun = time.monotonic()
        while not self.listening() >= set(PORTS.values()):
            if server.poll() is not None or time.monotonic() > begun + READY_WITHIN:
                fail(f"SeaweedFS does not start:\n{(self.place / 'log').read_text()}")
            time.sleep(0.1)

    def round_trip(self) -> float:
        """Seconds that a connection through the line takes to be there: one round trip."""
        script = f"""if True:
            import socket, time
            begun = time.monotonic()
            socket.create_connection(("{delay.FAR}", {PORTS["s3"]}), 10)
            print(time.monotonic() - begun)"""
        return float(subprocess.run(self.inside([sys.executable, "-c", script]), capture_output=True, check=True).stdout)


@contextmanager
def slow_s3(round_trip: float):
    """A server that answers no sooner than after `round_trip` seconds; it and its data are gone afterwards."""
    place = PLACE / "s3"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    started = []
    try:
        line = [*WITH_THIS_SCRIPT, "unshare", "--net", "--", sys.executable, delay.__file__, str(round_trip / 2)]
        started.append(subprocess.Popen(line))
        # unshare becomes the program that delays: from then on the namespace of this process is the new one.
        while Path(f"/proc/{started[0].pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            time.sleep(0.01)
        s3 = SlowS3(place, started[0])
        # It reads `filer.toml` and the like from the working directory and from the home directory.
        surroundings = {"cwd": place, "env": {"HOME": str(place), "PATH": "/usr/bin:/bin"}}
        with open(place / "log", "w") as log:
            server = subprocess.Popen(s3.inside([*WITH_THIS_SCRIPT, *s3.command()]), stdout=log, stderr=log, **surroundings)
        started.append(server)
        s3.wait_until_ready(server)
        measured = min(s3.round_trip() for _ in range(5))
        if not round_trip <= measured < 1.2 * round_trip:
            fail(f"the slow line takes {measured * 1000:.1f} ms for a round trip, not {round_trip * 1000:.0f}")
        say(f"the slow line takes {measured * 1000:.1f} ms for a round trip")
        yield s3
    finally:
        # Asked to end, SeaweedFS takes ten seconds to hand over volumes that nobody will read again.
        for process in reversed(started):
            process.kill()
            process.wait()
        for port in PORTS.values():
            # gRPC has the port that is higher by 10,000.
            for name in (f"seaweedfs-*-{port}.sock", f"seaweedfs-*-{port + 10_000}.sock"):
                for socket in Path("/tmp").glob(name):
                    socket.unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)
