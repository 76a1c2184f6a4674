"""How it is measured: the rivals take turns, and each process is asked for its own figures when it ends.

Wall time is from just before the process starts to its end. CPU seconds are user and system time, and the peak is the most memory
that was resident, of the process and of the children that it waited for, as the kernel counts them (wait4).
"""

import os
import signal
import tempfile
import time
from dataclasses import dataclass
from statistics import median

from .common import MB, fail, say


@dataclass
class Sample:
    """One run of one program."""

    wall: float
    cpu: float
    # In bytes. Linux starts to count before the program is executed: at what this script has resident, some 20 MiB.
    peak: int
    # Bytes over the line; None where that was not asked.
    wire: int | None = None


@dataclass
class Figures:
    """All runs of one program at one piece of work."""

    samples: list[Sample]
    # Bytes in the store afterwards; None where that was not asked.
    stored: int | None = None

    def spread(self, what: str) -> tuple[float, float, float]:
        """Median, least and most of `wall` or `cpu`, in seconds."""
        values = [getattr(sample, what) for sample in self.samples]
        return median(values), min(values), max(values)

    def peak(self) -> int:
        """The highest of the peaks: memory must suffice every time."""
        return max(sample.peak for sample in self.samples)

    def wire(self) -> int:
        """The median of the bytes over the line."""
        return round(median(sample.wire for sample in self.samples))


def run(command: list[str], environment: dict[str, str]) -> Sample:
    """Runs a command to its end; anything but success ends the measurement."""
    with tempfile.TemporaryFile("w+") as said:
        output = [(os.POSIX_SPAWN_DUP2, said.fileno(), to) for to in (1, 2)]
        begun = time.monotonic()
        process = os.posix_spawnp(command[0], command, environment, file_actions=output)
        try:
            _, status, usage = os.wait4(process, 0)
        except BaseException:
            # This script is told to end: what it has started ends first.
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            raise
        wall = time.monotonic() - begun
        if status != 0:
            said.seek(0)
            fail(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}\n{said.read()}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def race(
    rivals, what: str, runs: int, afresh: bool = False, command=lambda rival: rival.backup(), meter=None
) -> dict[str, Figures]:
    """Has each rival run its command in turn, `runs` times; `afresh` each time with an empty store, whose size counts then.

    `meter` tells how many bytes went over the line so far."""
    results = {rival.name: Figures([]) for rival in rivals}
    for number in range(runs):
        for rival in rivals:
            if afresh:
                rival.begin_again()
            # Nobody is to write out what another has left dirty.
            os.sync()
            before = meter() if meter else 0
            sample = run(command(rival), rival.environment())
            figures = f"{sample.wall:.2f} s, {sample.cpu:.2f} CPU s, {sample.peak >> 20} MiB"
            if meter:
                sample.wire = meter() - before
                figures += f", {sample.wire / MB:.2f} MB over the line"
            results[rival.name].samples.append(sample)
            say(f"{what}, {number + 1} of {runs}, {rival.name}: {figures}")
    if afresh:
        for rival in rivals:
            results[rival.name].stored = rival.stored()
    return results
