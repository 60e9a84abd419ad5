"""Results as something that a person looks at."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from rebalancer.application.reporting.report import Report
from rebalancer.application.reporting.training import TrainingResult
from rebalancer.domain.backtest.findings import Findings
from rebalancer.domain.backtest.result import Backtest


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


class TrainingReports(Protocol):
    """Trainings as something that a person looks at."""

    def render(self, made: TrainingResult) -> str:
        """One self-contained HTML page; the same training gives the same text."""


class Reports(Protocol):
    """Documents that are kept."""

    def prepare(self) -> None:
        """Make ready to keep them, as far as that is left to us; what is there stays.

        Raises:
            Unavailable: the store did not answer.
        """

    def save(self, report: Report) -> None:
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
