"""Asking policies what portfolios should trade."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import attrs

from rebalancer.application.ports import InstrumentSource, PriceSource
from rebalancer.domain.policy.rules import policy
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.portfolio.portfolio import Portfolio
from rebalancer.domain.rebalancing.proposal import Failure, Proposal, Terms, propose, propose_book

COMPARED = ("monthly", "band")
"""The simple rules that stand beside every single proposal."""


@attrs.frozen
class Comparison:
    """A proposal, and what simple rules would do at the same moment."""

    proposal: Proposal
    others: tuple[Proposal, ...]


@attrs.frozen
class SetTerms:
    """Fix what proposals follow from: prices up to a day, a policy, a price list."""

    prices: PriceSource
    instruments: InstrumentSource

    def __call__(
        self, *, policy_name: str, costs: CostModel, currency: str, as_of: date | None = None
    ) -> Terms:
        """Terms as of a day; the last close when None.

        Raises:
            InvalidRequest: an unknown policy, a day without prices, or malformed prices.
            PricesUnavailable: the provider did not answer.
        """
        return Terms(
            policy=policy(policy_name),
            market=self.prices.closes(until=as_of),
            instruments=self.instruments.instruments(),
            costs=costs,
            currency=currency,
        )


@attrs.frozen
class ProposeRebalance:
    """Ask a policy what one portfolio should trade, and simple rules for comparison."""

    def __call__(self, portfolio: Portfolio, terms: Terms) -> Comparison:
        """The proposal, and those of `COMPARED` under the same terms.

        Raises:
            InvalidRequest: the portfolio contradicts itself or the market; names the field.
        """
        others = (name for name in COMPARED if name != terms.policy.name)
        return Comparison(
            proposal=propose(portfolio, terms),
            others=tuple(
                propose(portfolio, attrs.evolve(terms, policy=policy(name))) for name in others
            ),
        )


@attrs.frozen
class ProposeForBook:
    """Ask a policy what each portfolio of a book should trade."""

    def __call__(self, portfolios: Sequence[Portfolio], terms: Terms) -> list[Proposal | Failure]:
        """One answer for each portfolio, in order; one that fails does not stop the rest."""
        return propose_book(portfolios, terms)
