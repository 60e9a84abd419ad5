"""Convert JSON values to a schema and report every fault of them at once.

There are two dialects. A request states all its limits in the schema, as OpenAPI documents them,
and is converted strictly. A file may write numbers as text or as numbers, and null for the
default; the domain checks its limits.
"""

from __future__ import annotations

import difflib
import enum
import math
import re
import types
from collections.abc import Callable, Collection, Iterator
from decimal import Decimal
from functools import cache
from itertools import chain, islice
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from rebalancer.domain.errors import InvalidRequest, combine, faults_of
from rebalancer.domain.money import decimal_of
from rebalancer.entrypoints.schemas.extent import check_extent
from rebalancer.entrypoints.schemas.wire import (
    CURRENCY,
    EXACT,
    MOST_CURRENCIES,
    ONE_LINE,
    SYMBOL,
    Amount,
    Body,
    Bounded,
    Cash,
    CurrencyCode,
    compose_text,
    cut,
    hidden_faults,
    parse_json,
    shorten,
)

T = TypeVar("T")
B = TypeVar("B", bound=Body)
R = TypeVar("R")
ReadScalar = Callable[[type[Any], Any], Any]

MOST_FAULTS = 100
"""Most faults that one error reports: finding them must not cost more than the request."""


class Malformed(InvalidRequest):
    """The input does not have the shape that the schema requires."""

    default_code = "malformed_request"


def collect(check: Callable[..., object], *values: Any, **fields: Any) -> list[InvalidRequest]:
    """Call a check of the domain, or a class that validates itself, and return what it raises."""
    try:
        check(*values, **fields)
    except InvalidRequest as error:
        return [error]
    return []


def decode_request(text: bytes, schema: type[B]) -> B:
    """Decode the body of a request; its text becomes NFC, except passwords.

    Raises:
        Malformed: the text is not clean JSON, or one field has the wrong shape.
        InvalidRequest: one field breaks a rule of the domain.
        InvalidFields: several fields are invalid.
    """
    hidden: list[InvalidRequest] = []
    try:
        check_extent(text)
        values = parse_json(text)
        if not text.isascii() or b"\\u" in text:
            values = compose_text(values, verbatim=schema.verbatim)
            found = hidden_faults(values, verbatim=schema.verbatim)
            hidden = list(islice(found, MOST_FAULTS))
    except InvalidRequest as error:
        raise Malformed(error.message, field=error.field or "body", code=error.code) from None

    def build(body: B) -> B:
        body.check()
        return body

    try:
        body = _convert(values, schema, _read_request_scalar, build)
    except InvalidRequest as error:
        known = {fault.field for fault in hidden}
        others = [fault for fault in faults_of(error) if fault.field not in known]
        raise combine([*hidden, *others][:MOST_FAULTS]) from None
    if hidden:
        raise combine(hidden)
    return body


def decode_file(values: dict[str, Any], schema: type[T], build: Callable[[T], R]) -> R:
    """Convert the values of a file, as `parse_json` returns them, and build an object of them.

    In an object with fixed fields, null stands for the default.

    Raises:
        InvalidRequest: one field is invalid.
        InvalidFields: several fields are.
    """
    objects = _names_of_objects(schema)  # type: ignore[arg-type]  # a type is hashable
    if objects is not None:
        values = {name: value for name, value in values.items() if value is not None}
        for name in objects:
            if isinstance(nested := values.get(name), dict):
                values[name] = {key: value for key, value in nested.items() if value is not None}
    return _convert(values, schema, _read_file_scalar, build)


@cache
def _names_of_objects(schema: Any) -> list[str] | None:
    """Return the fields that hold an object with fixed fields; None if the schema is not one."""
    if _struct_of(schema) is None:
        return None
    fields = msgspec.structs.fields(schema)
    return [field.encode_name for field in fields if _struct_of(field.type) is not None]


def _convert(
    values: dict[str, Any], schema: type[T], read: ReadScalar, build: Callable[[T], R]
) -> R:
    try:
        return build(msgspec.convert(values, schema, strict=True, dec_hook=read))
    except (msgspec.ValidationError, InvalidRequest) as error:
        faults = list(islice(_find_faults(values, schema, "", read), MOST_FAULTS))
        if faults:
            raise combine(faults) from None
        if isinstance(error, InvalidRequest):  # a rule about several fields
            raise
        raise Malformed(translate_message(str(error)), field="body") from None


