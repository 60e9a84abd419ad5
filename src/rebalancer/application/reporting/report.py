"""Reports: stored documents of backtests and evaluations, with their series."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.arrays import Dates, Floats

BACKTEST, EVIDENCE = "backtest", "evidence"
"""Kinds of stored reports."""

SCHEMAS = {BACKTEST: 1, EVIDENCE: 1}
"""Newest schema of the documents of each kind."""


def _read_only_series(given: Mapping[str, Floats]) -> Mapping[str, Floats]:
    return {name: _read_only(values, "float64") for name, values in given.items()}


def _read_only_dates(given: Dates | None) -> Dates | None:
    return None if given is None else _read_only(given, "datetime64[D]")


def _read_only(given: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return a read-only, one-dimensional copy."""
    column = np.array(given, dtype=kind).reshape(-1)
    column.flags.writeable = False
    return column


@attrs.frozen(eq=False)
class Report:
    """Stored result of a backtest or an evaluation.

    Attributes:
        id: Unique id; that of the job for the result of a job.
        kind: One of `SCHEMAS`.
        subject: The owner's id, or the version of a policy.
        created: Time of creation.
        schema: Schema of the document, see `SCHEMAS`.
        document: JSON values.
        series: Columns of figures by name, shape (T,) each, any T.
        dates: (T,) days of the series with T rows; None without dates.
    """

    id: UUID
    kind: str
    subject: str
    created: datetime
    schema: int
    document: Mapping[str, Any]
    series: Mapping[str, Floats] = attrs.field(factory=dict, converter=_read_only_series)
    dates: Dates | None = attrs.field(default=None, converter=_read_only_dates)
