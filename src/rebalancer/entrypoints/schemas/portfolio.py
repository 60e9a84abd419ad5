"""A portfolio as JSON."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency, decimal_of
from rebalancer.domain.portfolio.portfolio import NO_PREFERENCES, Portfolio, Preferences
from rebalancer.domain.portfolio.risk import risk_profile
from rebalancer.entrypoints.schemas.wire import EXACT, shorten

T = TypeVar("T")

LONGEST_ID = 200

_MISSING = object()
_NUMERIC = {str, int, float, Decimal}
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Fields:
    """The fields of one JSON object, taken one by one; whatever is left over is unknown."""

    def __init__(self, values: Mapping[str, Any], path: str) -> None:
        self._values = dict(values)
        self._path = path
        self._asked: list[str] = []

    def name(self, key: str) -> str:
        """The path of a field, for messages."""
        return f"{self._path}.{key}" if self._path else key

    def take(self, key: str, read: Callable[[Any, str], T], default: T | object = _MISSING) -> T:
        """Read a field; absent or null gives the default.

        Raises:
            InvalidRequest: it is required and missing, or malformed.
        """
        self._asked.append(key)
        value = self._values.pop(key, None)
        if value is None:
            if default is _MISSING:
                raise InvalidRequest("is missing", field=self.name(key))
            return default  # type: ignore[return-value]  # a T, or we have raised
        return read(value, self.name(key))

    def rest(self) -> dict[str, Any]:
        """All fields not yet taken, by name."""
        rest, self._values = self._values, {}
        return rest

    def done(self) -> None:
        """Nothing may be left.

        Raises:
            InvalidRequest: a field is unknown; names the nearest known one.
        """
        for key in self._values:
            near = difflib.get_close_matches(key, self._asked, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(self._asked)}"
            raise InvalidRequest(f"is unknown; {hint}", field=self.name(key))


def text_of(value: Any, field: str) -> str:
    """Non-empty text."""
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"expected text, got {shorten(value)}", field=field)
    return value


def fields_of(value: Any, field: str) -> Fields:
    """A nested object."""
    if not isinstance(value, dict):
        raise InvalidRequest(f"expected an object, got {shorten(value)}", field=field)
    return Fields(value, field)


def number_of(value: Any, field: str) -> Decimal:
    """A finite Decimal."""
    if type(value) not in _NUMERIC:
        raise InvalidRequest(
            f'expected a decimal number such as "1250.00", got {shorten(value)}', field=field
        )
    return decimal_of(value, field=field)


def fraction_of(value: Any, field: str) -> float:
    """A finite float, of any number of decimals."""
    if type(value) in _NUMERIC:
        number = value if isinstance(value, Decimal) else EXACT.create_decimal(value)
        if number.is_finite() and math.isfinite(fraction := float(number)):
            return fraction
    raise InvalidRequest(f"expected a fraction such as 0.25, got {shorten(value)}", field=field)


def flag_of(value: Any, field: str) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise InvalidRequest(f"expected true or false, got {shorten(value)}", field=field)
    return value


def date_of(value: Any, field: str) -> date:
    """A day written YYYY-MM-DD."""
    try:
        if not isinstance(value, str) or not _DAY.fullmatch(value):
            raise ValueError
        return date.fromisoformat(value)
    except ValueError:
        raise InvalidRequest(
            f"expected a day such as 2022-11-30, got {shorten(value)}", field=field
        ) from None


def symbols_of(value: Any, field: str) -> frozenset[str]:
    """A list of symbols."""
    if not isinstance(value, list):
        raise InvalidRequest(f"expected a list of symbols, got {shorten(value)}", field=field)
    return frozenset(text_of(item, f"{field}[{at}]") for at, item in enumerate(value))


def id_of(value: Any, field: str) -> str:
    """A portfolio's id."""
    text = text_of(value, field)
    if len(text) > LONGEST_ID:
        raise InvalidRequest(f"is longer than {LONGEST_ID} characters", field=field)
    return text


def weights_of(fields: Fields) -> dict[str, float]:
    """Weights by symbol."""
    return {
        symbol: fraction_of(weight, fields.name(symbol)) for symbol, weight in fields.rest().items()
    }


def portfolio_of(values: Mapping[str, Any], *, currency: str) -> Portfolio:
    """A portfolio from its JSON object.

    Args:
        values: What `parse_json` gave.
        currency: Assumed when the object names none.

    Raises:
        InvalidRequest: a field is missing, unknown or malformed; names it.
    """
    fields = Fields(values, "")
    portfolio_id = fields.take("id", id_of)
    fields.take("name", text_of, "")  # of a kept one, as it was exported
    code = fields.take("currency", text_of, currency)
    cash = fields.take("cash", number_of)
    holdings = fields.take("holdings", fields_of)
    targets = fields.take("targets", fields_of)
    profile: str | None = fields.take("risk_profile", text_of, None)
    cash_flow = fields.take("cash_flow", number_of, Decimal(0))
    last_rebalance = fields.take("last_rebalance", date_of, None)
    wishes: Fields | None = fields.take("preferences", fields_of, None)
    fields.done()
    return Portfolio(
        id=portfolio_id,
        currency=Currency(code),
        cash=cash,
        holdings={
            symbol: number_of(quantity, holdings.name(symbol))
            for symbol, quantity in holdings.rest().items()
        },
        targets=weights_of(targets),
        risk_profile=None if profile is None else risk_profile(profile),
        cash_flow=cash_flow,
        last_rebalance=last_rebalance,
        preferences=NO_PREFERENCES if wishes is None else _preferences(wishes),
    )


def _preferences(fields: Fields) -> Preferences:
    none = NO_PREFERENCES
    wishes = Preferences(
        whole_shares=fields.take("whole_shares", flag_of, none.whole_shares),
        quantity_step=fields.take("quantity_step", number_of, none.quantity_step),
        min_trade=fields.take("min_trade", number_of, none.min_trade),
        do_not_sell=fields.take("do_not_sell", symbols_of, none.do_not_sell),
        do_not_buy=fields.take("do_not_buy", symbols_of, none.do_not_buy),
        max_turnover=fields.take("max_turnover", fraction_of, None),
        cash_reserve=fields.take("cash_reserve", number_of, none.cash_reserve),
        max_weight=fields.take("max_weight", fraction_of, None),
        band=fields.take("band", fraction_of, None),
        max_departure=fields.take("max_departure", fraction_of, none.max_departure),
        skip_unprofitable=fields.take("skip_unprofitable", flag_of, none.skip_unprofitable),
    )
    fields.done()
    return wishes