def _read_cash(kind: type[Cash], value: dict[str, Any], read: ReadScalar) -> Cash:
    """Convert an object of amounts by currency."""
    if len(value) > MOST_CURRENCIES:
        raise ValueError(f"Expected at most {MOST_CURRENCIES} currencies, got {len(value)}")
    amounts = dict[CurrencyCode, kind.part]  # type: ignore[name-defined]  # a type that is data
    return kind.of(msgspec.convert(value, amounts, strict=True, dec_hook=read))


def _read_request_scalar(kind: type[Any], value: Any) -> Any:
    """Convert to a scalar type of ours; msgspec makes a ValidationError of a ValueError."""
    if isinstance(value, dict) and issubclass(kind, Cash):
        return _read_cash(kind, value, _read_request_scalar)
    if issubclass(kind, Amount):
        text = value if isinstance(value, str) else _whole_number_as_text(value)
        if not re.fullmatch(kind.pattern, text):
            raise ValueError(f"Expected {kind.expected}, got {shorten(value)}")
        return kind(decimal_of(value, field=""))
    if issubclass(kind, Bounded):
        number = isinstance(value, int | Decimal) and not isinstance(value, bool)
        finite = number and Decimal(value).is_finite()
        if not (finite and kind.low <= value <= kind.high):
            raise ValueError(
                f"Expected a number from {kind.low:g} to {kind.high:g}, got {shorten(value)}"
            )
        return kind(value or 0)  # 0 for -0.0
    raise NotImplementedError(kind)


_NUMERIC = {str, int, float, Decimal}


def _read_file_scalar(kind: type[Any], value: Any) -> Any:
    """Convert to a scalar type of ours, from text or from any number; called for each number."""
    given = type(value)
    if given is dict and issubclass(kind, Cash):
        return _read_cash(kind, value, _read_file_scalar)
    if issubclass(kind, Amount):
        if given in _NUMERIC:
            return kind(decimal_of(value, field=""))
        raise ValueError(f'Expected a decimal number such as "1250.00", got {shorten(value)}')
    if given in _NUMERIC:
        exact = value if given is Decimal else EXACT.create_decimal(value)
        if exact.is_finite() and math.isfinite(fraction := float(exact)):
            return kind(fraction)
    raise ValueError(f"Expected a fraction such as 0.25, got {shorten(value)}")


def _whole_number_as_text(value: Any) -> str:
    """Write 12 and 12.0 as "12"; return nothing for another value or one of 1e15 or more."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return ""
    number = Decimal(value)
    if not number:
        return "0"
    # Arithmetic would overflow for exponents that only `EXACT` can hold.
    fits = number.is_finite() and 0 <= number.adjusted() < 15 and number == int(number)
    return str(int(number)) if fits else ""


def _find_faults(value: Any, kind: Any, path: str, read: ReadScalar) -> Iterator[InvalidRequest]:
    """Yield each fault of a value at a path, in the order of the fields of its type."""
    inner = _without_null(kind)
    origin, arguments = get_origin(inner), get_args(inner)
    parts: list[tuple[Any, Any, str]] = []
    if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, Cash):
        origin, arguments = dict, (CurrencyCode, inner.part)
    if isinstance(value, dict) and origin is dict:
        for key, item in value.items():
            place = f"{path}.{key}" if path else key
            parts += [(key, arguments[0], place), (item, arguments[1], place)]
    elif isinstance(value, list) and origin is list:
        parts = [(item, arguments[0], f"{path}[{at}]") for at, item in enumerate(value)]
    inside: Iterator[InvalidRequest]
    if isinstance(value, dict) and (schema := _struct_of(inner)) is not None:
        inside = _find_struct_faults(value, schema, path, read)
    else:
        inside = chain.from_iterable(_find_faults(*part, read) for part in parts)
    found = False
    for fault in inside:
        found = True
        yield fault
    if found:
        return
    try:
        msgspec.convert(value, kind, strict=True, dec_hook=read)
    except msgspec.ValidationError as error:
        message = str(error)
        if message.startswith("Invalid enum value"):
            message = f"Expected one of {', '.join(choices_of(inner))}, got {shorten(value)}"
        yield Malformed(translate_message(message), field=path or "body", code="invalid_value")
    except InvalidRequest as error:  # of `decimal_of`
        yield Malformed(error.message, field=path, code=error.code)


def _find_struct_faults(
    values: dict[str, Any], schema: type[msgspec.Struct], path: str, read: ReadScalar
) -> Iterator[InvalidRequest]:
    """Yield unknown and missing fields, then what is wrong with each field that is given."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(schema)}
    prefix = f"{path}." if path else ""
    read_only = schema.read_only if issubclass(schema, Body) else ()
    if schema.__struct_config__.forbid_unknown_fields:
        for name in values:
            if name not in fields:
                shown = cut(name, 200) if name else '""'
                yield Malformed(
                    _describe_unknown(name, [one for one in fields if one not in read_only]),
                    field=f"{prefix}{shown}",
                    code="unknown_field",
                )
    alternatives = schema.alternatives if issubclass(schema, Body) else ()
    lacking = alternatives[:1] if all(values.get(one) is None for one in alternatives) else ()
    for name, field in fields.items():
        if name not in values:
            if field.required or name in lacking:
                yield Malformed("the field is required", field=prefix + name, code="missing_field")
            continue
        given, place = values[name], prefix + name
        faulty = set()
        for fault in _find_faults(given, field.type, place, read):
            faulty.add(fault.field)
            yield fault
        if faulty and isinstance(given, dict) and _struct_of(field.type) is None:
            given = {
                key: item for key, item in given.items() if not _is_in(f"{place}.{key}", faulty)
            }
            faulty &= {place}
        if not faulty and issubclass(schema, Body):
            value = msgspec.convert(given, field.type, strict=True, dec_hook=read)
            yield from schema.broken_rules(field.name, value)


