"""Plots as SVG: they need no script, print well, and use the page's colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
from markupsafe import Markup

from rebalancer.adapters.report.page import render_page, with_minus
from rebalancer.domain.arrays import Floats

Tick = tuple[float, str]

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 1000.0, 58.0, 12.0, 10.0, 26.0
_LEAST_SPAN = 1e-9
_ROW = 24.0
_NAMES = 430.0
"""Width of the names to the left of whiskers."""


@attrs.frozen(eq=False)
class Line:
    """One line of a plot.

    Attributes:
        at: Position in the legend, which sets the colour.
        x: (K,) ascending.
        y: (K,) finite.
    """

    label: str
    at: int
    x: Floats
    y: Floats


@attrs.frozen
class Whisker:
    """An estimate, drawn as a dot, with its interval, drawn as a line, and its name.

    Attributes:
        at: Position in the legend, which sets the colour.
        strong: Whether it is emphasised, as the pooled estimate is.
    """

    label: str
    at: int
    estimate: float
    low: float
    high: float
    strong: bool = False


@attrs.frozen
class _GridLine:
    """A grid line and its tick: text, x, y, anchor."""

    x1: float
    y1: float
    x2: float
    y2: float
    label: tuple[str, float, float, str]
    kind: str = "grid"


def draw_lines(
    lines: Sequence[Line],
    *,
    title: str,
    across: Callable[[float, float], Sequence[Tick]],
    up: Callable[[float], str],
    log: bool = False,
    zero: bool = False,
    height: float = 300.0,
) -> Markup:
    """Draw lines over a common x axis.

    Args:
        lines: Lines to draw.
        title: Text for screen readers.
        across: Returns the ticks of the x axis between two values.
        up: Returns the text of a tick of the y axis.
        log: Whether the y axis is logarithmic; all y must be above 0.
        zero: Whether y = 0 is part of the plot.
        height: Height of the drawing; its width is 1,000.
    """
    scale: Callable[[Floats], Floats] = np.log if log else np.asarray
    values = np.concatenate([line.y for line in lines] + ([np.zeros(1)] if zero else []))
    left = float(min(line.x.min() for line in lines))
    right = float(max(line.x.max() for line in lines))
    low, high = _add_margin(float(values.min()), float(values.max()), log=log)
    bottom, top = (float(scale(np.array(each))) for each in (low, high))

    def place(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        width = _WIDTH - _LEFT - _RIGHT
        tall = height - _TOP - _BOTTOM
        return (
            _LEFT + width * (x - left) / max(right - left, _LEAST_SPAN),
            height - _BOTTOM - tall * (scale(y) - bottom) / max(top - bottom, _LEAST_SPAN),
        )

    grid = []
    for value in log_ticks(low, high) if log else round_ticks(low, high):
        _, (y,) = place(np.array([left]), np.array([value]))
        label = (up(value), _LEFT - 6, y + 4, "end")
        grid.append(_GridLine(_LEFT, y, _WIDTH - _RIGHT, y, label, "grid" if value else "zero"))
    for value, text in across(left, right):
        (x,), _ = place(np.array([value]), np.array([low]))
        label = (text, x, height - 8, "middle")
        grid.append(_GridLine(x, _TOP, x, height - _BOTTOM, label))
    polylines = [
        (
            line,
            " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(*place(line.x, line.y), strict=True)),
        )
        for line in lines
    ]
    return _render(title=title, height=height, grid=grid, polylines=polylines, whiskers=())


def draw_whiskers(whiskers: Sequence[Whisker], *, title: str) -> Markup:
    """Draw intervals one below the other; 0 is part of the plot."""
    height = _TOP + _BOTTOM + _ROW * len(whiskers)
    low, high = _add_margin(
        min(0.0, *(each.low for each in whiskers)),
        max(0.0, *(each.high for each in whiskers)),
        log=False,
    )

    def across(value: float) -> float:
        return _NAMES + (_WIDTH - _RIGHT - _NAMES) * (value - low) / (high - low)

    grid = []
    for value in round_ticks(low, high, most=8):
        x = across(value)
        label = (signed(value), x, height - 8, "middle")
        grid.append(_GridLine(x, _TOP, x, height - _BOTTOM, label, "grid" if value else "zero"))
    placed = [
        (each, across(each.low), across(each.estimate), across(each.high), _TOP + _ROW * (at + 0.5))
        for at, each in enumerate(whiskers)
    ]
    return _render(title=title, height=height, grid=grid, polylines=(), whiskers=placed)


def _render(**values: Any) -> Markup:
    """Render the template of drawings with the values that differ between them."""
    svg = render_page("drawing.svg.j2", width=_WIDTH, names=_NAMES, **values)
    return Markup(svg.strip())


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return about ``most`` multiples of 1, 2 or 5 times a power of ten, ``low`` to ``high``."""
    rough = max(high - low, _LEAST_SPAN) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(at * step, 12) for at in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten, ``low`` to ``high``; round numbers if too few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [times * 10.0**power for power in powers for times in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside if len(inside) >= 3 else [each for each in round_ticks(low, high) if each > 0]


def calendar_ticks(first: float, last: float) -> list[Tick]:
    """Return starts of years, months or days between two days, counted from 1970-01-01."""
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


def signed(value: float) -> str:
    """Return a difference as the text of a tick."""
    return "0" if value == 0 else with_minus(f"{value:+g}")


def _add_margin(low: float, high: float, *, log: bool) -> tuple[float, float]:
    """Return a slightly wider range, so that no value lies on the frame."""
    if log:
        room = max((high / low) ** 0.04, 1.001)
        return low / room, high * room
    room = max(0.04 * (high - low), 1e-3)
    return low - room, high + room
