"""Array types, and arithmetic on arrays that several rooms of the domain need."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]
Dates = NDArray[np.datetime64]
Rows = NDArray[np.intp]
"""Indices of rows or columns."""

Counts = NDArray[np.int64]

_T = TypeVar("_T", np.float64, np.bool_)


def positive_or_one(divisor: Floats) -> Floats:
    """Return ``divisor`` with 1 wherever it is not positive, so that division is safe."""
    return np.where(divisor > 0, divisor, 1.0)


def safe_divide(numerator: Floats, divisor: Floats) -> Floats:
    """Divide; where the divisor is not positive, return the numerator."""
    quotient: Floats = numerator / positive_or_one(divisor)
    return quotient


def one_way_distance(moves: Floats) -> Floats:
    """Return the one-way distance of (..., K) changes of weights; cash counts as an asset."""
    distance: Floats = (np.abs(moves).sum(axis=-1) + np.abs(moves.sum(axis=-1))) / 2
    return distance


def flat_positions(positions: Rows, columns: int) -> Rows:
    """Return the positions in a flattened array of (R, N) positions in the rows of (R, columns)."""
    rows: Rows = np.arange(0, len(positions) * columns, columns)[:, None]
    return positions + rows


def pick(amounts: NDArray[_T], places: Rows) -> NDArray[_T]:
    """(..., R, N) elements of (..., R, columns) at `flat_positions`.

    Much faster for small arrays than `np.take_along_axis`.
    """
    flat = amounts.reshape(*amounts.shape[:-2], -1)
    return flat.take(places, axis=-1)
