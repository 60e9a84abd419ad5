"""The unit of work over all stores, and the administration of the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import attrs

from rebalancer.application.ports.accounts import RefreshTokens, Sessions, Users
from rebalancer.application.ports.alerts import Alerts, AutomationControls
from rebalancer.application.ports.api_keys import ApiKeys
from rebalancer.application.ports.audit import AuditTrail
from rebalancer.application.ports.batch_runs import BatchRuns
from rebalancer.application.ports.deletions import Deletions
from rebalancer.application.ports.encryption import DataKeys, KeyRotation
from rebalancer.application.ports.factors import Passkeys, RecoveryCodes, TotpSecrets
from rebalancer.application.ports.guessing import KnownDevices, LoginFailures
from rebalancer.application.ports.jobs import Jobs
from rebalancer.application.ports.leases import Leases
from rebalancer.application.ports.mail import Outbox
from rebalancer.application.ports.models import Models
from rebalancer.application.ports.notices import Deliveries, Notices, OwnerChoices, Targets
from rebalancer.application.ports.one_time import OneTimeTokens
from rebalancer.application.ports.planned_flows import FlowDecisions
from rebalancer.application.ports.portfolios import IdempotencyKeys, Portfolios, Proposals
from rebalancer.application.ports.sharing import PortfolioShares
from rebalancer.application.ports.statements import MappingProfiles, StatementImports
from rebalancer.application.ports.synchronization import (
    ProviderQuotas,
    ScheduledTasks,
    SyncStates,
)
from rebalancer.application.ports.usage import Usage


class StoreProbe(Protocol):
    """Shows whether the store works, without a lasting effect.

    Both methods raise Unavailable if it does not.
    """

    def write(self) -> None:
        """Write what the transaction commits: a full or read-only store fails."""

    def read(self) -> None:
        """Read from every table; a store that was found damaged fails from then on."""


@attrs.frozen
class Transaction:
    """All stores in one transaction.

    Attributes:
        after_commit: What to call once the transaction has been committed.
    """

    users: Users
    tokens: RefreshTokens
    passkeys: Passkeys
    totp: TotpSecrets
    recovery_codes: RecoveryCodes
    one_time: OneTimeTokens
    sessions: Sessions
    outbox: Outbox
    notices: Notices
    notice_choices: OwnerChoices
    notice_targets: Targets
    notice_deliveries: Deliveries
    api_keys: ApiKeys
    failures: LoginFailures
    devices: KnownDevices
    portfolios: Portfolios
    alerts: Alerts
    automation: AutomationControls
    shares: PortfolioShares
    imports: StatementImports
    flow_decisions: FlowDecisions
    models: Models
    profiles: MappingProfiles
    proposals: Proposals
    keys: IdempotencyKeys
    jobs: Jobs
    runs: BatchRuns
    quotas: ProviderQuotas
    syncs: SyncStates
    tasks: ScheduledTasks
    leases: Leases
    data_keys: DataKeys
    audit: AuditTrail
    deletions: Deletions
    usage: Usage
    probe: StoreProbe
    after_commit: list[Callable[[], None]] = attrs.field(factory=list)


class UnitOfWork(Protocol):
    """Transactions over all stores.

    Both methods raise Unavailable if the store does not answer, or is busy for too long.
    """

    def begin(self) -> AbstractContextManager[Transaction]:
        """Run a block in a read-write transaction; commit, or roll back if it raises.

        A block must end after an error of a store: only some stores could continue.

        Two transactions over the same portfolio, proposal, token or key run one after the other, or
        the later one raises Conflict or Unavailable.
        """

    def read(self) -> AbstractContextManager[Transaction]:
        """Run a block in a read-only snapshot; a write is an error or lost."""


class Database(Protocol):
    """Administration of the stores' database, for operators.

    Each method but `newest` raises Unavailable if the database does not answer.
    """

    def revision(self) -> str | None:
        """Return the revision of the tables; None before the first."""

    def newest(self) -> str:
        """Return the revision that the stores expect."""

    def upgrade(self, revision: str | None = None) -> None:
        """Upgrade the tables to a revision, to the newest when None.

        Raises:
            InvalidRequest: the revision is unknown or older.
            Conflict: the tables are of an unknown revision.
        """

    def downgrade(self, revision: str | None = None) -> None:
        """Downgrade the tables, by one revision when None; data that do not fit are lost.

        Raises:
            As `upgrade`.
        """

    def backup(
        self, path: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Mapping[str, int]:
        """Write a snapshot of all data into a file, while other transactions run.

        It can be restored into a database of another kind. The file appears only when complete.
        ``progress`` is called with the number of written rows and their total.

        Returns:
            Rows by table.

        Raises:
            InvalidRequest: the file exists already, or cannot be written.
            Conflict: the tables are not of the revision that the stores expect.
        """

    def restore(
        self, path: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Mapping[str, int]:
        """Fill empty tables from a backup, completely or not at all.

        The tables must be of the revision of the backup, which may be an older one: `upgrade` to
        it first, and to the newest afterwards. ``progress`` is called as in `backup`.

        Returns:
            Rows by table.

        Raises:
            InvalidRequest: the file does not exist, is not a backup, or is damaged.
            Conflict: the tables are not empty, or not of the file's revision.
        """

    def rotate_keys(
        self, *, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> KeyRotation:
        """Bring stored keys and texts to the configured encryption, while servers run.

        Data keys are encrypted under the newest key-encryption key, and texts that are still plain
        under the data keys; where encryption is off, texts are decrypted and the data keys deleted.
        Each batch of rows is a transaction, so an interrupted rotation can be repeated.
        ``progress`` is called with the number of changed rows and their total.

        Raises:
            Conflict: the tables are not of the expected revision; or encryption is off, and other
                processes still encrypt.
            Unavailable: a key-encryption key is missing or wrong.
        """

    def findings(self) -> list[str]:
        """Describe what is wrong with the tables or their contents; empty if nothing is."""
