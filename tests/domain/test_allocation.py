from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market import indicators
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.policy import allocation

FROM_COVARIANCE = (
    allocation.risk_parity,
    allocation.minimum_variance,
    allocation.hierarchical_risk_parity,
)


def inverse_volatility(covariance, present):
    """The fourth one, brought to the signature of the others."""
    return allocation.inverse_volatility(np.sqrt(np.einsum("bii->bi", covariance)), present)


ALL = (inverse_volatility, *FROM_COVARIANCE)
all_rules = pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.__name__)


def covariances(seed: int, books: int, assets: int, rows: int = 63, market: float = 0.2):
    """Sample covariances, (B, K, K), of assets that share one factor."""
    rng = np.random.default_rng(seed)
    returns = rng.standard_normal((books, rows, assets)) * rng.uniform(
        0.05, 0.4, (books, 1, assets)
    )
    returns += market * rng.standard_normal((books, rows, 1))
    returns -= returns.mean(axis=1, keepdims=True)
    return np.einsum("bti,btj->bij", returns, returns) / (rows - 1)


def everything(covariance):
    return np.ones(covariance.shape[:2], dtype=bool)


def contributions(weights, covariance):
    """Share of the variance that each asset contributes, (B, K)."""
    parts = weights * np.einsum("bij,bj->bi", covariance, weights)
    return parts / parts.sum(axis=1, keepdims=True)


# By hand


def test_inverse_volatility_by_hand() -> None:
    # 1/0.1 : 1/0.2 : 1/0.4 = 4 : 2 : 1.
    weights = allocation.inverse_volatility(np.array([[0.1, 0.2, 0.4]]), np.ones((1, 3), bool))
    assert weights[0] == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_risk_parity_by_hand() -> None:
    # Of two assets, whatever their correlation, it is inverse volatility: 1/0.2 : 1/0.1.
    covariance = np.array([[[0.04, 0.012], [0.012, 0.01]]])
    assert allocation.risk_parity(covariance, everything(covariance))[0] == pytest.approx(
        [1 / 3, 2 / 3]
    )


def test_minimum_variance_by_hand() -> None:
    # Uncorrelated: 1/0.04 : 1/0.01 = 1 : 4.
    covariance = np.array([[[0.04, 0.0], [0.0, 0.01]]])
    assert allocation.minimum_variance(covariance, everything(covariance))[0] == pytest.approx(
        [0.2, 0.8]
    )
    # Covariance above the smaller variance: unbounded, the first would be sold short.
    covariance = np.array([[[0.04, 0.015], [0.015, 0.01]]])
    assert allocation.minimum_variance(covariance, everything(covariance))[0].tolist() == [0, 1]


def test_hierarchical_risk_parity_by_hand() -> None:
    # Variances 1, 2, 4; the last two correlate at 1/2 (covariance sqrt(2)), the first at 0.
    # Leaves by the tree: the first, then the pair. Halves: {1} with variance 1, and the pair, whose
    # inverse-variance weights are 2/3, 1/3: 4/9 * 2 + 1/9 * 4 + 2 * 2/9 * sqrt(2).
    root = np.sqrt(2)
    covariance = np.array([[[1.0, 0, 0], [0, 2.0, root], [0, root, 4.0]]])
    pair = 4 / 9 * 2 + 1 / 9 * 4 + 4 / 9 * root
    first = pair / (1 + pair)
    expected = [first, (1 - first) * 2 / 3, (1 - first) * 1 / 3]

    weights = allocation.hierarchical_risk_parity(covariance, everything(covariance))
    assert weights[0] == pytest.approx(expected)


# Laws


@all_rules
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    assets=st.integers(1, 12),
    rows=st.integers(13, 80),
    market=st.floats(0.0, 2.0),
)
def test_laws(rule, seed: int, assets: int, rows: int, market: float) -> None:
    rng = np.random.default_rng(seed)
    covariance = covariances(seed, 6, assets, rows, market)
    present = rng.random((6, assets)) < 0.75
    present[0] = False

    weights = rule(covariance, present)

    # Long-only, fully invested, nothing in absent slots.
    assert (weights >= 0).all()
    assert (weights[~present] == 0).all()
    assert weights.sum(axis=1) == pytest.approx(present.any(axis=1).astype(float), abs=1e-12)
    # The same again.
    assert np.array_equal(rule(covariance, present), weights)
    # What stands in absent slots is not looked at.
    hidden = np.where(present[:, :, None] & present[:, None, :], covariance, np.nan)
    assert np.array_equal(rule(hidden, present), weights)
    # A row alone, to the bit.
    for row in range(6):
        alone = rule(covariance[row : row + 1], present[row : row + 1])
        assert np.array_equal(alone[0], weights[row])
    # Absent slots might as well not be there.
    for row in range(1, 6):
        slots = np.flatnonzero(present[row])
        if slots.size:
            small = covariance[row][np.ix_(slots, slots)][None]
            assert rule(small, everything(small))[0] == pytest.approx(
                weights[row, slots], abs=1e-10
            )
    # Names carry no information.
    order = rng.permutation(assets)
    shuffled = rule(covariance[:, order][:, :, order], present[:, order])
    assert shuffled == pytest.approx(weights[:, order], abs=1e-10)
    # Nor does the unit.
    for scale in (1 / 252, 1e-9, 1e6):
        assert rule(covariance * scale, present) == pytest.approx(weights, abs=1e-10)


