"""Exports of Ghostfolio: activities in JSON.

Ghostfolio has no entries for cash: its activities trade and pay, and balances of accounts are
stated apart from them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn

from rebalancer.adapters.statements.drafts import (
    Draft,
    clean,
    read_currency,
    read_iso_day,
    read_number,
    round_number,
    shorten,
)
from rebalancer.adapters.statements.text_files import decode
from rebalancer.application.ports.statements import StatementReader
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.statements import Instrument, Statement, Transaction

_ZERO, _ONE = Decimal(0), Decimal(1)
_HUNDREDTHS = {"GBp": "GBP", "GBX": "GBP", "ILA": "ILS", "ZAc": "ZAR"}
_LATE = re.compile(r"T2[0-3]:00:00")
"""Times in UTC that are midnight in a time zone further east."""
_UNSUPPORTED = frozenset({"ITEM", "VALUABLE", "LIABILITY", "CASH"})


class GhostfolioJson:
    name = "ghostfolio_json"
    title = "Ghostfolio (JSON)"

    def recognises(self, head: bytes, file_name: str) -> bool:
        plain = head.replace(b"\x00", b"")
        if not re.match(rb"[^{\[]{0,20}\{", plain):
            return False
        has_rows = re.search(rb'"(?:activities|orders)"\s*:\s*\[', plain) is not None
        has_meta = re.search(rb'"meta"\s*:\s*\{[^{}]*"version"', plain[:2048]) is not None
        return (has_rows and b'"dataSource"' in plain) or (
            has_meta and (has_rows or b'"accounts"' in plain)
        )

    def read(self, data: bytes) -> Statement:
        document = _document(data)
        activities = document.get("activities", document.get("orders"))
        if not isinstance(activities, list):
            raise InvalidRequest(
                "the file has no list of activities; export them in Ghostfolio as JSON",
                field="file",
                code="other_layout",
            )
        draft = Draft(self.name)
        profiles = _profiles(document)
        late = 0
        for number, activity in enumerate(activities, 1):
            with draft.row(number):
                fields = _Fields(_mapping(activity, f"activity {number}"), profiles)
                draft.add(*_transactions(number, fields))
                late += _LATE.search(fields.text("date")) is not None
        _report_cash(draft, document, len(activities))
        if late:
            draft.skip(
                0,
                "late_times",
                f"{late} activities have a time after 20:00 UTC, which may be midnight of the next "
                "day elsewhere; they are booked on their day in UTC",
            )
        return draft.statement(_base(document))


READERS: tuple[StatementReader, ...] = (GhostfolioJson(),)


def _document(data: bytes) -> Mapping[str, Any]:
    """Return the object of a file.

    Raises:
        InvalidRequest: it is not JSON, or not an object.
    """
    text = decode(data).lstrip("\ufeff")
    try:
        found = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise InvalidRequest(
            f"line {error.lineno} is not JSON ({error.msg}); the file is damaged or incomplete, "
            "export it again",
            field="file",
            code="malformed_json",
        ) from None
    except (RecursionError, ArithmeticError):
        raise InvalidRequest(
            "the file is nested too deeply, or has a number that is too long; export it again",
            field="file",
            code="file_too_complex",
        ) from None
    if not isinstance(found, dict):
        raise InvalidRequest(
            "the file is not an export of Ghostfolio; export the activities there as JSON",
            field="file",
            code="other_layout",
        )
    return found


def _refuse(constant: str) -> NoReturn:
    raise InvalidRequest(
        f"{constant} is not a number; correct it in Ghostfolio, and export again",
        field="file",
        code="not_a_number",
    )


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest(
            f"{what} is not an object; export the file again", code="malformed_activity"
        )
    return value


def _dicts(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = document.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _profiles(document: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return what the file states about assets, by data source and symbol."""
    return {
        (str(one.get("dataSource")), str(one.get("symbol"))): one
        for one in _dicts(document, "assetProfiles")
    }


def _base(document: Mapping[str, Any]) -> str:
    user = document.get("user")
    settings = user.get("settings") if isinstance(user, dict) else None
    code = settings.get("currency") if isinstance(settings, dict) else None
    return code if isinstance(code, str) and re.fullmatch("[A-Z]{3}", code) else ""


def _report_cash(draft: Draft, document: Mapping[str, Any], activities: int) -> None:
    balances = sum(
        isinstance(one.get("balance"), Decimal) and bool(one["balance"])
        for one in _dicts(document, "accounts")
    )
    if activities:
        draft.skip(
            0,
            "cash_not_in_file",
            "Ghostfolio records no deposits or withdrawals"
            + (f", and balances of {balances} accounts are not entries" if balances else "")
            + "; record the deposits that paid for the purchases by hand",
        )


