"""Corporate actions from CSV files, plain or gzipped; errors name their place."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import attrs

from rebalancer.adapters.market_data.csv_tables import NUMBER, Table, read_table
from rebalancer.adapters.market_data.price_files.sheet import quote
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.actions import (
    DISTRIBUTIONS,
    ActionKind,
    Actions,
    CorporateAction,
)
from rebalancer.domain.market.currencies import is_rate_symbol, quote_unit
from rebalancer.domain.market.symbols import normalize_symbol

_EXAMPLE = "symbol,ex_date,kind,value,currency"
_RATIO = re.compile(r"(?P<new>[^:/]+?)\s*(?::|/|\bfor\b|-for-)\s*(?P<old>[^:/]+)")
_ISO = re.compile(r"\d{4}-\d\d-\d\d", flags=re.ASCII)


@attrs.frozen
class ActionList:
    """Corporate actions of a file, and what was noticed while reading them.

    Attributes:
        notes: Sentences: lines that repeat another one, distributions that were added up.
    """

    actions: Actions
    notes: tuple[str, ...] = ()


@attrs.frozen
class CsvActions:
    """Corporate actions from a CSV file with a line for each.

    Columns: ``symbol``, ``ex_date`` (YYYY-MM-DD), ``kind`` and ``value`` are required, ``currency``
    is optional; others are ignored. The value is the new shares per old one of a split (``4``,
    ``0.25``, ``4:1``, ``1/190``), the money per share of a distribution, the new symbol of a
    rename, and the symbol and ratio of a spin-off (``NEW:0.25``). A delisting needs none.

    Different distributions of one asset, kind and day are added up; an identical line counts once.
    """

    path: Path = attrs.field(converter=Path)

    def read(self) -> ActionList:
        """Read the file.

        Raises:
            InvalidRequest: the file is missing or malformed; the message names place and remedy.
        """
        return _Reader(
            read_table(
                self.path,
                field="actions",
                example=_EXAMPLE,
                required=("symbol", "ex_date", "kind", "value"),
            )
        ).read()


class _Reader:
    """Converts the lines of a table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.symbol, self.day, self.kind, self.value = (
            table.required(name) for name in ("symbol", "ex_date", "kind", "value")
        )
        self.currency = table.column("currency")

    def read(self) -> ActionList:
        """Return all actions, one for each key."""
        found: dict[object, tuple[int, CorporateAction, list[CorporateAction]]] = {}
        notes: list[str] = []
        for line, row in zip(self.table.lines, self.table.rows, strict=True):
            action = self._action(line, row)
            if action.key not in found:
                found[action.key] = line, action, [action]
                continue
            first, total, lines = found[action.key]
            what = f"{action.kind.replace('_', ' ')} of {action.symbol} on {action.ex_day}"
            if action in lines:
                notes.append(f"The {what} on line {line} is also on line {first}; it counts once.")
            elif action.kind in DISTRIBUTIONS and action.currency == total.currency:
                sum_ = attrs.evolve(total, value=total.value + action.value)
                found[action.key] = first, sum_, [*lines, action]
                notes.append(
                    f"The {what} on line {line} differs from that on line {first}; they are added "
                    f"up to {sum_.value.normalize():f}."
                )
            else:
                raise self.table.wrong(
                    f"the {what} is also on line {first}, with another value or currency; keep one",
                    line=line,
                )
        return ActionList(Actions.of(action for _, action, _ in found.values()), tuple(notes))

    def _action(self, line: int, row: list[str]) -> CorporateAction:
        symbol = normalize_symbol(row[self.symbol])
        if not symbol:
            raise self.table.wrong(
                "no symbol; give one, or remove the line", line=line, column=self.symbol
            )
        if is_rate_symbol(symbol):
            raise self.table.wrong(
                f"{quote(symbol)} is an exchange rate, which has no corporate actions; remove the "
                "line",
                line=line,
                column=self.symbol,
            )
        kind = self._kind(line, row)
        value, other = self._value(line, row, kind)
        try:
            return CorporateAction(
                symbol,
                self._ex_day(line, row),
                kind,
                value,
                self._currency(line, row) if kind in DISTRIBUTIONS else None,
                other,
            )
        except InvalidRequest as error:
            if error.field != "value":
                raise
            raise self.table.wrong(error.message, line=line, column=self.value) from None

    def _ex_day(self, line: int, row: list[str]) -> date:
        text = row[self.day].strip()
        try:
            if not _ISO.fullmatch(text):
                raise ValueError
            return date.fromisoformat(text)
        except ValueError:
            raise self.table.wrong(
                f"{quote(text)} is not a date; write days as YYYY-MM-DD, such as 2024-01-31",
                line=line,
                column=self.day,
            ) from None

    def _kind(self, line: int, row: list[str]) -> ActionKind:
        text = row[self.kind].strip()
        try:
            return ActionKind(re.sub(r"[\s\-]+", "_", text.casefold()))
        except ValueError:
            raise self.table.wrong(
                f"{quote(text)} is not a kind of action; write one of "
                f"{', '.join(kind.value for kind in ActionKind)}",
                line=line,
                column=self.kind,
            ) from None

    def _value(self, line: int, row: list[str], kind: ActionKind) -> tuple[Decimal, str | None]:
        """Return value and other symbol of an action."""
        text = row[self.value].strip()
        match kind:
            case ActionKind.DELISTING:
                return Decimal(0), None
            case ActionKind.RENAME:
                if not text:
                    raise self._wrong_value("no new symbol; write it", line)
                return Decimal(0), normalize_symbol(text)
            case ActionKind.SPIN_OFF:
                other, _, ratio = text.rpartition(":")
                if not other.strip():
                    raise self._wrong_value(
                        f"{quote(text)} is not a spin-off; write the new symbol and its shares per "
                        "share, such as NEW:0.25",
                        line,
                    )
                return self._number(ratio, line, "0.25"), normalize_symbol(other)
            case ActionKind.SPLIT:
                return self._ratio(text, line), None
            case _:
                return self._number(text, line, "0.24"), None

    def _ratio(self, text: str, line: int) -> Decimal:
        """Return new shares per old one."""
        parts = _RATIO.fullmatch(text.casefold())
        if parts is None:
            return self._number(text, line, "4, 0.25, 4:1 or 1/190")
        new, old = (self._number(parts[name].strip(), line, "4:1") for name in ("new", "old"))
        return new / old

    def _number(self, text: str, line: int, example: str) -> Decimal:
        plain = text.strip()
        value = Decimal(plain) if NUMBER.fullmatch(plain) else Decimal(0)
        if not 0 < float(value) < 1e12:
            raise self._wrong_value(
                f"{quote(text)} is not a positive number; write one such as {example}", line
            )
        return value

    def _currency(self, line: int, row: list[str]) -> str | None:
        text = "" if self.currency is None else row[self.currency].strip()
        if not text:
            return None
        try:
            return quote_unit(text).code
        except InvalidRequest:
            raise self.table.wrong(
                f"{quote(text)} is not a currency; write the ISO code in which it is paid, such as "
                "USD, or a quote unit such as GBX for pence, or leave the cell blank",
                line=line,
                column=self.currency,
            ) from None

    def _wrong_value(self, what: str, line: int) -> InvalidRequest:
        return self.table.wrong(what, line=line, column=self.value)
