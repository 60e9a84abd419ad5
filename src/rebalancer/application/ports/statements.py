"""Reading statements of brokers and other tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from rebalancer.domain.portfolio.mapping_profiles import MappingProfile
from rebalancer.domain.portfolio.saved_profiles import SavedProfile
from rebalancer.domain.portfolio.statement_imports import StatementImport
from rebalancer.domain.portfolio.statements import Statement
from rebalancer.domain.portfolio.table_sketches import TableSketch


class StatementReader(Protocol):
    """Reads one layout; it never guesses, and a file of another layout is not recognised."""

    @property
    def name(self) -> str:
        """Stable name in snake case, such as ``ibkr_flex``."""

    @property
    def title(self) -> str:
        """Name for people, such as ``Interactive Brokers Flex Query (XML)``."""

    def recognises(self, head: bytes, file_name: str) -> bool:
        """Return whether a file is of this layout.

        Args:
            head: The first 64 KiB of the file, or all of it.
            file_name: Its name, which may be empty or wrong.
        """

    def read(self, data: bytes) -> Statement:
        """Return all transactions of a file, with remarks for lines that cannot be read.

        Raises:
            InvalidRequest: the file as a whole cannot be read: damaged, encrypted, or with external
                entities; the message names the remedy.
        """


class StatementReaders(Protocol):
    """All readers."""

    def all(self) -> Sequence[StatementReader]:
        """Return the readers, the most specific first."""

    def find(self, data: bytes, file_name: str) -> StatementReader | None:
        """Return the reader that recognises a file; None if there is no such reader."""


class MappedTables(Protocol):
    """Tables without a known layout, which mapping profiles describe."""

    def reader(self, profile: MappingProfile) -> StatementReader:
        """Return the reader of tables with a profile."""

    def propose(self, data: bytes, name: str) -> MappingProfile:
        """Return a profile for a table by its titles, words and numbers.

        Raises:
            InvalidRequest: the file is not a table, or its titles are unknown.
        """

    def sketch(self, data: bytes, name: str) -> TableSketch:
        """Return the beginning of a table, and guesses for a profile of this name.

        Raises:
            InvalidRequest: the file is not a table.
        """


class MappingProfiles(Protocol):
    """Saved mapping profiles; a name is unique in an account, without regard to case."""

    def save(self, saved: SavedProfile) -> None:
        """Store a profile, in place of that of the same name."""

    def find(self, name: str, *, owner: UUID) -> SavedProfile | None:
        """Return the profile of a name; None without one."""

    def get(self, name: str, *, owner: UUID) -> SavedProfile:
        """Return the profile of a name.

        Raises:
            NotFound: the account has no profile of this name.
        """

    def of_owner(self, owner: UUID) -> list[SavedProfile]:
        """Return the profiles of an account, by name."""

    def delete(self, name: str, *, owner: UUID) -> None:
        """Delete the profile of a name.

        Raises:
            NotFound: the account has no profile of this name.
        """


class StatementImports(Protocol):
    """Imports of statements, with the ids of the entries that each added."""

    def add(self, record: StatementImport, entries: Sequence[UUID]) -> None:
        """Add an import; its entries are in the ledger of its portfolio."""

    def get(self, id: UUID, *, portfolio: UUID) -> StatementImport:
        """Return the import of this id.

        Raises:
            NotFound: it does not exist, or belongs to another portfolio.
        """

    def save(self, record: StatementImport) -> None:
        """Replace an import; its entries stay.

        Raises:
            NotFound: it does not exist.
        """

    def page(
        self, portfolio: UUID, *, before: UUID | None = None, limit: int
    ) -> list[StatementImport]:
        """Return imports of a portfolio, latest first, beginning after the import ``before``."""

    def entries(self, id: UUID) -> list[UUID]:
        """Return the ids of the entries of an import, sorted; empty for an unknown import."""

    def undone_entries(self, portfolio: UUID) -> frozenset[UUID]:
        """Return the ids of the entries of all undone imports of a portfolio."""
