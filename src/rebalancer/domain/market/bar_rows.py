"""Rows of daily bars, as files list them: sorted into the bars of each asset, and checked."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Dates, Floats, Rows
from rebalancer.domain.market.bars import BAR_FIELDS, Bars
from rebalancer.domain.market.prices import HIGHEST

SAME_CLOSE = 1e-9
"""Relative difference up to which two closes of a day are equal."""


@attrs.frozen(eq=False)
class BarRows:
    """Bars as traded of many assets, a row for each asset and day, in any order.

    Attributes:
        symbols: N distinct symbols.
        assets: Position of each row's symbol, shape (R,).
        days: Shape (R,), ``datetime64[D]``.
        close, open, high, low, volume: As written, shape (R,), NaN where missing.
    """

    symbols: tuple[str, ...]
    assets: Rows
    days: Dates
    close: Floats
    open: Floats
    high: Floats
    low: Floats
    volume: Floats

    def __len__(self) -> int:
        """Return R, the number of rows."""
        return len(self.days)

    def sort(self) -> BarRows:
        """Return the rows by asset and day; rows of the same asset and day keep their order."""
        after = np.diff(self.assets.astype(np.int64)) * 1_000_000 + np.diff(
            self.days.astype(np.int64)
        )
        if (after >= 0).all():
            return self
        return self.at(np.lexsort((self.days, self.assets)))

    def at(self, rows: Rows | Bools) -> BarRows:
        """Return the rows at positions, or where a mask is true."""
        fields = {name: getattr(self, name)[rows] for name in BAR_FIELDS}
        return attrs.evolve(self, assets=self.assets[rows], days=self.days[rows], **fields)


@attrs.frozen(eq=False)
class SortedBars:
    """Rows of bars sorted by asset and day, and which of them cannot be used.

    Attributes:
        rows: All rows that have a figure, sorted.
        unusable: Close that is 0, negative or too large, shape (R,).
        conflicting: Several rows of the asset and day whose closes differ, shape (R,).
        repeated: Row of an asset and day that an earlier row has with the same close, shape (R,).
        without_close: Other figures and no close, shape (R,).
    """

    rows: BarRows
    unusable: Bools
    conflicting: Bools
    repeated: Bools
    without_close: Bools

    @classmethod
    def of(cls, given: BarRows) -> SortedBars:
        """Sort rows, and find those that cannot be used."""
        rows = given.sort()
        closes = rows.close
        without_close = np.isnan(closes)
        unusable = ~without_close & ~((closes > 0) & (closes < HIGHEST))
        usable = ~without_close & ~unusable
        conflicting = np.zeros(len(rows), dtype=bool)
        repeated = np.zeros(len(rows), dtype=bool)
        kept = np.flatnonzero(usable)
        assets, days = rows.assets[kept], rows.days[kept]
        new = np.append(True, (assets[1:] != assets[:-1]) | (days[1:] != days[:-1]))[: len(kept)]
        if not new.all():
            first = np.flatnonzero(new)
            group = np.cumsum(new) - 1
            lowest = np.minimum.reduceat(closes[kept], first)
            highest = np.maximum.reduceat(closes[kept], first)
            differ = highest - lowest > SAME_CLOSE * highest
            conflicting[kept] = differ[group]
            repeated[kept] = ~new & ~differ[group]
        return cls(rows, unusable, conflicting, repeated, without_close)

    @property
    def usable(self) -> Bools:
        """Whether a row becomes a bar, shape (R,)."""
        usable: Bools = ~(self.unusable | self.conflicting | self.repeated | self.without_close)
        return usable

    def bars(self) -> list[Bars]:
        """Return the bars of usable rows: by asset, and within an asset by years of equal fields.

        A field is present in years in which all days have it. Figures other than closes that are
        no price are taken for missing.
        """
        rows = self.rows.at(self.usable)
        if not len(rows):
            return []
        years = rows.days.astype("datetime64[Y]").astype(np.int64)
        valid = {
            name: _is_valid(name, getattr(rows, name)) for name in BAR_FIELDS if name != "close"
        }
        return [
            self._bars_of(rows, slice(start, stop), valid)
            for start, stop in _equal_runs(rows, years, valid)
        ]

    @staticmethod
    def _bars_of(rows: BarRows, part: slice, valid: dict[str, Bools]) -> Bars:
        fields = {
            name: getattr(rows, name)[part] for name in valid if bool(valid[name][part].all())
        }
        return Bars(
            rows.symbols[int(rows.assets[part.start])],
            rows.days[part],
            rows.close[part],
            adjusted=False,
            **fields,
        )


def _is_valid(name: str, values: Floats) -> Bools:
    """(R,) whether figures may be stored."""
    with np.errstate(invalid="ignore"):
        found: Bools = (values >= 0) if name == "volume" else (values > 0) & (values < HIGHEST)
    return found & np.isfinite(values)


def _equal_runs(rows: BarRows, years: Rows, valid: dict[str, Bools]) -> Iterator[tuple[int, int]]:
    """Yield the first row, and the one after the last, of an asset's years with equal fields."""
    new_asset = np.append(True, rows.assets[1:] != rows.assets[:-1])
    new_year = new_asset | np.append(True, years[1:] != years[:-1])
    starts = np.flatnonzero(new_year)
    complete = np.stack([np.logical_and.reduceat(mask, starts) for mask in valid.values()])
    differs = np.append(True, (complete[:, 1:] != complete[:, :-1]).any(axis=0))
    begins = starts[differs | new_asset[starts]]
    yield from zip(begins.tolist(), [*begins[1:].tolist(), len(rows)], strict=True)
