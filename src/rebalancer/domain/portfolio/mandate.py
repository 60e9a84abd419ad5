"""Managed portfolios: the owner's mandate, and the positions of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import attrs

from rebalancer.domain.errors import Conflict, InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.following import Following
from rebalancer.domain.portfolio.goals import SavingsGoal, check_goals
from rebalancer.domain.portfolio.ledger import Entry, Ledger, Positions
from rebalancer.domain.portfolio.planned_flows import NO_PLAN, FlowPlan
from rebalancer.domain.portfolio.portfolio import (
    NO_PREFERENCES,
    Conversions,
    Portfolio,
    Preferences,
    check_targets,
)
from rebalancer.domain.portfolio.risk import RiskProfile
from rebalancer.domain.portfolio.target_groups import (
    LookThrough,
    TargetTree,
    check_look_through,
)

LONGEST_NAME = 100
_ZERO = Decimal(0)

_ROUNDING = 1e-9
"""Difference of weights that are the same apart from rounding."""


class PortfolioChanged(Conflict):
    """Another request has changed the portfolio; reload it and retry."""

    default_code = "portfolio_changed"


class ActionBooking(StrEnum):
    """How corporate actions reach the ledger.

    AUTOMATIC: they are booked as soon as they are known. CONFIRM: they are listed until the owner
    confirms or dismisses each, because trades are made elsewhere.
    """

    AUTOMATIC = "automatic"
    CONFIRM = "confirm"


def _or_none(tree: TargetTree | None) -> TargetTree | None:
    return tree or None


def follows_from(targets: Mapping[str, float], groups: TargetTree) -> bool:
    """Return whether targets by symbol are those of groups, or are not stated."""
    stated = groups.stated_weights
    return not targets or (
        targets.keys() == stated.keys()
        and all(abs(targets[symbol] - stated[symbol]) <= _ROUNDING for symbol in stated)
    )


@attrs.frozen
class Mandate:
    """The owner's instructions for a portfolio.

    Attributes:
        name: 1 to 100 characters.
        currency: Base currency: that of targets, limits and every amount that names none.
        targets: Strategic weights by symbol, as in `Portfolio`; with groups, those that follow
            from their stated weights.
        risk_profile: Limits to respect; None for no limits.
        acknowledge_limits: The targets may exceed the profile's limits; proposals stay within them.
        corporate_actions: See `ActionBooking`.
        conversions: See `Conversions`.
        target_groups: Targets by groups; None if they are stated by symbol.
        look_through: Asset classes of funds of several classes.

    Raises:
        InvalidRequest: the name is empty or too long, the targets are not valid weights, or they
            are stated by symbol and by groups.
    """

    name: str
    currency: Currency
    targets: Mapping[str, float]
    risk_profile: RiskProfile | None = None
    preferences: Preferences = NO_PREFERENCES
    acknowledge_limits: bool = False
    corporate_actions: ActionBooking = ActionBooking.AUTOMATIC
    conversions: Conversions = Conversions.AUTOMATIC
    target_groups: TargetTree | None = attrs.field(default=None, converter=_or_none)
    look_through: LookThrough = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if not 1 <= len(self.name.strip()) <= LONGEST_NAME:
            raise InvalidRequest(
                f"{len(self.name)} characters; a name has 1 to {LONGEST_NAME} characters, not only "
                "spaces",
                field="name",
                code="invalid_name",
            )
        if self.target_groups is not None:
            if not follows_from(self.targets, self.target_groups):
                raise InvalidRequest(
                    "the targets are stated by symbol and by groups; leave out one of them",
                    field="targets",
                    code="targets_stated_twice",
                )
            object.__setattr__(self, "targets", self.target_groups.stated_weights)
        if self.look_through:
            check_look_through(self.look_through)
        check_targets(self.targets)

    def apply_to(self, positions: Positions, *, id: str, cash_flow: Decimal = _ZERO) -> Portfolio:
        """Return the portfolio to rebalance, with a cash flow planned on top of the positions.

        Deposits since the last rebalance count as cash flow, so that every policy invests them at
        its next review, whatever its schedule.
        """
        return Portfolio(
            id=id,
            currency=self.currency,
            cash=positions.cash - positions.uninvested,
            holdings=positions.holdings,
            targets=self.targets,
            risk_profile=self.risk_profile,
            cash_flow=positions.uninvested + cash_flow,
            last_rebalance=positions.last_rebalance,
            preferences=self.preferences,
            uninvested=positions.uninvested,
            foreign_cash=positions.foreign_cash,
            conversions=self.conversions,
            target_groups=self.target_groups,
            look_through=self.look_through,
        )


@attrs.frozen
class ManagedPortfolio:
    """Portfolio of an owner, with its mandate and positions.

    Attributes:
        positions: Positions of its ledger; the stores check that both agree.
        version: Number of changes, from 1, for optimistic locking.
        booked_actions: Digest of the corporate actions that its ledger has booked; None if they
            are to be derived again.
        plan: Planned deposits and withdrawals.
        following: The model that states its targets; None: its owner states them.
        goals: What the owner wants it to be worth.
    """

    id: UUID
    owner: UUID
    mandate: Mandate
    positions: Positions
    version: int
    created: datetime
    changed: datetime
    booked_actions: str | None = None
    plan: FlowPlan = NO_PLAN
    following: Following | None = None
    goals: tuple[SavingsGoal, ...] = attrs.field(default=(), converter=check_goals)

    @classmethod
    def open(
        cls, mandate: Mandate, *, id: UUID, owner: UUID, entries: Iterable[Entry], now: datetime
    ) -> ManagedPortfolio:
        """Return a new portfolio with its first entries.

        Raises:
            Overdrawn: cash or a holding would be negative.
        """
        positions = Ledger(tuple(entries)).positions
        return cls(id, owner, mandate, positions, version=1, created=now, changed=now)

    def check_version(self, version: int) -> None:
        """Check that this is the version that a caller has read.

        Raises:
            PortfolioChanged: it is another one.
        """
        AcceptedVersions(frozenset({version})).check(self)

    def extend_ledger(self, ledger: Ledger, entries: Sequence[Entry]) -> Ledger:
        """Return the ledger with the entries that led to these positions.

        Raises:
            Conflict: an entry is in the ledger already.
            RuntimeError: the positions differ, which is a bug: no user could repair it.
        """
        ids = [entry.id for entry in entries]
        if len(set(ids)) < len(ids) or ledger.pick(ids):
            raise Conflict(
                f"an entry is in the ledger of portfolio {self.id} already", code="duplicate_entry"
            )
        extended = ledger.extended_by(entries)
        self.check_ledger(extended)
        return extended

    def check_ledger(self, ledger: Ledger) -> None:
        """Check that these positions are those of the ledger.

        Raises:
            RuntimeError: they differ, which is a bug: no user could repair it.
        """
        if ledger.positions != self.positions:
            raise RuntimeError(f"portfolio {self.id} does not agree with its ledger")

    def snapshot(self, cash_flow: Decimal = _ZERO) -> Portfolio:
        """Return the portfolio to rebalance, with a planned cash flow on top."""
        return self.mandate.apply_to(self.positions, id=str(self.id), cash_flow=cash_flow)

    def revise(self, mandate: Mandate, now: datetime) -> ManagedPortfolio:
        """Return the portfolio with another mandate.

        Raises:
            InvalidRequest: the currency differs from the ledger's, or the mandate changes what the
                model states that the portfolio follows.
        """
        if self.following is not None:
            self.following.check(self.mandate, mandate)
        if mandate.currency != self.mandate.currency:
            raise InvalidRequest(
                f"{mandate.currency} differs from the ledger's {self.mandate.currency}; open "
                "another portfolio",
                field="currency",
                code="currency_changed",
            )
        return attrs.evolve(
            self, mandate=mandate, version=self.version + 1, changed=now, booked_actions=None
        )

    def adopt(
        self, mandate: Mandate, following: Following | None, now: datetime
    ) -> ManagedPortfolio:
        """Return the portfolio with the mandate of a model that it follows, or followed."""
        return attrs.evolve(
            self, mandate=mandate, following=following, version=self.version + 1, changed=now
        )

    def replan(self, plan: FlowPlan, now: datetime) -> ManagedPortfolio:
        """Return the portfolio with other planned flows."""
        return attrs.evolve(self, plan=plan, version=self.version + 1, changed=now)

    def aim(self, goals: Iterable[SavingsGoal], now: datetime) -> ManagedPortfolio:
        """Return the portfolio with other goals.

        Raises:
            InvalidRequest: there are too many, or two have the same name.
        """
        return attrs.evolve(self, goals=tuple(goals), version=self.version + 1, changed=now)

    def book(
        self,
        ledger: Ledger,
        now: datetime,
        *,
        mandate: Mandate | None = None,
        booked_actions: str | None = None,
    ) -> ManagedPortfolio:
        """Return the portfolio with the positions of an extended ledger.

        Args:
            ledger: With all entries.
            now: Current time.
            mandate: New mandate, after a change of symbols; None: the present one.
            booked_actions: Digest of the corporate actions that the ledger has booked, if it has.

        Raises:
            Overdrawn: cash or a holding would be negative.
        """
        return attrs.evolve(
            self,
            mandate=mandate or self.mandate,
            positions=ledger.positions,
            version=self.version + 1,
            changed=now,
            booked_actions=booked_actions,
        )


@attrs.frozen
class AcceptedVersions:
    """Versions of a portfolio that a change may replace.

    Attributes:
        only: The accepted versions; None: any.
        never: Versions that are not accepted; None: none is.
    """

    only: frozenset[int] | None = None
    never: frozenset[int] | None = frozenset()

    def check(self, portfolio: ManagedPortfolio) -> None:
        """Check the version of a portfolio.

        Raises:
            PortfolioChanged: it is not accepted.
        """
        version = portfolio.version
        if self.never is None or version in self.never:
            raise PortfolioChanged(
                f"portfolio {portfolio.id} exists at version {version}, which the request excludes"
            )
        if self.only is not None and version not in self.only:
            expected = " or ".join(map(str, sorted(self.only))) or "the given one"
            raise PortfolioChanged(
                f"portfolio {portfolio.id} is at version {version}, not {expected}; read it again"
            )


ANY_VERSION = AcceptedVersions()


@attrs.frozen
class UnreadablePortfolio:
    """Stored portfolio that this version rejects, for example after a rule became stricter."""

    id: UUID
    reason: str
