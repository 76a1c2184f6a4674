"""Where everything is, and how this script fails."""

import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent.parent
# Everything that is made lies below it; `rm -rf` of it loses nothing but time.
PLACE = ROOT / "target/bench"
MB, MIB = 1_000_000, 1 << 20


def say(text: str) -> None:
    print(f"bench: {text}", flush=True)


def fail(text: str) -> NoReturn:
    sys.exit(f"bench: {text}")
