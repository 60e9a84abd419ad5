"""What the application asks of the outside world.

Adapters keep these promises; one contract suite a port holds every adapter to them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import attrs

from rebalancer.domain.backtest.findings import Findings
from rebalancer.domain.backtest.run import Backtest
from rebalancer.domain.backtest.selection import RuleChoice
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel
from rebalancer.domain.policy.learned import LearnedPolicy
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.serving import Card, Training
from rebalancer.domain.policy.training import Plan, Point, Trained
from rebalancer.domain.portfolio.ledger import Entry, Ledger
from rebalancer.domain.portfolio.mandate import ManagedPortfolio
from rebalancer.domain.portfolio.owner import User
from rebalancer.domain.rebalancing.record import Fill, ProposalRecord, Stage


class PricesUnavailable(Unavailable):
    """A price provider did not answer, or answered nonsense; the message says which and what."""


class PriceSource(Protocol):
    """Daily adjusted closes, all in one currency."""

    def symbols(self) -> tuple[str, ...]:
        """Every symbol on offer, in the provider's order, each once."""

    def closes(
        self,
        symbols: Sequence[str] | None = None,
        *,
        days: int | None = None,
        until: date | None = None,
    ) -> PriceHistory:
        """Closes of ``symbols`` (all when None, else in the order asked for).

        Args:
            symbols: What is wanted.
            days: At most this many rows, counted back from the end; all when None.
            until: The last row is the last close at or before this day, at most 5 business days
                back; the last known close when None.

        Returns:
            Oldest first. A gap of at most 5 rows repeats the last close; an asset has NaN only
            before its first close. The same call gives the same answer.

        Raises:
            InvalidRequest: an unknown symbol (all of them are named), a day outside of the prices,
                or prices that are malformed: says where and how to mend it.
            PricesUnavailable: the provider did not answer.
        """


class InstrumentSource(Protocol):
    """What is known of each asset beside its prices."""

    def instruments(self) -> Instruments:
        """The whole list.

        Raises:
            InvalidRequest: the list is malformed: says where and how to mend it.
        """


class Regimes(Protocol):
    """The market regimes that are told apart."""

    def model(self) -> RegimeModel:
        """What was fitted, always the same.

        Raises:
            InvalidRequest: the file that was named for it is missing or damaged.
            Unavailable: what is shipped is missing or damaged; says how to mend it.
        """


class Policies(Protocol):
    """Who can decide: every rule, versions of learned policies, and ``learned``.

    Rules take parameters, ``trend:window=150``. A learned policy is called by its name, ``ppo``,
    which is its highest version, or by a version, ``ppo@1``. ``learned`` is the version that was
    promoted last, or the best rule while none is.
    """

    def policy(self, text: str) -> Policy:
        """The policy that a text names; its own name is that text.

        Raises:
            InvalidRequest: there is none such, says what there is; it takes no such parameter; or
                its version is damaged or not for this code, says which and how.
        """

    def cards(self) -> Sequence[Card]:
        """Of every rule, of every learned policy with the highest version first, and of `learned`.

        The highest version goes by the plain name, earlier ones by their exact names.

        Raises:
            InvalidRequest: a version cannot be served; says which and why.
        """

    def card(self, name: str) -> Card:
        """Of one policy, by a name without parameters.

        Raises:
            NotFound: there is none; says what there is.
            InvalidRequest: it cannot be served; says why.
        """

    def keep_evidence(self, name: str, evidence: Mapping[str, Any]) -> Card:
        """Keep with a version what was found when it was judged, in place of what was kept before.

        Args:
            name: Of a learned policy, as in `card`; not ``learned``.
            evidence: JSON values. Under ``gate`` the promotion gate: ``passed``, and ``criteria``
                with a ``name``, a ``figure``, a ``threshold``, ``passed`` and a ``sentence`` each.
                What is kept has ``weights`` beside it: SHA-256 of the weights that it is of.

        Returns:
            The version's card.

        Raises:
            NotFound: there is no such version.
            InvalidRequest: it is damaged, or the evidence cannot be kept; says why.
        """

    def add(self, learned: LearnedPolicy, training: Training) -> Card:
        """Keep a new version: one above the highest of its name, all of it or nothing.

        Args:
            learned: Its name is plain, such as ``ppo``.
            training: How it was made; one seed a network.

        Returns:
            The version's card, by its exact name.

        Raises:
            InvalidRequest: the name is taken, it could not be served, or it cannot be written; says
                why.
        """

    def place(self, name: str) -> str | None:
        """Where a version is kept, for people; None where it ends with the process.

        Raises:
            NotFound: there is no such version.
        """

    def promote(self, name: str, *, now: datetime) -> Card:
        """Make a version what ``learned`` means, if its evidence has passed the promotion gate.

        Returns:
            The card of ``learned``.

        Raises:
            NotFound: there is no such version.
            Conflict: it has no evidence, or it failed the gate; names the failed criteria.
            InvalidRequest: the version is damaged, or that cannot be written; says why.
        """


