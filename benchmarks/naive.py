"""Compute the same trades in plain Python, one portfolio at a time: a peer where no library fits.

It does what a careful script would do: cash flows first, bands, a turnover cap, exact costs. It
supports neither locks, reserves, profiles nor reasons, so ratios against it understate the gain.
"""

from __future__ import annotations

CLOSE = 1e-12


def solve_trades(
    values: list[float],
    cash: float,
    targets: list[float],
    rate: float,
    band: float | None = None,
    *,
    flow: float = 0.0,
    cap: float | None = None,
) -> list[float]:
    """Return the money to buy (+) or sell (-) of each asset, so that costs are covered.

    Args:
        values: Money held in each asset.
        cash: Money, before the cash flow.
        targets: Weight of each asset, sum at most 1.
        rate: Cost as a share of traded value.
        band: Half-width around the target within which an asset, or cash, is not traded.
        flow: Deposit (+) or withdrawal (-).
        cap: Maximum one-way turnover, as a share of value.
    """
    total = cash + flow + sum(values)
    wanted = sum(targets)
    outside: list[bool] | None = None
    acts = True
    paid = 0.0
    while True:
        invest = min(wanted * total, total - paid)
        aims = [target * invest / wanted for target in targets]
        held = values
        moved: list[float] | None = None
        if flow:
            moved = _invest_flow(flow, values, aims, invest - sum(values), paid)
            held = [value + move for value, move in zip(values, moved, strict=True)]
        goals = aims
        if band is not None:
            if outside is None:  # decided once, before costs are known
                drifts = [(value - aim) / total for value, aim in zip(held, aims, strict=True)]
                outside = [abs(drift) > band + CLOSE for drift in drifts]
                acts = any(outside) or abs(sum(drifts)) > band + CLOSE
            goals = [
                aim if out else value for aim, out, value in zip(aims, outside, held, strict=True)
            ]
            goals = _fund_gap(goals, aims, invest - sum(goals)) if acts else held
        trades = [goal - value for goal, value in zip(goals, held, strict=True)]
        if cap is not None:
            trades = _apply_cap(trades, moved, cap * total)
        elif moved is not None:
            trades = [trade + move for trade, move in zip(trades, moved, strict=True)]
        cost = rate * sum(map(abs, trades))
        if abs(cost - paid) <= 1e-13 * total:
            return trades
        paid = cost


def _invest_flow(
    flow: float, values: list[float], aims: list[float], spend: float, paid: float
) -> list[float]:
    """Spend a deposit on the largest shortfalls, or raise a withdrawal from the largest excesses.

    ``spend`` is the money that may be invested before cash falls below its own target.
    """
    if flow > 0:
        rooms = [max(aim - value, 0.0) for aim, value in zip(aims, values, strict=True)]
        return _fill_largest_first(rooms, min(max(spend, 0.0), flow))
    rooms = [max(value - aim, 0.0) for aim, value in zip(aims, values, strict=True)]
    return [-part for part in _fill_largest_first(rooms, min(max(-spend, 0.0), paid - flow))]


def _fund_gap(goals: list[float], aims: list[float], gap: float) -> list[float]:
    """Put surplus money into the largest shortfalls, or raise missing money from the excesses."""
    sign = 1.0 if gap > 0 else -1.0
    rooms = [max(sign * (aim - goal), 0.0) for aim, goal in zip(aims, goals, strict=True)]
    parts = _fill_largest_first(rooms, abs(gap))
    return [goal + sign * part for goal, part in zip(goals, parts, strict=True)]


def _apply_cap(trades: list[float], moved: list[float] | None, most: float) -> list[float]:
    """Scale all trades to the cap; those for the cash flow come first."""
    fits, spent = 1.0, 0.0
    if moved is not None:
        asked = sum(move for move in moved if move > 0)
        fits = min(1.0, most / asked) if asked else 1.0
        moved = [move * fits if move > 0 else move for move in moved]
        spent = asked * fits
    buys = sum(trade for trade in trades if trade > 0)
    sells = buys - sum(trades)
    allowed = min(
        fits,
        max(most - spent, 0.0) / buys if buys > most - spent else 1.0,
        most / sells if sells > most else 1.0,
    )
    if moved is None:
        return [allowed * trade for trade in trades]
    return [move + allowed * trade for move, trade in zip(moved, trades, strict=True)]


def _fill_largest_first(rooms: list[float], amount: float) -> list[float]:
    """Distribute an amount to the largest rooms first, until it is used up."""
    parts = [0.0] * len(rooms)
    for slot in sorted(range(len(rooms)), key=rooms.__getitem__, reverse=True):
        if amount <= 0:
            break
        parts[slot] = min(rooms[slot], amount)
        amount -= parts[slot]
    return parts
