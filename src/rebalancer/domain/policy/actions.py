"""Actions: the outputs of a learned policy, and the decision that they stand for."""

from __future__ import annotations

import attrs
import numpy as np

from rebalancer.domain.arrays import Bools, Floats
from rebalancer.domain.policy.features import SLEEVES
from rebalancer.domain.policy.policy import Decision
from rebalancer.domain.policy.rules import DEFAULT_BAND
from rebalancer.domain.portfolio.book import Book


@attrs.frozen
class Action:
    """One output of a network, in [-1, 1]: its name in explanations and its effect."""

    name: str
    meaning: str


LEAST_INVESTED = 0.5
"""Least share of the mix that is held."""

WIDER = 5.0
"""Largest factor by which a band is wider, or narrower, than two points."""

ACTIONS = (
    Action("risk", "share of the mix that is held: 1 for 0 and above, down to 0.5 at -1"),
    *(
        Action(one.name, f"weight of {one.name} in the mix: 0 up to 0, {one.most:.0%} at 1")
        for one in SLEEVES
    ),
    Action(
        "pace",
        "an asset outside its band goes to its target for 0 and below, only to the band's edge "
        "at 1",
    ),
    Action(
        "band",
        "half-width around each target: 2 points at 0, a fifth of that at -1, five times that at 1",
    ),
    Action("patience", "half-width around cash, on the same scale"),
)

RISK, PACE, BAND, PATIENCE = (
    [action.name for action in ACTIONS].index(name) for name in ("risk", "pace", "band", "patience")
)
"""Columns of single actions."""

MIX = slice(RISK + 1, RISK + 1 + len(SLEEVES))
"""Columns of the sleeves."""

_MOST = np.array([sleeve.most for sleeve in SLEEVES])


def invested_share(actions: Floats) -> Floats:
    """Return the share of the mix that (B, `ACTIONS`) hold, shape (B,)."""
    share: Floats = 1.0 + (1.0 - LEAST_INVESTED) * np.minimum(actions[:, RISK], 0.0)
    return share


def half_width(actions: Floats, column: int) -> Floats:
    """Return the half-width of a band, shape (B,), that one column of (B, `ACTIONS`) sets."""
    width: Floats = DEFAULT_BAND * WIDER ** actions[:, column]
    return width


def mix_parts(actions: Floats) -> Floats:
    """Return the parts of the mix, shape (B, 1 + `SLEEVES`), the strategic weights first.

    Rows sum to 1.
    """
    parts = np.maximum(actions[:, MIX], 0.0) * _MOST
    total = parts.sum(axis=1, keepdims=True)
    parts = parts / np.maximum(total, 1.0)
    return np.concatenate([np.maximum(1.0 - total, 0.0), parts], axis=1)


def mix_targets(actions: Floats, strategic: Floats, sleeves: Floats) -> Floats:
    """Mix strategic weights (B, K) and sleeves (B, S, K) into targets, shape (B, K)."""
    parts = mix_parts(actions)
    mixed = parts[:, :1] * strategic
    for sleeve in range(sleeves.shape[1]):
        mixed = mixed + parts[:, 1 + sleeve, None] * sleeves[:, sleeve]
    targets: Floats = mixed * invested_share(actions)[:, None]
    return targets


def interpret_actions(actions: Floats, book: Book, sleeves: Floats, due: Bools) -> Decision:
    """Turn actions into a decision; actions beyond +-1 are clipped.

    Args:
        actions: (B, `ACTIONS`).
        book: Portfolios before trading.
        sleeves: (B, `SLEEVES`, K) weights.
        due: (B,) whether the policy reviews the portfolio today.
    """
    actions = np.clip(actions, -1.0, 1.0)
    return Decision(
        targets=mix_targets(actions, book.targets, sleeves),
        due=due,
        band=np.broadcast_to(half_width(actions, BAND)[:, None], book.targets.shape),
        cash_band=half_width(actions, PATIENCE),
        landing=np.maximum(actions[:, PACE], 0.0),
    )
