"""Plots as SVG text: they need no script, print well, and take the page's colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import attrs
import numpy as np

from rebalancer.adapters.report.page import DASHES, POLICY_COLORS
from rebalancer.domain.arrays import Floats

Tick = tuple[float, str]

STYLE = """
.drawing { width: 100%; height: auto; display: block; }
.drawing text { fill: var(--quiet); font-size: 12px; }
.drawing .line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.drawing .grid { stroke: var(--grid); }
.drawing .zero { stroke: var(--quiet); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 8px; padding: 0;
  list-style: none; font-size: 13px; }
.legend li { display: inline-flex; align-items: center; gap: 7px; }
"""
"""How a page shows them and their legends; goes before ``</style>``."""

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 1000.0, 58.0, 12.0, 10.0, 26.0
_LEAST_SPAN = 1e-9
_DAYS_A_YEAR = 365.25
_ROW = 24.0
_NAMES = 430.0


@attrs.frozen(eq=False)
class Line:
    """One line of a plot.

    Attributes:
        label: Whose it is.
        at: Place in the legend, by which it is coloured.
        x: (K,) ascending.
        y: (K,) finite.
    """

    label: str
    at: int
    x: Floats
    y: Floats


@attrs.frozen
class Whisker:
    """An estimate and its interval, beside a name.

    Attributes:
        label: Whose it is.
        at: Place in the legend, by which it is coloured.
        estimate: The dot.
        low: Where the line begins.
        high: Where it ends.
        strong: Whether it stands out: the one that sums up the others.
    """

    label: str
    at: int
    estimate: float
    low: float
    high: float
    strong: bool = False


def lines(
    every: Sequence[Line],
    *,
    title: str,
    across: Callable[[float, float], Sequence[Tick]],
    up: Callable[[float], str],
    log: bool = False,
    zero: bool = False,
    height: float = 300.0,
) -> str:
    """Lines over a common x.

    Args:
        every: What to draw.
        title: Read aloud instead of the plot.
        across: Ticks of the x axis between two values.
        up: Text of a y tick.
        log: Whether equal heights are equal factors; then all y are above 0.
        zero: Whether y = 0 belongs to the plot.
        height: Of the drawing, 1,000 being its width.
    """
    scale: Callable[[Floats], Floats] = np.log if log else np.asarray
    values = np.concatenate([line.y for line in every] + ([np.zeros(1)] if zero else []))
    left, right = (extreme([line.x for line in every]) for extreme in (_least, _most))
    low, high = _roomy(float(values.min()), float(values.max()), log=log)
    bottom, top = (float(scale(np.array(each))) for each in (low, high))

    def place(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        width = _WIDTH - _LEFT - _RIGHT
        tall = height - _TOP - _BOTTOM
        return (
            _LEFT + width * (x - left) / max(right - left, _LEAST_SPAN),
            height - _BOTTOM - tall * (scale(y) - bottom) / max(top - bottom, _LEAST_SPAN),
        )

    drawn = []
    for value in log_ticks(low, high) if log else round_ticks(low, high):
        _, (y,) = place(np.array([left]), np.array([value]))
        drawn.append(_grid(value, (_LEFT, y), (_WIDTH - _RIGHT, y)))
        drawn.append(_text(up(value), _LEFT - 6, y + 4, "end"))
    for value, text in across(left, right):
        (x,), _ = place(np.array([value]), np.array([low]))
        drawn.append(_grid(None, (x, _TOP), (x, height - _BOTTOM)))
        drawn.append(_text(text, x, height - 8, "middle"))
    for line in every:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(*place(line.x, line.y), strict=True))
        drawn.append(
            f'<polyline points="{points}" {_stroke(line.at)}><title>{escape(line.label)}</title>'
            "</polyline>"
        )
    return _svg(title, height, drawn)


def whiskers(every: Sequence[Whisker], *, title: str) -> str:
    """Intervals one below the other, with 0 in the plot."""
    height = _TOP + _BOTTOM + _ROW * len(every)
    low, high = _roomy(
        min(0.0, *(each.low for each in every)), max(0.0, *(each.high for each in every)), log=False
    )

    def across(value: float) -> float:
        return _NAMES + (_WIDTH - _RIGHT - _NAMES) * (value - low) / (high - low)

    drawn = []
    for value in round_ticks(low, high, most=8):
        x = across(value)
        drawn.append(_grid(value, (x, _TOP), (x, height - _BOTTOM)))
        drawn.append(_text(signed(value), x, height - 8, "middle"))
    for at, each in enumerate(every):
        y = _TOP + _ROW * (at + 0.5)
        told = f"{each.label}: {each.estimate:+.2f}, 95% from {each.low:+.2f} to {each.high:+.2f}"
        weight = ' class="strong"' if each.strong else ""
        drawn.append(
            f"<g{weight}><title>{escape(told)}</title>"
            f"{_text(each.label, _NAMES - 12, y + 4, 'end')}"
            f'<line x1="{across(each.low):.1f}" x2="{across(each.high):.1f}" y1="{y:.1f}" '
            f'y2="{y:.1f}" {_stroke(each.at)}/>'
            f'<circle cx="{across(each.estimate):.1f}" cy="{y:.1f}" r="{5 if each.strong else 4}" '
            f'style="fill:var(--policy-{each.at % len(POLICY_COLORS)})"/></g>'
        )
    return _svg(title, height, drawn)


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``, about ``most``."""
    rough = max(high - low, _LEAST_SPAN) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(at * step, 12) for at in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from ``low`` to ``high``; where few, round numbers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [times * 10.0**power for power in powers for times in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside if len(inside) >= 3 else [each for each in round_ticks(low, high) if each > 0]


def calendar_ticks(first: float, last: float) -> list[Tick]:
    """Beginnings of years between two days since 1970, or of months where that is too few."""
    for unit, every in (("Y", (20, 10, 5, 2, 1)), ("M", (6, 3, 2, 1)), ("D", (10, 5, 2, 1))):
        begin, end = (
            np.datetime64(int(day), "D").astype(f"datetime64[{unit}]") for day in (first, last)
        )
        for step in every:
            at = np.arange(begin, end + 1, dtype=f"datetime64[{unit}]")
            numbers = at.astype(np.int64)
            days = at.astype("datetime64[D]").astype(np.int64)
            chosen = (numbers % step == 0) & (days >= first) & (days <= last)
            if 3 <= chosen.sum() <= 12:
                return [
                    (float(day), str(when))
                    for day, when in zip(days[chosen], at[chosen], strict=True)
                ]
    return [(day, str(np.datetime64(int(day), "D"))) for day in sorted({first, last})]


def _grid(value: float | None, begin: tuple[float, float], end: tuple[float, float]) -> str:
    kind = "zero" if value == 0 else "grid"
    (x1, y1), (x2, y2) = begin, end
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(text: str, x: float, y: float, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def signed(value: float) -> str:
    """A difference as a tick's text."""
    return "0" if value == 0 else f"{value:+g}".replace("-", "\u2212")


def _least(arrays: Sequence[Floats]) -> float:
    return float(min(each.min() for each in arrays))


def _most(arrays: Sequence[Floats]) -> float:
    return float(max(each.max() for each in arrays))


def _roomy(low: float, high: float, *, log: bool) -> tuple[float, float]:
    """A little room around values, so that none lies on the frame."""
    if log:
        room = max((high / low) ** 0.04, 1.001)
        return low / room, high * room
    room = max(0.04 * (high - low), 1e-3)
    return low - room, high + room


def _stroke(at: int) -> str:
    dashes = DASHES[at // len(POLICY_COLORS) % len(DASHES)][1]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'class="line" style="stroke:var(--policy-{at % len(POLICY_COLORS)})"{dashed}'


def _svg(title: str, height: float, drawn: Sequence[str]) -> str:
    return (
        f'<svg class="drawing" role="img" aria-label="{escape(title)}" '
        f'viewBox="0 0 {_WIDTH:g} {height:g}">{"".join(drawn)}</svg>'
    )
