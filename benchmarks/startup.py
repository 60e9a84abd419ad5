"""Time `rebalancer --help`, and check what it imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.figures import Figure, best_of
from benchmarks.processes import command

HEAVY = ("numpy", "scipy", "pandas", "plotly", "torch", "sqlalchemy", "litestar")

_IMPORTED = """
import sys
from rebalancer.entrypoints.cli.main import rebalancer
rebalancer.main(["--help"], standalone_mode=False)
print(*(name for name in sys.argv[1:] if name in sys.modules), file=sys.stderr)
"""


def figures() -> Iterator[Figure]:
    seconds, _ = best_of(lambda: _run([*command(), "--help"]), seconds=2.0, least=5)
    empty, _ = best_of(lambda: _run([sys.executable, "-c", ""]), seconds=0.5, least=5)
    loaded = _run([sys.executable, "-c", _IMPORTED, *HEAVY]).stderr.split()
    yield Figure(
        subject="startup",
        what="rebalancer --help",
        unit="s",
        ours=seconds,
        aim=0.5,
        agrees=not loaded,
        how_close=f"imports {', '.join(loaded)}" if loaded else f"imports no {', '.join(HEAVY)}",
        note=f"Of which {empty * 1e3:.0f} ms is Python itself.",
    )


def _run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, check=True, capture_output=True, text=True)