class Trainer(Protocol):
    """Who makes learned policies."""

    def check(self) -> None:
        """Make sure that it can train.

        Raises:
            Unavailable: something is not installed; says how to install it.
        """

    def train(
        self,
        panels: Mapping[str, PriceHistory],
        plan: Plan,
        out: Path,
        *,
        regimes: RegimeModel,
        chosen_rule: str,
        command: str,
        today: date,
        name: str,
        progress: Callable[[Point], None] = lambda _: None,
        drawn: Callable[[int], None] = lambda _: None,
    ) -> Trained:
        """Train one network a seed, or go on where an earlier call was stopped.

        The same panels, plan and regimes give the same policy on one machine, stopped or not.

        Args:
            panels: Prices by name, cut off where training ends, without bills.
            plan: What to train.
            out: Folder for checkpoints; made if need be.
            regimes: The model of market regimes.
            chosen_rule: Name of the best rule on the same prices.
            command: What makes the same policy again.
            today: For the record.
            name: Of the policy.
            progress: Told each point of the learning curves.
            drawn: Told how many more worlds have come into being.

        Raises:
            InvalidRequest: the folder holds the checkpoints of another training, or prices are too
                short; names the field.
            Unavailable: as `check`.
        """

    def fit_regimes(self, panels: Sequence[PriceHistory]) -> RegimeModel:
        """A model of market regimes of its own for some panels; the same panels, the same model.

        Raises:
            InvalidRequest: the prices are too short.
            Unavailable: as `check`.
        """


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
class Made:
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

    def render(self, made: Made) -> str:
        """One self-contained HTML page; the same training gives the same text."""


