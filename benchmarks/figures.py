"""Results of benchmarks, and the table that shows them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
from rich.console import Console
from rich.table import Table

T = TypeVar("T")

LIBRARIES = (
    "rebalancer",
    "numpy",
    "scipy",
    "pandas",
    "bt",
    "torch",
    "stable-baselines3",
    "gymnasium",
    "ffn",
    "vectorbt",
    "numba",
    "skfolio",
    "msgspec",
)
"""Libraries whose versions are saved with the figures."""


@attrs.frozen
class Figure:
    """One measurement of rebalancer, with a peer's.

    Attributes:
        subject: The benchmark's name.
        what: The measured work.
        unit: Lower is better for s and MB, higher for /s.
        ours: Our figure, in the unit.
        peer_name: The peer's name.
        peer: The peer's figure, in the unit; None without a peer.
        aim: Our target, in the unit.
        aim_ratio: Lowest ratio that meets the target.
        agrees: Whether both gave the same result; None if results are not compared.
        how_close: The largest difference, or what was compared.
        note: Remark for readers, printed under the table.
    """

    subject: str
    what: str
    unit: Literal["s", "/s", "MB"]
    ours: float
    peer_name: str = ""
    peer: float | None = None
    aim: float | None = None
    aim_ratio: float | None = None
    agrees: bool | None = None
    how_close: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Return how many times better we are than the peer; below 1 is worse."""
        if not self.peer:
            return None
        return self.ours / self.peer if self.unit == "/s" else self.peer / self.ours

    @property
    def met(self) -> bool | None:
        """Return whether every aim is met; None without one."""
        verdicts = []
        if self.aim is not None:
            verdicts.append(self.ours >= self.aim if self.unit == "/s" else self.ours < self.aim)
        if self.aim_ratio is not None and self.ratio is not None:
            verdicts.append(self.ratio >= self.aim_ratio)
        return all(verdicts) if verdicts else None

    def saved(self) -> dict[str, Any]:
        """Return the fields and the derived figures for a file."""
        return attrs.asdict(self) | {"ratio": self.ratio, "met": self.met}


def best_of(job: Callable[[], T], *, seconds: float = 1.0, least: int = 3) -> tuple[float, T]:
    """Return the seconds of the fastest of several runs, and the last result.

    Other load on the machine can only add time, so the fastest run is the most accurate.
    """
    best, spent, runs = float("inf"), 0.0, 0
    while True:
        begin = time.perf_counter()
        result = job()
        took = time.perf_counter() - begin
        best, spent, runs = min(best, took), spent + took, runs + 1
        if runs >= least and spent >= seconds:
            return best, result


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the table and its notes."""
    table = Table(title="rebalancer and its peers", title_justify="left")
    table.add_column("What", overflow="fold")
    table.add_column("Ours", justify="right", no_wrap=True)
    table.add_column("Peer", overflow="fold")
    table.add_column("Its figure", justify="right", no_wrap=True)
    table.add_column("Ratio", justify="right", no_wrap=True)
    table.add_column("Aim", overflow="fold")
    table.add_column("Results agree", overflow="fold")
    notes: list[str] = []
    for place, figure in enumerate(figures):
        mark = ""
        if figure.note:
            if figure.note not in notes:
                notes.append(figure.note)
            mark = f" [{notes.index(figure.note) + 1}]"
        last = place + 1 == len(figures) or figures[place + 1].subject != figure.subject
        table.add_row(
            figure.what + mark.replace("[", "\\["),
            _amount(figure.ours, figure.unit),
            figure.peer_name or "-",
            "-" if figure.peer is None else _amount(figure.peer, figure.unit),
            "-" if figure.ratio is None else f"{figure.ratio:,.3g}x",
            _aims(figure),
            _agreement(figure),
            end_section=last,
        )
    console.print(table)
    for number, note in enumerate(notes, start=1):
        console.print(f"\\[{number}] {note}", highlight=False)


def surroundings(day: str | None) -> dict[str, Any]:
    """Describe the machine and the libraries; include ``day`` if given."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    found: dict[str, Any] = {
        "cpu": _cpu(),
        "cores": len(_cores()),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }
    return found | ({"date": day} if day else {})


def _cores() -> Sequence[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)


def _cpu() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _amount(value: float, unit: str) -> str:
    if unit == "/s":
        return f"{_rounded(value):,.0f}/s"
    if unit == "MB":
        return f"{value:,.0f} MB"
    return f"{_rounded(value * 1e3):,.4g} ms" if value < 1 else f"{_rounded(value):,.4g} s"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _aims(figure: Figure) -> str:
    parts = []
    if figure.aim is not None:
        sign = "at least" if figure.unit == "/s" else "under"
        parts.append(f"{sign} {_amount(figure.aim, figure.unit)}")
    if figure.aim_ratio is not None:
        parts.append(f"at least {figure.aim_ratio:g}x")
    if not parts:
        return "-"
    colour, verdict = ("green", "met") if figure.met else ("yellow", "missed")
    return f"{', '.join(parts)}: [{colour}]{verdict}[/]"


def _agreement(figure: Figure) -> str:
    if figure.agrees is None:
        return figure.how_close or "-"
    verdict = "[green]yes[/]" if figure.agrees else "[red]NO[/]"
    return f"{verdict}, {figure.how_close}" if figure.how_close else verdict
