"""The tables of doc/performance.md: each stands between two marks, and the rest of the page is written by people.

What is measured alone (`--only`) takes its place in the tables; the rows of earlier measurements stay, and so does the line that
says on what machine and from which commit they were measured.
"""

import os
import platform
import re
import subprocess
from pathlib import Path
from statistics import median

from .common import MB, MIB, PLACE, ROOT, fail, say
from .measure import Figures

PAGE = ROOT / "doc/performance.md"
HEADS = {
    "time": "| work | backup | restic | holdall | part | restic, CPU | holdall, CPU | part | at most | |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|--:|---|",
    "room": "| work | backup | restic, peak | holdall, peak | part | restic, stored | holdall, stored | part | |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|---|",
    "ssh": "| work | backup | rsync -a | rsync -az | holdall | part of -a | part of -az | at most | holdall, peak | |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|--:|---|",
    "wire": "| work | backup | rsync -a | rsync -az | holdall | part of -a | |\n|---|---|--:|--:|--:|--:|---|",
    "docker": "| work | backup | DockBack's way | holdall | part | at most | archive | store | |\n|---|---|--:|--:|--:|--:|--:|--:|---|",
    "down": "| work | stop and start alone | held by holdall | beyond | at most | |\n|---|--:|--:|--:|--:|---|",
    "incus": "| work | incus copy --refresh | with a snapshot | holdall | part | part with a snapshot | at most | |\n|---|--:|--:|--:|--:|--:|--:|---|",
    "ios": "| work | backup | idevicebackup2 | holdall | part | at most | holdall, peak | in staging | |\n|---|---|--:|--:|--:|--:|--:|--:|---|",
    "list": "| what | restic | holdall | part |\n|---|--:|--:|--:|",
}
# Peaks are to be no higher than restic's, stores larger by no more than 2 %.
MOST_PEAK, MOST_STORED = 1.0, 1.02
# Over SSH holdall is to send and receive no more than rsync does when nothing changed.
MOST_WIRE = 1.0
# A load average above it, before the first run, means that something else had the processor.
QUIET = 0.5


# --- Rows: a dictionary by table; each row is (work, backup) and its text


def backup_rows(work: str, backup: str, results: dict[str, Figures], target) -> dict[str, list]:
    """The rows of one backup. `target` has the greatest parts of wall and CPU seconds, and the highest peak in bytes."""
    restic, holdall = results["restic"], results["holdall"]
    key = (work, backup)
    wall, cpu = (part(restic.spread(what)[0], holdall.spread(what)[0]) for what in ("wall", "cpu"))
    cells = [spread(restic.spread("wall")), spread(holdall.spread("wall")), f"{wall:.2f}"]
    cells += [spread(restic.spread("cpu")), spread(holdall.spread("cpu")), f"{cpu:.2f}"]
    limits = {"wall": (wall, target.wall), "CPU": (cpu, target.cpu)}
    cells += [" / ".join("–" if most is None else f"{most}" for _, most in limits.values()), verdict(limits)]
    time = row(key, cells)

    peak = part(restic.peak(), holdall.peak())
    cells = [f"{restic.peak() / MIB:.0f} MiB", f"{holdall.peak() / MIB:.0f} MiB", f"{peak:.2f}"]
    limits = {"peak": (peak, MOST_PEAK), "the limit of memory": (holdall.peak(), target.peak)}
    if restic.stored is None or holdall.stored is None:
        cells += ["", "", ""]
    else:
        stored = part(restic.stored, holdall.stored)
        cells += [f"{restic.stored / MB:,.1f} MB", f"{holdall.stored / MB:,.1f} MB", f"{stored:.3f}"]
        limits["stored"] = (stored, MOST_STORED)
    return {"time": [(key, time)], "room": [(key, row(key, [*cells, verdict(limits)]))]}


def list_row(what: str, results: dict[str, Figures]) -> dict[str, list]:
    restic, holdall = (results[name].spread("wall") for name in ("restic", "holdall"))
    return {"list": [((what,), row((what,), [spread(restic), spread(holdall), f"{part(restic[0], holdall[0]):.2f}"]))]}


