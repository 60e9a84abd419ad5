"""What a user states about a price file instead of leaving it to recognition."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.symbols import normalize_symbol

AUTO = "auto"
_DECIMALS = {"point": ".", "comma": ","}
_ORDERS = ("dmy", "mdy")
_KEYS = ("symbol", "decimal", "dates", "yields")


@attrs.frozen
class LayoutOptions:
    """A layout, as ``NAME`` or ``NAME:KEY=VALUE,KEY=VALUE``.

    Attributes:
        name: Name of a layout, or ``auto`` to recognise it.
        symbol: Symbol of a file with one asset; None: the file's name.
        decimal: Decimal mark, written ``point`` or ``comma``; None: inferred from the numbers.
        dates: ``dmy`` or ``mdy``; None: inferred from the dates.
        yields: Columns of yields in percent a year, separated by ``+``.
    """

    name: str = AUTO
    symbol: str | None = None
    decimal: str | None = None
    dates: str | None = None
    yields: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str | None, names: Collection[str]) -> LayoutOptions:
        """Parse a layout; None or an empty text is ``auto``.

        Raises:
            InvalidRequest: the name or an option is unknown.
        """
        name, _, rest = (text or AUTO).strip().partition(":")
        name = name.strip() or AUTO
        if name not in (AUTO, *names):
            raise _invalid(f"unknown layout {name!r}; choose {AUTO} or one of {', '.join(names)}")
        given: dict[str, str] = {}
        for piece in filter(None, (piece.strip() for piece in rest.split(","))):
            key, equals, value = (part.strip() for part in piece.partition("="))
            if not equals or key not in _KEYS or not value:
                raise _invalid(
                    f"unknown option {piece!r} of a layout; the options are symbol=NAME, "
                    "decimal=point or comma, dates=dmy or mdy, and yields=COLUMN+COLUMN"
                )
            given[key] = value
        decimal, dates = given.get("decimal"), given.get("dates")
        if decimal is not None and decimal not in _DECIMALS:
            raise _invalid(f"decimal={decimal} is unknown; choose point or comma")
        if dates is not None and dates not in _ORDERS:
            raise _invalid(f"dates={dates} is unknown; choose dmy or mdy")
        symbol = given.get("symbol")
        return cls(
            name,
            symbol=None if symbol is None else normalize_symbol(symbol),
            decimal=None if decimal is None else _DECIMALS[decimal],
            dates=dates,
            yields=frozenset(
                normalize_symbol(it) for it in given.get("yields", "").split("+") if it
            ),
        )


AUTOMATIC = LayoutOptions()
"""Leaves everything to recognition."""


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, field="layout", code="invalid_layout")
