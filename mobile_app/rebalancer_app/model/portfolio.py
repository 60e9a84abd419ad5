"""What the screen of a portfolio shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import attrs

from rebalancer_app.gateway.portfolios import Portfolio, Position
from rebalancer_app.model.formats import HIDDEN, Formats
from rebalancer_app.texts import Texts

CASH = ""
"""Name of the cash among the assets."""

DEFAULT_BAND = 0.02
"""Half-width of the no-trade band where the portfolio states none."""

SORTS = ("weight", "name", "drift")


@attrs.frozen
class AllocationBar:
    """An asset's share of the portfolio against its target.

    Attributes:
        symbol: Empty for cash.
        name: Symbol, or the word for cash.
        weight: Share of the value, from 0 to 1.
        target: Target share.
        low: Lower edge of the band.
        high: Upper edge of the band.
        outside: Whether the share is outside the band.
        shown: Share and target in words.
        spoken: The bar for screen readers.
    """

    symbol: str
    name: str
    weight: float
    target: float
    low: float
    high: float
    outside: bool
    shown: str
    spoken: str


@attrs.frozen
class HoldingRow:
    """A holding in the list.

    Attributes:
        note: What to know about its price; empty otherwise.
        drift: Weight minus target, with its sign.
        line: How current its price is; empty if that is not known.
    """

    symbol: str
    quantity: str
    price: str
    value: str
    weight: str
    drift: str
    note: str
    order: tuple[float, str, float]
    line: str = ""


@attrs.frozen
class PortfolioScreen:
    """Everything on the screen of a portfolio.

    Attributes:
        scale: Share at the right end of the bars.
    """

    name: str
    value: str
    as_of: str
    cash: str
    uninvested: str
    bars: tuple[AllocationBar, ...]
    scale: float
    rows: tuple[HoldingRow, ...]
    notes: tuple[str, ...]
    drift_badge: str
    in_band: bool | None
    profile: str


def portfolio_screen(
    one: Portfolio,
    formats: Formats,
    texts: Texts,
    *,
    hidden: bool = False,
    lines: Mapping[str, str] | None = None,
) -> PortfolioScreen:
    """Return what to show of a portfolio.

    Args:
        one: The portfolio.
        formats: Formats of the region.
        texts: Words of the language.
        hidden: Whether dots replace amounts.
        lines: How current the price of each holding is, by symbol.
    """

    def money(amount: Decimal | None) -> str:
        return HIDDEN if hidden else formats.money(amount, one.currency)

    bars = _bars(one, formats, texts)
    scale = max([max(bar.weight, bar.high) for bar in bars], default=1.0) * 1.04 or 1.0
    worst = max((abs(bar.weight - bar.target) for bar in bars), default=0.0)
    outside = any(bar.outside for bar in bars)
    badge, in_band = "", None
    if one.targets and one.value and one.target_groups is None:
        in_band = not outside
        points = formats.points(worst).lstrip("+")
        badge = texts("home.in_band") if in_band else texts("home.drift", points=points)
    return PortfolioScreen(
        name=one.name,
        value=money(one.value),
        as_of=texts("home.as_of", day=formats.day(one.as_of)),
        cash=money(one.cash),
        uninvested=money(one.uninvested) if one.uninvested > 0 else "",
        bars=bars,
        scale=scale,
        rows=tuple(
            attrs.evolve(
                _row(symbol, position, one, formats, texts, money, hidden),
                line=(lines or {}).get(symbol, ""),
            )
            for symbol, position in one.holdings.items()
        ),
        notes=tuple(one.notes),
        drift_badge=badge,
        in_band=in_band,
        profile=texts.find(f"profile.{one.risk_profile}") or texts("profile.missing"),
    )


def arrange(rows: tuple[HoldingRow, ...], sort: str, search: str = "") -> tuple[HoldingRow, ...]:
    """Return the holdings whose symbol contains a text, in one of the `SORTS`."""
    wanted = search.strip().casefold()
    found = [row for row in rows if wanted in row.symbol.casefold()]
    keys: dict[str, Callable[[HoldingRow], tuple[float, str]]] = {
        "weight": lambda row: (-row.order[0], row.symbol),
        "name": lambda row: (0.0, row.symbol),
        "drift": lambda row: (-row.order[2], row.symbol),
    }
    return tuple(sorted(found, key=keys[sort]))


def _bars(one: Portfolio, formats: Formats, texts: Texts) -> tuple[AllocationBar, ...]:
    if one.value is None:
        return ()
    stated = one.preferences.band
    band = DEFAULT_BAND if stated is None else stated
    weights = {symbol: held.weight or 0.0 for symbol, held in one.holdings.items()}
    names = sorted({*weights, *one.targets}, key=lambda s: (-one.targets.get(s, 0.0), s))
    found = [
        _bar(symbol, weights.get(symbol, 0.0), one.targets.get(symbol, 0.0), band, formats, texts)
        for symbol in names
    ]
    left = max(0.0, 1.0 - sum(one.targets.values()))
    cash = max(0.0, 1.0 - sum(weights.values()))
    return (*found, _bar(CASH, cash, left, band, formats, texts))


def _bar(
    symbol: str, weight: float, target: float, band: float, formats: Formats, texts: Texts
) -> AllocationBar:
    name = symbol or texts("portfolio.cash")
    shown = texts(
        "portfolio.of_target", weight=formats.percent(weight), target=formats.percent(target)
    )
    outside = abs(weight - target) > band + 1e-9
    state = texts("portfolio.outside" if outside else "portfolio.inside")
    return AllocationBar(
        symbol,
        name,
        weight,
        target,
        max(0.0, target - band),
        target + band,
        outside,
        shown,
        f"{name}: {shown}, {state}",
    )


def _row(
    symbol: str,
    held: Position,
    one: Portfolio,
    formats: Formats,
    texts: Texts,
    money: Callable[[Decimal | None], str],
    hidden: bool,
) -> HoldingRow:
    target = one.targets.get(symbol, 0.0)
    drift = None if held.weight is None else held.weight - target
    if held.price is None:
        note = texts("portfolio.no_price")
    elif held.stale:
        note = texts("portfolio.stale", day=formats.day(held.price_date))
    else:
        note = ""
    return HoldingRow(
        symbol=symbol,
        quantity=HIDDEN if hidden else formats.quantity(held.quantity),
        price=formats.money(held.price, held.currency or one.currency),
        value=money(held.value),
        weight=formats.percent(held.weight),
        drift="–" if drift is None else formats.points(drift),
        note=note,
        order=(held.weight or 0.0, symbol, abs(drift or 0.0)),
    )
