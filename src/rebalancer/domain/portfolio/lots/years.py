"""Tax years, and the gains and income of one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal, localcontext
from typing import Self

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.lots.model import (
    Disposal,
    Income,
    LotHistory,
    LotMethod,
    Term,
    total,
)

_ZERO = Decimal(0)
_DIGITS = 60
_CALENDAR = re.compile(r"(\d{4})")
_UNITED_KINGDOM = re.compile(r"(\d{4})-(\d{2})")


@attrs.frozen(order=True)
class TaxYear:
    """A calendar year, or a tax year of the United Kingdom from 6 April to 5 April.

    Attributes:
        first: First day.
        last: Last day.
    """

    first: date
    last: date

    @classmethod
    def calendar(cls, year: int) -> Self:
        """Return a calendar year."""
        return cls(date(year, 1, 1), date(year, 12, 31))

    @classmethod
    def united_kingdom(cls, year: int) -> Self:
        """Return the tax year that begins on 6 April of a year."""
        return cls(date(year, 4, 6), date(year + 1, 4, 5))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the year of a text: "2023", or "2023-24" for 6 April 2023 to 5 April 2024.

        Raises:
            InvalidRequest: it is neither.
        """
        plain, british = _CALENDAR.fullmatch(text), _UNITED_KINGDOM.fullmatch(text)
        try:
            if plain is not None:
                return cls.calendar(int(plain[1]))
            if british is not None and (int(british[1]) + 1) % 100 == int(british[2]):
                return cls.united_kingdom(int(british[1]))
        except ValueError:  # the year 0, or 9999 and its successor
            pass
        raise InvalidRequest(
            f"{text!r} is not a tax year; enter one such as 2023, or 2023-24 for 6 April 2023 to "
            "5 April 2024",
            field="year",
            code="invalid_tax_year",
        )

    @classmethod
    def of(cls, day: date, method: LotMethod) -> Self:
        """Return the tax year of a day: that of the United Kingdom with its pool."""
        if method is not LotMethod.UK_POOL:
            return cls.calendar(day.year)
        begins = day >= date(day.year, 4, 6)
        return cls.united_kingdom(day.year if begins else day.year - 1)

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def __str__(self) -> str:
        if self.first.year == self.last.year:
            return f"{self.first.year:04}"
        return f"{self.first.year:04}-{self.last.year % 100:02}"


@attrs.frozen
class YearOfGains:
    """Realised gains and income of a tax year, in the base currency.

    Attributes:
        proceeds: Of the disposals whose gain is known.
        cost: Of the disposals whose gain is known.
        short_term: Gains on units held for at most a year.
        long_term: Gains on units held for more than a year.
        undetermined: Gains on units without a known day of acquisition, such as those of a pool.
        unknown: Number of disposals whose gain is unknown; they have no part in the other figures.
        dividends: Before tax; None if the amount of one is unknown, as for the following.
        interest: Before tax.
        withheld: Tax withheld from dividends and interest.
        taxes: Taxes recorded as entries of their own.
        fees: Fees that are not part of a trade.
    """

    year: TaxYear
    proceeds: Decimal
    cost: Decimal
    short_term: Decimal
    long_term: Decimal
    undetermined: Decimal
    unknown: int
    dividends: Decimal | None
    interest: Decimal | None
    withheld: Decimal | None
    taxes: Decimal | None
    fees: Decimal | None

    @property
    def gain(self) -> Decimal:
        """Proceeds minus cost; negative for a loss."""
        return self.proceeds - self.cost


@attrs.frozen
class RealisedGains:
    """Disposals and income of a ledger, rounded to the minor unit of the base currency.

    Attributes:
        years: Those with a disposal or income, or the one that was asked for; the earliest first.
        disposals: Of these years, by day.
        income: Of these years, by day.
    """

    years: tuple[YearOfGains, ...]
    disposals: tuple[Disposal, ...]
    income: tuple[Income, ...]


def realised_gains(
    history: LotHistory, currency: Currency, year: TaxYear | None = None
) -> RealisedGains:
    """Return disposals and income by tax year, in rounded amounts that add up.

    Args:
        history: Lots of a ledger.
        currency: Its base currency.
        year: The only year to report; None: all, by the tax years of the method.
    """
    with localcontext(prec=_DIGITS):
        disposals = [
            one.rounded(currency.round)
            for one in history.disposals
            if year is None or one.on in year
        ]
        income = [
            one.rounded(currency.round) for one in history.income if year is None or one.on in year
        ]
        days = [*(one.on for one in disposals), *(one.on for one in income)]
        years = {year} if year is not None else {TaxYear.of(day, history.method) for day in days}
        return RealisedGains(
            tuple(
                _sum_year(
                    one,
                    currency,
                    [disposal for disposal in disposals if disposal.on in one],
                    [paid for paid in income if paid.on in one],
                )
                for one in sorted(years)
            ),
            tuple(disposals),
            tuple(income),
        )


def _sum_year(
    year: TaxYear, currency: Currency, disposals: Sequence[Disposal], income: Sequence[Income]
) -> YearOfGains:
    zero = currency.round(_ZERO)  # which has the digits of the currency
    known = [one for one in disposals if one.gain is not None]
    by_term = {None: zero, Term.SHORT: zero, Term.LONG: zero}
    for one in known:
        by_term[None] += one.gain or zero
        for use in one.uses:
            term = use.term(one.on)
            if term is not None and use.gain is not None:
                by_term[term] += use.gain
                by_term[None] -= use.gain

    def of_kind(kind: EntryKind) -> Decimal | None:
        return total((zero, *(one.amount for one in income if one.kind is kind)))

    return YearOfGains(
        year,
        proceeds=sum((one.proceeds or zero for one in known), zero),
        cost=sum((one.cost or zero for one in known), zero),
        short_term=by_term[Term.SHORT],
        long_term=by_term[Term.LONG],
        undetermined=by_term[None],
        unknown=len(disposals) - len(known),
        dividends=of_kind(EntryKind.DIVIDEND),
        interest=of_kind(EntryKind.INTEREST),
        withheld=total((zero, *(one.withheld for one in income))),
        taxes=of_kind(EntryKind.TAX),
        fees=of_kind(EntryKind.FEE),
    )