class _Fields:
    """Fields of an activity, and of the profile of its asset."""

    def __init__(
        self, activity: Mapping[str, Any], profiles: Mapping[tuple[str, str], Mapping[str, Any]]
    ) -> None:
        nested = activity.get("SymbolProfile", activity.get("symbolProfile"))
        self._activity = activity
        self._nested = nested if isinstance(nested, dict) else {}
        key = (self.text("dataSource"), self.text("symbol"))
        self._profile = profiles.get(key, {})

    def text(self, name: str) -> str:
        """Return a text, if need be of the asset's profile; empty without it."""
        sources = [self._activity, self._nested]
        if name not in ("dataSource", "symbol"):
            sources.append(self._profile)
        for source in sources:
            value = source.get(name)
            if isinstance(value, str) and value.strip():
                return value.strip()
        return ""

    def check_stated(self, *names: str) -> None:
        """Check that numbers are not missing.

        Raises:
            InvalidRequest: one is.
        """
        for name in names:
            if self._activity.get(name) in (None, ""):
                raise InvalidRequest(
                    f"the activity has no {name}; add it in Ghostfolio", code="missing_value"
                )

    def number(self, name: str) -> Decimal:
        """Return a number; 0 without it."""
        value = self._activity.get(name)
        if isinstance(value, Decimal):
            return round_number(value, name)
        if isinstance(value, str):
            return read_number(value, name)
        if value is None:
            return _ZERO
        raise InvalidRequest(
            f"the {name} {shorten(str(value))} is not a number; correct it in Ghostfolio",
            code="unreadable_number",
        )


def _transactions(number: int, fields: _Fields) -> list[Transaction]:
    """Return the transactions of an activity, with amounts in full units of the currency."""
    kind, stated = fields.text("type").upper(), fields.text("currency")
    if kind != "FEE":
        fields.check_stated("quantity", "unitPrice")
    scale = Decimal("0.01") if stated in _HUNDREDTHS else _ONE
    currency = read_currency(_HUNDREDTHS.get(stated, stated))
    on = read_iso_day(fields.text("date"))
    quantity, fee = fields.number("quantity"), round_number(fields.number("fee") * scale, "fee")
    price = fields.number("unitPrice") * scale
    amount = round_number(quantity * price, "amount")
    note, id = clean(fields.text("comment")), clean(fields.text("id"), 60)
    if kind in ("BUY", "SELL"):
        return [
            Transaction(
                number,
                EntryKind.BUY if kind == "BUY" else EntryKind.SELL,
                on,
                amount,
                currency,
                _instrument(fields),
                quantity,
                round_number(price, "unit price"),
                cost=fee,
                external_id=id,
                note=note,
            )
        ]
    if kind in ("DIVIDEND", "INTEREST"):
        income = EntryKind.DIVIDEND if kind == "DIVIDEND" else EntryKind.INTEREST
        payer = _instrument(fields) if kind == "DIVIDEND" else None
        paid = Transaction(number, income, on, amount, currency, payer, external_id=id, note=note)
        suffix = f"{id}:fee" if id else ""
        charged = Transaction(
            number, EntryKind.FEE, on, fee, currency, external_id=suffix, note=note
        )
        return [paid, charged] if fee else [paid]
    if kind == "FEE":
        text = note or clean(fields.text("name") or fields.text("symbol"))
        return [
            Transaction(
                number, EntryKind.FEE, on, amount + fee, currency, external_id=id, note=text
            )
        ]
    if kind in _UNSUPPORTED:
        raise InvalidRequest(
            f"the type {shorten(kind)} of {shorten(fields.text('symbol'))} is not an asset with a "
            "price; record it by hand",
            code="unsupported_asset",
        )
    raise InvalidRequest(
        f"the type {shorten(kind)} of {shorten(fields.text('symbol'))} is unknown; record it by "
        "hand",
        code="unknown_kind",
    )


def _instrument(fields: _Fields) -> Instrument:
    """Return the asset; a manual one has a name, and its symbol is a number of Ghostfolio."""
    symbol, name = fields.text("symbol"), fields.text("name")
    if fields.text("dataSource") == "MANUAL":
        symbol, name = "", name or symbol
    stated = fields.text("currency")
    return Instrument(
        clean(symbol, 60),
        clean(fields.text("isin"), 12),
        clean(name, 100),
        _HUNDREDTHS.get(stated, stated),
    )
