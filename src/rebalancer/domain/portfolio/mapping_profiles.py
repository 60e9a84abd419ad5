"""Mapping profiles: how a table of transactions without a known layout is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

import attrs

from rebalancer.domain.errors import FaultCollector, InvalidRequest
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.text import find_hidden

VERSION = 1
"""Version of the JSON form."""

LONGEST = 100
"""Most characters of a name, a title or a word."""

MOST_WORDS = 200
"""Most words for kinds."""

TRADE, TRANSFER, SKIP = "trade", "transfer", "skip"
MEANINGS = (*EntryKind, TRADE, TRANSFER, SKIP)
"""What a word for a kind may mean: a kind of entry; a purchase or sale, or a deposit or withdrawal,
by the sign of the row; or a row to leave out."""

Chosen = TypeVar("Chosen", bound=StrEnum)

_TOKENS = re.compile("YYYY|YY|MMM|MM|DD")


class Column(StrEnum):
    """What a column of a table states; see `statements.Transaction`."""

    DATE = "date"
    KIND = "kind"
    SYMBOL = "symbol"
    ISIN = "isin"
    NAME = "name"
    QUANTITY = "quantity"
    PRICE = "price"
    AMOUNT = "amount"
    CURRENCY = "currency"
    COST = "cost"
    WITHHELD = "withheld"
    RATIO = "ratio"
    COUNTER_AMOUNT = "counter_amount"
    COUNTER_CURRENCY = "counter_currency"
    ID = "id"
    NOTE = "note"


class SignConvention(StrEnum):
    """What signs state.

    Attributes:
        UNSIGNED: No number has a sign; the kind states the direction.
        CASH: Amounts are changes of cash, negative where money leaves.
        QUANTITY: Quantities are changes of holdings, negative where units leave; amounts have no
            sign.
    """

    UNSIGNED = "unsigned"
    CASH = "cash"
    QUANTITY = "quantity"


class AmountBasis(StrEnum):
    """What amounts include.

    Attributes:
        GROSS: Trades without costs, income before tax.
        NET: What cash changed by: costs are added to purchases and deducted from sales, and tax is
            deducted from income.
    """

    GROSS = "gross"
    NET = "net"


def _words(kinds: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType({fold_word(word): meaning for word, meaning in kinds.items()})


def _columns(columns: Mapping[Column, str]) -> Mapping[Column, str]:
    return MappingProxyType(dict(columns))


def fold_word(word: str) -> str:
    """Return a word for a kind in small letters, with single spaces."""
    return " ".join(word.split()).casefold()


@attrs.frozen
class MappingProfile:
    """How a table is read.

    Attributes:
        name: For people.
        columns: Title of each column, without regard to case and spacing. A date is required, and
            an amount, or a quantity with a price.
        kinds: Meaning of each word in the column of kinds, see `MEANINGS`.
        default_kind: Meaning of rows without a word, or of all rows without that column; empty:
            none, so that they are reported.
        date_format: Of YYYY, YY, MM, MMM (a name) and DD, such as ``DD/MM/YYYY``; empty: as the
            file shows.
        decimal_mark: A point or a comma; empty: as the file shows.
        delimiter: Comma, semicolon, tab or bar; empty: as the file shows.
        currency: ISO 4217 code of rows without one; empty: the base currency of the portfolio.
        signs: See `SignConvention`.
        amounts: See `AmountBasis`.

    Raises:
        InvalidRequest: an attribute is invalid; its field is named.
    """

    name: str
    columns: Mapping[Column, str] = attrs.field(converter=_columns)
    kinds: Mapping[str, str] = attrs.field(factory=dict, converter=_words)
    default_kind: str = ""
    date_format: str = ""
    decimal_mark: str = ""
    delimiter: str = ""
    currency: str = ""
    signs: SignConvention = SignConvention.UNSIGNED
    amounts: AmountBasis = AmountBasis.GROSS

    def __attrs_post_init__(self) -> None:
        faults = FaultCollector()
        for check in (
            self._check_name,
            self._check_columns,
            self._check_kinds,
            self._check_formats,
            self._check_signs,
        ):
            with faults.collect():
                check()
        faults.raise_any()

    def _check_name(self) -> None:
        _check_text(self.name, "name")

    def _check_columns(self) -> None:
        for column, title in self.columns.items():
            _check_text(title, f"columns.{column}")
        if Column.DATE not in self.columns:
            raise InvalidRequest(
                "a profile needs the column of dates; name it",
                field="columns.date",
                code="missing_value",
            )
        priced = {Column.QUANTITY, Column.PRICE} <= set(self.columns)
        if Column.AMOUNT not in self.columns and not priced:
            raise InvalidRequest(
                "a profile needs the column of amounts, or those of quantities and prices; name it",
                field="columns.amount",
                code="missing_value",
            )
        titles = [" ".join(title.split()).casefold() for title in self.columns.values()]
        twice = next((title for title in titles if titles.count(title) > 1), None)
        if twice is not None:
            raise InvalidRequest(
                f"the column {twice!r} is named twice; name each column once",
                field="columns",
                code="duplicate_column",
            )

    def _check_kinds(self) -> None:
        if len(self.kinds) > MOST_WORDS:
            raise InvalidRequest(
                f"{len(self.kinds)} words for kinds are too many; keep at most {MOST_WORDS}",
                field="kinds",
                code="too_many_words",
            )
        for word, meaning in self.kinds.items():
            _check_text(word, "kinds")
            _check_meaning(meaning, f"kinds.{word}")
        if self.default_kind:
            _check_meaning(self.default_kind, "default_kind")
        elif Column.KIND not in self.columns:
            raise InvalidRequest(
                "a profile needs the column of kinds, or one kind for all rows; name it",
                field="default_kind",
                code="missing_value",
            )

    def _check_formats(self) -> None:
        if self.date_format:
            check_date_format(self.date_format)
        if self.decimal_mark not in ("", ".", ","):
            raise InvalidRequest(
                f"{self.decimal_mark!r} is not a decimal mark; choose a point or a comma",
                field="decimal_mark",
                code="invalid_decimal_mark",
            )
        if self.delimiter not in ("", ",", ";", "\t", "|"):
            raise InvalidRequest(
                f"{self.delimiter!r} is not a delimiter; choose a comma, a semicolon, a tab or a "
                "bar",
                field="delimiter",
                code="invalid_delimiter",
            )
        if self.currency:
            Currency(self.currency)

    def _check_signs(self) -> None:
        needed = {
            SignConvention.CASH: Column.AMOUNT,
            SignConvention.QUANTITY: Column.QUANTITY,
        }.get(self.signs)
        if needed is not None and needed not in self.columns:
            raise InvalidRequest(
                f"signs of {needed} need that column; name it, or choose another convention",
                field="signs",
                code="missing_value",
            )

    def meaning(self, word: str) -> str:
        """Return what a word for a kind means; empty if it is unknown."""
        folded = fold_word(word)
        return self.kinds.get(folded, "") if folded else self.default_kind

    def document(self) -> dict[str, Any]:
        """Return the JSON form, which `profile_of` reads."""
        return {
            "version": VERSION,
            "name": self.name,
            "columns": {str(column): title for column, title in self.columns.items()},
            "kinds": {word: str(meaning) for word, meaning in self.kinds.items()},
            "default_kind": str(self.default_kind),
            "date_format": self.date_format,
            "decimal_mark": self.decimal_mark,
            "delimiter": self.delimiter,
            "currency": self.currency,
            "signs": str(self.signs),
            "amounts": str(self.amounts),
        }


def profile_of(document: object) -> MappingProfile:
    """Return the profile of a JSON form; fields that are missing have their defaults.

    Raises:
        InvalidRequest: it is not the JSON form of a profile; the field is named.
    """
    if not isinstance(document, dict):
        raise InvalidRequest("a mapping profile is a JSON object; send one", code="invalid_profile")
    version = document.get("version", VERSION)
    if version != VERSION:
        raise InvalidRequest(
            f"version {version!r} of mapping profiles is unknown; write version {VERSION}",
            field="version",
            code="invalid_profile",
        )
    known = {field.name for field in attrs.fields(MappingProfile)}
    for key in document:
        if key not in {*known, "version"}:
            raise InvalidRequest(
                f"a mapping profile does not have {str(key)[:LONGEST]!r}; remove it",
                field=str(key)[:LONGEST],
                code="unknown_field",
            )
    texts = {
        name: _text(document[name], name)
        for name in ("name", "default_kind", "date_format", "decimal_mark", "delimiter", "currency")
        if name in document
    }
    columns = {
        _choice(Column, column, "columns"): title
        for column, title in _texts(document.get("columns", {}), "columns").items()
    }
    return MappingProfile(
        **{"name": "", **texts},
        columns=columns,
        kinds=_texts(document.get("kinds", {}), "kinds"),
        signs=_choice(SignConvention, document.get("signs", SignConvention.UNSIGNED), "signs"),
        amounts=_choice(AmountBasis, document.get("amounts", AmountBasis.GROSS), "amounts"),
    )


def check_date_format(pattern: str) -> None:
    """Check a format of dates, see `MappingProfile.date_format`.

    Raises:
        InvalidRequest: it does not have one year, one month and one day.
    """
    tokens = sorted(token[0] for token in _TOKENS.findall(pattern))
    rest = _TOKENS.sub("", pattern)
    if tokens != ["D", "M", "Y"] or len(pattern) > 20 or re.search(r"[^-./, ]", rest):
        raise InvalidRequest(
            f"{pattern[:LONGEST]!r} is not a format of dates; combine YYYY or YY, MM or MMM, and "
            "DD, such as DD/MM/YYYY",
            field="date_format",
            code="invalid_date_format",
        )


def _check_text(text: str, field: str) -> None:
    if not text.strip() or len(text) > LONGEST or find_hidden(text) is not None:
        raise InvalidRequest(
            f"{text[:LONGEST]!r} is blank, too long or has hidden characters; enter 1 to {LONGEST} "
            "visible characters",
            field=field,
            code="invalid_text",
        )


def _check_meaning(meaning: str, field: str) -> None:
    if meaning not in MEANINGS:
        raise InvalidRequest(
            f"{meaning[:LONGEST]!r} is not a meaning; choose one of {', '.join(MEANINGS)}",
            field=field,
            code="unknown_kind",
        )


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(
            f"expected a text, got {str(value)[:LONGEST]!r}", field=field, code="invalid_profile"
        )
    return value


def _texts(value: object, field: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InvalidRequest(
            "expected an object of texts; send one", field=field, code="invalid_profile"
        )
    return {_text(key, field): _text(one, field) for key, one in value.items()}


def _choice(options: type[Chosen], value: object, field: str) -> Chosen:
    try:
        return options(value)  # type: ignore[arg-type]  # other types are refused as values
    except ValueError:
        raise InvalidRequest(
            f"{str(value)[:LONGEST]!r} is unknown; choose one of {', '.join(options)}",
            field=field,
            code="invalid_profile",
        ) from None
