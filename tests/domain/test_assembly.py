"""Assembly of a market in blocks of assets."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import attrs
import numpy as np
import pytest

from rebalancer.domain.market import assembly
from rebalancer.domain.market.actions import ActionKind, Actions, CorporateAction
from rebalancer.domain.market.assembly import PricingTerms
from rebalancer.domain.market.bars import Bars, MarketSnapshot
from rebalancer.domain.market.close_columns import close_columns, join_closes
from rebalancer.domain.market.instruments import Instrument, Instruments
from rebalancer.domain.market.prices import PriceHistory

DAYS = np.arange("2020-01-01", "2020-07-01", dtype="datetime64[D]")
WEEKDAYS = DAYS[np.is_busday(DAYS)]


def market() -> MarketSnapshot:
    """Stocks with gaps, errors and actions, a coin, pence, and a rate with days of its own."""
    random = np.random.default_rng(3)

    def bars(symbol: str, days: np.ndarray, level: float = 20.0, *, adjusted: bool = False) -> Bars:
        closes = level * np.exp(np.cumsum(random.normal(0, 0.01, len(days))))
        return Bars(symbol, days, closes, adjusted=adjusted)

    def kept(share: float) -> np.ndarray:
        return WEEKDAYS[random.random(len(WEEKDAYS)) < share]

    jumping = bars("C", WEEKDAYS).close.copy()
    jumping[40:60] *= 100
    return MarketSnapshot.of(
        [
            bars("A", WEEKDAYS),
            bars("B", kept(0.8)),
            Bars("C", WEEKDAYS, jumping, adjusted=False),
            bars("D", WEEKDAYS[:70]),
            bars("E.L", kept(0.9), 700.0),
            bars("EURUSD", DAYS[2:], 1.1),
            bars("F", WEEKDAYS[90:]),
            bars("G", WEEKDAYS, adjusted=True),
            bars("H", WEEKDAYS[30:]),
            bars("NEW", WEEKDAYS[100:]),
            bars("OLD", WEEKDAYS[:100]),
        ],
        Actions.of(
            [
                CorporateAction("A", date(2020, 3, 7), ActionKind.DIVIDEND, Decimal("0.5")),
                CorporateAction("E.L", date(2020, 4, 6), ActionKind.DIVIDEND, Decimal(9)),
                CorporateAction("G", date(2020, 4, 6), ActionKind.DIVIDEND, Decimal("0.3"), "EUR"),
                CorporateAction("G", date(2020, 5, 6), ActionKind.SPLIT, Decimal(4)),
                CorporateAction(
                    "B", date(2020, 3, 2), ActionKind.SPIN_OFF, Decimal("0.1"), other="H"
                ),
                CorporateAction("OLD", date(2020, 5, 20), ActionKind.RENAME, other="NEW"),
            ]
        ),
    )


TERMS = PricingTerms("USD", Instruments.of([Instrument("E.L", currency="GBX")]))


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_assembly_in_blocks_gives_the_same_history(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = market().history(TERMS)
    assert whole is not None
    assert whole.findings
    assert whole.quotes is not None
    assert len(whole) == len(WEEKDAYS), "days on which only a rate has a close are left out"
    monkeypatch.setattr(assembly, "_BLOCK", size)
    again = market().history(TERMS)
    assert again is not None
    assert again.quotes is not None
    assert again.digest == whole.digest
    assert again.symbols == whole.symbols
    assert again.findings == whole.findings
    assert again.withheld == whole.withheld
    for name in ("closes", "reported_closes", "observed", "tradable", "traded", "valuations"):
        ours, theirs = getattr(again, name), getattr(whole, name)
        assert np.array_equal(ours, theirs, equal_nan=ours.dtype != bool), name
        assert not getattr(again, name).flags.writeable or name == "reported_closes"
    assert again.quotes.currencies == whole.quotes.currencies
    assert again.quotes.adjusted == whole.quotes.adjusted


def test_parts_of_a_market_are_joined() -> None:
    whole = market()
    apart = []
    for start in range(0, len(whole.symbols), 4):
        columns = range(start, min(start + 4, len(whole.symbols)))
        known = [~np.isnan(whole.closes[:, column]) for column in columns]
        apart.append(
            close_columns(
                [whole.symbols[column] for column in columns],
                [whole.days[rows] for rows in known],
                [whole.closes[rows, at] for rows, at in zip(known, columns, strict=True)],
                whole.adjusted & {whole.symbols[column] for column in columns},
            )
        )
    joined = MarketSnapshot.of_table(join_closes(apart, capacity=20), whole.actions)
    assert joined.symbols == whole.symbols
    assert joined.adjusted == whole.adjusted == {"G"}
    assert joined.actions is whole.actions
    assert np.array_equal(joined.days, whole.days)
    assert np.array_equal(joined.closes, whole.closes, equal_nan=True)
    assert MarketSnapshot.of_table(join_closes([], capacity=0)).history() is None


PENCE = PricingTerms("USD", Instruments.of([Instrument("OLD", currency="GBX")]))


def act(symbol: str, row: int, kind: str, value: str = "0", **others: str) -> CorporateAction:
    """Return an action on a weekday."""
    return CorporateAction(symbol, WEEKDAYS[row].item(), ActionKind(kind), Decimal(value), **others)


def renamed(*actions: CorporateAction) -> PriceHistory:
    """Return prices of OLD, called MID from row 40 and NEW from row 80 on, after some actions."""
    level = np.full(len(WEEKDAYS), 100.0)
    level[60:] /= 2
    parts = {"OLD": slice(0, 40), "MID": slice(40, 80), "NEW": slice(80, None)}
    history = MarketSnapshot.of(
        [Bars(one, WEEKDAYS[rows], level[rows], adjusted=False) for one, rows in parts.items()],
        Actions.of(
            [
                act("OLD", 40, "rename", other="MID"),
                act("MID", 80, "rename", other="NEW"),
                *actions,
            ]
        ),
    ).history(PENCE)
    assert history is not None
    return history


def test_actions_under_earlier_symbols_count_under_the_new_one() -> None:
    paid = [
        act("OLD", 20, "dividend", "1"),
        act("OLD", 40, "dividend", "0.02", currency="GBP"),
        act("MID", 60, "split", "2"),
    ]
    history = renamed(*paid)
    growth = history.closes[-1] / history.closes[0]
    assert growth[history.column("NEW")] == pytest.approx(1.01 * 1.02, rel=1e-12)
    assert history.findings == ()
    again = renamed(*paid, *(attrs.evolve(one, symbol="NEW") for one in paid))
    np.testing.assert_allclose(
        again.closes[:, again.column("NEW")], history.closes[:, history.column("NEW")], rtol=1e-12
    )


def test_a_delisted_asset_is_not_carried_although_it_comes_back() -> None:
    days = np.delete(WEEKDAYS, np.arange(30, 36))
    market = [
        Bars("A", days, np.full(len(days), 10.0), adjusted=False),
        Bars("B", WEEKDAYS, np.full(len(WEEKDAYS), 10.0), adjusted=False),
    ]
    history = MarketSnapshot.of(market, Actions.of([act("A", 31, "delisting")])).history(PENCE)
    assert history is not None
    assert np.flatnonzero(np.isnan(history.closes[:, 0])).tolist() == [31, 32, 33, 34, 35]
