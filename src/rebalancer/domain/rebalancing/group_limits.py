"""Bands and limits of groups: when they lead to a review, and how targets respect them."""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats, positive_or_one, safe_divide
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.portfolio.book import Book

_EDGE = 1e-9
"""Weights closer to a limit than this are at it."""

_WIDE = 2.0
"""Half-width of members whose group's band stands for theirs: more than any weight can drift."""


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
        calm = groups.members(groups.replaces & ~beyond) & ~groups.members(beyond)
        decision = attrs.evolve(decision, band=np.where(calm, _WIDE, decision.band))
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


def limit_group_aims(aims: Floats, invest: Floats, book: Book) -> Floats:
    """(B, K) values to aim at, with groups brought within their limits around locked assets.

    A group above its maximum shrinks in proportion, and the money stays in cash. A group below its
    minimum grows in proportion, from idle money and then from the assets outside.

    Args:
        aims: (B, K) values without the limits of groups.
        invest: (B,) money that may be invested.
        book: The portfolios.
    """
    limits, groups = book.limits, book.limits.groups
    assert groups is not None
    total = np.maximum(book.total, np.finfo(np.float64).tiny)
    for at in range(groups.least.shape[1]):
        share = groups.shares[:, at]
        inside = share > 0
        loose = inside & ~limits.no_sell
        counted = (share * aims).sum(axis=1)
        free = np.where(loose, share * aims, 0.0).sum(axis=1)
        room = np.maximum(groups.most[:, at] * total - (counted - free), 0.0)
        factor = np.where(free > room, room / positive_or_one(free), 1.0)
        aims = np.where(loose, aims * factor[:, None], aims)
        lacks = np.maximum(groups.least[:, at] * total - (share * aims).sum(axis=1), 0.0)
        if (lacks > 0).any():
            aims = _raise_group(aims, share, lacks, invest, book)
    return aims


def _raise_group(aims: Floats, share: Floats, lacks: Floats, invest: Floats, book: Book) -> Floats:
    """(B, K) aims with a group that has as much more as it lacks, (B,), or as others can give."""
    limits = book.limits
    grows = np.where((share > 0) & ~limits.no_buy & book.present, np.maximum(aims, 0.0), 0.0)
    unit = (share * grows).sum(axis=1)
    extra = grows * safe_divide(lacks, unit)[:, None]
    idle = np.maximum(invest - aims.sum(axis=1), 0.0)
    others = np.where((share > 0) | limits.no_sell, 0.0, aims)
    asked = np.maximum(extra.sum(axis=1) - idle, 0.0)
    given = np.minimum(asked, others.sum(axis=1))
    affordable = np.where(asked > given, idle + given, extra.sum(axis=1))
    extra = extra * safe_divide(affordable, extra.sum(axis=1))[:, None]
    taken: Floats = others * safe_divide(given, others.sum(axis=1))[:, None]
    raised: Floats = aims + extra - taken
    return raised


def _outside_limits(book: Book, weights: Floats) -> Bools:
    """(B, G) groups whose weights, (B, G), are beyond their limits."""
    groups = book.limits.groups
    assert groups is not None
    outside: Bools = (weights > groups.most + _EDGE) | (weights < groups.least - _EDGE)
    return outside & (book.total > 0)[:, None]