@pytest.mark.parametrize(("assets", "rows"), [(2, 63), (20, 63), (150, 63), (500, 63)])
def test_risk_parity_equalises_contributions(assets: int, rows: int) -> None:
    covariance = covariances(1, 2, assets, rows)
    weights = allocation.risk_parity(covariance, everything(covariance))

    assert contributions(weights, covariance) * assets == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("correlation", [0.99, 0.9999, 1.0])
def test_risk_parity_of_near_copies(correlation: float) -> None:
    volatility = np.linspace(0.1, 0.4, 10)
    table = np.full((10, 10), correlation) + (1 - correlation) * np.eye(10)
    covariance = (table * np.outer(volatility, volatility))[None]
    weights = allocation.risk_parity(covariance, everything(covariance))

    assert weights[0] == pytest.approx(1 / volatility / (1 / volatility).sum(), rel=1e-9)


@pytest.mark.parametrize("assets", [2, 20, 150, 500])
def test_minimum_variance_meets_its_optimality_conditions(assets: int) -> None:
    covariance = covariances(2, 2, assets)
    weights = allocation.minimum_variance(covariance, everything(covariance))

    # Held assets all have the portfolio's own variance as covariance with it; others at least it.
    marginal = np.einsum("bij,bj->bi", covariance, weights)
    relative = marginal / (weights * marginal).sum(axis=1, keepdims=True) - 1
    assert relative[weights > 0] == pytest.approx(0.0, abs=1e-7)
    assert (relative > -1e-7).all()


