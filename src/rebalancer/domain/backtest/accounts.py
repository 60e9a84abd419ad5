"""Recorded portfolios over all days, without comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from rebalancer.domain.arrays import Dates, Floats
from rebalancer.domain.backtest.contributions import (
    DailyContributions,
    Item,
    measure_contributions,
)
from rebalancer.domain.backtest.courses import Days, PriceTable, replay_ledger
from rebalancer.domain.backtest.income import Income, add_income, collect_rows
from rebalancer.domain.backtest.lines import Span, measure_growth, measure_line
from rebalancer.domain.backtest.periods import ValueHistory
from rebalancer.domain.backtest.replays import Replay, add_up_flows
from rebalancer.domain.backtest.track_record import PORTFOLIO
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.portfolio.ledger import Ledger


@attrs.frozen(eq=False)
class Recorded:
    """Entries of some rows of an account, and the exchange rates of their days.

    Attributes:
        first: First row of the account whose entries count.
        stop: Row of the account before which they count.
        offset: Row of the account at which the rows of ``days`` begin.
        days: Entries by row.
        dates: Of the rows.
        prices: Of the rows.
    """

    first: int
    stop: int
    offset: int
    days: Days
    dates: Dates
    prices: PriceTable

    def income(self, span: Span) -> list[Income]:
        """Return the income of the rows that belong to a period, by month."""
        start = max(span.counted.start, self.first) - self.offset
        stop = min(span.counted.stop, self.stop) - self.offset
        if start >= stop:
            return []
        return collect_rows(self.days, self.dates, self.prices, slice(start, stop))


@attrs.frozen(eq=False)
class MeasuredAccount:
    """A recorded portfolio over all days since its first entry, without the comparisons.

    Attributes:
        history: Its value.
        daily: Contributions of its holdings.
        parts: Its entries.
    """

    history: ValueHistory
    daily: DailyContributions[Item]
    parts: tuple[Recorded, ...]

    @classmethod
    def of(cls, replay: Replay, currency: str) -> MeasuredAccount:
        """Measure an account that is ready to be replayed."""
        recorded, prices = replay_ledger(replay.days, replay.prices), replay.prices
        growth = measure_growth(recorded, prices.traded, prices.rates)
        index: Floats = np.cumprod(growth.ratio, dtype=np.float64)
        count = len(replay.dates)
        return cls(
            ValueHistory(replay.dates, growth.values, add_up_flows(recorded, replay.dates), index),
            measure_contributions(
                replay.dates,
                recorded,
                replay.days,
                prices,
                growth,
                replay.currencies(currency),
                currency,
            ),
            (Recorded(0, count, 0, replay.days, replay.dates, prices),),
        )

    @property
    def size(self) -> int:
        """Return about how many bytes its arrays take."""
        daily = self.daily
        tables = [daily.held, daily.local, daily.currency, daily.earned, daily.traded]
        for part in self.parts:
            tables += [part.prices.traded, part.prices.total, part.prices.rates]
        return sum(one.nbytes for one in tables)

    def income(self, span: Span) -> list[Income]:
        """Return the income of a period by month."""
        if len(self.parts) == 1:
            return self.parts[0].income(span)
        return add_income(part.income(span) for part in self.parts)

    def followed_by(
        self, tail: MeasuredAccount, row: int, history: ValueHistory
    ) -> MeasuredAccount:
        """Return the account with other days after a row.

        Args:
            tail: An account that begins at the close of the row with what was held there, and
                was measured from its entries.
            row: Row after which its days count.
            history: Value of both.
        """
        kept = [attrs.evolve(one, stop=min(one.stop, row + 1)) for one in self.parts]
        (later,) = tail.parts
        later = attrs.evolve(later, first=row + 1, stop=later.stop + row, offset=row)
        return MeasuredAccount(
            history,
            _join(self.daily, tail.daily, row, history.dates),
            (*(one for one in kept if one.first < one.stop), later),
        )


def _join(
    one: DailyContributions[Item], tail: DailyContributions[Item], row: int, dates: Dates
) -> DailyContributions[Item]:
    """Return the contributions of one account up to a row, and those of another one after it."""
    labels = tuple(dict.fromkeys((*one.labels, *tail.labels)))
    places = {label: at for at, label in enumerate(labels)}

    def table(name: str) -> Floats:
        joined = np.zeros((len(dates), len(labels)))
        joined[: row + 1, _columns(one.labels, places)] = getattr(one, name)[: row + 1]
        joined[row + 1 :, _columns(tail.labels, places)] = getattr(tail, name)[1:]
        return joined

    return DailyContributions(
        dates,
        np.append(one.start[: row + 1], tail.start[1:]),
        np.append(one.ratio[: row + 1], tail.ratio[1:]),
        labels,
        *(table(name) for name in ("held", "local", "currency", "earned", "traded")),
    )


def _columns(labels: Sequence[Item], places: dict[Item, int]) -> list[int]:
    return [places[label] for label in labels]


def measure_account(
    ledger: Ledger, market: PriceHistory, *, currency: str = "USD"
) -> MeasuredAccount:
    """Measure a recorded portfolio without the comparisons.

    Its figures equal those of `measure_track_record`, which also describes the errors.
    """
    return MeasuredAccount.of(Replay.of(ledger, market, (), currency), currency)


def measure_history(ledger: Ledger, market: PriceHistory, *, currency: str = "USD") -> ValueHistory:
    """Return the value of a recorded portfolio over time, without the comparisons.

    It equals the portfolio's line of `measure_track_record`, which also describes the errors.
    """
    replay = Replay.of(ledger, market, (), currency)
    recorded, prices = replay_ledger(replay.days, replay.prices), replay.prices
    line = measure_line(PORTFOLIO, recorded, prices.traded, prices.rates, replay.measured())
    return ValueHistory(replay.dates, line.values, add_up_flows(recorded, replay.dates), line.index)
