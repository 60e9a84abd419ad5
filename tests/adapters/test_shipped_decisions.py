"""Decisions of the shipped policies never change, because stored proposals must replay."""

import json
from pathlib import Path

import attrs
import numpy as np
import pytest

from rebalancer.adapters.rl.catalog import SHIPPED, load_version
from rebalancer.domain.policy.learned import LearnedDecision
from rebalancer.domain.portfolio.book import Book
from tests.builders import prices

GOLDEN = Path(__file__).parents[1] / "golden" / "shipped_decisions.json"
"""Rewritten by ``python -m tests.adapters.test_shipped_decisions`` for a new version."""

COUNT, SLOTS = 4, 8
SEEDS = range(3)


def random_books(seed):
    """Portfolios of random assets, targets, holdings, costs and dates, and their market."""
    market = prices(9, 300, seed=seed, volatility=0.004 * (1 + seed))
    random = np.random.default_rng([seed, 7])
    assets = np.stack([random.permutation(9)[:SLOTS] for _ in range(COUNT)])
    present = np.arange(SLOTS) < random.integers(2, SLOTS + 1, COUNT)[:, None]
    targets = np.where(present, random.gamma(3.0, size=present.shape), 0.0)
    targets *= random.uniform(0.7, 1.0, COUNT)[:, None] / targets.sum(axis=1, keepdims=True)
    as_of = np.full(COUNT, market.dates[-1])
    traded = as_of - random.integers(1, 400, COUNT).astype("timedelta64[D]")
    traded[0] = np.datetime64("NaT")
    book = Book(
        assets=np.where(present, assets, 0),
        present=present,
        values=np.where(present, random.gamma(3.0, size=present.shape), 0.0) * 100,
        cash=random.uniform(0.0, 300.0, COUNT),
        targets=targets,
        as_of=as_of,
        reviewed=traded,
        traded=traded,
        cost_rate=random.uniform(2e-4, 3e-3, COUNT),
        risk_aversion=random.choice([2.0, 4.0, 8.0], COUNT),
    )
    return book, market


def decisions(version):
    """What a version decides for the random books, as nested lists."""
    policy, _ = load_version(SHIPPED / version)
    found = []
    for seed in SEEDS:
        decision = policy.decide(*random_books(seed))
        assert isinstance(decision, LearnedDecision)
        parts = attrs.asdict(decision, recurse=False)
        kept = ("targets", "due", "band", "cash_band", "landing", "actions", "observed", "doubts")
        allowed = ("most_turnover",) if decision.most_turnover is not None else ()
        found.append({name: np.asarray(parts[name]).tolist() for name in (*kept, *allowed)})
    return found


@pytest.mark.parametrize("version", ["ppo-1", "ppo-2", "dqn-1"])
def test_shipped_versions_decide_as_when_they_were_recorded(version):
    recorded = json.loads(GOLDEN.read_text())[version]
    for expected, found in zip(recorded, decisions(version), strict=True):
        for name, figures in expected.items():
            # Other processors may differ in the last digits of sleeves and features.
            np.testing.assert_allclose(found[name], figures, rtol=0, atol=1e-9, err_msg=name)


if __name__ == "__main__":
    versions = sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir())
    GOLDEN.write_text(json.dumps({each: decisions(each) for each in versions}) + "\n")
