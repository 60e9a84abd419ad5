"""Reports: documents that stores keep for backtests and evaluations."""

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


def _columns(
    given: Mapping[str, Floats],
) -> Mapping[str, Floats]:
    return {name: _column(values, "float64") for name, values in given.items()}


def _days(given: Dates | None) -> Dates | None:
    return None if given is None else _column(given, "datetime64[D]")


def _column(given: NDArray[Any], kind: str) -> NDArray[Any]:
    """A read-only copy, one-dimensional."""
    column = np.array(given, dtype=kind).reshape(-1)
    column.flags.writeable = False
    return column


@attrs.frozen(eq=False)
class Report:
    """What came of a backtest or an evaluation, as a document to keep.

    Attributes:
        id: Unique; of a job's result the job's.
        kind: What it is of, see `SCHEMAS`.
        subject: What it is about, to find it by: an owner's id, or the version of a policy.
        created: When.
        schema: The version of the document's shape, as of its kind.
        document: JSON values.
        series: Long columns of figures by name, shape (T,) each, any T.
        dates: (T,) day of each row of those series that have T rows; None: there are none.
    """

    id: UUID
    kind: str
    subject: str
    created: datetime
    schema: int
    document: Mapping[str, Any]
    series: Mapping[str, Floats] = attrs.field(factory=dict, converter=_columns)
    dates: Dates | None = attrs.field(default=None, converter=_days)
