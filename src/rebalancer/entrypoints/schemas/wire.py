"""What travels: strict JSON in, with every mistake named, and the scalars of requests.

Bodies are read in two steps. `parse_json` refuses what is no clean JSON: a key that occurs twice,
NaN, half of a surrogate pair, nesting without end. Then msgspec converts to the handler's type,
strictly: nothing is coerced, nothing unknown is let pass.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import decimal_of

T = TypeVar("T")

EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
"""Reads any number that JSON can write; one beyond even these exponents is infinite, or zero."""


class Malformed(InvalidRequest):
    """A request that no state of the system could make sense of."""


class Unsupported(InvalidRequest):
    """A body in a format that is not spoken here."""


_AMOUNT = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,12})?$"
_POSITIVE = r"^(0|[1-9][0-9]{0,14})(\.[0-9]{1,12})?$"


class Amount(Decimal):
    """Money or a quantity, as text, so that no digit is lost; whole numbers may be numbers."""

    pattern = _AMOUNT
    what = 'a decimal number as text, such as "1250.00"'
    example = "1250.00"


class NotNegative(Amount):
    """An amount of zero or more."""

    pattern = _POSITIVE
    what = 'a decimal number of zero or more as text, such as "1250.00"'


class Bounded(float):
    """A number within limits."""

    low: float
    high: float


class Fraction(Bounded):
    """A number from 0 to 1."""

    low, high = 0.0, 1.0


class Capital(Bounded):
    """Money to try a policy with, from 1 to a million millions."""

    low, high = 1.0, 1e12


class BasisPoints(Bounded):
    """A number from 0 to 1,000."""

    low, high = 0.0, 1_000.0


# Python's $ would let a line end follow.
_SYMBOL = r"^[A-Za-z0-9^][A-Za-z0-9.^=_-]{0,31}$(?!\n)"
_LINE = r"^[^\x00-\x1f\x7f]*$(?!\n)"
CURRENCY = r"^[A-Z]{3}$(?!\n)"
_PATTERNS = {
    _SYMBOL: "a symbol such as AAPL",
    _LINE: "one line of text, without control characters",
    CURRENCY: "a currency's code such as USD",
}
"""What is said of text that does not match."""

Symbol = Annotated[
    str,
    Meta(pattern=_SYMBOL, description="A ticker.", examples=["AAPL"]),
]
OneLine = Annotated[str, Meta(pattern=_LINE)]
Line = Annotated[OneLine, Meta(max_length=500, description="A line of text.")]
MOST_ASSETS = 500


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a request carries."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer carries."""


class Page(View, Generic[T], frozen=True, kw_only=True):
    """Some of a list."""

    items: list[T]
    next: Annotated[
        str | None, Meta(description="Ask for what follows with this; null at the end.")
    ] = None


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
            parse_float=EXACT.create_decimal,
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
        raise InvalidRequest(f"expected a JSON object, got {shorten(value)}", field=field)
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


def decode_body(text: bytes, type_: type[T]) -> T:
    """A body as a type.

    Raises:
        Malformed: it is no clean JSON, or does not fit; names the field.
    """
    try:
        values = parse_json(text)
    except InvalidRequest as error:
        raise Malformed(error.message, field=error.field or "body") from None
    try:
        return msgspec.convert(values, type_, strict=True, dec_hook=_scalar)
    except msgspec.ValidationError as error:
        message, field = _explained(str(error), values, type_)
        raise Malformed(message, field=field) from None


def _scalar(kind: type[Any], value: Any) -> Any:
    """Read what msgspec does not know; a ValueError gets the field's path from it."""
    if issubclass(kind, Amount):
        text = value if isinstance(value, str) else _whole(value)
        if not re.fullmatch(kind.pattern, text):
            raise ValueError(f"Expected {kind.what}, got {shorten(value)}")
        try:
            return kind(decimal_of(value, field=""))
        except InvalidRequest as error:
            raise ValueError(str(error)) from None
    if issubclass(kind, Bounded):
        number = isinstance(value, int | Decimal) and not isinstance(value, bool)
        finite = number and Decimal(value).is_finite()
        if not (finite and kind.low <= value <= kind.high):
            raise ValueError(
                f"Expected a number from {kind.low:g} to {kind.high:g}, got {shorten(value)}"
            )
        return kind(value or 0)  # -0.0 is no fraction of anything
    raise NotImplementedError(kind)


def _whole(value: Any) -> str:
    """A whole number as text, 12 and 12.0 alike; empty for what is none, or too large."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return ""
    number = Decimal(value)
    fits = number.is_finite() and abs(number) < 10**15 and number == int(number)
    return str(int(number)) if fits else ""


def shorten(value: object) -> str:
    """Show a value in a message, on one line."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = str(value) if isinstance(value, Decimal) else msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."


