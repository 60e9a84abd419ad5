"""Show what the targets of a portfolio mean at the last close: its groups and their drift."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from uuid import UUID

import attrs

from rebalancer.application.corporate_actions import BookActions
from rebalancer.application.ports.market import InstrumentSource, PriceSource
from rebalancer.application.ports.store import UnitOfWork
from rebalancer.application.valuation import ValuedPortfolio, value_booked
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.asset_classes import AssetClass
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.symbols import unknown_symbols
from rebalancer.domain.portfolio.mandate import ManagedPortfolio, Mandate
from rebalancer.domain.portfolio.target_groups import LookThrough, TargetTree, class_shares
from rebalancer.domain.portfolio.target_resolution import (
    ResolvedGroup,
    ResolvedTargets,
    resolve_targets,
)


@attrs.frozen
class TargetsNow:
    """Targets of a portfolio at the last close.

    Attributes:
        valued: The portfolio.
        weights: Current weight of each holding; empty without a value.
        targets: Weight that follows for each asset.
        groups: Groups of the targets, each before those inside.
        classes: Current weight of each asset class, funds of several classes by their shares;
            "unknown" for assets whose class is unknown.
        notes: Why the targets could not be resolved, if so: they are the stated ones then.
    """

    valued: ValuedPortfolio
    weights: Mapping[str, float]
    targets: Mapping[str, float]
    groups: tuple[ResolvedGroup, ...]
    classes: Mapping[str, float]
    notes: tuple[str, ...] = ()


@attrs.frozen
class ReadTargets:
    """Read the targets of a portfolio, resolved at the last close."""

    work: UnitOfWork
    prices: PriceSource
    instruments: InstrumentSource
    book: BookActions

    def __call__(self, id: UUID, *, actor: UUID) -> TargetsNow:
        """Return the targets of a portfolio.

        Raises:
            NotFound: the portfolio does not exist, or is not shared with the actor.
            InvalidRequest: a class group has no member.
        """
        return targets_now(self._value(id, actor), self.instruments.instruments())

    def preview(
        self, id: UUID, tree: TargetTree, look_through: LookThrough, *, actor: UUID
    ) -> TargetsNow:
        """Return what other targets by groups would mean for a portfolio; nothing is stored.

        Raises:
            NotFound: the portfolio does not exist, or is not shared with the actor.
            InvalidRequest: a class group has no member, or a symbol is unknown.
        """
        valued = self._value(id, actor)
        known = self.prices.closes().symbols
        unknown = sorted(tree.symbols - {*known, *valued.portfolio.positions.holdings})
        if unknown:
            raise unknown_symbols(unknown, known, field="target_groups")
        mandate = attrs.evolve(
            valued.portfolio.mandate, targets={}, target_groups=tree, look_through=look_through
        )
        other = attrs.evolve(valued, portfolio=attrs.evolve(valued.portfolio, mandate=mandate))
        return targets_now(other, self.instruments.instruments())

    def _value(self, id: UUID, actor: UUID) -> ValuedPortfolio:
        with self.work.read() as tx:
            found = tx.portfolios.get_for(id, actor)
        market = self.prices.closes()
        return value_booked(self.book(found, market), market, self.work)


def targets_now(valued: ValuedPortfolio, instruments: Instruments) -> TargetsNow:
    """Resolve the targets of a portfolio at its current values.

    Raises:
        InvalidRequest: a class group has no member.
    """
    resolved = resolve_mandate(valued, instruments, valued.portfolio.mandate)
    return _describe(valued, instruments, resolved)


def targets_or_fault(valued: ValuedPortfolio, instruments: Instruments) -> TargetsNow:
    """Resolve the targets of a portfolio; a note states the fault if that fails."""
    try:
        return targets_now(valued, instruments)
    except InvalidRequest as error:
        stated = ResolvedTargets(valued.portfolio.mandate.targets, ())
        note = f"The targets cannot be resolved: {error.message}."
        return attrs.evolve(_describe(valued, instruments, stated), notes=(note,))


def _describe(
    valued: ValuedPortfolio, instruments: Instruments, resolved: ResolvedTargets
) -> TargetsNow:
    mandate = valued.portfolio.mandate
    weights = current_weights(valued)
    classes: dict[str, list[float]] = {}
    for symbol, weight in sorted(weights.items()):
        shares = class_shares(
            symbol, mandate.look_through, lambda one: instruments[one].asset_class
        )
        for name, share in shares.items() or {"unknown": 1.0}.items():
            text = name.value if isinstance(name, AssetClass) else name
            classes.setdefault(text, []).append(weight * share)
    return TargetsNow(
        valued=valued,
        weights=weights,
        targets=resolved.weights,
        groups=resolved.groups,
        classes={name: math.fsum(parts) for name, parts in sorted(classes.items())},
    )


def resolve_or_state(
    portfolio: ManagedPortfolio, market: PriceHistory, instruments: Instruments
) -> Mapping[str, float]:
    """Return the weights that follow from targets at the last prices.

    The stated ones if a class group has no member, or targets are stated by symbol.
    """
    mandate = portfolio.mandate
    if mandate.target_groups is None:
        return mandate.targets
    prices = market.in_currency(mandate.currency.code).last_prices
    values = {
        symbol: float(units) * float(prices[market.columns[symbol]])
        for symbol, units in portfolio.positions.holdings.items()
        if symbol in market.columns
    }
    try:
        return _resolve(mandate, mandate.target_groups, values, instruments).weights
    except InvalidRequest:
        return mandate.targets


def check_members(mandate: Mandate, held: Collection[str], instruments: Instruments) -> None:
    """Check that each class group of a mandate has a member, given the symbols that are held.

    Raises:
        InvalidRequest: one has none.
    """
    if mandate.target_groups is not None:
        _resolve(mandate, mandate.target_groups, dict.fromkeys(held, 1.0), instruments)


def resolve_mandate(
    valued: ValuedPortfolio, instruments: Instruments, mandate: Mandate
) -> ResolvedTargets:
    """Return the weights that follow from a mandate at the values of a portfolio.

    Raises:
        InvalidRequest: a class group has no member.
    """
    if mandate.target_groups is None:
        return ResolvedTargets(mandate.targets, ())
    values = {symbol: float(one.value) for symbol, one in valued.prices.items() if one.value}
    return _resolve(mandate, mandate.target_groups, values, instruments)


def _resolve(
    mandate: Mandate, tree: TargetTree, values: Mapping[str, float], instruments: Instruments
) -> ResolvedTargets:
    return resolve_targets(
        tree,
        values,
        class_of=lambda symbol: instruments[symbol].asset_class,
        look_through=mandate.look_through,
    )


def current_weights(valued: ValuedPortfolio) -> dict[str, float]:
    """Return the weight of each holding with a value; nothing without the portfolio's value."""
    total = valued.value
    if not total:
        return {}
    return {
        symbol: float(one.value / total)
        for symbol, one in sorted(valued.prices.items())
        if one.value is not None
    }
