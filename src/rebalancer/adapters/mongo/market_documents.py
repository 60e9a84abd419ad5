"""Documents of market data in MongoDB, and the values that they stand for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
from bson.int64 import Int64

from rebalancer.adapters.mongo.connection import Document
from rebalancer.application.packed_bars import pack_year
from rebalancer.domain.market.actions import ActionKind, CorporateAction
from rebalancer.domain.market.bar_years import BarYear, ReplacedBars, YearKey, instant_of, time_of
from rebalancer.domain.market.bars import BAR_FIELDS
from rebalancer.domain.market.instruments import AssetClass, Instrument
from rebalancer.domain.market.quality import Decision, Rule, Verdict


def year_document(key: YearKey, year: BarYear, revision: int) -> Document:
    """Pack a year; see `rebalancer.application.packed_bars`."""
    return {"symbol": key[0], "year": key[1], "revision": revision, **_packed(year)}


def replaced_document(key: YearKey, replaced: ReplacedBars) -> Document:
    """Pack replaced figures."""
    return {
        "symbol": key[0],
        "year": key[1],
        "until": Int64(replaced.until),
        **_packed(replaced.figures),
    }


def _packed(year: BarYear) -> Document:
    return {name: value for name, value in pack_year(year).items() if value is not None}


def packed_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the packed columns of a year, also of an earlier version's document with arrays."""
    if isinstance(document["days"], bytes):
        return document
    found: Document = {"days": np.array(document["days"], dtype="<i4").tobytes()}
    for name in BAR_FIELDS:
        if name in document:
            found[name] = np.array(document[name], dtype="<f8").tobytes()
    return found


def key_text(key: Iterable[object]) -> str:
    """Return a key as the ``_id`` of a document."""
    return json.dumps([str(part) for part in key], ensure_ascii=False)


def action_document(figures: Iterable[CorporateAction], action: CorporateAction) -> Document:
    """Return the document of an action with its figures so far and the last one, by known time."""
    return {
        "symbol": action.symbol,
        "ex_day": action.ex_day.isoformat(),
        "kind": str(action.kind),
        "other": action.other or "",
        "figures": [_figure(one) for one in (*figures, action)],
    }


def _figure(action: CorporateAction) -> Document:
    assert action.known is not None
    figure: Document = {
        "value": str(action.value),
        "known": Int64(instant_of(action.known)),
        "source": action.source,
    }
    return figure if action.currency is None else figure | {"currency": action.currency}


def actions_of(document: Mapping[str, Any] | None) -> list[CorporateAction]:
    """Return all figures of an action, oldest first; none for kinds of a later version."""
    if document is None or document["kind"] not in set(ActionKind):
        return []
    return [
        CorporateAction(
            document["symbol"],
            date.fromisoformat(document["ex_day"]),
            ActionKind(document["kind"]),
            Decimal(figure["value"]),
            figure.get("currency"),
            document["other"] or None,
            time_of(figure["known"]),
            figure["source"],
        )
        for figure in document["figures"]
    ]


def verdict_document(verdict: Verdict) -> Document:
    """Return the document of a decision."""
    return {
        "symbol": verdict.symbol,
        "day": verdict.day.isoformat(),
        "rule": str(verdict.rule),
        "decision": str(verdict.decision),
        "decided": Int64(instant_of(verdict.decided)),
        "note": verdict.note,
    }


def verdict_of(document: Mapping[str, Any] | None) -> Verdict | None:
    """Return a decision; None for one of a later version."""
    if document is None or document["rule"] not in set(Rule):
        return None
    if document["decision"] not in set(Decision):
        return None
    return Verdict(
        document["symbol"],
        Rule(document["rule"]),
        date.fromisoformat(document["day"]),
        Decision(document["decision"]),
        time_of(document["decided"]),
        document["note"],
    )


def instrument_document(instrument: Instrument, position: int) -> Document:
    """Return the document of an instrument."""
    document: Document = {"position": position, "name": instrument.name}
    if instrument.asset_class is not None:
        document["asset_class"] = str(instrument.asset_class)
    if instrument.daily_volume is not None:
        document["daily_volume"] = float(instrument.daily_volume)
    for name in ("quantity_step", "lot_size", "currency", "market"):
        if (value := getattr(instrument, name)) is not None:
            document[name] = str(value)
    return document


def instrument_of(document: Mapping[str, Any]) -> Instrument:
    """Return an instrument; its class is unknown if a later version introduced it."""
    kind = document.get("asset_class")
    return Instrument(
        document["_id"],
        document["name"],
        AssetClass(kind) if kind in set(AssetClass) else None,
        document.get("daily_volume"),
        _decimal(document.get("quantity_step")),
        _decimal(document.get("lot_size")),
        document.get("currency"),
        document.get("market"),
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
