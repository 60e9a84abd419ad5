"""Prices of one asset, day by day, as providers give them and stores keep them."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.errors import InvalidRequest

Floats = NDArray[np.float64]
Days = NDArray[np.datetime64]

FIGURES = ("close", "open", "high", "low", "volume")
"""What is known of a day; all but the close may be missing."""


@attrs.frozen(eq=False)
class Bars:
    """Daily bars of one asset, oldest first.

    Attributes:
        symbol: Which asset.
        days: (T,) each once, ascending, as ``datetime64[D]``.
        close: (T,) adjusted for splits and dividends, positive.
        open: (T,) adjusted likewise, or None; so are the next.
        high: See there.
        low: See there.
        volume: (T,) units traded, not negative; or None.
    """

    symbol: str
    days: Days
    close: Floats
    open: Floats | None = None
    high: Floats | None = None
    low: Floats | None = None
    volume: Floats | None = None

    def __attrs_post_init__(self) -> None:
        if not self.symbol:
            raise InvalidRequest("must not be empty", field="symbol")
        days = np.asarray(self.days, dtype="datetime64[D]")
        if days.ndim != 1 or np.any(np.isnat(days)) or np.any(np.diff(days.astype(np.int64)) <= 0):
            raise InvalidRequest("must ascend, each day once", field=f"{self.symbol}.days")
        _freeze(self, "days", days)
        for name in FIGURES:
            given = getattr(self, name)
            if given is None:
                continue
            values = np.array(given, dtype=np.float64)
            if values.shape != days.shape:
                raise InvalidRequest(
                    f"has {values.size} values for {days.size} days", field=f"{self.symbol}.{name}"
                )
            low_enough = values >= 0 if name == "volume" else values > 0
            if not np.all(np.isfinite(values) & low_enough):
                least = "0 or more" if name == "volume" else "more than 0"
                raise InvalidRequest(f"must be {least}, each one", field=f"{self.symbol}.{name}")
            _freeze(self, name, values)

    def __len__(self) -> int:
        """T."""
        return len(self.days)

    def years(self) -> Iterator[tuple[int, Bars]]:
        """The same year by year, in order."""
        calendar = self.days.astype("datetime64[Y]").astype(int) + 1970
        for year in np.unique(calendar):
            yield int(year), self._rows(np.flatnonzero(calendar == year))

    def between(self, first: np.datetime64 | None, last: np.datetime64 | None) -> Bars:
        """Days from ``first`` to ``last``, both included."""
        begin = 0 if first is None else int(np.searchsorted(self.days, first))
        end = len(self) if last is None else int(np.searchsorted(self.days, last, side="right"))
        return self._rows(np.arange(begin, max(begin, end)))

    def replaced_by(self, other: Bars) -> Bars:
        """Both, of the same asset; the other's on days that both have.

        A figure that either lacks is lacking.
        """
        alone = ~np.isin(self.days, other.days)
        days = np.concatenate([self.days[alone], other.days])
        order = np.argsort(days, kind="stable")
        figures = {}
        for name in FIGURES:
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours is not None and theirs is not None:
                figures[name] = np.concatenate([ours[alone], theirs])[order]
        return Bars(self.symbol, days[order], **figures)

    def _rows(self, rows: NDArray[np.intp]) -> Bars:
        figures = {
            name: values[rows] for name in FIGURES if (values := getattr(self, name)) is not None
        }
        return Bars(self.symbol, self.days[rows], **figures)


def _freeze(bars: Bars, name: str, values: NDArray[np.generic]) -> None:
    values = values.copy()
    values.flags.writeable = False
    object.__setattr__(bars, name, values)
