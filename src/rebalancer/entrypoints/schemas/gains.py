"""Gains and income of a stored portfolio, in responses, as CSV and on the command line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import attrs

from rebalancer.application.gains import GainsReport
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency, decimal_of
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.lots.model import (
    Disposal,
    Income,
    LotMethod,
    LotUse,
    MatchRule,
    Term,
    total,
)
from rebalancer.domain.portfolio.lots.unrealised import UnrealisedGain
from rebalancer.domain.portfolio.lots.years import YearOfGains
from rebalancer.domain.text import escape_formula
from rebalancer.entrypoints.schemas.wire import DecimalText, View, about

_DAYS = about("Days held; null if unknown, as for a pool.")
_TERM = about("long: held for more than a year; null if unknown, as for a pool.")
_ACQUIRED = about(
    "Day of the purchase, or of the transfer; null for a pool. By the rule thirty_days it is after "
    "the sale."
)
_GAIN = about("Proceeds minus cost, negative for a loss; null if unknown.")


class LotUseView(View, frozen=True, kw_only=True):
    """Units of a lot that a disposal uses."""

    lot_id: Annotated[UUID, about("Id of the lot, which is that of the entry that bought it.")]
    rule: Annotated[MatchRule, about("Why these units; lot but for the method uk_pool.")]
    quantity: DecimalText
    acquired: Annotated[date | None, _ACQUIRED]
    days: Annotated[int | None, _DAYS]
    term: Annotated[Term | None, _TERM]
    proceeds: DecimalText | None
    cost: DecimalText | None
    gain: Annotated[DecimalText | None, _GAIN]


class DisposalView(View, frozen=True, kw_only=True):
    """A sale, or another event that realises a gain or loss."""

    entry_id: UUID
    kind: Annotated[
        EntryKind,
        about("sell; merger: its money; return_of_capital: what exceeds the cost."),
    ]
    symbol: str
    on: date
    quantity: DecimalText
    proceeds: Annotated[
        DecimalText | None, about("After the cost of the trade; null without an exchange rate.")
    ]
    cost: Annotated[DecimalText | None, about("Trading costs of the purchase included.")]
    gain: Annotated[DecimalText | None, _GAIN]
    lots: list[LotUseView]


class IncomeEntryView(View, frozen=True, kw_only=True):
    """Income or a charge."""

    entry_id: UUID
    kind: Annotated[EntryKind, about("dividend, interest, tax or fee.")]
    symbol: str | None
    on: date
    amount: Annotated[
        DecimalText | None, about("Before withheld tax; null without an exchange rate.")
    ]
    withheld: DecimalText | None


class YearOfGainsView(View, frozen=True, kw_only=True):
    """Realised gains and income of a tax year."""

    year: Annotated[str, about("2023, or 2023-24 for 6 April 2023 to 5 April 2024.")]
    first: date
    last: date
    proceeds: Annotated[DecimalText, about("Of the disposals whose gain is known.")]
    cost: Annotated[DecimalText, about("Of the disposals whose gain is known.")]
    gain: DecimalText
    short_term: Annotated[DecimalText, about("Gain on units held for at most a year.")]
    long_term: Annotated[DecimalText, about("Gain on units held for more than a year.")]
    undetermined: Annotated[DecimalText, about("Gain on units of an unknown age, or of a pool.")]
    unknown: Annotated[int, about("Disposals whose gain is unknown; see notes.")]
    dividends: Annotated[DecimalText | None, about("Before tax; null if one is unknown.")]
    interest: Annotated[DecimalText | None, about("Before tax; null if one is unknown.")]
    withheld: Annotated[DecimalText | None, about("Tax withheld from dividends and interest.")]
    taxes: Annotated[DecimalText | None, about("Taxes recorded as entries of their own.")]
    fees: Annotated[DecimalText | None, about("Fees that are not costs of a trade.")]


class OpenLotView(View, frozen=True, kw_only=True):
    """A lot that is held, at the last close."""

    lot_id: UUID
    symbol: str
    quantity: DecimalText
    acquired: Annotated[date | None, about("Day of purchase or transfer; null for a pool.")]
    days: Annotated[int | None, _DAYS]
    term: Annotated[Term | None, _TERM]
    cost: Annotated[DecimalText | None, about("null if unknown; see notes.")]
    value: Annotated[DecimalText | None, about("null without a price or an exchange rate.")]
    gain: Annotated[DecimalText | None, about("Value minus cost; null if one is unknown.")]


class UnrealisedView(View, frozen=True, kw_only=True):
    """Sums over the lots whose gain is known."""

    cost: DecimalText
    value: DecimalText
    gain: DecimalText
    unknown: Annotated[int, about("Lots whose gain is unknown; they have no part in the sums.")]


class GainsView(View, frozen=True, kw_only=True):
    """Gains and income of a portfolio in its base currency."""

    portfolio_id: UUID
    currency: str
    method: LotMethod
    year: Annotated[str | None, about("The only year of disposals and income; null: all.")]
    as_of: Annotated[date, about("Day of the last close, at which lots are valued.")]
    years: list[YearOfGainsView]
    disposals: Annotated[list[DisposalView], about("By day.")]
    income: Annotated[list[IncomeEntryView], about("By day.")]
    open_lots: Annotated[list[OpenLotView], about("By symbol and day of acquisition.")]
    unrealised: UnrealisedView
    notes: Annotated[list[str], about("What is unknown and why, as sentences.")]


def gains_view(report: GainsReport) -> GainsView:
    """Show the gains of a portfolio."""
    return GainsView(
        portfolio_id=report.portfolio.id,
        currency=report.portfolio.mandate.currency.code,
        method=report.method,
        year=None if report.year is None else str(report.year),
        as_of=report.as_of,
        years=[_year_view(one) for one in report.realised.years],
        disposals=[_disposal_view(one) for one in report.realised.disposals],
        income=[_income_view(one) for one in report.realised.income],
        open_lots=[_lot_view(one) for one in report.open_lots],
        unrealised=_unrealised_view(report.open_lots, report.portfolio.mandate.currency),
        notes=list(report.notes),
    )


def gains_csv(view: GainsView) -> str:
    """Write the disposals as CSV, one row for each lot that is used."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(
        [
            *("kind", "symbol", "acquired", "sold", "days", "term", "rule", "quantity"),
            *("proceeds", "cost", "gain", "currency", "entry_id", "lot_id"),
        ]
    )
    for sold in view.disposals:
        symbol = escape_formula(sold.symbol)
        source = [view.currency, sold.entry_id]
        for use in sold.lots:
            rows.writerow(
                [
                    *(sold.kind, symbol, use.acquired, sold.on, use.days, use.term, use.rule),
                    *(use.quantity, use.proceeds, use.cost, use.gain, *source, use.lot_id),
                ]
            )
        if not sold.lots:  # capital returned after all units were sold
            unused = [None] * 3
            rows.writerow(
                [
                    *(sold.kind, symbol, None, sold.on, *unused),
                    *(sold.quantity, sold.proceeds, sold.cost, sold.gain, *source, None),
                ]
            )
    return text.getvalue()


