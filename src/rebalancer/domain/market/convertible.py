"""Check that prices can be converted into the base currency of a portfolio or a backtest."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rebalancer.domain.market.currencies import missing_rate
from rebalancer.domain.market.prices import PriceHistory


def check_convertible(
    market: PriceHistory, symbols: Iterable[str], *, needed: Collection[str] = ()
) -> None:
    """Check that exchange rates connect the currencies of assets with that of a history.

    An asset without a rate is withheld, as one without a price is. That is an error where a value
    needs the price, or where nothing is left.

    Args:
        market: Prices in one currency, see `PriceHistory.in_currency`.
        symbols: Assets; those that the market does not have are passed over.
        needed: Those of the assets whose prices are needed.

    Raises:
        InvalidRequest: the rate of an asset that is needed is missing, or that of every asset.
    """
    if market.quotes is None or market.quotes.currency is None:
        return
    asked = [symbol for symbol in symbols if symbol in market.columns]
    lacking = market.without_rate(asked)
    first = next((symbol for symbol in lacking if symbol in needed), None)
    if first is None and lacking and len(lacking) == len(asked):
        first = asked[0]
    if first is not None:
        quotes = market.quotes
        raise missing_rate(lacking[first], market.quotes.currency, exchange=quotes.exchange)