class TrialKind(StrEnum):
    """What was done when policies were tried."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    PROTOTYPE = "prototype"


@attrs.frozen
class Trial:
    """A training or evaluation run: one line of the record that luck is reckoned from.

    Attributes:
        on: When; with its time zone.
        kind: What was done.
        what: Policies or settings that were tried, by name.
        trials: How many tries it stands for; 0 for the repetition of an earlier one.
        digest: SHA-256 of what it was run on; empty where that is not known.
        note: Whatever a reader should know.
    """

    on: datetime
    kind: TrialKind
    what: tuple[str, ...]
    trials: int = 1
    digest: str = ""
    note: str = ""

    def __attrs_post_init__(self) -> None:
        if self.on.tzinfo is None:
            raise InvalidRequest("must be a time with its zone", field="on")
        if not self.what or not all(self.what):
            raise InvalidRequest("name at least one", field="what")
        if self.trials < 0:
            raise InvalidRequest(f"must be at least 0, got {self.trials}", field="trials")


class Trials(Protocol):
    """Every training and evaluation run that there was, so that luck can be discounted."""

    @property
    def place(self) -> str | None:
        """Where they are kept, for people; None where they end with the process."""

    def append(self, trial: Trial) -> None:
        """Keep one more, whole or not at all, whoever else appends.

        Raises:
            Unavailable: it cannot be written there; says why.
        """

    def all(self) -> tuple[Trial, ...]:
        """Every one, in the order of appending; none where nothing was ever appended.

        Raises:
            InvalidRequest: what is kept is malformed: says where and how.
            Unavailable: it cannot be read; says why.
        """

    def count(self) -> int:
        """How many tries they stand for: the sum of their ``trials``.

        Raises:
            As `all`.
        """


# What is kept. Stores are used inside a transaction; they take and give domain values.


@attrs.frozen
class RefreshToken:
    """A secret that can be exchanged once for a new one.

    Attributes:
        digest: SHA-256 of the secret, which is kept nowhere.
        family: All tokens that descend from one login.
        owner: Whose.
        issued: When.
        expires: From when on it is worthless.
        used: When it was exchanged; None while it has not been.
    """

    digest: str
    family: UUID
    owner: UUID
    issued: datetime
    expires: datetime
    used: datetime | None = None


@attrs.frozen
class IdempotencyKey:
    """A request that was carried out, so that its repetition is answered alike.

    Attributes:
        owner: Who asked.
        key: What they called the request.
        fingerprint: SHA-256 of what they asked for.
        result: Id of what came of it.
        created: When.
    """

    owner: UUID
    key: str
    fingerprint: str
    result: UUID
    created: datetime


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@attrs.frozen
class Job:
    """Work that takes longer than a request.

    Attributes:
        id: Unique.
        owner: Who asked for it.
        kind: What is to be done, such as ``backtest``.
        request: What was asked for, as JSON values.
        state: Where it stands.
        progress: Share that is done, 0 to 1.
        result: What came of it, as JSON values; None until it has succeeded.
        error: Why it failed; None if it has not.
        created: When it was asked for.
        finished: When it ended, well or badly.
    """

    id: UUID
    owner: UUID
    kind: str
    request: Mapping[str, Any]
    state: JobState
    created: datetime
    progress: float = 0.0
    result: Mapping[str, Any] | None = None
    error: str | None = None
    finished: datetime | None = None


@attrs.frozen
class BatchRun:
    """A walk over every portfolio in the store, by id, that can be taken up where it stopped.

    Attributes:
        id: Unique.
        terms: SHA-256 of what its proposals follow from.
        policy: Who decides.
        as_of: Day of the closes.
        started: When.
        after: Id of the last portfolio that is done; None at the start.
        proposed: Portfolios with something to trade, so far.
        nothing: Portfolios with nothing to trade, so far.
        failed: Portfolios that gave no proposal, so far.
        finished: When every portfolio was done.
    """

    id: UUID
    terms: str
    policy: str
    as_of: date
    started: datetime
    after: UUID | None = None
    proposed: int = 0
    nothing: int = 0
    failed: int = 0
    finished: datetime | None = None


class Users(Protocol):
    """Who is registered."""

    def add(self, user: User) -> None:
        """Keep a new user.

        Raises:
            EmailTaken: somebody has this address.
        """

    def get(self, id: UUID) -> User:
        """The user of this id.

        Raises:
            NotFound: there is none.
        """

    def by_email(self, email: str) -> User | None:
        """The user with this address, as `email_of` gives it."""

    def save(self, user: User) -> None:
        """Replace a user.

        Raises:
            NotFound: there is none of this id.
            EmailTaken: somebody else has this address.
        """


class RefreshTokens(Protocol):
    """Secrets that keep people logged in; only digests are kept."""

    def add(self, token: RefreshToken) -> None:
        """Keep a new token."""

    def get(self, digest: str) -> RefreshToken | None:
        """The token of this digest, used or not; None when there is none, or its family is gone."""

    def use(self, digest: str, now: datetime) -> bool:
        """Mark a token as used; False when somebody else was quicker."""

    def revoke(self, family: UUID) -> None:
        """Forget every token of a family."""

    def tidy(self, owner: UUID, now: datetime) -> None:
        """Forget an owner's tokens that have ended by ``now``."""


class Portfolios(Protocol):
    """Portfolios in somebody's keeping; those of others do not exist."""

    def add(self, portfolio: ManagedPortfolio, entries: Sequence[Entry]) -> None:
        """Keep a new portfolio and the entries that its ledger begins with."""

    def get(self, id: UUID, *, owner: UUID | None = None) -> ManagedPortfolio:
        """The portfolio of this id; of any owner when None, for operators.

        Raises:
            NotFound: there is none, it is closed, or it is somebody else's.
        """

    def save(self, portfolio: ManagedPortfolio, *, entries: Sequence[Entry] = ()) -> None:
        """Replace the portfolio of the version before, and add entries to its ledger.

        Raises:
            PortfolioChanged: the kept version is not the one before; nothing is written.
            Conflict: one of the entries is in the ledger already.
        """

    def close(self, id: UUID, *, owner: UUID, version: int, now: datetime) -> None:
        """Put a portfolio away: it is found no more, its ledger is kept for the record.

        Raises:
            NotFound: as `get`.
            PortfolioChanged: the kept version is not this one.
        """

    def of(self, owner: UUID, *, after: UUID | None = None, limit: int) -> list[ManagedPortfolio]:
        """Portfolios of an owner, the oldest first, from the one that follows ``after`` on."""

    def some(self, ids: Collection[UUID]) -> dict[UUID, ManagedPortfolio]:
        """Portfolios of anybody by id, unknown and closed ones left out; at once, however many."""

    def versions(self, ids: Collection[UUID]) -> dict[UUID, int]:
        """The present version of each of these portfolios; unknown ones are left out."""

    def chunk(self, *, after: UUID | None = None, limit: int) -> list[ManagedPortfolio]:
        """Portfolios of everybody by id, from the one that follows ``after`` on: for operators."""

    def ledger(self, id: UUID) -> Ledger:
        """All entries of a portfolio, as they were written down; empty for an unknown one."""

    def entries(self, id: UUID, *, before: UUID | None = None, limit: int) -> list[Entry]:
        """Entries of a portfolio, the latest written first, from the one before ``before`` on."""