def ssh_rows(work: str, backup: str, results: dict[str, Figures], target) -> dict[str, list]:
    """The rows of one backup over SSH. `target` has the greatest parts of the wall seconds of both ways of rsync, and the highest peak."""
    plain, packed, holdall = (results.get(name) for name in ("rsync -a", "rsync -az", "holdall"))
    key = (work, backup)
    rivals = {"rsync -a": (plain, target.plain), "rsync -az": (packed, target.packed)}
    limits = {name: (part(middle(rival), middle(holdall)), most) for name, (rival, most) in rivals.items() if rival}
    parts = [f"{limits[name][0]:.2f}" if name in limits else "" for name in rivals]
    asked = " / ".join("–" if most is None else f"{most}" for _, most in rivals.values())
    limits["peak"] = (holdall.peak(), target.peak)
    cells = [spread(rival.spread("wall")) if rival else "" for rival in (plain, packed, holdall)]
    cells += [*parts, asked, f"{holdall.peak() / MIB:.0f} MiB", verdict(limits)]

    wire = part(plain.wire(), holdall.wire())
    sent = [f"{rival.wire() / MB:,.2f} MB" if rival else "" for rival in (plain, packed, holdall)]
    # Content travels uncompressed in both: only what is told of unchanged files can be more or less.
    sent += [f"{wire:.3f}", "–" if packed else verdict({"bytes": (wire, MOST_WIRE)})]
    return {"ssh": [(key, row(key, cells))], "wire": [(key, row(key, sent))]}


def docker_rows(work: str, first: dict[str, Figures], again: Figures, limits: tuple) -> dict[str, list]:
    """The rows of a volume. `limits` has the greatest parts of the wall seconds of DockBack's way: first, unchanged, through the engine."""
    dockback, direct, api = first.values()
    rows = []
    backups = (("first", direct, limits[0]), ("unchanged", again, limits[1]), ("first, through the engine", api, limits[2]))
    for backup, holdall, most in backups:
        key = (work, backup)
        wall = part(middle(dockback), middle(holdall))
        stored = "" if holdall.stored is None else f"{holdall.stored / MB:,.1f} MB"
        cells = [spread(dockback.spread("wall")), spread(holdall.spread("wall")), f"{wall:.3f}", f"{most}"]
        cells += [f"{dockback.stored / MB:,.1f} MB", stored, verdict({"wall": (wall, most)})]
        rows.append((key, row(key, cells)))
    return {"docker": rows}


def down_row(what: str, own: list[float], held: list[float], most: float) -> list:
    """For how long a stack is down: when it is only stopped and started, and when it is backed up."""
    beyond = median(held) - median(own)
    cells = [spread((median(times), min(times), max(times))) for times in (own, held)]
    cells += [f"{beyond:.2f} s", f"{most} s", verdict({"down": (beyond, most)})]
    return [((what,), row((what,), cells))]


def incus_row(what: str, results: dict[str, Figures], most: float) -> dict[str, list]:
    """One run over all volumes, beside Incus's own client called for each of them: only to copy, and to make a snapshot before."""
    copy, with_snapshot, holdall = results.values()
    parts = [part(middle(rival), middle(holdall)) for rival in (copy, with_snapshot)]
    cells = [spread(figures.spread("wall")) for figures in (copy, with_snapshot, holdall)]
    cells += [*(f"{each:.2f}" for each in parts), f"{most}", verdict({"wall": (parts[0], most)})]
    return {"incus": [((what,), row((what,), cells))]}


def ios_row(work: str, backup: str, results: dict[str, Figures], most: float, peak: int, staged: int) -> tuple:
    """The row of one backup of a phone. `most` is the greatest part of the peer's wall seconds, `peak` the most memory, `staged` what was in staging; in bytes."""
    peer, holdall = results.values()
    key = (work, backup)
    wall = part(middle(peer), middle(holdall))
    cells = [spread(peer.spread("wall")), spread(holdall.spread("wall")), f"{wall:.2f}", f"{most}"]
    cells += [f"{holdall.peak() / MIB:.0f} MiB", f"{staged / MB:,.1f} MB", verdict({"wall": (wall, most), "peak": (holdall.peak(), peak)})]
    return key, row(key, cells)