_UNKNOWN = re.compile(r"^Object contains unknown field `(.*?)`(?: - at `\$\.?(.*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(.*?)`(?: - at `\$\.?(.*)`)?$", re.DOTALL)
_TYPES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_AT = re.compile(r"^(.*?)(?: - at (`key` in )?`\$\.?(.*)`)?$", re.DOTALL)


def _explained(message: str, values: dict[str, Any], type_: type[Any]) -> tuple[str, str]:
    """Msgspec's message as ours, and the field that it is about."""
    for pattern in (_UNKNOWN, _MISSING):
        if found := pattern.match(message):
            name, path = found.group(1) or '""', found.group(2) or ""
            said = "is missing" if pattern is _MISSING else _not_among(name, _at(type_, path))
            return said, f"{path}.{name}" if path else name
    found = _AT.match(message)
    assert found is not None  # it matches anything
    said, path = translate_message(found.group(1)), found.group(3) or "body"
    if said.startswith("invalid enum value"):
        said = (
            f"expected {_choices(_at(type_, path))}, got {said.removeprefix('invalid enum value ')}"
        )
    if found.group(2):
        path += "[...]"
    if "[...]" in path:
        path = _named(path, message, values, type_)
    return said, path


def _at(type_: type[Any], path: str) -> Any:
    """What msgspec knows of the type that a path leads to; None where it leads to no one type."""
    kind: Any = msgspec.inspect.type_info(type_)
    for step in re.findall(r"\[[^\]]*\]|[^.\[\]]+", path):
        kind = _certain(kind)
        if step.startswith("["):
            kind = getattr(kind, "item_type", getattr(kind, "value_type", None))
        else:
            fields = {one.encode_name: one.type for one in getattr(kind, "fields", ())}
            kind = fields.get(step)
    return _certain(kind)


def _certain(kind: Any) -> Any:
    """A type without what stands around it, and without null."""
    while isinstance(kind, msgspec.inspect.Metadata | msgspec.inspect.UnionType):
        if isinstance(kind, msgspec.inspect.Metadata):
            kind = kind.type
            continue
        rest = [one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType)]
        kind = rest[0] if rest else None
    return kind


def _choices(kind: Any) -> str:
    if isinstance(kind, msgspec.inspect.LiteralType):
        return "one of " + ", ".join(str(value) for value in kind.values)
    if isinstance(kind, msgspec.inspect.EnumType):
        return "one of " + ", ".join(str(one.value) for one in kind.cls)
    return "another value"


def _not_among(name: str, kind: Any) -> str:
    """That a field is unknown, and which may be meant."""
    known = [one.encode_name for one in getattr(kind, "fields", ())]
    near = difflib.get_close_matches(name, known, n=1)
    return (
        f"is unknown; did you mean {near[0]}?" if near else f"is unknown; known: {', '.join(known)}"
    )


_REMEDIES = {
    "Invalid UUID": "expected an id such as 1b4e28ba-2fa1-41d2-883f-0016d3cca427",
    "Invalid RFC3339 encoded date": "expected a day such as 2022-12-28",
}


def translate_message(message: str) -> str:
    """What msgspec says of a value, in words that are not Python's."""
    said = message.split(" - at `")[0]
    if said in _REMEDIES:
        return _REMEDIES[said]
    for pattern, words in _PATTERNS.items():
        said = said.replace(f"`str` matching regex {pattern!r}", words)
    said = re.sub(r"`([^`]*)`", lambda found: _words(found.group(1)), said)
    return said[:1].lower() + said[1:]


def _words(types: str) -> str:
    return " or ".join(_TYPES.get(one, one) for one in types.split(" | "))


def _named(path: str, message: str, values: dict[str, Any], type_: type[Any]) -> str:
    """The path of a mistake in an object with free keys, which msgspec leaves open: try each."""
    field, _, rest = path.partition("[...]")
    found = values.get(field)
    if not isinstance(found, dict):
        return path
    # Without the other objects, which would be read again for every key.
    rest_of_it = {name: {} if isinstance(one, dict) else one for name, one in values.items()}
    for key, value in found.items():
        try:
            msgspec.convert({**rest_of_it, field: {key: value}}, type_, dec_hook=_scalar)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return f"{field}.{key}{rest}"
    return path


def documented_default(value: str | float) -> Meta:
    """For the API's description: what a scalar is when it is left out."""
    return Meta(extra_json_schema={"default": value})


def format_decimal(number: Decimal) -> str:
    """A Decimal as text, never with an exponent."""
    text = str(number)
    return format(number, "f") if "E" in text else text


def json_line(record: Mapping[str, Any]) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(record) + b"\n"
