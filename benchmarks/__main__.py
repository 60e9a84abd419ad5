"""`python -m benchmarks [name ...]`: measure rebalancer and its peers, and print one table.

No benchmark asserts a time: figures depend on the machine and on its other load.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import import_module
from pathlib import Path

from rich.console import Console

SUBJECTS = (
    "monthly",
    "batch",
    "rounding",
    "step",
    "environment",
    "training",
    "startup",
    "api",
    "stores",
    "market",
    "sync",
    "queues",
    "ledgers",
    "home",
    "alerts",
    "streams",
    "projection",
    "attacks",
    "telemetry",
    "app",
)


def main() -> None:
    """Run the named subjects, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of {', '.join(SUBJECTS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also save the figures")
    parser.add_argument("--date", metavar="DAY", help="date to save with the figures")
    parser.add_argument("--symbols", type=int, help="assets of the benchmarks market and sync")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in SUBJECTS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: not a benchmark; choose from {', '.join(SUBJECTS)}")

    # As the command does: small matrices gain nothing from threads. Set before numpy is imported.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from benchmarks.figures import show, surroundings

    if asked.symbols:
        import benchmarks.market
        import benchmarks.sync

        benchmarks.market.SYMBOLS = benchmarks.sync.SYMBOLS = asked.symbols
    found = {}
    # In reverse, because `monthly` loads the peers' libraries, which would slow the others down.
    for name in reversed(SUBJECTS):
        if name in asked.names or not asked.names:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            try:
                found[name] = list(import_module(f"benchmarks.{name}").figures())
            except ModuleNotFoundError as error:
                sys.exit(f"{error.name} is not installed; run `make bench`, which installs it")
    figures = [figure for name in SUBJECTS for figure in found.get(name, ())]
    if asked.json:
        saved = surroundings(asked.date) | {"figures": [figure.saved() for figure in figures]}
        asked.json.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")
    console = Console()
    show(figures, console if console.is_terminal else Console(width=165))


if __name__ == "__main__":
    main()
