"""All that is kept, and the way in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from rebalancer.application.ports.accounts import RefreshTokens, Users
from rebalancer.application.ports.batch_runs import BatchRuns
from rebalancer.application.ports.jobs import Jobs
from rebalancer.application.ports.portfolios import IdempotencyKeys, Portfolios, Proposals


class Transaction(Protocol):
    """All stores, as of one moment."""

    @property
    def users(self) -> Users:
        """Who is registered."""

    @property
    def tokens(self) -> RefreshTokens:
        """Secrets that keep people logged in."""

    @property
    def portfolios(self) -> Portfolios:
        """Portfolios and their ledgers."""

    @property
    def proposals(self) -> Proposals:
        """What was proposed."""

    @property
    def keys(self) -> IdempotencyKeys:
        """Requests that were carried out."""

    @property
    def jobs(self) -> Jobs:
        """Work that takes longer than a request."""

    @property
    def runs(self) -> BatchRuns:
        """Walks over every portfolio."""


class UnitOfWork(Protocol):
    """A way into the stores."""

    def begin(self) -> AbstractContextManager[Transaction]:
        """Read and write: all of it is kept if the block ends well, and none if it raises.

        A block that has met an error of a store ends with it: whether it could go on depends on
        the store.

        Two such blocks that touch the same portfolio, proposal, token or key take effect one after
        the other, or the later one raises Conflict or Unavailable.

        Raises:
            Unavailable: the store did not answer, or is busy for too long.
        """

    def read(self) -> AbstractContextManager[Transaction]:
        """Read only, and all as of one moment; what is written through it is an error or lost.

        Raises:
            Unavailable: the store did not answer.
        """


class Database(Protocol):
    """Where the stores keep their tables; operators look after it."""

    def revision(self) -> str | None:
        """The version of the tables that are there; None before the first.

        Raises:
            Unavailable: the database does not answer.
        """

    def newest(self) -> str:
        """The version of the tables that the stores expect."""

    def upgrade(self, revision: str | None = None) -> None:
        """Bring the tables forward, to the newest when None: all the way or not at all.

        Raises:
            InvalidRequest: there is no way to this revision.
            Conflict: the tables are of a version that is not known here; says what to do.
            Unavailable: the database does not answer.
        """

    def downgrade(self, revision: str | None = None) -> None:
        """Bring the tables back, by one version when None; what does not fit there is lost.

        Raises:
            As `upgrade`.
        """

    def backup(
        self, path: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Mapping[str, int]:
        """Write all that is kept into a file, as of one moment, while others go on.

        The file may be restored into a database of another kind, too. It has its name only once it
        is whole.

        Args:
            path: Where there is none yet.
            progress: Told how many rows are written by now, and of how many.

        Returns:
            Rows by table.

        Raises:
            InvalidRequest: there is a file already, or none can be written there.
            Conflict: the tables are not of the version that the stores expect.
            Unavailable: the database does not answer.
        """

    def restore(
        self, path: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Mapping[str, int]:
        """Fill empty tables from a file that `backup` wrote: all of it or nothing.

        The tables must be of the version that the backup was taken of, which may be an older one:
        `upgrade` brings them there before, and forward afterwards.

        Args:
            path: Of the file.
            progress: Told how many rows are kept by now, and of how many.

        Returns:
            Rows by table.

        Raises:
            InvalidRequest: there is no such file, or it is none of ours, or damaged.
            Conflict: the tables are not empty, or not of the file's version; says what to do.
            Unavailable: the database does not answer.
        """

    def findings(self) -> list[str]:
        """What is wrong with the tables, or with what they hold, in words; empty if nothing is.

        Raises:
            Unavailable: the database does not answer.
        """
