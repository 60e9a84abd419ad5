"""Every port in memory: the tests' fakes, and honest ones. The contract suites hold them too."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, TypeVar
from uuid import UUID

import attrs

from rebalancer.application.ports import (
    BatchRun,
    IdempotencyKey,
    Job,
    JobState,
    RefreshToken,
    Transaction,
    Trial,
)
from rebalancer.domain.errors import Conflict, NotFound
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.learned import ACTIONS, LearnedPolicy
from rebalancer.domain.policy.observation import FEATURES, SLEEVES
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.serving import (
    LEARNED,
    Card,
    Champion,
    Edition,
    Learning,
    Served,
    Training,
    card_of,
    cards_of,
    champion_of,
    edition_of,
    learned_card,
    next_version,
    policy_of,
)
from rebalancer.domain.policy.training import check_name
from rebalancer.domain.portfolio.ledger import Entry, Ledger
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, PortfolioChanged
from rebalancer.domain.portfolio.owner import EmailTaken, User
from rebalancer.domain.rebalancing.record import ProposalClosed, ProposalRecord, Stage

T = TypeVar("T")


@attrs.frozen
class MemoryPrices:
    """A price history at hand, as a source of prices.

    Attributes:
        history: All that is on offer; a `PriceHistory` has no gaps left to fill.
    """

    history: PriceHistory

    def symbols(self) -> tuple[str, ...]:
        """See `PriceSource.symbols`."""
        return self.history.symbols

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """See `PriceSource.closes`."""
        return self.history.window(symbols, days=days, until=until)


@attrs.frozen
class MemoryInstruments:
    """A list of instruments at hand, as a source of them."""

    listed: Instruments

    def instruments(self) -> Instruments:
        """See `InstrumentSource.instruments`."""
        return self.listed


class MemoryPolicies:
    """Rules, and learned policies at hand."""

    def __init__(self, *kept: tuple[Served, Learning]) -> None:
        """Begin with these versions, none of them promoted."""
        self._kept = {policy.version: (policy, learning) for policy, learning in kept}
        self._champion: Champion | None = None

    def policy(self, text: str) -> Policy:
        """See `Policies.policy`."""
        return policy_of(self, text)

    def cards(self) -> Sequence[Card]:
        """See `Policies.cards`."""
        return cards_of(self)

    def card(self, name: str) -> Card:
        """See `Policies.card`."""
        return card_of(self, name)

    def keep_evidence(self, name: str, evidence: Mapping[str, Any]) -> Card:
        """See `Policies.keep_evidence`."""
        exact = edition_of(self, name).exact
        policy, learning = self._kept[exact]
        bound = {**evidence, "weights": learning.weights}
        self._kept[exact] = policy, attrs.evolve(learning, evidence=bound)
        return card_of(self, exact)

    def add(self, learned: LearnedPolicy, training: Training) -> Card:
        """See `Policies.add`."""
        check_name(learned.name, training.algorithm)
        number = next_version(self, learned.name)
        exact = f"{learned.name}@{number}"
        weights, regimes = _digest_of(learned), _digest_of(learned.regimes)
        fields = {field.name: getattr(learned, field.name) for field in attrs.fields(LearnedPolicy)}
        digest = hashlib.sha256((weights + regimes).encode()).hexdigest()
        policy = Served(**{**fields, "name": exact}, version=exact, digest=digest)
        learning = Learning(
            version=number,
            training=training,
            features={feature.name: feature.meaning for feature in FEATURES},
            actions={action.name: action.meaning for action in ACTIONS},
            sleeves=tuple(sleeve.name for sleeve in SLEEVES),
            networks=len(learned.networks),
            most_spread=learned.most_spread,
            fallback=learned.rule.name,
            chosen_rule=learned.chosen_rule,
            weights=weights,
            regimes=regimes,
            evidence={},
        )
        self._kept[exact] = policy, learning
        return card_of(self, exact)

    def place(self, name: str) -> None:
        """See `Policies.place`."""
        edition_of(self, name)

    def promote(self, name: str, *, now: datetime) -> Card:
        """See `Policies.promote`."""
        self._champion = champion_of(card_of(self, edition_of(self, name).exact))
        return card_of(self, LEARNED)

    def editions(self) -> Sequence[Edition]:
        """See `Shelf.editions`."""
        parts = ((policy.version.split("@"), known) for policy, known in self._kept.values())
        return [Edition(name, int(number), known.shipped) for (name, number), known in parts]

    def read(self, edition: Edition) -> tuple[Served, Card]:
        """See `Shelf.read`."""
        policy, learning = self._kept[edition.exact]
        return attrs.evolve(policy, name=edition.exact), learned_card(policy, learning)

    def champion(self) -> Champion | None:
        """See `Shelf.champion`."""
        return self._champion


def _digest_of(value: LearnedPolicy | RegimeModel) -> str:
    """SHA-256 of the numbers of networks, or of a model of regimes."""
    sha = hashlib.sha256()
    if isinstance(value, RegimeModel):
        arrays = [value.start, value.transition, value.means, value.covariances]
    else:
        arrays = [each for net in value.networks for each in (*net.weights, *net.biases)]
    for array in arrays:
        sha.update(array.tobytes())
    return sha.hexdigest()


class MemoryTrials:
    """Trials that end with the process."""

    def __init__(self) -> None:
        self._kept: list[Trial] = []

    @property
    def place(self) -> None:
        """See `Trials.place`."""
        return None

    def append(self, trial: Trial) -> None:
        """See `Trials.append`."""
        self._kept.append(trial)

    def all(self) -> tuple[Trial, ...]:
        """See `Trials.all`."""
        return tuple(self._kept)

    def count(self) -> int:
        """See `Trials.count`."""
        return sum(trial.trials for trial in self._kept)


class MemoryWork:
    """Every store in memory; what is in it ends with the process.

    A transaction works on copies of the tables, whose rows are immutable, and puts them in place
    when it ends well. Writers wait for one another.
    """

    def __init__(self) -> None:
        self._tables: Mapping[str, Mapping[Any, Any]] = {}
        self._writing = threading.Lock()

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """See `UnitOfWork.begin`."""
        with self._writing:
            view = MemoryTransaction(self._tables)
            yield view
            self._tables = view.tables

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """See `UnitOfWork.read`; what is written through it is lost."""
        yield MemoryTransaction(self._tables)


class MemoryTransaction:
    """All stores over one copy of the tables."""

    def __init__(self, tables: Mapping[str, Mapping[Any, Any]]) -> None:
        self.tables = {name: dict(rows) for name, rows in tables.items()}
        self.users = MemoryUsers(self.tables.setdefault("users", {}))
        self.tokens = MemoryTokens(self.tables.setdefault("tokens", {}))
        self.portfolios = MemoryPortfolios(
            self.tables.setdefault("portfolios", {}),
            self.tables.setdefault("closed", {}),
            self.tables.setdefault("ledgers", {}),
        )
        self.proposals = MemoryProposals(
            self.tables.setdefault("proposals", {}), self.tables["closed"]
        )
        self.keys = MemoryKeys(self.tables.setdefault("keys", {}))
        self.jobs = MemoryJobs(self.tables.setdefault("jobs", {}))
        self.runs = MemoryRuns(
            self.tables.setdefault("runs", {}), self.tables.setdefault("failures", {})
        )


@attrs.frozen
class MemoryUsers:
    """See `Users`."""

    rows: dict[UUID, User]

    def add(self, user: User) -> None:
        """See `Users.add`."""
        if self.by_email(user.email) is not None:
            raise EmailTaken(f"{user.email} is registered already; log in instead")
        self.rows[user.id] = user

    def get(self, id: UUID) -> User:
        """See `Users.get`."""
        return _found(self.rows, id, "user")

    def by_email(self, email: str) -> User | None:
        """See `Users.by_email`."""
        return next((user for user in self.rows.values() if user.email == email), None)

    def save(self, user: User) -> None:
        """See `Users.save`."""
        self.get(user.id)
        same = self.by_email(user.email)
        if same is not None and same.id != user.id:
            raise EmailTaken(f"{user.email} is registered already")
        self.rows[user.id] = user


@attrs.frozen
class MemoryTokens:
    """See `RefreshTokens`."""

    rows: dict[str, RefreshToken]

    def add(self, token: RefreshToken) -> None:
        """See `RefreshTokens.add`."""
        self.rows[token.digest] = token

    def get(self, digest: str) -> RefreshToken | None:
        """See `RefreshTokens.get`."""
        return self.rows.get(digest)

    def use(self, digest: str, now: datetime) -> bool:
        """See `RefreshTokens.use`."""
        token = self.rows.get(digest)
        if token is None or token.used is not None:
            return False
        self.rows[digest] = attrs.evolve(token, used=now)
        return True

    def revoke(self, family: UUID) -> None:
        """See `RefreshTokens.revoke`."""
        for digest in [d for d, token in self.rows.items() if token.family == family]:
            del self.rows[digest]

    def tidy(self, owner: UUID, now: datetime) -> None:
        """See `RefreshTokens.tidy`."""
        mine = [(digest, token) for digest, token in self.rows.items() if token.owner == owner]
        for digest, token in mine:
            if token.expires <= now:
                del self.rows[digest]


@attrs.frozen
class MemoryPortfolios:
    """See `Portfolios`."""

    rows: dict[UUID, ManagedPortfolio]
    closed: dict[UUID, datetime]
    ledgers: dict[UUID, tuple[Entry, ...]]

    def add(self, portfolio: ManagedPortfolio, entries: Sequence[Entry]) -> None:
        """See `Portfolios.add`."""
        self._record(portfolio, entries)
        self.rows[portfolio.id] = portfolio

    def get(self, id: UUID, *, owner: UUID | None = None) -> ManagedPortfolio:
        """See `Portfolios.get`."""
        found = _found(self.rows, id, "portfolio")
        if owner not in (None, found.owner) or id in self.closed:
            raise NotFound(f"there is no portfolio {id}")
        return found

    def save(self, portfolio: ManagedPortfolio, *, entries: Sequence[Entry] = ()) -> None:
        """See `Portfolios.save`."""
        self._at(portfolio.id, portfolio.owner, portfolio.version - 1)
        self._record(portfolio, entries)
        self.rows[portfolio.id] = portfolio

    def close(self, id: UUID, *, owner: UUID, version: int, now: datetime) -> None:
        """See `Portfolios.close`."""
        self._at(id, owner, version)
        self.closed[id] = now

    def of(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[ManagedPortfolio]:
        """See `Portfolios.of`."""
        mine = [row for row in self.rows.values() if row.owner == owner]
        mine.sort(key=lambda row: (row.created, row.id))
        return [row for row in _following(mine, after) if row.id not in self.closed][:limit]

    def some(self, ids: Collection[UUID]) -> dict[UUID, ManagedPortfolio]:
        """See `Portfolios.some`."""
        return {id: self.rows[id] for id in ids if id in self.rows and id not in self.closed}

    def versions(self, ids: Collection[UUID]) -> dict[UUID, int]:
        """See `Portfolios.versions`."""
        return {id: self.rows[id].version for id in ids if id in self.rows}

    def chunk(self, *, after: UUID | None = None, limit: int) -> list[ManagedPortfolio]:
        """See `Portfolios.chunk`."""
        ids = sorted(id for id in self.rows if id not in self.closed)
        return [self.rows[id] for id in ids if after is None or id > after][:limit]

    def ledger(self, id: UUID) -> Ledger:
        """See `Portfolios.ledger`."""
        return Ledger(self.ledgers.get(id, ()))

    def entries(self, id: UUID, *, before: UUID | None = None, limit: int) -> list[Entry]:
        """See `Portfolios.entries`."""
        return _following(list(reversed(self.ledgers.get(id, ()))), before)[:limit]

    def _at(self, id: UUID, owner: UUID, version: int) -> None:
        kept = self.get(id, owner=owner)
        if kept.version != version:
            raise PortfolioChanged(
                f"the portfolio is at version {kept.version}, not {version}; read it again"
            )

    def _record(self, portfolio: ManagedPortfolio, entries: Sequence[Entry]) -> None:
        before = self.ledgers.get(portfolio.id, ())
        known = {entry.id for entry in before}
        if any(entry.id in known for entry in entries):
            raise Conflict("this is in the ledger already")
        ledger = Ledger((*before, *entries))
        if ledger.positions != portfolio.positions:
            raise RuntimeError(f"portfolio {portfolio.id} does not agree with its ledger")
        self.ledgers[portfolio.id] = ledger.entries


@attrs.frozen
class MemoryProposals:
    """See `Proposals`."""

    rows: dict[UUID, ProposalRecord]
    closed: Mapping[UUID, datetime]

    def add(self, records: Sequence[ProposalRecord]) -> None:
        """See `Proposals.add`."""
        self.rows.update((record.id, record) for record in records)

    def get(self, id: UUID, *, owner: UUID | None = None) -> ProposalRecord:
        """See `Proposals.get`."""
        found = _found(self.rows, id, "proposal")
        if owner not in (None, found.owner) or found.portfolio_id in self.closed:
            raise NotFound(f"there is no proposal {id}")
        return found

    def save(self, record: ProposalRecord, *, seen: Stage) -> None:
        """See `Proposals.save`."""
        kept = self.get(record.id, owner=record.owner)
        if kept.stage is not seen:
            raise ProposalClosed(f"is {kept.stage} already")
        self.rows[record.id] = record

    def of(
        self,
        owner: UUID,
        *,
        portfolio_id: UUID | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[ProposalRecord]:
        """See `Proposals.of`."""
        mine = [
            row
            for row in self.rows.values()
            if row.owner == owner
            and row.portfolio_id not in self.closed
            and portfolio_id in (None, row.portfolio_id)
        ]
        mine.sort(key=lambda row: (row.proposed, row.id), reverse=True)
        return _following(mine, before)[:limit]


@attrs.frozen
class MemoryKeys:
    """See `IdempotencyKeys`."""

    rows: dict[tuple[UUID, str], IdempotencyKey]

    def get(self, owner: UUID, key: str) -> IdempotencyKey | None:
        """See `IdempotencyKeys.get`."""
        return self.rows.get((owner, key))

    def add(self, key: IdempotencyKey) -> None:
        """See `IdempotencyKeys.add`."""
        if (key.owner, key.key) in self.rows:
            raise Conflict("a request with this Idempotency-Key is being carried out; try again")
        self.rows[key.owner, key.key] = key


@attrs.frozen
class MemoryJobs:
    """See `Jobs`."""

    rows: dict[UUID, Job]

    def add(self, job: Job) -> None:
        """See `Jobs.add`."""
        self.rows[job.id] = job

    def get(self, id: UUID, *, owner: UUID | None = None) -> Job:
        """See `Jobs.get`."""
        found = _found(self.rows, id, "job")
        if owner not in (None, found.owner):
            raise NotFound(f"there is no job {id}")
        return found

    def save(self, job: Job) -> None:
        """See `Jobs.save`."""
        self.get(job.id)
        self.rows[job.id] = job

    def unfinished(self) -> list[Job]:
        """See `Jobs.unfinished`."""
        waiting = (JobState.QUEUED, JobState.RUNNING)
        found = [job for job in self.rows.values() if job.state in waiting]
        return sorted(found, key=lambda job: (job.created, job.id))


@attrs.frozen
class MemoryRuns:
    """See `BatchRuns`."""

    rows: dict[UUID, BatchRun]
    failed: dict[UUID, tuple[tuple[UUID, str], ...]]

    def add(self, run: BatchRun) -> None:
        """See `BatchRuns.add`."""
        self.rows[run.id] = run

    def unfinished(self, terms: str) -> BatchRun | None:
        """See `BatchRuns.unfinished`."""
        open_runs = [run for run in self.rows.values() if run.terms == terms and not run.finished]
        return max(open_runs, key=lambda run: (run.started, run.id), default=None)

    def save(self, run: BatchRun, failures: Sequence[tuple[UUID, str]] = ()) -> None:
        """See `BatchRuns.save`."""
        _found(self.rows, run.id, "run")
        self.rows[run.id] = run
        self.failed[run.id] = (*self.failed.get(run.id, ()), *failures)

    def failures(self, id: UUID) -> list[tuple[UUID, str]]:
        """See `BatchRuns.failures`."""
        return sorted(self.failed.get(id, ()))


def _found(rows: Mapping[UUID, T], id: UUID, what: str) -> T:
    row = rows.get(id)
    if row is None:
        raise NotFound(f"there is no {what} {id}")
    return row


def _following(rows: list[Any], cursor: UUID | None) -> list[Any]:
    """The rows that come after the one with an id; none when there is no such row."""
    if cursor is None:
        return rows
    at = next((i for i, row in enumerate(rows) if row.id == cursor), len(rows))
    return rows[at + 1 :]