def _is_in(path: str, faulty: Collection[str]) -> bool:
    """Return whether any of the faulty paths is this one, or is inside of it."""
    return any(one == path or one.startswith((f"{path}.", f"{path}[")) for one in faulty)


def _without_null(kind: Any) -> Any:
    """Return a type without its annotations, and without null if one type remains then."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        others = [one for one in get_args(kind) if one not in (types.NoneType, msgspec.UnsetType)]
        if len(others) == 1:
            return _without_null(others[0])
    return kind


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    kind = _without_null(kind)
    plain = get_origin(kind) or kind
    return kind if isinstance(plain, type) and issubclass(plain, msgspec.Struct) else None


def choices_of(kind: Any) -> list[str]:
    """Return the values that a type permits; nothing if it is not an enumeration."""
    kind = _without_null(kind)
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [str(member.value) for member in kind]
    return []


def _describe_unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:100], known, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"known fields: {', '.join(known)}"
    return f"unknown field; {remedy}"


_PATTERNS = {
    SYMBOL: "a symbol such as AAPL",
    ONE_LINE: "one line of text, without control characters",
    CURRENCY: "a currency code such as USD",
}
_TYPES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_UNITS = {"str": "character", "array": "item", "object": "field"}
_BOUNDS = {">=": "at least", "<=": "at most"}
_FORMATS = {
    "Invalid UUID": "expected an id such as 1b4e28ba-2fa1-41d2-883f-0016d3cca427",
    "Invalid RFC3339 encoded date": "expected a date such as 2022-12-28",
}


def translate_message(message: str) -> str:
    """Translate a message of msgspec's to words for people who do not know Python."""
    text = message.split(" - at `")[0]
    if text in _FORMATS:
        return _FORMATS[text]
    for pattern, words in _PATTERNS.items():
        text = text.replace(f"`str` matching regex {pattern!r}", words)
    text = re.sub(r"`(str|array|object)` of length (>=|<=) (\d+)", _translate_length, text)
    text = re.sub(r"`([^`]*)`", lambda found: _translate_types(found.group(1)), text)
    return text[:1].lower() + text[1:]


def _translate_length(found: re.Match[str]) -> str:
    kind, bound, length = found.groups()
    unit = _UNITS[kind] if length == "1" else f"{_UNITS[kind]}s"
    return f"{_TYPES[kind]} of {_BOUNDS[bound]} {length} {unit}"


def _translate_types(names: str) -> str:
    return " or ".join(_TYPES.get(name, name) for name in names.split(" | "))
