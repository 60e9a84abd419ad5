"""Rows of Flex Queries: their fields, and dates in the format that a query is set to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import attrs

from rebalancer.adapters.statements.drafts import (
    clean,
    read_currency,
    read_number,
    shorten,
    unreadable_date,
)
from rebalancer.adapters.statements.xml_tree import Element
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.statements import Instrument

_ZERO = Decimal(0)
_DAYS = ("tradeDate", "dateTime", "reportDate", "settleDate", "settleDateTarget", "date")
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
UNITS = frozenset({"STK", "FUND", "CRYPTO"})
"""Asset categories whose quantities are units with a price each."""


def stated_days(root: Element) -> list[str]:
    """Return the dates of all rows and periods of a file."""
    named = (*_DAYS, "fromDate", "toDate")
    return [
        one.attributes[name] for one in root.walk() for name in named if one.attributes.get(name)
    ]


@attrs.frozen
class FlexDates:
    """Dates in the format that a query is set to.

    Attributes:
        day_first: Whether 01/02/2020 is in February.
    """

    day_first: bool = False

    @classmethod
    def of(cls, stated: Iterable[str]) -> FlexDates:
        """Return the format of all dates of a file.

        Raises:
            InvalidRequest: days and months cannot be distinguished.
        """
        slashed = [text.split("/") for text in map(_day_part, stated) if text.count("/") == 2]
        firsts = {first for first, _, _ in slashed if _is_number(first)}
        seconds = {second for _, second, _ in slashed if _is_number(second)}
        if not slashed:
            return cls()
        day_first = any(int(first) > 12 for first in firsts)
        month_first = any(int(second) > 12 for second in seconds)
        if day_first == month_first:
            raise InvalidRequest(
                f"dates such as {shorten('/'.join(slashed[0]))} do not show which part is the "
                "month; set the date format of the Flex Query to yyyyMMdd",
                field="file",
                code="ambiguous_dates",
            )
        return cls(day_first)

    def day(self, text: str, what: str = "date") -> date:
        """Return a day.

        Raises:
            InvalidRequest: the text is not a date.
        """
        part = _day_part(text)
        try:
            if not part.isascii():  # digits of other scripts
                raise ValueError
            if re.fullmatch(r"\d{8}", part):
                return date(int(part[:4]), int(part[4:6]), int(part[6:]))
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}", part):
                return date.fromisoformat(part)
            if found := re.fullmatch(r"(\d{1,2})-([A-Za-z]{3})-(\d{2}|\d{4})", part):
                month = _MONTHS.index(found.group(2).upper()) + 1
                return date(_year(found.group(3)), month, int(found.group(1)))
            if found := re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{2}|\d{4})", part):
                one, other = int(found.group(1)), int(found.group(2))
                day, month = (one, other) if self.day_first else (other, one)
                return date(_year(found.group(3)), month, day)
        except ValueError:
            pass
        raise unreadable_date(text, what, "20260131, or set the date format of the query so")


def _day_part(text: str) -> str:
    part = re.split(r"[;, T]", text.strip(), maxsplit=1)[0]
    return part[:8] if re.fullmatch(r"\d{14}", part) else part


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


def _year(text: str) -> int:
    return int(text) if len(text) == 4 else 2000 + int(text)


@attrs.frozen
class Row:
    """One element of a section, and how to read its fields."""

    element: Element
    dates: FlexDates
    base: str

    @property
    def line(self) -> int:
        """Line in the file."""
        return self.element.line

    def text(self, name: str) -> str:
        """Return a field; empty without it."""
        found = self.element.attributes.get(name, "").strip()
        return "" if found in ("--", "-") else found

    def number(self, name: str) -> Decimal:
        """Return a number; 0 without it."""
        found = self.text(name)
        return read_number(found, name) if found else _ZERO

    def day(self, *names: str) -> date:
        """Return the day of the first of some fields that is not empty."""
        for name in names:
            if self.text(name):
                return self.dates.day(self.text(name), name)
        raise InvalidRequest(
            f"the row has no date; add the field {names[0]} to the Flex Query", code="missing_date"
        )

    @property
    def currency(self) -> str:
        """Currency of its money; empty for the base currency, if the query omits it."""
        return read_currency(self.text("currency")) if self.text("currency") else self.base

    @property
    def instrument(self) -> Instrument:
        """The asset of the row."""
        isin = self.text("isin")
        if not isin and self.text("securityIDType").upper() == "ISIN":
            isin = self.text("securityID")
        return Instrument(
            clean(self.text("symbol"), 60),
            clean(isin, 12),
            clean(self.text("description"), 100),
            self.currency,
        )

    @property
    def asset(self) -> str:
        """Identifier of the asset, by which rows are joined."""
        return self.text("conid") or self.text("isin") or self.text("symbol")

    @property
    def id(self) -> str:
        """Identifier that the broker gives to the row."""
        return clean(self.text("transactionID") or self.text("tradeID"), 60)

    @property
    def codes(self) -> frozenset[str]:
        """Codes of its notes, such as Ca for cancelled."""
        stated = f"{self.text('notes')};{self.text('code')}"
        return frozenset(code.strip() for code in re.split(r"[;,]", stated) if code.strip())
