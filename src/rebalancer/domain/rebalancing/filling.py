"""Split amounts over rooms, the largest room first, as deposits go to the largest shortfalls."""

from __future__ import annotations

import numpy as np

from rebalancer.domain.arrays import Bools, Floats, safe_divide

_TIE = 1e-9
"""Rooms whose difference is under this fraction of the largest count as equal."""


def fill_largest(room: Floats, amount: Floats) -> Floats:
    """(B, K) the same split as `fill`, faster where one room takes the whole amount."""
    everything = np.arange(len(room))
    top = room.argmax(axis=1)
    largest = room[everything, top]
    others = room.copy()
    others[everything, top] = 0.0
    filled = np.zeros(room.shape)
    alone = (amount <= largest) & (largest - others.max(axis=1) > _TIE * largest)
    rows = np.flatnonzero(alone)
    filled[rows, top[rows]] = amount[rows]
    rows = np.flatnonzero(~alone & (amount > 0))
    if rows.size:
        filled[rows] = fill(room[rows], amount[rows])
    return filled


def fill(room: Floats, amount: Floats) -> Floats:
    """(B, K) split of ``amount`` (B,) over rooms (B, K), the largest room first."""
    if not (amount > 0).any():
        return np.zeros(room.shape)
    # Sorting is expensive, and not needed where the amount fills every room.
    full = room.sum(axis=1) <= amount
    filled = np.where(full[:, None], room, 0.0)
    rows = np.flatnonzero((amount > 0) & ~full)
    if not rows.size:
        return filled
    some = room[rows]
    order = np.argsort(-some, axis=1)  # the order of ties does not matter: see _share_ties
    order += (np.arange(len(some)) * some.shape[1])[:, None]  # positions in the flattened array
    largest_first = some.ravel()[order]
    before = np.cumsum(largest_first, axis=1) - largest_first
    share = np.minimum(np.maximum(amount[rows, None] - before, 0.0), largest_first)
    tied = np.zeros_like(some, dtype=bool)
    tied[:, 1:] = largest_first[:, :-1] - largest_first[:, 1:] <= _TIE * largest_first[:, :1]
    tied[:, 1:] &= largest_first[:, 1:] > 0
    with_ties = np.flatnonzero(tied.any(axis=1))
    if with_ties.size:
        share[with_ties] = _share_ties(share[with_ties], largest_first[with_ties], tied[with_ties])
    used = np.empty_like(some)
    used.ravel()[order] = share
    filled[rows] = used
    return filled


def _share_ties(shares: Floats, rooms: Floats, tied: Bools) -> Floats:
    """(R, K) shares in which equal rooms take equal amounts, whichever is listed first.

    Args:
        shares: (R, K) what each room takes.
        rooms: (R, K) the largest first.
        tied: (R, K) rooms equal to the one before.
    """
    count = rooms.shape[1]
    group = np.cumsum(~tied, axis=1) - 1 + (np.arange(len(rooms)) * count)[:, None]
    taken = np.bincount(group.ravel(), shares.ravel(), rooms.size).astype(np.float64, copy=False)
    asked = np.bincount(group.ravel(), rooms.ravel(), rooms.size).astype(np.float64, copy=False)
    evened: Floats = rooms * safe_divide(taken, asked)[group]
    return evened