def riskless_mix(assets: int):
    """More independent assets than rows: some long-only mix has had no variance at all."""
    return covariances(3, 1, assets, rows=assets // 8, market=0.0)


@pytest.mark.parametrize("rule", FROM_COVARIANCE, ids=lambda rule: rule.__name__)
def test_riskless_mix_gets_weights(rule) -> None:
    covariance = riskless_mix(160)
    order = np.random.default_rng(0).permutation(160)
    weights = rule(covariance, everything(covariance))
    shuffled = rule(covariance[:, order][:, :, order], everything(covariance))

    assert np.isfinite(weights).all() and (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    # Rounding is divided by the ridge here: fewer digits agree than elsewhere.
    assert shuffled == pytest.approx(weights[:, order], abs=1e-6)


@pytest.mark.parametrize("rule", [allocation.risk_parity, allocation.minimum_variance])
def test_a_riskless_mix_is_found(rule) -> None:
    covariance = riskless_mix(160)
    weights = rule(covariance, everything(covariance))[0]

    assert np.sqrt(max(weights @ covariance[0] @ weights, 0.0)) < 1e-6


@all_rules
def test_a_perfect_hedge(rule) -> None:
    # Two assets that always move oppositely; half and half has no risk.
    covariance = 0.04 * np.array([[[1.0, -1.0], [-1.0, 1.0]]])
    assert rule(covariance, everything(covariance))[0] == pytest.approx([0.5, 0.5])


@all_rules
def test_nothing_moves(rule) -> None:
    covariance = np.zeros((1, 4, 4))
    assert rule(covariance, everything(covariance))[0] == pytest.approx([0.25] * 4)


@all_rules
def test_an_asset_that_never_moved_takes_nearly_all(rule) -> None:
    covariance = covariances(4, 1, 5)
    covariance[:, 2, :] = covariance[:, :, 2] = 0.0
    weights = rule(covariance, everything(covariance))[0]

    assert weights[2] > 0.999
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert (weights >= 0).all()


@all_rules
def test_an_asset_alone_takes_all(rule) -> None:
    covariance = covariances(5, 1, 3)
    assert rule(covariance, np.array([[False, True, False]]))[0].tolist() == [0, 1, 0]


@all_rules
def test_an_empty_book(rule) -> None:
    assert rule(np.zeros((0, 3, 3)), np.zeros((0, 3), bool)).shape == (0, 3)
    assert rule(np.zeros((2, 3, 3)), np.zeros((2, 3), bool)).tolist() == [[0, 0, 0]] * 2


@all_rules
def test_an_unknown_risk_is_refused(rule) -> None:
    covariance = covariances(6, 2, 3)
    covariance[1, 2, :] = covariance[1, :, 2] = np.nan
    present = everything(covariance)

    with pytest.raises(InvalidRequest, match="portfolio 1: asset 2 has too few prices"):
        rule(covariance, present)
    present[1, 2] = False
    assert np.isfinite(rule(covariance, present)).all()


@pytest.mark.parametrize("rule", FROM_COVARIANCE, ids=lambda rule: rule.__name__)
def test_invalid_covariance_still_gives_weights(rule) -> None:
    # Pairwise correlations of -0.9 among three cannot be: one eigenvalue is -0.8.
    covariance = np.full((1, 3, 3), -0.9) + 1.9 * np.eye(3)
    weights = rule(covariance, everything(covariance))

    assert np.isfinite(weights).all() and (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)


def test_clustering_takes_interchangeable_assets_for_equal() -> None:
    # Three equal ones and one apart: the data do not determine where the tree splits the three.
    table = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    table[3, :3] = table[:3, 3] = 0.1
    for order in ([0, 1, 2, 3], [3, 0, 1, 2], [0, 3, 1, 2]):
        covariance = table[np.ix_(order, order)][None]
        weights = allocation.hierarchical_risk_parity(covariance, everything(covariance))[0]
        alike = weights[[place for place, asset in enumerate(order) if asset != 3]]
        assert alike == pytest.approx([alike[0]] * 3, abs=1e-15)
        assert weights.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_rounding_does_not_turn_the_tree(seed: int) -> None:
    # Of two rows of returns all correlations are 1 or -1, but for the last digit.
    covariance = covariances(seed, 1, 9, rows=2)
    weights = allocation.hierarchical_risk_parity(covariance, everything(covariance))

    noise = np.random.default_rng(seed).uniform(-1e-15, 1e-15, (9, 9))
    shaken = covariance * (1 + noise + noise.T)
    again = allocation.hierarchical_risk_parity(shaken, everything(covariance))
    assert again == pytest.approx(weights, abs=1e-9)


# Against skfolio, on real prices. Tests import it, because each worker collects all tests and few
# run these.


@cache
def stocks() -> PriceHistory:
    from skfolio.datasets import load_sp500_dataset

    frame = load_sp500_dataset().drop(columns="RRC").loc["2000":]
    return PriceHistory.of(
        list(frame.columns), frame.index.to_numpy("datetime64[D]"), frame.to_numpy()
    )


WINDOWS = [(300, 63), (2200, 252), (4000, 126), (5100, 504)]
windows = pytest.mark.parametrize(("row", "days"), WINDOWS)


def of_all(moments: indicators.ShrunkCovariance):
    count = len(moments.sample)
    return moments.of(np.arange(count)[None], np.ones((1, count), bool))


@windows
def test_inverse_volatility_agrees_with_skfolio(row: int, days: int) -> None:
    from skfolio.optimization import InverseVolatility

    market = stocks().until(row)
    volatility = indicators.volatility(market, days)[None]
    weights = allocation.inverse_volatility(volatility, np.ones_like(volatility, dtype=bool))

    expected = InverseVolatility().fit(market.returns(days)).weights_
    assert weights[0] == pytest.approx(expected, abs=1e-12)


@windows
def test_risk_parity_agrees_with_skfolio(row: int, days: int) -> None:
    from skfolio import RiskMeasure
    from skfolio.optimization import RiskBudgeting

    market = stocks().until(row)
    covariance = indicators.covariance(market, days)[None]
    weights = allocation.risk_parity(covariance, everything(covariance))

    oracle = RiskBudgeting(risk_measure=RiskMeasure.VARIANCE).fit(market.returns(days) * 100)
    assert weights[0] == pytest.approx(oracle.weights_, abs=2e-6)


@windows
def test_minimum_variance_agrees_with_skfolio(row: int, days: int) -> None:
    from skfolio import RiskMeasure
    from skfolio.moments import LedoitWolf
    from skfolio.optimization import MeanRisk, ObjectiveFunction
    from skfolio.prior import EmpiricalPrior

    market = stocks().until(row)
    covariance = of_all(indicators.shrunk_covariance(market, days))
    weights = allocation.minimum_variance(covariance, everything(covariance))

    oracle = MeanRisk(
        objective_function=ObjectiveFunction.MINIMIZE_RISK,
        risk_measure=RiskMeasure.VARIANCE,
        prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf()),
    ).fit(market.returns(days) * 100)
    assert weights[0] == pytest.approx(oracle.weights_, abs=1e-5)
    ours, theirs = (w @ covariance[0] @ w for w in (weights[0], oracle.weights_))
    assert ours <= theirs * (1 + 1e-9)


@windows
def test_hierarchical_risk_parity_agrees_with_skfolio(row: int, days: int) -> None:
    from skfolio.cluster import HierarchicalClustering, LinkageMethod
    from skfolio.optimization import HierarchicalRiskParity
    from skfolio.seriation import HierarchicalSeriation

    market = stocks().until(row)
    covariance = indicators.covariance(market, days)[None]
    weights = allocation.hierarchical_risk_parity(covariance, everything(covariance))

    # skfolio's leaves depend on the order of its columns; ours is by rising variance.
    order = np.argsort(np.diagonal(covariance[0]))
    oracle = HierarchicalRiskParity(
        seriation_estimator=HierarchicalSeriation(
            hierarchical_clustering_estimator=HierarchicalClustering(
                linkage_method=LinkageMethod.SINGLE
            ),
            optimal_ordering=False,
        )
    ).fit(market.returns(days)[:, order])
    assert weights[0, order] == pytest.approx(oracle.weights_, abs=1e-12)
