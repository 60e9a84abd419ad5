"""Actions: the outputs of a learned policy, and the decision that they stand for."""

from __future__ import annotations

import numpy as np

from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.policy.features import InputSet
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.policy.rules import DEFAULT_BAND
from rebalancer.domain.portfolio.book import Book

LEAST_INVESTED = 0.5
"""Least share of the mix that is held."""

WIDER = 5.0
"""Largest factor by which a band is wider, or narrower, than two points."""

RISK, PACE, BAND, PATIENCE = 0, -3, -2, -1
"""Columns of single actions."""

MIX = slice(RISK + 1, PACE)
"""Columns of the sleeves."""


def invested_share(actions: Floats) -> Floats:
    """Return the share of the mix that (B, A) actions hold, shape (B,)."""
    share: Floats = 1.0 + (1.0 - LEAST_INVESTED) * np.minimum(actions[:, RISK], 0.0)
    return share


def half_width(actions: Floats, column: int) -> Floats:
    """Return the half-width of a band, shape (B,), that one column of (B, A) actions sets."""
    width: Floats = DEFAULT_BAND * WIDER ** actions[:, column]
    return width


def mix_parts(actions: Floats, inputs: InputSet) -> Floats:
    """Return the parts of the mix, shape (B, 1 + S), the strategic weights first.

    Rows sum to 1.
    """
    parts = np.maximum(actions[:, MIX], 0.0) * inputs.most
    total = parts.sum(axis=1, keepdims=True)
    parts = parts / np.maximum(total, 1.0)
    return np.concatenate([np.maximum(1.0 - total, 0.0), parts], axis=1)


def mix_targets(actions: Floats, strategic: Floats, sleeves: Floats, inputs: InputSet) -> Floats:
    """Mix strategic weights (B, K) and sleeves (B, S, K) into targets, shape (B, K)."""
    parts = mix_parts(actions, inputs)
    mixed = parts[:, :1] * strategic
    for sleeve in range(sleeves.shape[1]):
        mixed = mixed + parts[:, 1 + sleeve, None] * sleeves[:, sleeve]
    targets: Floats = mixed * invested_share(actions)[:, None]
    return targets


def change_actions(actions: Floats, changes: Floats) -> Floats:
    """Add changes to actions, both (B, A), starting where a small change has an effect.

    Risk above 0, and parts of the mix and pace below 0, have the effect of 0. A change of 0 leaves
    an action as it is.
    """
    begun = np.clip(actions, -1.0, 1.0)
    begun[:, RISK] = np.minimum(begun[:, RISK], 0.0)
    begun[:, MIX] = np.maximum(begun[:, MIX], 0.0)
    begun[:, PACE] = np.maximum(begun[:, PACE], 0.0)
    changed: Floats = np.where(changes == 0.0, actions, np.clip(begun + changes, -1.0, 1.0))
    return changed


def interpret_actions(
    actions: Floats, book: Book, sleeves: Floats, due: Bools, inputs: InputSet
) -> Decision:
    """Turn actions into a decision; actions beyond +-1 are clipped.

    Args:
        actions: (B, A).
        book: Portfolios before trading.
        sleeves: (B, S, K) weights.
        due: (B,) whether the policy reviews the portfolio today.
        inputs: The set whose sleeves the actions mix.
    """
    actions = np.clip(actions, -1.0, 1.0)
    return Decision(
        targets=mix_targets(actions, book.targets, sleeves, inputs),
        due=due,
        band=np.broadcast_to(half_width(actions, BAND)[:, None], book.targets.shape),
        cash_band=half_width(actions, PATIENCE),
        landing=np.maximum(actions[:, PACE], 0.0),
    )
