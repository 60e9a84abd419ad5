from __future__ import annotations

from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rebalancer.adapters.memory.market import MemoryPrices
from rebalancer.adapters.rl.regimes import StoredRegimes
from rebalancer.application.market_data import DescribeRegime
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from tests.builders import as_csv, flat_prices, prices
from tests.entrypoints.conftest import Run


def stormy(days: int = 300, last: int = 15) -> PriceHistory:
    """Three assets on business days to 2022-12-30, five times as volatile in the last 15 days."""
    dice = np.random.default_rng(4)
    moves = dice.normal(0.0, 0.01, (days, 3))
    moves[-last:] *= 5.0
    dates = np.busday_offset(np.datetime64("2022-12-30"), np.arange(1 - days, 1))
    return PriceHistory.of(("A", "B", "C"), dates, 100 * np.exp(np.cumsum(moves, axis=0)))


def regime(history: PriceHistory) -> DescribeRegime:
    return DescribeRegime(MemoryPrices(history), StoredRegimes())


def test_stress_is_found_from_its_first_day() -> None:
    history = stormy()
    told = regime(history)()
    assert (told.regime, told.as_of) == ("stressed", date(2022, 12, 30))
    assert list(told.probabilities) == ["calm", "normal", "stressed"]
    assert sum(told.probabilities.values()) == pytest.approx(1.0)
    assert told.probabilities["stressed"] > 0.95
    # 15 days are three weeks: from Monday, 12 December.
    assert told.since == date(2022, 12, 12)
    assert [week.regime for week in told.weeks[-4:]][1:] == ["stressed"] * 3
    assert told.weeks[-4].regime != "stressed"
    assert len(told.weeks) == 50
    assert told.weeks[-1].probability == pytest.approx(told.probabilities["stressed"])
    assert "looked stressed" in told.sentence and "since 2022-12-12" in told.sentence


def test_weeks_are_five_closes() -> None:
    history = stormy()
    weeks = regime(history)().weeks
    rows = {day: row for row, day in enumerate(history.dates.tolist())}
    assert all(rows[week.last] - rows[week.first] == 4 for week in weeks)
    assert all(rows[then.first] - rows[week.last] == 1 for week, then in pairwise(weeks))
    assert rows[weeks[-1].last] == len(history) - 1


def test_later_stress_does_not_change_earlier_days() -> None:
    history = stormy()
    eve = history.until(len(history) - 16)
    told = regime(history)(as_of=eve.last_date)
    assert told == regime(eve)()
    assert told.regime != "stressed"
    assert f"looked {told.regime}" in told.sentence


def test_months_show_their_last_week() -> None:
    told = regime(stormy())()
    assert list(told.months)[-1] == "2022-12" and told.months["2022-12"] == "stressed"
    november = [week for week in told.weeks if week.last.month == 11 and week.last.year == 2022]
    assert told.months["2022-11"] == november[-1].regime


def test_late_listed_asset_joins_mix_late() -> None:
    closes = stormy().closes.copy()
    closes[:-80, 2] = np.nan
    history = PriceHistory.of(("A", "B", "C"), stormy().dates, closes)
    assert len(regime(history)().weeks) == 50
    alone = regime(history)(["C"])
    # 80 closes are 79 returns, and 15 whole weeks.
    assert len(alone.weeks) == 15
    assert alone.weeks[0].first == history.dates[-75].item()
    assert alone.symbols == ("C",) and "C looked stressed" in alone.sentence


def test_single_regime_is_described() -> None:
    steps = np.resize([0.01, -0.01, 0.01, -0.01, 0.01, -0.01], 299)
    dates = np.busday_offset(np.datetime64("2022-12-30"), np.arange(-299, 1))
    closes = 100 * np.append(1.0, np.cumprod(1 + steps))[:, None]
    told = regime(PriceHistory.of(("A",), dates, closes))()
    assert {week.regime for week in told.weeks} == {"normal"}
    assert told.since == told.weeks[0].first
    assert "as in all 50 examined weeks" in told.sentence


def test_too_few_closes_are_rejected() -> None:
    with pytest.raises(InvalidRequest, match=r"60 closes up to .* are too few.* needs 61"):
        regime(prices(3, 60))()
    assert len(regime(prices(3, 61))().weeks) == 12


def test_constant_prices_are_rejected() -> None:
    with pytest.raises(InvalidRequest, match="none of 2 assets moved in the 252 days"):
        regime(flat_prices({"A": 5.0, "B": 7.0}, days=300))()


@pytest.fixture
def storm(tmp_path: Path) -> Path:
    path = tmp_path / "storm.csv"
    path.write_text(as_csv(stormy()), encoding="utf-8")
    return path


def test_command_prints_table_line_and_sentence(quickly: Run, storm: Path) -> None:
    shown = quickly("market", "regime", "--prices", storm)
    assert (shown.code, shown.stderr) == (0, "")
    text = " ".join(shown.stdout.split())  # long lines wrap
    for said in ("probability", "calm", "normal", "stressed", "since 2022-12-12", "to 2022-12"):
        assert said in text
    (line,) = [one for one in shown.stdout.splitlines() if "at the end of each month" in one]
    bars = line.split()[0]
    assert len(bars) == 12 and bars[-1] == "█" and set(bars) <= set("▁▅█")
    assert "survivors" not in shown.stdout


def test_command_prints_json(quickly: Run, storm: Path) -> None:
    shown = quickly("market", "regime", "--prices", storm, "--symbols", "A, C", "--json").json
    assert shown["symbols"] == ["A", "C"]
    assert (shown["regime"], shown["since"]) == ("stressed", "2022-12-12")
    assert sum(shown["probabilities"].values()) == pytest.approx(1.0)
    assert len(shown["weeks"]) == 50 and shown["weeks"][-1]["last"] == "2022-12-30"
    assert "A, C" not in shown["sentence"] and "2 assets" in shown["sentence"]
    before = quickly("market", "regime", "--prices", storm, "--as-of", "2022-12-09", "--json").json
    assert before["as_of"] == "2022-12-09" and before["regime"] != "stressed"


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--symbols", "A,X"], ["X", "unknown"]),
        (["--symbols", "A,A"], ["each once"]),
        (["--symbols", " , "], ["at least one symbol"]),
        (["--as-of", "2021-12-01"], ["too few", "needs 61"]),
        (["--as-of", "2001-01-01"], ["before the first close"]),
        (["--as-of", "tomorrow"], ["YYYY-MM-DD"]),
    ],
)
def test_invalid_input_is_rejected(
    quickly: Run, storm: Path, arguments: list[str], fragments: list[str]
) -> None:
    assert quickly("market", "regime", "--prices", storm, *arguments).refused(*fragments)


def test_help_and_terminal_without_unicode_work(
    rebalancer: Run, storm: Path, write: Callable[[str, str], Path]
) -> None:
    helped = rebalancer("market", "regime", "--help")
    assert helped.code == 0 and "Example" in helped.stdout and "--as-of" in helped.stdout
    plain = ("market", "regime", "--prices", storm)
    done = rebalancer(*plain, env={"PYTHONIOENCODING": "ascii"})
    assert done.code == 0 and "stressed" in done.stdout
    still = write("still.csv", as_csv(flat_prices({"A": 5.0}, days=100)))
    assert rebalancer("market", "regime", "--prices", still).refused("do not move")