class Proposals(Protocol):
    """What was proposed, and what became of it."""

    def add(self, records: Sequence[ProposalRecord]) -> None:
        """Keep new proposals."""

    def get(self, id: UUID, *, owner: UUID | None = None) -> ProposalRecord:
        """The proposal of this id; of any owner when None, for operators.

        Raises:
            NotFound: there is none, its portfolio is closed, or it is somebody else's.
        """

    def save(self, record: ProposalRecord, *, seen: Stage) -> None:
        """Replace the proposal whose kept stage is ``seen``.

        Raises:
            NotFound: as `get`.
            ProposalClosed: its stage is another one: somebody was quicker; nothing is written.
        """

    def of(
        self,
        owner: UUID,
        *,
        portfolio_id: UUID | None = None,
        before: UUID | None = None,
        limit: int,
    ) -> list[ProposalRecord]:
        """Proposals for an owner, or for one portfolio, the latest first, from ``before`` on.

        Proposals for closed portfolios are left out.
        """


class IdempotencyKeys(Protocol):
    """Requests that were carried out."""

    def get(self, owner: UUID, key: str) -> IdempotencyKey | None:
        """What came of a request; None when it was never made."""

    def add(self, key: IdempotencyKey) -> None:
        """Keep a new one.

        Raises:
            Conflict: the same request is being carried out this moment.
        """


class Jobs(Protocol):
    """Work that takes longer than a request."""

    def add(self, job: Job) -> None:
        """Keep a new job."""

    def get(self, id: UUID, *, owner: UUID | None = None) -> Job:
        """The job of this id; of any owner when None.

        Raises:
            NotFound: there is none, or it is somebody else's.
        """

    def save(self, job: Job) -> None:
        """Replace a job.

        Raises:
            NotFound: there is none of this id.
        """

    def unfinished(self) -> list[Job]:
        """Jobs that are queued or running, the oldest first."""


class BatchRuns(Protocol):
    """Walks over every portfolio."""

    def add(self, run: BatchRun) -> None:
        """Keep a new run."""

    def unfinished(self, terms: str) -> BatchRun | None:
        """The latest run with these terms that has not reached the end."""

    def save(self, run: BatchRun, failures: Sequence[tuple[UUID, str]] = ()) -> None:
        """Replace a run, and keep why portfolios since its last state gave no proposal.

        Raises:
            NotFound: there is no such run.
        """

    def failures(self, id: UUID) -> list[tuple[UUID, str]]:
        """Which portfolios gave no proposal, by id, and why not."""


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

    def findings(self) -> list[str]:
        """What is wrong with the tables, or with what they hold, in words; empty if nothing is.

        Raises:
            Unavailable: the database does not answer.
        """


class Passwords(Protocol):
    """Hashes of passwords."""

    def hashed(self, password: str) -> str:
        """A salted hash, slow to compute on purpose."""

    def match(self, password: str, hashed: str | None) -> bool:
        """Whether a hash is of this password; as slow, and False, for None."""


class Tokens(Protocol):
    """What people show to prove who they are."""

    def access(self, owner: UUID, now: datetime) -> tuple[str, datetime]:
        """A token that proves for a short while who its bearer is, and when it ends."""

    def bearer(self, token: str, now: datetime) -> UUID:
        """Whose token it is.

        Raises:
            NotAuthenticated: it is not one of ours, or has ended.
        """

    def secret(self) -> str:
        """A refresh token: text that nobody can guess, never the same twice."""

    def digest(self, secret: str) -> str:
        """What is kept of a secret."""


class Broker(Protocol):
    """Who carries out orders.

    A broker that trades for real must be told before anything is recorded, and asked again after a
    crash: that takes the stage ``accepted``, written down first. The paper broker has no effects
    of its own, so that its fills are recorded in one transaction with the acceptance.
    """

    def execute(self, record: ProposalRecord) -> list[Fill]:
        """Carry out a proposal's orders, in their order; the same proposal gives the same fills."""


class JobRunner(Protocol):
    """Who does jobs."""

    def submit(self, job: UUID) -> None:
        """Have a kept job done soon, after whatever was submitted before.

        Raises:
            Unavailable: too many wait already.
        """


class Clock(Protocol):
    """What time it is; entrypoints ask it, and hand the answer on."""

    def __call__(self) -> datetime:
        """Now, in UTC."""


class Ids(Protocol):
    """Names for new things; entrypoints ask for them, and hand them on."""

    def __call__(self) -> UUID:
        """An id that nothing else has."""