def parse_lots(texts: Iterable[str]) -> dict[UUID, dict[UUID, Decimal]]:
    """Return the units of lots by sale from texts of the form ``SALE:LOT:QUANTITY``.

    Raises:
        InvalidRequest: a text has another form, or names a lot of a sale twice.
    """
    found: dict[UUID, dict[UUID, Decimal]] = {}
    for text in texts:
        parts = text.split(":")
        try:
            sale, lot = (UUID(part) for part in parts[:2])
            (quantity,) = parts[2:]
        except ValueError:
            raise InvalidRequest(
                f"{text!r} does not name a lot; enter SALE:LOT:QUANTITY with the ids of the sale's "
                "entry and of the lot",
                field="lots",
                code="invalid_lot",
            ) from None
        units = decimal_of(quantity, field="lots")
        if found.setdefault(sale, {}).setdefault(lot, units) is not units:
            raise InvalidRequest(
                f"lot {lot} is named twice for the sale {sale}; name it once with all its units",
                field="lots",
                code="duplicate_lot",
            )
    return found


def _disposal_view(one: Disposal) -> DisposalView:
    return DisposalView.of(
        attrs.asdict(one, recurse=False)
        | {
            "entry_id": one.entry,
            "cost": one.cost,
            "gain": one.gain,
            "lots": [_use_view(use, one.on) for use in one.uses],
        }
    )


def _use_view(use: LotUse, on: date) -> LotUseView:
    return LotUseView.of(
        attrs.asdict(use, recurse=False)
        | {"lot_id": use.lot, "days": use.days(on), "term": use.term(on), "gain": use.gain}
    )


def _income_view(one: Income) -> IncomeEntryView:
    return IncomeEntryView.of(attrs.asdict(one, recurse=False) | {"entry_id": one.entry})


def _year_view(one: YearOfGains) -> YearOfGainsView:
    return YearOfGainsView.of(
        attrs.asdict(one, recurse=False)
        | {
            "year": str(one.year),
            "first": one.year.first,
            "last": one.year.last,
            "gain": one.gain,
        }
    )


def _lot_view(one: UnrealisedGain) -> OpenLotView:
    return OpenLotView.of(
        attrs.asdict(one.lot, recurse=False)
        | {
            "lot_id": one.lot.id,
            "days": one.days,
            "term": one.term,
            "value": one.value,
            "gain": one.gain,
        }
    )


def _unrealised_view(lots: Sequence[UnrealisedGain], currency: Currency) -> UnrealisedView:
    zero = currency.round(Decimal(0))  # which has the digits of the currency
    known = [one for one in lots if one.gain is not None]
    return UnrealisedView.of(
        {
            "cost": total((zero, *(one.lot.cost for one in known))),
            "value": total((zero, *(one.value for one in known))),
            "gain": total((zero, *(one.gain for one in known))),
            "unknown": len(lots) - len(known),
        }
    )
