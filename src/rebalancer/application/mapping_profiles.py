"""Mapping profiles of an account: save, list and delete them, and sketch tables for new ones."""

from __future__ import annotations

import json
from datetime import datetime
from uuid import UUID

import attrs

from rebalancer.application.ports.statements import MappedTables
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.quotas import DEFAULT_QUOTAS, Quotas
from rebalancer.application.statement_files import StatementFile, check_text
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.mapping_profiles import MappingProfile
from rebalancer.domain.portfolio.saved_profiles import SavedProfile
from rebalancer.domain.portfolio.table_sketches import TableSketch


@attrs.frozen
class SaveMappingProfile:
    """Save a mapping profile under its name, in place of one of this name."""

    work: UnitOfWork
    quotas: Quotas = DEFAULT_QUOTAS

    def __call__(self, profile: MappingProfile, *, owner: UUID, now: datetime) -> SavedProfile:
        """Return the saved profile.

        Raises:
            InvalidRequest: the name has a slash.
            QuotaReached: the account has as many profiles as it may have.
            DailyQuotaReached: the account has stored too much today.
        """
        saved = SavedProfile(owner, profile, now)
        with self.work.begin() as tx:
            if tx.profiles.find(profile.name, owner=owner) is None:
                self.quotas.check_profiles(tx, owner)
            size = len(json.dumps(profile.document()))
            self.quotas.take_bytes(tx, owner, size, now)
            tx.profiles.save(saved)
        return saved


@attrs.frozen
class ReadMappingProfile:
    """Read a saved mapping profile."""

    work: UnitOfWork

    def __call__(self, name: str, *, owner: UUID) -> SavedProfile:
        """Return the profile of a name, without regard to case.

        Raises:
            NotFound: the account has no profile of this name.
        """
        with self.work.read() as tx:
            return tx.profiles.get(name, owner=owner)


@attrs.frozen
class ListMappingProfiles:
    """List the saved mapping profiles of an account."""

    work: UnitOfWork

    def __call__(self, owner: UUID) -> list[SavedProfile]:
        """Return all profiles, by name."""
        with self.work.read() as tx:
            return tx.profiles.of_owner(owner)


@attrs.frozen
class DeleteMappingProfile:
    """Delete a saved mapping profile; imports that used it stay."""

    work: UnitOfWork

    def __call__(self, name: str, *, owner: UUID) -> None:
        """Delete the profile of a name.

        Raises:
            NotFound: the account has no profile of this name.
        """
        with self.work.begin() as tx:
            tx.profiles.delete(name, owner=owner)


@attrs.frozen
class SketchTable:
    """Show the beginning of a table, and what a mapping profile for it may state."""

    tables: MappedTables

    def __call__(self, file: StatementFile) -> TableSketch:
        """Return the sketch; nothing is stored.

        Raises:
            InvalidRequest: the file is too large, is not text, or is not a table.
        """
        check_text(file.data)
        try:
            return self.tables.sketch(file.data, file.short_name or "Table")
        except InvalidRequest as error:
            raise error.at("file") from None
