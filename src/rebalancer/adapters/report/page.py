"""What every report's page is made of: its frame, its colours, and how it writes names."""

from __future__ import annotations

from html import escape
from importlib.resources import files

import numpy as np

from rebalancer.domain.arrays import Floats


def part(name: str) -> str:
    """A file that lies beside this module."""
    return files("rebalancer.adapters.report").joinpath(name).read_text(encoding="utf-8")


def breakable(policy: str) -> str:
    """A policy's name, escaped, that may continue on the next line after : , and _."""
    return "".join(escape(letter) + ("<wbr>" if letter in ":,_" else "") for letter in policy)


def many(count: int, one: str, more: str) -> str:
    """A number of things, in words."""
    return f"{count:,} {one if count == 1 else more}"


def drawdown(values: Floats) -> Floats:
    """Fall from the highest value so far, shape (R,), each <= 0."""
    peaks = np.maximum.accumulate(values)
    falls: Floats = np.divide(values, peaks, out=np.ones_like(peaks), where=peaks > 0) - 1.0
    return falls


# How it looks. Policies: Okabe and Ito's colours, which the colour-blind can tell apart (light and
# dark background); after seven, the same again dashed. Assets: pairs of a strong and a pale hue.

POLICY_COLORS = (
    ("#0072b2", "#4b9fe8"),
    ("#d55e00", "#ff7d38"),
    ("#009e73", "#23c495"),
    ("#c4629a", "#e795c3"),
    ("#d99000", "#f2b632"),
    ("#45a8e0", "#a2dcff"),
    ("#33373d", "#e4e6ea"),
)
DASHES = (("solid", ""), ("dash", "6 3"), ("dot", "2 2"))
ASSET_COLORS = (
    "#4e79a7",
    "#a0cbe8",
    "#f28e2b",
    "#ffbe7d",
    "#59a14f",
    "#8cd17d",
    "#b6992d",
    "#f1ce63",
    "#499894",
    "#86bcb6",
    "#e15759",
    "#ff9d9a",
    "#b07aa1",
    "#d4a6c8",
    "#9d7660",
    "#d7b5a6",
    "#5b62a8",
    "#a9aee0",
    "#d37295",
    "#fabfd2",
)


def swatch(at: int) -> str:
    """The line by which a policy is known in every plot."""
    color = at % len(POLICY_COLORS)
    dashes = DASHES[at // len(POLICY_COLORS) % len(DASHES)][1]
    return (
        '<svg class="swatch" viewBox="0 0 22 8" aria-hidden="true"><line x1="1" x2="21" y1="4" '
        f'y2="4" style="stroke:var(--policy-{color})" stroke-dasharray="{dashes}"/></svg>'
    )


def palette() -> str:
    """Colours as style sheet variables, for light and dark pages."""
    light = "".join(f"--policy-{at}:{pair[0]};" for at, pair in enumerate(POLICY_COLORS))
    dark = "".join(f"--policy-{at}:{pair[1]};" for at, pair in enumerate(POLICY_COLORS))
    assets = "".join(f"--asset-{at}:{color};" for at, color in enumerate(ASSET_COLORS))
    return (
        f":root{{{light}{assets}}}\n@media (prefers-color-scheme: dark){{:root:root{{{dark}}}}}\n"
    )
