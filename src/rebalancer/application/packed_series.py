"""Observations of an economic series, packed into columns of bytes for stores.

Days count from 1970-01-01, as little-endian int32, values are little-endian float64. A publication
day that is not known is the smallest int32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from rebalancer.domain.market.economics import Observation

_UNKNOWN = np.iinfo("<i4").min


def pack_observations(observations: Sequence[Observation]) -> dict[str, bytes]:
    """Return the columns ``days``, ``known`` and ``figures``, of equal length."""
    days = np.array([one.day for one in observations], dtype="datetime64[D]").astype("<i4")
    known = np.array(
        [_UNKNOWN if one.known is None else _number(one.known) for one in observations], dtype="<i4"
    )
    figures = np.array([one.value for one in observations], dtype="<f8")
    return {"days": days.tobytes(), "known": known.tobytes(), "figures": figures.tobytes()}


def unpack_observations(packed: Mapping[str, Any]) -> tuple[Observation, ...]:
    """Return the observations of packed columns."""
    days = np.frombuffer(packed["days"], "<i4").astype("datetime64[D]").tolist()
    known = np.frombuffer(packed["known"], "<i4")
    published = known.astype("datetime64[D]").tolist()
    figures = np.frombuffer(packed["figures"], "<f8").tolist()
    return tuple(
        Observation(day, value, None if number == _UNKNOWN else on)
        for day, value, on, number in zip(days, figures, published, known.tolist(), strict=True)
    )


def _number(day: date) -> int:
    return day.toordinal() - date(1970, 1, 1).toordinal()
