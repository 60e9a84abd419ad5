"""Portfolios and proposals as JSON: the wire shape of `propose` and `batch`."""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency, decimal_of
from rebalancer.domain.portfolio.portfolio import NO_PREFERENCES, Portfolio, Preferences
from rebalancer.domain.portfolio.risk import risk_profile

if TYPE_CHECKING:
    from rebalancer.application.rebalance import Current
    from rebalancer.domain.rebalancing.proposal import Proposal

DISCLAIMER = (
    "Computed from rules, prices and what you told us; not personal advice. You decide, and you "
    "bear the outcome."
)

T = TypeVar("T")

LONGEST_ID = 200

_MISSING = object()
_NUMERIC = {str, int, float, Decimal}
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
"""Reads any number that JSON can write; one beyond even these exponents is infinite, or zero."""


def read_file(path: Path, *, field: str) -> bytes:
    """A file's contents.

    Raises:
        InvalidRequest: it cannot be read; says why.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}", field=field) from None


def parse_json(text: bytes, *, field: str = "") -> dict[str, Any]:
    """A JSON object; numbers with a point or an exponent become exact Decimals.

    NaN and Infinity, which are not JSON, become Decimals too, so that whoever takes the field
    can name it.

    Raises:
        InvalidRequest: not UTF-8, not JSON, not an object, a key that occurs twice, a character
            that nobody can keep, or nested too deeply.
    """
    try:
        read = text.decode("utf-8-sig")
        value = json.loads(
            read,
            object_pairs_hook=_object,
            parse_float=_EXACT.create_decimal,
            parse_int=_integer,
            parse_constant=Decimal,
        )
        if "\\u" in read:
            # An escape can bring in half of a surrogate pair, which no output could hold, or the
            # character U+0000, which not every database can.
            json.dumps(value, ensure_ascii=False, default=str).encode()
            if "\\u0000" in read:
                _check_no_nul(value)
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"is not UTF-8 text (byte {error.start + 1}); save it as UTF-8", field=field
        ) from None
    except json.JSONDecodeError as error:
        raise InvalidRequest(
            f"is not JSON: {error.msg.lower()} at character {error.pos + 1}", field=field
        ) from None
    except UnicodeEncodeError:
        raise InvalidRequest(
            "holds half of a surrogate pair, which is no character; mend the escape", field=field
        ) from None
    except RecursionError:
        raise InvalidRequest("is nested too deeply", field=field) from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"expected a JSON object, got {_shown(value)}", field=field)
    return value


def _check_no_nul(value: object, path: str = "") -> None:
    if isinstance(value, dict):
        for key, one in value.items():
            _check_no_nul(key, path)
            _check_no_nul(one, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, one in enumerate(value):
            _check_no_nul(one, f"{path}[{number}]")
    elif isinstance(value, str) and "\0" in value:
        raise InvalidRequest("must not contain the character U+0000; leave it out", field=path)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidRequest("occurs twice; keep one", field=key)
            seen.add(key)
    return found


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) < 20 else Decimal(text)  # Python refuses an int of 4,301 digits


def _shown(value: object) -> str:
    """A value for a message, not longer than a line."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = str(value) if isinstance(value, Decimal) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


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
        raise InvalidRequest(f"expected text, got {_shown(value)}", field=field)
    return value


def fields_of(value: Any, field: str) -> Fields:
    """A nested object."""
    if not isinstance(value, dict):
        raise InvalidRequest(f"expected an object, got {_shown(value)}", field=field)
    return Fields(value, field)


def number_of(value: Any, field: str) -> Decimal:
    """A finite Decimal."""
    if type(value) not in _NUMERIC:
        raise InvalidRequest(
            f'expected a decimal number such as "1250.00", got {_shown(value)}', field=field
        )
    return decimal_of(value, field=field)


def fraction_of(value: Any, field: str) -> float:
    """A finite float, of any number of decimals."""
    if type(value) in _NUMERIC:
        number = value if isinstance(value, Decimal) else _EXACT.create_decimal(value)
        if number.is_finite() and math.isfinite(fraction := float(number)):
            return fraction
    raise InvalidRequest(f"expected a fraction such as 0.25, got {_shown(value)}", field=field)


