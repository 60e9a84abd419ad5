"""Template of a market-data provider: copy this file and fill in `read`.

==============  ========  =====================================================================
method          needed    purpose
==============  ========  =====================================================================
``read``        required  Return the whole history; called once, at first use.
``closes``      optional  Return a window; override it where the provider can query windows.
``symbols``     optional  Return the symbols; override it where a query is cheaper than `read`.
``yields``      optional  Return yields, such as those of Treasury bills; none by default.
``instruments`` optional  Return names, asset classes and volumes; the packaged list by default.
==============  ========  =====================================================================

Then add one line to ``PROVIDERS`` in ``registry.py``, which also names the list of instruments,
and one to ``ADAPTERS`` in ``tests/contracts/test_prices.py``. Import the client of the provider
inside `read`, so that others do not need it, and translate its errors into `PricesUnavailable`.
"""

from __future__ import annotations

import attrs

from rebalancer.application.history_provider import HistoryProvider
from rebalancer.domain.market.prices import PriceHistory, PricesUnavailable


@attrs.frozen(slots=False)
class TemplatePrices(HistoryProvider):
    """Adjusted daily closes from a provider, in one currency."""

    def read(self) -> PriceHistory:
        """Return adjusted closes, oldest first.

        `rebalancer.domain.market.gaps.history_of` makes a history of them: it takes NaN for a
        missing close, and checks the rest.
        """
        raise PricesUnavailable("the template has no prices; replace this method")
