"""What the screens of a portfolio's gains show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import attrs

from rebalancer_app.gateway.gains import Gains, OpenLot, YearOfGains
from rebalancer_app.gateway.portfolios import Preferences
from rebalancer_app.model.formats import HIDDEN, Formats
from rebalancer_app.model.numbers import read_number
from rebalancer_app.texts import Texts

METHODS = ("fifo", "lifo", "highest_cost", "average_cost", "uk_pool")
"""Lot methods to choose from; naming the lots of a sale needs the API."""

_ZERO = Decimal(0)


@attrs.frozen
class GainFigure:
    """A gain or loss.

    Attributes:
        direction: 1, 0 or -1; 0 where it is unknown.
    """

    text: str
    direction: int


@attrs.frozen
class YearCard:
    """A tax year: its net gain, and names and values of its parts."""

    name: str
    gain: GainFigure
    parts: tuple[tuple[str, str], ...]


@attrs.frozen
class LotLine:
    """A lot: units and since when, how long it is held, its gain."""

    units: str
    held: str
    gain: GainFigure


@attrs.frozen
class AssetCard:
    """An asset: what its sales have gained, what its lots would gain."""

    symbol: str
    realised: GainFigure
    unrealised: GainFigure
    lots: tuple[LotLine, ...]
    spoken: str


@attrs.frozen
class GainsScreen:
    """Everything on the screen.

    Attributes:
        unrealised: Of all lots whose gain is known.
        unknown: How many lots have no part in it; empty if all have.
    """

    unrealised: GainFigure
    unknown: str
    as_of: str
    years: tuple[YearCard, ...]
    assets: tuple[AssetCard, ...]
    notes: tuple[str, ...]


def gains_screen(
    one: Gains, formats: Formats, texts: Texts, *, hidden: bool = False
) -> GainsScreen:
    """Return what to show of gains; ``hidden`` replaces amounts by dots."""

    def figure(amount: Decimal | None) -> GainFigure:
        if amount is None:
            return GainFigure("–", 0)
        direction = (amount > 0) - (amount < 0)
        return GainFigure(
            HIDDEN if hidden else formats.signed_money(amount, one.currency), direction
        )

    unknown = one.unrealised.unknown
    is_known = not unknown or unknown < len(one.open_lots)
    return GainsScreen(
        unrealised=figure(one.unrealised.gain if is_known else None),
        unknown=texts("gains.lots_unknown", count=unknown) if unknown else "",
        as_of=texts("home.as_of", day=formats.day(one.as_of)),
        years=tuple(_year(year, figure, texts) for year in reversed(one.years)),
        assets=_assets(one, figure, formats, texts, hidden=hidden),
        notes=tuple(one.notes),
    )


def gain_of_order(
    gain: Decimal | None,
    long_term: Decimal | None,
    method: str | None,
    currency: str,
    formats: Formats,
    texts: Texts,
) -> str:
    """Return what a sale of a proposal would gain or lose, in words; empty if it is unknown."""
    if gain is None:
        return ""
    name = "gains.loses" if gain < 0 else "gains.gains"
    text = texts(name, amount=formats.money(abs(gain), currency))
    if long_term:
        text += ", " + texts("gains.of_it_long", amount=formats.money(long_term, currency))
    known = texts.find(f"gains.method_{method}")
    return f"{text} ({known})" if known else text


@attrs.frozen
class GainRules:
    """Rules for gains, as a person types them.

    Attributes:
        method: Lot method.
        each: Limit of a proposal; empty: no limit.
        year: Limit of a tax year; empty: no limit.
    """

    method: str
    each: str
    year: str

    @classmethod
    def of(cls, one: Preferences, formats: Formats) -> GainRules:
        """Return the rules of a portfolio."""
        limits = (one.max_realised_gain, one.max_realised_gain_year)
        each, year = ("" if limit is None else formats.plain(limit) for limit in limits)
        return cls(one.lot_method, each, year)

    def changes(self, formats: Formats) -> dict[str, str | None] | None:
        """Return the preferences to send; None if a limit is not an amount of zero or more."""
        limits = []
        for text in (self.each, self.year):
            amount = read_number(text, formats) if text.strip() else None
            if text.strip() and (amount is None or amount < 0):
                return None
            limits.append(None if amount is None else format(amount, "f"))
        return {
            "lot_method": self.method,
            "max_realised_gain": limits[0],
            "max_realised_gain_year": limits[1],
        }


_Figure = Callable[[Decimal | None], GainFigure]


def _year(one: YearOfGains, figure: _Figure, texts: Texts) -> YearCard:
    parts = [("short", one.short_term), ("long", one.long_term)]
    optional = [
        ("undetermined", one.undetermined),
        ("dividends", one.dividends),
        ("interest", one.interest),
        ("withheld", None if one.withheld is None else -one.withheld),
        ("fees", None if one.fees is None else -one.fees),
    ]
    parts += [(name, amount) for name, amount in optional if amount]
    lines = [(texts(f"gains.{name}"), figure(amount).text) for name, amount in parts]
    if one.unknown:
        lines.append((texts("gains.unknown"), str(one.unknown)))
    return YearCard(one.year, figure(one.gain), tuple(lines))


def _assets(
    one: Gains, figure: _Figure, formats: Formats, texts: Texts, *, hidden: bool
) -> tuple[AssetCard, ...]:
    lots: dict[str, list[OpenLot]] = {}
    realised: dict[str, list[Decimal | None]] = {}
    for lot in one.open_lots:
        lots.setdefault(lot.symbol, []).append(lot)
    for sold in one.disposals:
        realised.setdefault(sold.symbol, []).append(sold.gain)
    found = []
    for symbol in sorted({*lots, *realised}):
        held = lots.get(symbol, [])
        gone = figure(_total(realised.get(symbol, [])))
        left = figure(_total([lot.gain for lot in held]))
        lines = tuple(_lot(lot, figure, formats, texts, hidden=hidden) for lot in held)
        spoken = texts("gains.spoken", symbol=symbol, realised=gone.text, unrealised=left.text)
        found.append(AssetCard(symbol, gone, left, lines, spoken))
    return tuple(found)


def _lot(one: OpenLot, figure: _Figure, formats: Formats, texts: Texts, *, hidden: bool) -> LotLine:
    units = HIDDEN if hidden else formats.quantity(one.quantity)
    if one.acquired is None:
        return LotLine(texts("gains.pooled", quantity=units), "", figure(one.gain))
    held = []
    if one.days is not None:
        held.append(texts("gains.held", age=formats.span(one.days)))
    if one.term is not None:
        held.append(texts(f"gains.term_{one.term}"))
    since = texts("gains.since", quantity=units, day=formats.day(one.acquired))
    return LotLine(since, ", ".join(held), figure(one.gain))


def _total(amounts: Sequence[Decimal | None]) -> Decimal | None:
    """Return the sum of the known amounts; None if there are some, and none is known."""
    known = [amount for amount in amounts if amount is not None]
    return None if amounts and not known else sum(known, _ZERO)