def flag_of(value: Any, field: str) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise InvalidRequest(f"expected true or false, got {_shown(value)}", field=field)
    return value


def date_of(value: Any, field: str) -> date:
    """A day written YYYY-MM-DD."""
    try:
        if not isinstance(value, str) or not _DAY.fullmatch(value):
            raise ValueError
        return date.fromisoformat(value)
    except ValueError:
        raise InvalidRequest(
            f"expected a day such as 2022-11-30, got {_shown(value)}", field=field
        ) from None


def symbols_of(value: Any, field: str) -> frozenset[str]:
    """A list of symbols."""
    if not isinstance(value, list):
        raise InvalidRequest(f"expected a list of symbols, got {_shown(value)}", field=field)
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


def plain(number: Decimal) -> str:
    """A Decimal as text, never with an exponent."""
    text = str(number)
    return format(number, "f") if "E" in text else text


def proposal_record(line: int | None, proposal: Proposal) -> dict[str, Any]:
    """A proposal as JSON values; ``line`` is left out when None."""
    record = {} if line is None else {"line": line}
    return record | {
        "portfolio_id": proposal.portfolio_id,
        "status": proposal.status.value,
        "as_of": proposal.as_of.isoformat(),
        "policy": proposal.policy,
        "orders": [
            {
                "symbol": order.symbol,
                "side": order.side.value,
                "quantity": plain(order.quantity),
                "price": plain(order.price),
                "value": plain(order.value),
                "cost": plain(order.cost),
                "reason": order.reason,
            }
            for order in proposal.orders
        ],
        "not_traded": [
            {"symbol": other.symbol, "reason": other.reason} for other in proposal.not_traded
        ],
        "weights_before": proposal.weights_before,
        "weights_after": proposal.weights_after,
        "cash_after": plain(proposal.cash_after),
        "turnover": proposal.turnover,
        "cost": plain(proposal.cost),
        "notes": list(proposal.notes),
        "input_hash": proposal.input_hash,
        "error": None,
    }


def worksheet_text(current: Current) -> str:
    """The orders as CSV; what a reader must know stands in lines that begin with #."""
    record = current.record
    made = record.proposal
    text = io.StringIO()
    currency = record.seen.portfolio.currency
    text.write(f"# Worksheet of proposal {record.id} for portfolio {record.portfolio_id}\r\n")
    text.write(f"# {made.policy}, closes of {made.as_of}, {record.seen.costs}\r\n")
    text.write(f"# Stands: {current.stage}" + (f"; {current.stale}" if current.stale else ""))
    if planned := record.seen.planned:
        what = "deposit" if planned > 0 else "withdrawal"
        text.write(
            f"\r\n# Reckons with a {what} of {plain(abs(planned))} {currency}: record it, too"
        )
    text.write(f"\r\n# {DISCLAIMER}\r\n")
    rows = csv.writer(text)
    rows.writerow(
        ["side", "symbol", "quantity", "reference_price", "value", "cost", "currency", "reason"]
    )
    for order in made.orders:
        rows.writerow(
            [
                order.side.value,
                order.symbol,
                plain(order.quantity),
                plain(order.price),
                plain(order.value),
                plain(order.cost),
                currency.code,
                order.reason,
            ]
        )
    return text.getvalue()


def failure_record(
    line: int, portfolio_id: str | None, *, as_of: date, policy: str, error: str, input_hash: str
) -> dict[str, Any]:
    """A failure in the shape of a proposal."""
    return {
        "line": line,
        "portfolio_id": portfolio_id,
        "status": "failed",
        "as_of": as_of.isoformat(),
        "policy": policy,
        "orders": [],
        "not_traded": [],
        "weights_before": {},
        "weights_after": {},
        "cash_after": None,
        "turnover": None,
        "cost": None,
        "notes": [],
        "input_hash": input_hash,
        "error": error,
    }


def json_line(record: Mapping[str, Any]) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(record) + b"\n"
