"""Results as something that a person looks at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import attrs
import numpy as np
from numpy.typing import NDArray

from rebalancer.domain.backtest.engine import Backtest
from rebalancer.domain.backtest.findings import Findings
from rebalancer.domain.backtest.selection import RuleChoice
from rebalancer.domain.policy.training import Plan, Trained


class BacktestReports(Protocol):
    """Backtests as something that a person looks at."""

    def render(self, backtest: Backtest) -> str:
        """One self-contained HTML page; the same backtest gives the same text.

        Raises:
            Unavailable: what draws the plots is not installed; says how to install it.
        """


class EvaluationReports(Protocol):
    """Evaluations as something that a person looks at."""

    def render(self, findings: Findings) -> str:
        """One self-contained HTML page; the same findings give the same text."""


@attrs.frozen(eq=False)
class TrainingResult:
    """A learned policy that was trained, and is in the catalogue.

    Attributes:
        version: Its exact name, such as ``my_ppo@1``.
        place: Where it lies, for people; None where it ends with the process.
        plan: What was trained.
        trained: What it came to.
        choice: The best rule on the same prices.
        counted: What the record of trials made of it, in a sentence.
        cautions: What a reader must know.
    """

    version: str
    place: str | None
    plan: Plan
    trained: Trained
    choice: RuleChoice
    counted: str
    cautions: tuple[str, ...] = ()


class TrainingReports(Protocol):
    """Trainings as something that a person looks at."""

    def render(self, made: TrainingResult) -> str:
        """One self-contained HTML page; the same training gives the same text."""


SCHEMAS = {"backtest": 1, "evidence": 1}
"""Kinds of report that are kept, and the newest shape of each one's document."""


def _columns(
    given: Mapping[str, NDArray[np.float64]],
) -> Mapping[str, NDArray[np.float64]]:
    return {name: _column(values, "float64") for name, values in given.items()}


def _days(given: NDArray[np.datetime64] | None) -> NDArray[np.datetime64] | None:
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
    series: Mapping[str, NDArray[np.float64]] = attrs.field(factory=dict, converter=_columns)
    dates: NDArray[np.datetime64] | None = attrs.field(default=None, converter=_days)


class Reports(Protocol):
    """Documents that are kept."""

    def prepare(self) -> None:
        """Make ready to keep them, as far as that is left to us; what is there stays.

        Raises:
            Unavailable: the store did not answer.
        """

    def keep(self, report: Report) -> None:
        """Keep a report, whole or not at all, in place of an earlier one of its id.

        Raises:
            InvalidRequest: its document is not of JSON values, its shape is none of `SCHEMAS`, or
                it is larger than the store takes.
            Unavailable: the store did not answer.
        """

    def get(self, id: UUID) -> Report:
        """The report of this id; its series to the last bit.

        Raises:
            NotFound: there is none.
            Unavailable: the store did not answer, or it is of a shape that this version does not
                know.
        """

    def of(self, kind: str, subject: str, *, limit: int) -> list[Report]:
        """Reports about something, the latest first, without their series.

        Those of a shape that this version does not know are left out.

        Raises:
            Unavailable: the store did not answer.
        """
