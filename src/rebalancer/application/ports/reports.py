"""Reports: HTML pages for people, and the store of documents."""

from __future__ import annotations

from typing import Protocol, TypeVar
from uuid import UUID

from rebalancer.application.reporting.report import Report

Result = TypeVar("Result", contravariant=True)


class Renderer(Protocol[Result]):
    """Renderer of one kind of result, such as `Backtest` or `IndicatorPlot`."""

    def render(self, result: Result, /) -> str:
        """Return a self-contained HTML page; deterministic.

        Raises:
            Unavailable: the plotting library is not installed.
        """


class Reports(Protocol):
    """Store of reports; each method raises Unavailable if the store does not answer."""

    def prepare(self) -> None:
        """Create what the store needs, such as indexes; idempotent."""

    def save(self, report: Report) -> None:
        """Store a report atomically; it replaces an earlier one with its id.

        Raises:
            InvalidRequest: the document does not consist of JSON values, its schema is not in
                `SCHEMAS`, or it is larger than the store accepts.
        """

    def delete_of(self, subject: str) -> None:
        """Delete all reports about a subject."""

    def get(self, id: UUID) -> Report:
        """Return a report, with its series exact to the last bit.

        Raises:
            NotFound: the report does not exist.
            Unavailable: this version does not support the schema.
        """
