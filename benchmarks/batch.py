"""Decide and batch 100,000 portfolios of 5 to 30 assets out of 500: in memory, and file to file.

All are far from their targets, so every one also trades under `band`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, product
from pathlib import Path

import attrs
import numpy as np

from benchmarks import naive
from benchmarks.books import write_book, write_prices
from benchmarks.figures import Figure, best_of
from benchmarks.processes import spent
from rebalancer.adapters.market_data.csv_files import CsvPrices
from rebalancer.adapters.market_data.csv_instruments import PackagedInstruments
from rebalancer.domain.arrays import Floats
from rebalancer.domain.market.instruments import Instruments
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy.policy import Policy
from rebalancer.domain.policy.rules import parse_rule
from rebalancer.domain.portfolio.book import Book, Limits, find_columns, open_book
from rebalancer.domain.portfolio.costs import CostModel
from rebalancer.domain.rebalancing.limits import PortfolioRisk, limit_decision
from rebalancer.domain.rebalancing.solver import solve_trades
from rebalancer.entrypoints.cli.batch_file import CHUNK
from rebalancer.entrypoints.schemas.portfolio import read_portfolio
from rebalancer.entrypoints.schemas.wire import parse_json

PORTFOLIOS, FEWER = 100_000, 20_000
LONG = 1_300
"""Closes of each asset, of which learned policies need 1,261."""

SAMPLE = 4 * CHUNK
"""Portfolios for timing the loop, whose speed does not depend on their number."""

WORKERS = 2
RATE = 10e-4
BANDS = {"monthly": None, "band": 0.02}
"""Half-width of each policy."""

PROFILED = "every third also with a risk profile"


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="rebalancer-bench-") as folder:
        place = Path(folder)
        prices, few, many = place / "prices.csv", place / "few.jsonl", place / "many.jsonl"
        write_prices(prices)
        write_book(few, FEWER)
        write_book(many, PORTFOLIOS)
        profiled = place / "profiled.jsonl"
        write_book(profiled, FEWER, profiles=True)
        yield from _from_arrays(prices, many, profiled)
        yield from _file_to_file(prices, few, many)
        yield _learned_against_band(few)


def _from_arrays(prices: Path, portfolios: Path, profiled: Path) -> Iterator[Figure]:
    market = CsvPrices(prices).closes()
    instruments = PackagedInstruments().instruments()
    constrained = list(_books(portfolios, market, instruments))
    free = [
        attrs.evolve(book, flow=np.zeros(len(book)), limits=Limits.none(book))
        for book in constrained
    ]
    books = {
        "targets only": free,
        "with flows and caps": constrained,
        PROFILED: list(_books(profiled, market, instruments)),
    }
    charges = CostModel.flat(RATE * 1e4).of(market.symbols, instruments)
    for (kind, chosen), (name, band) in product(books.items(), BANDS.items()):
        rule = parse_rule(name)

        def decide(some: Sequence[Book], rule: Policy = rule) -> list[Floats]:
            made = []
            for book in some:
                risk = PortfolioRisk(book, market)
                decision = limit_decision(rule.decide(book, market), book, risk).decision
                made.append(solve_trades(book, decision, charges.at(book.assets)).values)
            return made

        seconds, _ = best_of(partial(decide, chosen), least=2)
        count = sum(map(len, chosen))
        figure = Figure(
            subject="batch",
            what=f"decisions from arrays, {count:,} portfolios, {kind}: {name}",
            unit="/s",
            ours=count / seconds,
            aim=20_000,
            note=(
                f"Decision, limits and trades together, in chunks of {CHUNK} on one core. The "
                "loop supports neither locks nor reserves nor profiles."
            ),
        )
        if kind == PROFILED:
            yield figure
            continue
        sample = chosen[: SAMPLE // CHUNK]
        plain = [_Plain.of(book, row) for book in sample for row in range(len(book))]
        taken, others = best_of(partial(_trades, plain, band))
        rows = (row for values in decide(sample) for row in values)
        apart = max(
            float(np.abs(row[: len(other)] - other).max()) / one.total
            for row, other, one in zip(rows, others, plain, strict=True)
        )
        yield attrs.evolve(
            figure,
            peer_name="plain Python loop",
            peer=len(plain) / taken,
            agrees=apart < 1e-9,
            how_close=f"trades to {apart:.0e} of value, in {len(plain):,}",
        )


def _file_to_file(prices: Path, few: Path, many: Path) -> Iterator[Figure]:
    for name in BANDS:
        out = few.with_name("out.jsonl")
        runs = []
        for portfolios in (few, many):
            arguments = ["batch", "--policy", name, "--workers", str(WORKERS)]
            arguments += ["--portfolios", str(portfolios), "--prices", str(prices)]
            runs.append(spent([*arguments, "--out", str(out)]))
            out.unlink()
        shorter, longer = runs
        yield Figure(
            subject="batch",
            what=f"rebalancer batch, file to file, {PORTFOLIOS:,} proposals, {name}",
            unit="/s",
            ours=PORTFOLIOS / longer.seconds,
            aim=5_000,
            how_close=f"{longer.cpu_seconds / PORTFOLIOS * 1e3:.2f} ms of CPU each",
            note=f"One run of the command with {WORKERS} workers, its start included.",
        )
        yield Figure(
            subject="batch",
            what=f"its peak memory, {name}",
            unit="MB",
            ours=longer.megabytes,
            peer_name=f"the same for {FEWER:,}",
            peer=shorter.megabytes,
            agrees=longer.megabytes <= 1.1 * shorter.megabytes,
            how_close=f"bounded: {longer.megabytes / shorter.megabytes - 1:+.1%} for "
            f"{PORTFOLIOS / FEWER:g} times the lines",
            note="Parent and workers together, resident.",
        )


def _learned_against_band(portfolios: Path) -> Figure:
    """Compare a batch with the served learned policy, which needs five years of closes."""
    prices, out = portfolios.with_name("long.csv"), portfolios.with_name("out.jsonl")
    write_prices(prices, rows=LONG)
    took = {}
    for name in ("band", "learned"):
        arguments = ["batch", "--policy", name, "--workers", str(WORKERS), "--out", str(out)]
        arguments += ["--portfolios", str(portfolios), "--prices", str(prices)]
        took[name] = spent(arguments)
        out.unlink()
    return Figure(
        subject="batch",
        what=f"rebalancer batch, file to file, {FEWER:,} proposals, learned",
        unit="/s",
        ours=FEWER / took["learned"].seconds,
        peer_name="the same with band",
        peer=FEWER / took["band"].seconds,
        aim_ratio=1 / 1.5,
        how_close=f"{took['learned'].cpu_seconds / took['band'].cpu_seconds:.2f} times the CPU",
        note="Each explanation evaluates the networks once for every feature that it leaves out.",
    )


def _books(path: Path, market: PriceHistory, instruments: Instruments) -> Iterator[Book]:
    """Read the file's portfolios as the command does, one chunk at a time."""
    with path.open("rb") as lines:
        while chunk := list(islice(lines, CHUNK)):
            portfolios = [read_portfolio(parse_json(line), currency="USD") for line in chunk]
            places = [find_columns(portfolio, market) for portfolio in portfolios]
            yield open_book(portfolios, places, market, instruments)[0]


def _trades(portfolios: Sequence[_Plain], band: float | None) -> list[list[float]]:
    return [one.trades(band) for one in portfolios]


@attrs.frozen
class _Plain:
    """A portfolio as plain Python lists.

    Attributes:
        values: Money held in each asset.
        cash: Money, before the cash flow.
        flow: Deposit (+) or withdrawal (-).
        targets: Weight of each asset.
        cap: Maximum one-way turnover; None without one.
        total: Portfolio value.
    """

    values: list[float]
    cash: float
    flow: float
    targets: list[float]
    cap: float | None
    total: float

    @classmethod
    def of(cls, book: Book, row: int) -> _Plain:
        used = book.present[row]
        cap = float(book.limits.max_turnover[row])
        return cls(
            values=book.values[row][used].tolist(),
            cash=float(book.cash[row]),
            flow=float(book.flow[row]),
            targets=book.targets[row][used].tolist(),
            cap=None if np.isinf(cap) else cap,
            total=float(book.total[row]),
        )

    def trades(self, band: float | None) -> list[float]:
        return naive.solve_trades(
            self.values, self.cash, self.targets, RATE, band, flow=self.flow, cap=self.cap
        )
