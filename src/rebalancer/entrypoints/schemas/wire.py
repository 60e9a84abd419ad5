"""JSON text, and the scalar types that schemas are made of.

`parse_json` refuses text that is not clean JSON. `decoding` then converts the values to a schema.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

import msgspec
from msgspec import Meta

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.frequency import LONGEST, SHORTEST
from rebalancer.domain.text import describe_hidden, find_hidden

S = TypeVar("S")
T = TypeVar("T")

EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
"""Reads any JSON number exactly; one beyond these exponents becomes infinite or zero."""

MOST_ASSETS = 500
"""Most assets in one request."""


def about(description: str) -> Meta:
    """Describe a field in the OpenAPI document."""
    return Meta(description=description)


def documented_default(value: str | float, *, as_example: bool = False) -> Meta:
    """Document the default of a field whose type JSON Schema cannot express.

    Args:
        value: The default.
        as_example: Whether examples have it, too, since other values need further fields.
    """
    examples = {"examples": [value]} if as_example else {}
    return Meta(extra_json_schema={"default": value, **examples})


class Amount(Decimal):
    """Money or a quantity: text, so that no digit is lost, or a whole number."""

    pattern = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,12})?$"
    expected = 'a decimal number as text, such as "1250.00"'
    example = "1250.00"


class NonNegative(Amount):
    """An amount of zero or more."""

    pattern = r"^(0|[1-9][0-9]{0,14})(\.[0-9]{1,12})?$"
    expected = 'a decimal number of zero or more as text, such as "1250.00"'


class Cash(Amount):
    """Money in the base currency; or an object of amounts by currency.

    Attributes:
        part: Type of each amount.
        by_currency: Amounts by ISO 4217 code; None where a single amount is given.
    """

    part: ClassVar[type[Amount]] = Amount
    by_currency: Mapping[str, Decimal] | None = None

    @classmethod
    def of(cls, amounts: Mapping[str, Decimal]) -> Self:
        """Collect amounts by ISO 4217 code."""
        found = cls(0)
        found.by_currency = amounts
        return found

    def split(self, base: str) -> tuple[Decimal, dict[str, Decimal]]:
        """Return the amount in a base currency, and those in others."""
        if self.by_currency is None:
            return Decimal(self), {}
        others = {code: Decimal(amount) for code, amount in self.by_currency.items()}
        return others.pop(base, Decimal(0)), others


class OpeningCash(Cash):
    """Cash of zero or more."""

    part = NonNegative
    pattern = NonNegative.pattern
    expected = NonNegative.expected


class Bounded(float):
    """A number from `low` to `high`."""

    low: float
    high: float


class Fraction(Bounded):
    """A number from 0 to 1."""

    low, high = 0.0, 1.0


class Capital(Bounded):
    """Initial capital of a backtest."""

    low, high = 1.0, 1e12


class ClosesPerYear(Bounded):
    """A number of closes that count as a year."""

    low, high = SHORTEST, LONGEST


class BasisPoints(Bounded):
    """A number from 0 to 1,000."""

    low, high = 0.0, 1_000.0


# Without the lookahead, Python's $ would accept a final line feed.
SYMBOL = r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?$(?!\n)"
"""Whatever the prices may call an asset: ``M&M.NS``, ``BRK B``, ``BTC/USDT``."""

LONGEST_SYMBOL = 200
ONE_LINE = r"^[^\x00-\x1f\x7f]*$(?!\n)"
CURRENCY = r"^[A-Z]{3}$(?!\n)"

MOST_CURRENCIES = 50
"""Most currencies of cash in one request or file."""

CurrencyCode = Annotated[
    str, Meta(pattern=CURRENCY, description="ISO 4217 code.", examples=["USD"])
]

Symbol = Annotated[
    str,
    Meta(
        pattern=SYMBOL,
        max_length=LONGEST_SYMBOL,
        description="Symbol of an asset, as the prices write it.",
        examples=["AAPL"],
    ),
]
OneLine = Annotated[str, Meta(pattern=ONE_LINE)]
Line = Annotated[OneLine, Meta(max_length=500, description="One line of text.")]


class DecimalText(str):
    """A Decimal in a response, written as text without an exponent."""


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Schema of a JSON object that a client or a file sends.

    Attributes:
        read_only: Fields that a client may repeat from a response, but not change.
        verbatim: Fields of text that is not normalised, such as passwords.
        alternatives: Objects or numbers of which at least one is required; the first is usual.
    """

    read_only: ClassVar[tuple[str, ...]] = ()
    verbatim: ClassVar[tuple[str, ...]] = ()
    alternatives: ClassVar[tuple[str, ...]] = ()

    def check(self) -> None:
        """Apply the rules of the domain to the whole object.

        Raises:
            InvalidRequest: a rule is broken.
        """

    @classmethod
    def broken_rules(cls, name: str, value: Any) -> list[InvalidRequest]:
        """Return the rules of the domain that one field breaks, whatever the others hold.

        The value has the field's type.
        """
        return []


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Schema of a JSON object in a response; every field is always present."""

    @classmethod
    def of(cls, source: object) -> Self:
        """Make a view of a mapping, or of an object whose attributes have the names of fields."""
        return msgspec.convert(source, cls, from_attributes=True, dec_hook=_show_scalar)


def _show_scalar(kind: type[Any], value: Any) -> Any:
    if kind is DecimalText and isinstance(value, Decimal):
        return DecimalText(format_decimal(value))
    raise NotImplementedError(kind)


class Page(View, Generic[T], frozen=True, kw_only=True):
    """One page of a list."""

    items: list[T]
    next: Annotated[str | None, about("Cursor of the next page; null on the last page.")] = None


def paginate(
    found: Sequence[S], limit: int, *, show: Callable[[S], T], cursor: Callable[[S], object]
) -> Page[T]:
    """Make a page of what a query found, at most ``limit + 1`` items.

    One item more than the limit shows that another page exists. That page starts after the cursor
    of the last item on this one.
    """
    following = str(cursor(found[limit - 1])) if len(found) > limit else None
    return Page(items=[show(item) for item in found[:limit]], next=following)


def parse_json(text: bytes, *, field: str = "") -> dict[str, Any]:
    """Parse a JSON object; numbers with a point or an exponent become exact Decimals.

    NaN and Infinity, which JSON does not allow, become Decimals too: the error then names the
    field that holds one.

    Args:
        text: UTF-8, with or without a byte order mark.
        field: The field that an error names.

    Raises:
        InvalidRequest: the text is not UTF-8, not JSON, not an object or nested too deeply, has a
            key twice, or holds an unpaired surrogate or the character U+0000.
    """
    try:
        decoded = text.decode("utf-8-sig")
        value = json.loads(
            decoded,
            object_pairs_hook=_object_without_duplicates,
            parse_float=EXACT.create_decimal,
            parse_int=_parse_integer,
            parse_constant=Decimal,
        )
        if "\\u" in decoded:
            # Only an escape can bring in an unpaired surrogate, which UTF-8 cannot encode, or
            # U+0000, which some databases cannot store.
            json.dumps(value, ensure_ascii=False, default=str).encode()
            if "\\u0000" in decoded:
                _check_no_nul(value)
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"byte {error.start + 1} is not valid UTF-8; save the text as UTF-8",
            field=field,
            code="invalid_encoding",
        ) from None
    except json.JSONDecodeError as error:
        raise InvalidRequest(
            f"the text is not JSON: {error.msg.lower()} at character {error.pos + 1}",
            field=field,
            code="invalid_json",
        ) from None
    except UnicodeEncodeError:
        raise InvalidRequest(
            "the text contains an unpaired surrogate; fix the escape sequence",
            field=field,
            code="unpaired_surrogate",
        ) from None
    except RecursionError:
        raise InvalidRequest(
            "the JSON is nested too deeply", field=field, code="nested_too_deeply"
        ) from None
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"expected a JSON object, got {shorten(value)}", field=field, code="not_an_object"
        )
    return value


def _check_no_nul(value: object, path: str = "") -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_no_nul(key, path)
            _check_no_nul(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_no_nul(item, f"{path}[{number}]")
    elif isinstance(value, str) and "\0" in value:
        raise InvalidRequest(
            "the text contains the character U+0000; remove it", field=path, code="nul_character"
        )


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidRequest(
                    "the key occurs twice; remove one", field=key, code="duplicate_key"
                )
            seen.add(key)
    return values


def hidden_faults(
    value: Any, path: str = "", *, verbatim: Sequence[str] = ()
) -> Iterator[InvalidRequest]:
    """Yield an error for each key and text of JSON values that has an invisible character."""
    if isinstance(value, str) and (at := find_hidden(value)) is not None:
        yield InvalidRequest(describe_hidden(value, at), field=path, code="hidden_character")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from hidden_faults(item, f"{path}[{number}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            place = f"{path}.{key}" if path else key
            if key not in verbatim:
                yield from hidden_faults(key, place)
                yield from hidden_faults(item, place)


def compose_text(value: Any, *, verbatim: Sequence[str] = ()) -> Any:
    """Return JSON values whose keys and texts are in Unicode's composed form, NFC.

    Values of the keys ``verbatim`` of the outermost object stay as they are.

    Raises:
        InvalidRequest: two keys of an object are the same in that form.
    """
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, list):
        return [compose_text(one) for one in value]
    if not isinstance(value, dict):
        return value
    return _object_without_duplicates(
        [
            (unicodedata.normalize("NFC", key), item if key in verbatim else compose_text(item))
            for key, item in value.items()
        ]
    )


def _parse_integer(text: str) -> int | Decimal:
    return int(text) if len(text) < 20 else Decimal(text)  # int() refuses 4,301 digits


def cut(text: str, longest: int = 60) -> str:
    """Return a text in at most so many characters; dots stand for the rest."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def shorten(value: object) -> str:
    """Show a value in a message, in at most 60 characters."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = str(value) if isinstance(value, Decimal) else msgspec.json.encode(value).decode()
    return cut(text)


def format_decimal(number: Decimal) -> str:
    """Write a Decimal as text without an exponent."""
    text = str(number)
    return format(number, "f") if "E" in text else text


def json_line(record: Any) -> bytes:
    """Encode values as one line of JSON."""
    return msgspec.json.encode(record, enc_hook=str) + b"\n"
