"""Numbers, money and dates in a person's language."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import attrs
from babel import Locale
from babel.dates import format_date, format_time, format_timedelta
from babel.numbers import (
    format_currency,
    format_decimal,
    format_percent,
    get_group_symbol,
)
from babel.units import format_unit

UP, DOWN, SAME = "▲", "▼", "●"
MINUS = "−"
HIDDEN = "••••"
"""In place of an amount that the person hides."""


@attrs.frozen
class Change:
    """A gain or loss, shown by more than a colour.

    Attributes:
        text: With arrow and sign.
        direction: 1, 0 or -1.
        spoken: For screen readers, without symbols.
    """

    text: str
    direction: int
    spoken: str


def _plain_spaces(text: object) -> str:
    """Return a text whose narrow spaces are ordinary unbreakable ones: the typeface lacks them."""
    return str(text).replace("\u202f", "\u00a0")


@attrs.frozen
class Formats:
    """Formats values for a locale such as ``en_GB``."""

    locale: Locale

    @classmethod
    def of(cls, tag: str) -> Formats:
        """Return the formats of a language tag such as ``de-CH``; English where it is unknown."""
        from babel import UnknownLocaleError

        try:
            return cls(Locale.parse(tag, sep="-" if "-" in tag else "_"))
        except (ValueError, UnknownLocaleError):
            return cls(Locale("en", "GB"))

    def money(self, amount: Decimal | None, currency: str, *, whole: bool = False) -> str:
        """Return an amount of money; a dash if it is unknown."""
        if amount is None:
            return "–"
        if whole:
            amount = amount.quantize(Decimal(1))
            return _plain_spaces(
                format_currency(
                    amount, currency, locale=self.locale, currency_digits=False, format=self._whole
                )
            )
        return _plain_spaces(format_currency(amount, currency, locale=self.locale))

    def signed_money(self, amount: Decimal, currency: str) -> str:
        """Return an amount with its sign, as a gain or loss."""
        sign = "+" if amount > 0 else (MINUS if amount < 0 else "")
        return sign + self.money(abs(amount), currency)

    @property
    def _whole(self) -> str:
        pattern = str(self.locale.currency_formats["standard"].pattern)
        return pattern.replace(".00", "")

    def number(self, value: Decimal) -> str:
        """Return a number with the digits that it has."""
        places = max(0, -int(value.as_tuple().exponent))
        pattern = "#,##0" + ("." + "0" * places if places else "")
        return _plain_spaces(format_decimal(value, format=pattern, locale=self.locale))

    def quantity(self, units: Decimal) -> str:
        """Return a number of shares with all its digits."""
        places = max(0, -int(units.normalize().as_tuple().exponent))
        pattern = "#,##0" + ("." + "#" * places if places else "")
        return _plain_spaces(format_decimal(units, format=pattern, locale=self.locale))

    def plain(self, number: Decimal) -> str:
        """Return a number for a field, without grouping."""
        return self.quantity(number).replace(self._group, "")

    @property
    def _group(self) -> str:
        return _plain_spaces(get_group_symbol(self.locale))

    def percent(self, share: float | Decimal | None, digits: int = 1) -> str:
        """Return a share of 1 in percent; a dash if it is unknown."""
        if share is None:
            return "–"
        pattern = str(self.locale.percent_formats[None].pattern)
        if digits:
            pattern = pattern.replace("0", "0." + "0" * digits)
        return _plain_spaces(format_percent(share, format=pattern, locale=self.locale))

    def points(self, share: float, digits: int = 1) -> str:
        """Return a difference of shares in percentage points, with its sign."""
        value = Decimal(str(share)) * 100
        pattern = "#,##0." + "0" * digits
        text = _plain_spaces(format_decimal(abs(value), format=pattern, locale=self.locale))
        return f"{'+' if value >= 0 else MINUS}{text}"

    def change(self, share: float | None, words: tuple[str, str, str]) -> Change | None:
        """Return a relative change, or None; ``words`` are those for up, down and unchanged."""
        if share is None:
            return None
        shown = self.percent(abs(share))
        direction = 0 if abs(share) < 0.0005 else (1 if share > 0 else -1)
        arrow, sign = ((SAME, ""), (UP, "+"), (DOWN, MINUS))[direction]
        word = words[(2, 0, 1)[direction]]
        return Change(f"{arrow} {sign}{shown}", direction, f"{word} {shown}")

    def day(self, day: date | None) -> str:
        """Return a short date such as 4 Jan 2021; a dash if it is unknown."""
        return "–" if day is None else _plain_spaces(format_date(day, "medium", locale=self.locale))

    def time(self, at: datetime) -> str:
        """Return the time of day, without seconds."""
        return _plain_spaces(format_time(at, "short", locale=self.locale))

    def month(self, number: int) -> str:
        """Return the short name of a month, from 1 to 12."""
        return str(self.locale.months["stand-alone"]["abbreviated"][number])

    def time_left(self, until: datetime, now: datetime) -> str:
        """Return how long it is until a time, such as in 23 hours."""
        left = max(until - now, timedelta(0))
        return _plain_spaces(format_timedelta(left, add_direction=True, locale=self.locale))

    def span(self, days: int) -> str:
        """Return the whole days, months or years of a time, such as 11 months."""
        months = int(days * 12 / 365.25)
        count, unit = (days, "day") if months < 2 else (months, "month")
        if months >= 24:
            count, unit = int(days / 365.25), "year"
        return _plain_spaces(format_unit(count, f"duration-{unit}", locale=self.locale))

    def age(self, since: datetime, now: datetime) -> str:
        """Return how long ago a time was, such as 3 minutes ago."""
        gone = since - now if since < now else timedelta(0)
        return _plain_spaces(format_timedelta(gone, add_direction=True, locale=self.locale))
