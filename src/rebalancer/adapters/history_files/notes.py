"""Sentences about what no other tool takes over."""

from __future__ import annotations

from collections.abc import Iterator

from rebalancer.domain.portfolio.entries import EntryKind
from rebalancer.domain.portfolio.plain_history import PlainHistory

KEPT_HERE = (
    "Targets, preferences, proposals, void entries and the times of recording are not included; "
    "the export of the account has them."
)

_RETOLD = {
    EntryKind.SPLIT: "Splits are not listed: quantities are those after all later splits.",
    EntryKind.RENAME: "New symbols are not listed: each asset has its latest symbol throughout.",
    EntryKind.SPIN_OFF: (
        "Spin-offs are transfers of the new units without a value; no cost passes to them."
    ),
    EntryKind.MERGER: (
        "Mergers are a sale or transfer of the old units and a transfer of the new ones without a "
        "value; the cost of the old ones does not pass to them."
    ),
}


def retold(history: PlainHistory) -> Iterator[str]:
    """Yield how each kind of reorganisation was retold."""
    for kind, sentence in _RETOLD.items():
        if kind in history.retold:
            yield sentence


def has(history: PlainHistory, *kinds: EntryKind, in_kind: bool | None = None) -> bool:
    """Return whether a history has movements of some kinds, in kind or not; either when None."""
    return any(
        one.kind in kinds and in_kind in (None, one.symbol is not None) for one in history.movements
    )
