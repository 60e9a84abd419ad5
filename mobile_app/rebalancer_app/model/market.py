"""What the screens of the market show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import attrs

from rebalancer_app.gateway.market import Closes, Issue, Regime
from rebalancer_app.model.charts import Chart, money_chart, thin
from rebalancer_app.model.formats import Change, Formats
from rebalancer_app.texts import Texts

PERIODS = {"1M": 31, "1Y": 366, "5Y": 5 * 366, "max": None}
_AVERAGES = {"sma:50": "market.average_50", "sma:200": "market.average_200"}
INDICATORS = ",".join(_AVERAGES)


@attrs.frozen
class AssetScreen:
    """Everything on the screen of an asset."""

    price: str
    change: Change | None
    as_of: str
    chart: Chart | None
    issues: tuple[str, ...]


@attrs.frozen
class Gauge:
    """The state of the market.

    Attributes:
        shares: Name and probability of each state, the calmest first.
    """

    title: str
    sentence: str
    since: str
    shares: tuple[tuple[str, float], ...]


def first_day(period: str, today: date) -> date | None:
    """Return the first day of a period; None for all days."""
    days = PERIODS[period]
    return None if days is None else date.fromordinal(today.toordinal() - days)


def asset_screen(
    closes: Closes, issues: Sequence[Issue], formats: Formats, texts: Texts
) -> AssetScreen:
    """Return what to show of an asset over a period."""
    currency = closes.currency or "USD"
    values = [one.close for one in closes.closes]
    dates = [one.date for one in closes.closes]
    rows = thin(len(values))
    lines = [(texts("market.price_chart"), [values[at] for at in rows])]
    for name, label in _AVERAGES.items():
        found = (closes.indicators or {}).get(name.replace(":", "_")) or (
            closes.indicators or {}
        ).get(name)
        if found is not None and all(found[at] is not None for at in rows):
            lines.append((texts(label), [float(found[at] or 0.0) for at in rows]))
    change = values[-1] / values[0] - 1.0 if len(values) > 1 and values[0] else None
    words = texts("app.up"), texts("app.down"), texts("app.same")
    price = formats.money(Decimal(str(round(values[-1], 4))), currency) if values else "–"
    return AssetScreen(
        price=price,
        change=formats.change(change, words),
        as_of=texts("market.last_close", day=formats.day(dates[-1] if dates else None)),
        chart=money_chart([dates[at] for at in rows], lines, currency, formats, texts),
        issues=tuple(
            texts(
                "market.issue",
                rule=texts.find(f"rule.{one.rule}") or one.rule.replace("_", " ").capitalize(),
                day=formats.day(one.day),
            )
            for one in issues
        ),
    )


def gauge(regime: Regime, formats: Formats, texts: Texts) -> Gauge:
    """Return what to show of the state of the market."""

    def name(state: str) -> str:
        return texts.find(f"regime.{state}") or state

    return Gauge(
        name(regime.regime),
        regime.sentence,
        texts("market.regime_since", day=formats.day(regime.since)),
        tuple((name(state), share) for state, share in regime.probabilities.items()),
    )
