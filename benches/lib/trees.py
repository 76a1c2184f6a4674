"""What is backed up. Trees are the same on every machine, but for the binaries."""

import os
import random
import shutil
import subprocess
from contextlib import contextmanager
from multiprocessing import Pool
from pathlib import Path

from .common import MB, MIB, PLACE, say

WORDS = "the store keeps what a source gave until a rule lets it go and nothing is lost without a word".split()
FILES_A_DIRECTORY = 1_000


@contextmanager
def made(name: str, grow, size: str = "8g"):
    """The tree, in memory and gone afterwards: the programs are compared, and not how much of the source the kernel has kept.

    Only root can have such a file system; for others the tree is on the disk, and is read once before the first run."""
    tree = PLACE / "trees" / name
    tree.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        yield on_disk(tree, grow)
        return
    if tree.is_mount():
        # A run that was killed left it.
        subprocess.run(["umount", tree], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"nr_inodes=0,size={size},mode=755", "holdall-bench", tree], check=True)
    try:
        say(f"making the tree {name}")
        grow(tree)
        yield tree
    finally:
        subprocess.run(["umount", tree], check=True)


def on_disk(tree: Path, grow) -> Path:
    """The tree, made unless it is there; one that was cut short is made again."""
    whole = tree.with_name(f"{tree.name}.whole")
    if whole.exists():
        # The first of the rivals must not be the one that waits for the disk.
        for directory, _, names in os.walk(tree):
            for file in names:
                with open(os.path.join(directory, file), "rb", buffering=0) as source:
                    while source.read(MIB):
                        pass
        return tree
    say(f"making the tree {tree.name}")
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    grow(tree)
    whole.touch()
    return tree


def small_files(to: Path, files: int) -> None:
    """Files of a few hundred bytes: every one a different piece of one long text, compressible, and no two the same."""
    chance = random.Random(1)
    text = " ".join(chance.choices(WORDS, k=200_000)).encode()
    for number in range(files):
        directory = to / f"{number // FILES_A_DIRECTORY:03}"
        if number % FILES_A_DIRECTORY == 0:
            directory.mkdir()
        start, length = chance.randrange(len(text) - 800), chance.randint(200, 800)
        with open(f"{directory}/{number:06}.txt", "wb", buffering=0) as file:
            file.write(b"%d " % number + text[start : start + length])


def incompressible(to: Path, files: int, size: int) -> None:
    """Files of `size` random bytes each."""
    for number in range(files):
        chance = random.Random(f"{to.name} {number}")
        with open(to / f"{number}.bin", "wb") as file:
            for begin in range(0, size, MIB):
                file.write(chance.randbytes(min(MIB, size - begin)))


def binaries(to: Path, limit: int) -> None:
    """Copies of this machine's programs and libraries, `limit` bytes at most."""
    left = limit
    for top in ("/usr/bin", "/usr/lib"):
        for directory, below, names in os.walk(top):
            below.sort()
            for name in sorted(names):
                file = Path(directory) / name
                if file.is_symlink() or not file.is_file() or file.stat().st_size > left:
                    continue
                copy = to / file.relative_to("/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, copy)
                left -= file.stat().st_size
    if left > MB:
        say(f"this machine has {left // MB} MB less of binaries than were asked for")


def empty_files(to: Path, files: int) -> None:
    """Nothing but names."""
    with Pool() as pool:
        pool.map(fill_directory, [to / f"{number:04}" for number in range(max(1, files // FILES_A_DIRECTORY))])


def fill_directory(directory: Path) -> None:
    directory.mkdir()
    within = os.open(directory, os.O_PATH)
    for number in range(FILES_A_DIRECTORY):
        os.close(os.open(f"{number:03}", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=within))
    os.close(within)