def middle(figures: Figures) -> float:
    return figures.spread("wall")[0]


def row(key: tuple, cells: list[str]) -> str:
    return "| " + " | ".join([*key, *cells]) + " |"


def spread(measured: tuple[float, float, float]) -> str:
    middle, least, most = measured
    return f"{middle:.2f} s ({least:.2f}–{most:.2f})"


def part(other: float, holdall: float) -> float:
    return holdall / other


def verdict(limits: dict[str, tuple]) -> str:
    """Whether every value is within its limit, or which are not."""
    limits = {name: pair for name, pair in limits.items() if pair[1] is not None}
    missed = [name for name, (value, most) in limits.items() if value > most]
    if not limits:
        return ""
    return f"**missed: {', '.join(missed)}**" if missed else "met"


# --- The page


def write(rows: dict[str, list], machine: str, works: list[str], measured: list[str]) -> None:
    """Puts new rows into their tables. `works` is the order of all works, `measured` are those of the new rows."""
    page = PAGE.read_text()
    for table, head in HEADS.items():
        # A row is known by the work and, where there are several, by the backup.
        length = 1 if table in ("list", "down", "incus") else 2
        old = [(cells_of(line)[:length], line) for line in marked(page, table).splitlines()[2:]]
        kept = [(key, line) for key, line in old if key[0] in works and key[0] not in measured]
        everything = sorted(rows.get(table, []) + kept, key=lambda entry: (works.index(entry[0][0]), entry[0][1:]))
        page = with_marked(page, table, "\n".join([head, *(line for _, line in everything)]))
    page = with_marked(page, "machine", machines(marked(page, "machine"), machine, works, measured))
    PAGE.write_text(page)
    say(f"written: {PAGE.relative_to(ROOT)}")


def show(rows: dict[str, list], machine: str) -> None:
    """Prints the tables instead."""
    print(machine)
    for table, new in rows.items():
        print("\n".join(["", HEADS[table], *(line for _, line in new)]))


def cells_of(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip("|").split("|"))


def machines(old: str, machine: str, works: list[str], measured: list[str]) -> str:
    """One line for each measurement of which there are rows: "- work; work: what it was measured with"."""
    by_machine = {}
    for line in old.splitlines():
        names, _, said = line.removeprefix("- ").partition(": ")
        by_machine[said] = [work for work in names.split("; ") if work in works and work not in measured]
    by_machine[machine] = by_machine.get(machine, []) + measured
    return "\n".join(f"- {'; '.join(sorted(names, key=works.index))}: {said}" for said, names in by_machine.items() if names)


def marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: written by benches/compare -->\n", f"<!-- end of {name} -->"


def marked(page: str, name: str) -> str:
    begin, end = marks(name)
    found = re.search(re.escape(begin) + "(.*?)" + re.escape(end), page, re.DOTALL)
    return found.group(1) if found else fail(f"{PAGE} has no place for {name}: {begin}{end}")


def with_marked(page: str, name: str, text: str) -> str:
    begin, end = marks(name)
    return page.replace(begin + marked(page, name) + end, f"{begin}{text}\n{end}")


# --- The machine


def machine_line(others: str, holdall: Path, runs: int, load: float) -> str:
    """On what it was measured, of which versions of `others` and holdall, and whether the machine had something else to do."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text()).group(1)) / MIB
    file_system = said_by("findmnt", "-n", "-o", "FSTYPE", "--target", PLACE)
    line = (
        f"{others}, {said_by(holdall, '--version')}; {len(os.sched_getaffinity(0))} cores "
        f"({cpu.group(1).strip() if cpu else platform.machine()}), {memory:.0f} GiB of memory, {file_system}, "
        f"Linux {platform.release()}; {runs} runs of each."
    )
    if load > QUIET:
        line += f" **The machine was not idle: load average {load:.1f} before the first run.**"
    return line


def said_by(*command) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
