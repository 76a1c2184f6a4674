"""A machine that is backed up over SSH: an sshd of our own at the other end of a line whose bytes the kernel counts.

Server and programs stand in a network namespace each, and a pair of virtual Ethernet devices joins them. These pass packets on as fast as
the loopback device does, and count the same for every program and in both directions. The namespaces have no name: they are those
of the server and of a process that sleeps, which the kernel ends with this script (PDEATHSIG).

The server, the line and what is measured share the processor. Cipher, MAC and key exchange are what client and server agree on by
themselves: nobody gets a cheaper one.
"""

import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from .common import PLACE, fail
from .network import READY_WITHIN, WITH_THIS_SCRIPT
from .rivals import Rival

CLIENT, SERVER, PORT = "10.98.77.1", "10.98.77.2", 22
DEVICE = "line"
RSYNC, RSYNC_Z = "rsync -a", "rsync -az"


class Machine:
    """The machine that is backed up; what is called "inside" runs at the other end of the line and reaches it at SERVER."""

    def __init__(self, place: Path, client: subprocess.Popen):
        self.place = place
        self.client = client
        self.fingerprint = said("ssh-keygen", "-lf", f"{place}/host_key").split()[1]

    def inside(self, command: list[str]) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.client.pid}/ns/net", "--", *command]

    def bytes_on_the_line(self) -> int:
        """Sent and received so far, with all headers. A packet counts as the kernel hands it on: up to 64 KiB in one."""
        for row in Path(f"/proc/{self.client.pid}/net/dev").read_text().splitlines():
            name, _, counters = row.strip().partition(":")
            if name == DEVICE:
                return int(counters.split()[0]) + int(counters.split()[8])
        return fail(f"there is no device {DEVICE}")


class HoldallOverSsh(Rival):
    """holdall, with a store in a directory and the machine as its source."""

    def __init__(self, program: Path, machine: Machine, tree: Path):
        super().__init__("holdall", program)
        self.machine, self.tree = machine, tree

    def begin_again(self) -> None:
        super().begin_again()
        with open(self.place / "config.toml", "a") as config:
            config.write(
                f'\n[ssh.machine]\nhost = "{SERVER}"\nport = {PORT}\nuser = "root"\n'
                f'key-file = "{self.machine.place}/client_key"\nhost-key = "{self.machine.fingerprint}"\npaths = ["{self.tree}"]\n'
            )

    def command(self, *words: str) -> list[str]:
        return self.machine.inside(super().command(*words))


class Rsync:
    """rsync over the system's ssh, into a plain directory."""

    def __init__(self, name: str, machine: Machine, tree: Path):
        self.name = name
        self.machine, self.tree = machine, tree
        self.place = PLACE / "stores" / name.replace(" ", "")

    def begin_again(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        (self.place / "home").mkdir(parents=True)
        (self.place / "copy").mkdir()

    def backup(self) -> list[str]:
        ssh = f"ssh -F {self.machine.place}/ssh_config"
        return self.machine.inside([*self.name.split(), "-e", ssh, f"root@{SERVER}:{self.tree}/", f"{self.place}/copy/"])

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": f"{self.place}/home"}

    def stored(self) -> int:
        return sum(file.stat().st_size for file in (self.place / "copy").rglob("*") if file.is_file() and not file.is_symlink())


@contextmanager
def machine():
    """A machine that root can log in to with a key; gone afterwards."""
    place = PLACE / "ssh"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for key in ("host_key", "client_key"):
        said("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", f"{place}/{key}")
    (place / "sshd_config").write_text(
        f"ListenAddress {SERVER}:{PORT}\nHostKey {place}/host_key\nAuthorizedKeysFile {place}/client_key.pub\nStrictModes no\n"
        "PidFile none\nUsePAM no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
    )
    (place / "known_hosts").write_text(f"{SERVER} {(place / 'host_key.pub').read_text()}")
    (place / "ssh_config").write_text(
        f"IdentityFile {place}/client_key\nIdentitiesOnly yes\nUserKnownHostsFile {place}/known_hosts\n"
        "GlobalKnownHostsFile none\nStrictHostKeyChecking yes\nBatchMode yes\n"
    )
    # Where Debian's sshd locks up what it does before a login; its own unit makes it at boot.
    Path("/run/sshd").mkdir(exist_ok=True)
    started = []
    try:
        client = in_namespace(started, "sleep", "infinity")
        # It waits for its end of the line, which can only be there after its namespace is.
        waiting = f"until ip address show {DEVICE} 2>/dev/null | grep -q {SERVER}; do sleep 0.05; done"
        with open(place / "log", "w") as log:
            server = in_namespace(started, "sh", "-c", f"{waiting}; exec /usr/sbin/sshd -D -e -f {place}/sshd_config", output=log)
        at = {end.pid: ["nsenter", f"--net=/proc/{end.pid}/ns/net", "--", "ip"] for end in (client, server)}
        said(*at[client.pid], *f"link add {DEVICE} type veth peer name {DEVICE} netns {server.pid}".split())
        for end, address in ((client, CLIENT), (server, SERVER)):
            said(*at[end.pid], "link", "set", DEVICE, "up")
            said(*at[end.pid], "address", "add", f"{address}/24", "dev", DEVICE)
        wait_for_server(server, place / "log")
        yield Machine(place, client)
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()
        shutil.rmtree(place, ignore_errors=True)


def in_namespace(started: list, *command: str, output=None) -> subprocess.Popen:
    """Starts a command in a network namespace of its own, and waits until it is there."""
    process = subprocess.Popen([*WITH_THIS_SCRIPT, "unshare", "--net", "--", *command], stdout=output, stderr=output)
    started.append(process)
    while Path(f"/proc/{process.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
        time.sleep(0.01)
    return process


def wait_for_server(server: subprocess.Popen, log: Path) -> None:
    begun = time.monotonic()
    while "Server listening" not in log.read_text():
        if server.poll() is not None or time.monotonic() > begun + READY_WITHIN:
            fail(f"sshd does not start:\n{log.read_text()}")
        time.sleep(0.05)


def versions() -> str:
    """Of the programs that holdall is compared with."""
    rsync = said("rsync", "--version").split()[2]
    # It tells its version as an error.
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.split(",")[0].split()[0]
    return f"rsync {rsync}, {ssh.replace('_', ' ')}"


def said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else fail(f"{' '.join(command)}: {done.stderr.strip()}")
