"""Bands and limits of groups: when they lead to a review, and how targets respect them."""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, positive_or_one, safe_divide
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book

_EDGE = 1e-9
"""Weights closer to a limit than this are at it."""


def keep_within_groups(targets: Floats, book: Book) -> Floats:
    """(B, K) targets moved toward the strategic ones until the limits of groups hold.

    The strategic targets satisfy the limits, and so do mixes of both from some share on; a class
    group whose target cannot be met is the exception.
    """
    groups = book.limits.groups
    if groups is None:
        return targets
    wanted, strategic = groups.sums(targets), groups.sums(book.targets)
    beyond = np.maximum(wanted - groups.most, 0.0) + np.maximum(groups.least - wanted, 0.0)
    distance = np.abs(wanted - strategic)
    share = np.where(beyond > 0, safe_divide(beyond, distance), 0.0)
    back = np.clip(share.max(axis=1), 0.0, 1.0)[:, None]
    if not back.any():
        return targets
    return np.where(back > 0, targets + back * (book.targets - targets), targets)


def review_groups(decision: Decision, book: Book) -> Decision:
    """Return the decision after the bands and limits of groups are judged at the current weights.

    A group beyond its band or limits is due, and its members go to their targets. Where a group
    keeps the proportions of its members, its band stands for theirs.
    """
    groups = book.limits.groups
    if groups is None:
        return decision
    held, wanted = groups.sums(book.weights()), groups.sums(decision.targets)
    beyond = np.abs(held - wanted) > groups.band + _EDGE
    beyond |= _outside_limits(book, held)
    if decision.band is not None:
        calm = groups.replaces & ~beyond
        # A member of which only a share counts drifts further than its group.
        counted = calm[:, :, None] & (groups.shares > 0)
        bands = np.where(calm, groups.band, 0.0)[:, :, None]
        widths = np.where(counted, safe_divide(bands, groups.shares), 0.0).max(axis=1)
        decision = attrs.evolve(decision, band=np.where(widths > 0, widths, decision.band))
    return act_on_groups(decision, book, beyond)


def act_on_groups(decision: Decision, book: Book, beyond: Bools) -> Decision:
    """Return the decision that sends the members of some groups, (B, G), to their targets now."""
    groups = book.limits.groups
    if groups is None or not beyond.any():
        return decision
    if decision.band is not None:
        band = np.where(groups.members(beyond), 0.0, decision.band)
        decision = attrs.evolve(decision, band=band)
    return attrs.evolve(decision, due=decision.due | beyond.any(axis=1))


def find_broken_groups(book: Book, moved: Floats) -> Bools | None:
    """Return (B, G) groups outside of their limits after trades, (B, K) money; None without any."""
    groups = book.limits.groups
    if groups is None:
        return None
    broken = _outside_limits(book, groups.sums(book.weights(moved)))
    return broken if broken.any() else None


def find_rounded_above(book: Book, wanted: Floats, rounded: Floats) -> Bools:
    """(B,) portfolios in which rounding, (B, K) money, takes a group above its maximum."""
    groups = book.limits.groups
    if groups is None:
        return np.zeros(len(book), dtype=bool)
    after = groups.sums(book.weights(rounded))
    above = (after > groups.most + _EDGE) & (after > groups.sums(book.weights(wanted)) + _EDGE)
    rows: Bools = np.any(above, axis=1, keepdims=False)
    return rows


def limit_group_aims(aims: Floats, wanted: Floats, invest: Floats, book: Book) -> Floats:
    """(B, K) values to aim at, with groups at their weights and within limits around locked assets.

    Around an asset that is not sold or not bought, the other members of its group give way, inner
    groups first: so the group keeps its weight, and other groups keep theirs. What they leave stays
    in cash; what they need comes from idle money, and up to a minimum from the assets outside.

    Args:
        aims: (B, K) values without groups.
        wanted: (B, K) values that the targets ask for.
        invest: (B,) money that may be invested.
        book: The portfolios.
    """
    limits, groups = book.limits, book.limits.groups
    assert groups is not None
    total = np.maximum(book.total, np.finfo(np.float64).tiny)
    goals = groups.sums(wanted) * np.minimum(1.0, safe_divide(invest, wanted.sum(axis=1)))[:, None]
    locked: Bools = np.any(limits.no_sell | limits.no_buy, axis=1, keepdims=True)
    most = groups.most * total[:, None]
    most = np.where(locked, np.minimum(goals, most), most)
    inner_first = range(goals.shape[1] - 1, -1, -1)
    for at in inner_first:
        aims = _shrink_group(aims, groups.shares[:, at], most[:, at], book)
    for at in inner_first:
        share = groups.shares[:, at]
        if locked.any():
            lacks = np.where(locked[:, 0], goals[:, at] - (share * aims).sum(axis=1), 0.0)
            aims = _raise_group(aims, share, lacks, invest, book, from_others=False)
        lacks = groups.least[:, at] * total - (share * aims).sum(axis=1)
        aims = _raise_group(aims, share, lacks, invest, book, from_others=True)
    return aims


def _shrink_group(aims: Floats, share: Floats, most: Floats, book: Book) -> Floats:
    """(B, K) aims with a group of at most so much, (B,), as far as its assets may be sold."""
    loose = (share > 0) & ~book.limits.no_sell
    free = np.where(loose, share * aims, 0.0).sum(axis=1)
    room = np.maximum(most - ((share * aims).sum(axis=1) - free), 0.0)
    over = free > room * (1 + _EDGE)
    factor = np.where(over, room / positive_or_one(free), 1.0)
    return np.where(loose, aims * factor[:, None], aims)


def _raise_group(
    aims: Floats, share: Floats, lacks: Floats, invest: Floats, book: Book, *, from_others: bool
) -> Floats:
    """(B, K) aims with a group that has as much more as it lacks, (B,), as far as money allows."""
    limits = book.limits
    lacks = np.where(lacks > _EDGE * np.abs(book.total), lacks, 0.0)
    if not lacks.any():
        return aims
    grows = np.where((share > 0) & ~limits.no_buy & book.present, np.maximum(aims, 0.0), 0.0)
    unit = (share * grows).sum(axis=1)
    extra = grows * safe_divide(lacks, unit)[:, None]
    asked = extra.sum(axis=1)
    idle = np.maximum(invest - aims.sum(axis=1), 0.0)
    others = np.where((share > 0) | limits.no_sell, 0.0, aims)
    given = np.minimum(np.maximum(asked - idle, 0.0), others.sum(axis=1) * from_others)
    extra = extra * safe_divide(np.minimum(asked, idle + given), asked)[:, None]
    taken: Floats = others * safe_divide(given, others.sum(axis=1))[:, None]
    raised: Floats = aims + extra - taken
    return raised


def _outside_limits(book: Book, weights: Floats) -> Bools:
    """(B, G) groups whose weights, (B, G), are beyond their limits."""
    groups = book.limits.groups
    assert groups is not None
    outside: Bools = (weights > groups.most + _EDGE) | (weights < groups.least - _EDGE)
    return outside & (book.total > 0)[:, None]
