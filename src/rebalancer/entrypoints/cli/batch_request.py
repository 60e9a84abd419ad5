"""What `rebalancer batch` was asked for, in a form that its worker processes receive."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import attrs

from rebalancer.config import Settings

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.domain.rebalancing.model import RebalanceContext
    from rebalancer.wiring.market import Sources


@attrs.frozen
class BatchRequest:
    """Parameters that all proposals of a run share.

    Attributes:
        sources: Where market data come from.
        settings: Location of the store and of learned policies, and limits.
        policy: Name of the policy.
        cost_bps: Cost of trades in basis points; None: see ``costs``.
        costs: Name of a price list; None: ``cost_bps``, or the default of `cost_model`.
        fx_spread_bps: Cost of conversions in basis points; None: that of ``costs``.
        currency: Currency of portfolios that name none.
        as_of: Day to decide on; None: the day of the last close.
    """

    sources: Sources
    settings: Settings
    policy: str
    cost_bps: float | None
    costs: str | None
    fx_spread_bps: float | None
    currency: str
    as_of: date | None

    def terms(self, wired: Container) -> RebalanceContext:
        """Build the context of the proposals.

        Raises:
            InvalidRequest: the policy, the day, the costs or the prices are invalid; names the
                field.
        """
        from rebalancer.application.rebalance import BuildContext
        from rebalancer.domain.portfolio.costs import cost_model

        return wired.get(BuildContext)(
            policy_name=self.policy,
            costs=cost_model(self.cost_bps, self.costs, self.fx_spread_bps),
            currency=self.currency,
            as_of=self.as_of,
        )

    @property
    def portable(self) -> PortableRequest:
        """The request without settings, which may be secret."""
        terms = attrs.asdict(self, recurse=False)
        del terms["settings"]
        return PortableRequest(terms | {"sources": self.sources.portable})


@attrs.frozen
class PortableRequest:
    """A request for processes of any machine, which read the settings of their own.

    Attributes:
        terms: Attributes of `BatchRequest`, without the settings.
    """

    terms: Mapping[str, Any]

    def with_own_settings(self) -> BatchRequest:
        """Return the request with the settings of this process."""
        return BatchRequest(settings=Settings.read(), **self.terms)
