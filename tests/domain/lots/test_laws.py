"""Laws of lots, for any ledger and every method."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, localcontext
from typing import Any

import attrs
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.entries import Entry, EntryKind
from rebalancer.domain.portfolio.ledger import Ledger, Overdrawn
from rebalancer.domain.portfolio.lots.model import LotHistory, LotMethod
from rebalancer.domain.portfolio.lots.replay import trace_lots
from rebalancer.domain.portfolio.lots.years import realised_gains
from tests.domain.test_ledger import buy, entry, in_kind, laws, sell
from tests.domain.test_ledger_reorganisations import rename, spin_off, split

_ZERO = Decimal(0)
EACH = list(LotMethod)
few = settings(laws, max_examples=60)

days = st.integers(1, 45)
units = st.one_of(st.integers(1, 20).map(Decimal), st.decimals("0.000000000001", 20, places=12))
prices = st.decimals("0.01", 500, places=2)
shares = st.sampled_from(["0", "0.1", "0.333333", "1"]).map(Decimal)
ratios = st.sampled_from(["2", "0.5", "1.5", "0.333333", "1.0083", "0.000001"])
codes = st.sampled_from([None, None, "USD"])


@st.composite
def changes(draw: st.DrawFn) -> Entry:
    """Draw trades, transfers and reorganisations of four assets over 45 days."""
    kind, day = draw(st.sampled_from([*["buy", "sell"] * 4, *_OTHERS])), draw(days)
    symbol, other = draw(st.permutations("ABC"))[:2]
    match kind:
        case "buy" | "sell":
            side: Any = buy if kind == "buy" else sell
            cost = draw(st.sampled_from(["0", "1.25"]))
            return side(draw(units), symbol, draw(prices), day=day, cost=cost, currency=draw(codes))
        case "deposit" | "withdrawal":
            moved = in_kind(kind, draw(units), symbol, day)
            basis = draw(prices) if kind == "deposit" else None
            return attrs.evolve(moved, cost_basis=basis)
        case "split":
            return split(draw(ratios), symbol, day)
        case "rename":
            return rename(symbol, other, day)
        case "spin_off":
            return spin_off(symbol, "D", draw(ratios), day, cost_share=draw(shares))
        case "merger":
            return entry(
                kind,
                draw(st.sampled_from([0, 50])),
                day,
                symbol=symbol,
                other=other,
                ratio=Decimal(draw(ratios)),
                cost_share=draw(shares),
            )
        case _:
            return entry(kind, draw(st.integers(1, 500)), day, symbol=symbol)


_OTHERS = [
    "deposit",
    "withdrawal",
    "split",
    "rename",
    "spin_off",
    "merger",
    "return_of_capital",
]


@st.composite
def ledgers(draw: st.DrawFn, *, transfers_out: bool = True) -> Ledger:
    """Draw a ledger that begins with money and some units, without overdrafts."""
    booked = [
        entry("deposit", 10**6, -1),
        entry("deposit", 10**6, -1, currency="USD"),
        *(buy(40, symbol, 7 + at, day=at - 1) for at, symbol in enumerate("ABC")),
    ]
    for one in draw(st.lists(changes(), max_size=9)):
        if one.kind is EntryKind.WITHDRAWAL and not transfers_out:
            continue
        try:
            _ = Ledger((*booked, one)).positions
        except Overdrawn:
            continue
        booked.append(one)
    assume(len(booked) > 5)
    return Ledger(tuple(booked))


def rate(currency: str, on: date) -> Decimal:
    """Return a rate that changes every day."""
    return Decimal("0.8") + Decimal(on.toordinal() % 7) / 90


def trace(ledger: Ledger, method: LotMethod) -> LotHistory:
    return trace_lots(ledger, method, base="EUR", rates=rate)


def all_sold(ledger: Ledger) -> Ledger:
    """Return a ledger that sells all holdings, long after its other entries."""
    held = ledger.positions.holdings
    return ledger.followed_by([sell(much, symbol, 9, day=90) for symbol, much in held.items()])


def cost_of_lots(history: LotHistory) -> Decimal:
    return sum((lot.cost or _ZERO for lot in history.lots), _ZERO)


def cost_used(history: LotHistory) -> Decimal:
    used = [*history.disposals, *history.transfers]
    return sum((one.cost or _ZERO for one in used), _ZERO)


def paid_for(ledger: Ledger) -> Decimal:
    """Return what all units cost, in the base currency."""
    paid = _ZERO
    for one in ledger.effective:
        if one.kind is EntryKind.BUY:
            factor = rate("USD", one.on) if one.currency else 1
            paid += ((one.amount + one.cost) * factor).quantize(Decimal("1e-24"))
        elif one.kind is EntryKind.DEPOSIT and one.symbol:
            paid += one.cost_basis or _ZERO
    return paid


@few
@given(ledger=ledgers())
def test_lots_add_up_to_the_position_and_cost_is_conserved(ledger: Ledger) -> None:
    paid = paid_for(ledger)
    returned = sum(
        (one.amount for one in ledger.effective if one.kind is EntryKind.RETURN_OF_CAPITAL), _ZERO
    )
    for method in EACH:
        history = trace(ledger, method)
        held: dict[str, Decimal] = {}
        with localcontext(prec=60):
            for lot in history.lots:
                assert lot.quantity > 0
                held[lot.symbol] = held.get(lot.symbol, _ZERO) + lot.quantity
            beyond = sum(
                (
                    one.proceeds or _ZERO
                    for one in history.disposals
                    if one.kind is EntryKind.RETURN_OF_CAPITAL
                ),
                _ZERO,
            )
            assert cost_of_lots(history) + cost_used(history) + returned - beyond == paid
        assert held == ledger.positions.holdings
        assert len({lot.id for lot in history.lots}) == len(history.lots)


@few
@given(ledger=ledgers(transfers_out=False))
def test_methods_agree_on_the_total_gain_when_all_is_sold(ledger: Ledger) -> None:
    sold = all_sold(ledger)
    found = set()
    for method in EACH:
        history = trace(sold, method)
        assert history.lots == ()
        with localcontext(prec=60):
            found.add(sum((one.gain or _ZERO for one in history.disposals), _ZERO))
    assert len(found) == 1


@few
@given(ledger=ledgers())
def test_rounded_amounts_add_up(ledger: Ledger) -> None:
    for method in EACH:
        found = realised_gains(trace(ledger, method), Currency("EUR"))
        for one in found.disposals:
            assert one.gain is not None
            if one.uses:
                assert sum((use.proceeds or _ZERO for use in one.uses), _ZERO) == one.proceeds
            with localcontext(prec=60):
                assert one.quantity == sum((use.quantity for use in one.uses), _ZERO)
        total = sum((year.gain for year in found.years), _ZERO)
        assert total == sum((one.gain or _ZERO for one in found.disposals), _ZERO)
        for year in found.years:
            assert year.gain == year.short_term + year.long_term + year.undetermined
