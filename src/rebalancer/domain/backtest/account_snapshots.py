"""Measured accounts that are continued from what is known of them, as histories are."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rebalancer.domain.backtest.accounts import MeasuredAccount
from rebalancer.domain.backtest.history_snapshots import WINDOW, HistorySnapshot, snapshot_of
from rebalancer.domain.backtest.replays import Replay
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.entries import Entry
from rebalancer.domain.portfolio.ledger import Ledger


@attrs.frozen(eq=False)
class AccountSnapshot:
    """A measured account up to the last close, from which it can be continued.

    Attributes:
        account: All days since the first entry.
        snapshot: Its history, with the base from which later days are measured.
    """

    account: MeasuredAccount
    snapshot: HistorySnapshot

    @property
    def size(self) -> int:
        """Return about how many bytes its arrays take."""
        return self.account.size

    def continued(
        self, entries: Sequence[Entry], market: PriceHistory, *, window: int = WINDOW
    ) -> AccountSnapshot | None:
        """Return the account with entries that were recorded later, and the closes of a market.

        It equals that of all entries. None where `HistorySnapshot.continued` is None.
        """
        base = self.snapshot.base
        found = self.snapshot.continued_with(entries, market, window=window)
        if base is None or found is None:
            return None
        snapshot, replay = found
        tail = MeasuredAccount.of(replay, self.snapshot.currency)
        account = self.account.followed_by(tail, base.row, snapshot.history)
        return AccountSnapshot(account, snapshot)


def take_account_snapshot(
    ledger: Ledger,
    market: PriceHistory,
    *,
    currency: str = "USD",
    window: int = WINDOW,
    checked: bool = False,
) -> AccountSnapshot:
    """Measure all entries of a ledger, and keep what continues it.

    `measure_account` describes the errors.

    Args:
        ledger: Of the portfolio.
        market: Prices, in any currencies.
        currency: ISO 4217 code of the account.
        window: Closes from the base to the last one, at least.
        checked: Whether it is known that the ledger is not overdrawn, as of a stored one.
    """
    replay = Replay.of(ledger, market, (), currency, checked=checked)
    account = MeasuredAccount.of(replay, currency)
    return AccountSnapshot(account, snapshot_of(replay, account.history, market, currency, window))
