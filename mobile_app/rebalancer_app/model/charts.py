"""Lines of charts: points, their words, and a description for screen readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal

import attrs

from rebalancer_app.model.formats import Formats
from rebalancer_app.texts import Texts


@attrs.frozen
class Curve:
    """A line of a chart.

    Attributes:
        name: In the legend; empty for a single line.
        values: One for each date.
        labels: Words at each point.
    """

    name: str
    values: tuple[float, ...]
    labels: tuple[str, ...]


@attrs.frozen
class Chart:
    """A chart of values over time.

    Attributes:
        curves: Lines over the same dates.
        dates: Of the points.
        low: Lowest value that is shown.
        high: Highest value that is shown.
        first: Words at the left end of the axis.
        last: Words at the right end of the axis.
        spoken: The chart in one sentence, for screen readers.
    """

    curves: tuple[Curve, ...]
    dates: tuple[date, ...]
    low: float
    high: float
    first: str
    last: str
    spoken: str


POINTS = 120
"""Most points of a curve: one for three logical pixels of a phone; a finger tells none apart."""


def thin(count: int) -> list[int]:
    """Return at most `POINTS` rows, evenly, the first and the last among them."""
    if count <= POINTS:
        return list(range(count))
    return sorted({round(at * (count - 1) / (POINTS - 1)) for at in range(POINTS)})


def money_chart(
    dates: Sequence[date],
    lines: Sequence[tuple[str, Sequence[float]]],
    currency: str,
    formats: Formats,
    texts: Texts,
) -> Chart | None:
    """Return a chart of amounts of money; None with fewer than two points."""
    return _chart(
        dates,
        lines,
        lambda value: formats.money(Decimal(str(round(value, 2))), currency),
        formats,
        texts,
    )


def share_chart(
    dates: Sequence[date],
    lines: Sequence[tuple[str, Sequence[float]]],
    formats: Formats,
    texts: Texts,
) -> Chart | None:
    """Return a chart of shares such as losses; None with fewer than two points."""
    return _chart(dates, lines, formats.percent, formats, texts)


def _chart(
    dates: Sequence[date],
    lines: Sequence[tuple[str, Sequence[float]]],
    show: Callable[[float], str],
    formats: Formats,
    texts: Texts,
) -> Chart | None:
    if len(dates) < 2 or not lines:
        return None
    curves = tuple(
        Curve(
            name,
            tuple(values),
            tuple(
                f"{name + ': ' if name else ''}{show(value)}\n{formats.day(day)}"
                for day, value in zip(dates, values, strict=True)
            ),
        )
        for name, values in lines
    )
    every = [value for one in curves for value in one.values]
    low, high = min(every), max(every)
    margin = (high - low) * 0.08 or abs(high) * 0.01 or 1.0
    main = curves[0].values
    spoken = texts(
        "charts.spoken",
        first=formats.day(dates[0]),
        last=formats.day(dates[-1]),
        begins=show(main[0]),
        ends=show(main[-1]),
        low=show(min(main)),
        high=show(max(main)),
    )
    return Chart(
        curves,
        tuple(dates),
        low - margin,
        high + margin,
        formats.day(dates[0]),
        formats.day(dates[-1]),
        spoken,
    )
