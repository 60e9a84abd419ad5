"""Risk-based allocations: long-only, fully invested weights of many portfolios.

Each takes volatilities (B, K), or covariances (B, K, K) that are symmetric and positive
semi-definite, of any period, for B portfolios of up to K assets; ``present``, shape (B, K), marks
the slots in use. It returns weights (B, K): exactly 0 in unused slots, the others sum to 1, and a
row without assets is all zero; `InvalidRequest` if a figure of a present asset is not finite. No
function forecasts returns.

Weights do not depend on the unit of the figures (daily or annual) or on the order of the assets, to
1e-10; where some mix of the assets is riskless, as with fewer rows than assets, to 1e-6. A row does
not depend on the other rows.

A volatility below ``FLOOR`` times the largest of its portfolio counts as that much, uncorrelated
with the rest. So an asset with a constant price gets nearly all of the weight, and weights stay
finite; the caller must detect stale prices. Assets need finite figures: zero weight for an asset
without a known risk would be an order to sell it. To ignore an asset, leave it out of ``present``.
"""

from __future__ import annotations

import numpy as np

from rebalancer.domain.arrays import Bools, Floats, Rows
from rebalancer.domain.errors import InvalidRequest

FLOOR = 1e-8
"""Least volatility, as a fraction of the largest in the portfolio: relative, so scale-free."""

RIDGE = 1e-9
"""Added to the diagonal of correlations before inversion. With fewer rows than assets they are
singular, and the ridge selects one of the riskless mixes; otherwise it has no visible effect."""

TREE_DIGITS = 12
"""Decimals of correlations and log-variances that count when assets are ordered and clustered."""

NEWTON_STEPS = 100
"""Bound on the steps of `risk_parity`; 5 to 10 are usual, riskless mixes take about 35."""

NEWTON_CLOSE = 1e-7
"""A relative Newton step below this is the last: convergence is quadratic, 1e-14 remains."""

NEWTON_STALLED = 1e-4
"""The second step below this is also the last: only rounding can keep it above 1e-8."""


def inverse_volatility(volatility: Floats, present: Bools) -> Floats:
    """Return weights in proportion to 1 / volatility: equal risk if all correlations are equal."""
    return _normalised(1.0 / _floored(volatility, present), present)


def risk_parity(covariance: Floats, present: Bools) -> Floats:
    """Return weights with which every asset contributes the same share of the variance.

    Minimises the convex ``x'Cx / 2 - sum(log x)`` over the correlations C by damped Newton, whose
    optimum has ``x_i (Cx)_i = 1`` for all i, and divides by volatility. In steps relative to x
    the Hessian is ``diag(x) C diag(x) + I``, whose eigenvalues are at least 1 even for singular
    C. Where a mix of all assets is riskless no portfolio has *equal positive* contributions; the
    ridge then makes it the riskless mix that is most even in units of risk.

    References:
        Maillard, S., Roncalli, T. and Teiletche, J. (2010). The properties of equally weighted
        risk contribution portfolios. Journal of Portfolio Management 36(4), 60-70.

        Spinu, F. (2013). An algorithm for computing risk parity weights. SSRN 2297383. The
        damping and the switch to full steps are his.
    """
    correlation, volatility = _correlation(covariance, present)
    x = np.zeros(present.shape)
    count = present.sum(axis=1)
    # Rows with equally many assets are solved together, without unused slots: the last digits of
    # a solution depend on the size of the system, and must not depend on the widest neighbour.
    for size in np.unique(count[count > 0]):
        rows = np.flatnonzero(count == size)
        slots = np.nonzero(present[rows])[1].reshape(len(rows), size)
        table = correlation[rows[:, None, None], slots[:, :, None], slots[:, None, :]]
        x[rows[:, None], slots] = _equal_contributions(np.ascontiguousarray(table))
    return _normalised(x / volatility, present)


def _equal_contributions(correlation: Floats) -> Floats:
    """(B, n) x > 0 with ``x_i (Cx)_i = 1`` for all i, of correlations C (B, n, n)."""
    size = correlation.shape[1]
    slots = np.arange(size)
    correlation[:, slots, slots] += RIDGE
    # With equal x this is the size that satisfies the equations on average.
    start = np.sqrt(size / np.maximum(correlation.sum(axis=2).sum(axis=1), 1.0))
    x = np.repeat(start[:, None], size, axis=1)
    # Rows leave as they converge: otherwise their last digits would depend on their neighbours.
    rows = np.arange(len(x))
    table, z = correlation, x
    before = np.full(len(rows), np.inf)
    for _ in range(NEWTON_STEPS):
        if not rows.size:
            break
        hessian = table * z[:, :, None] * z[:, None, :]
        gradient = 1.0 - hessian.sum(axis=2)
        hessian[:, slots, slots] += 1.0
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        largest = np.abs(step).max(axis=1)
        decrement = np.sqrt(np.maximum((gradient * step).sum(axis=1), 0.0))
        # A full step keeps x above 0 only if no component exceeds 1. The decrement guarantees that
        # for a true covariance; other matrices need the second condition.
        near = (decrement <= 0.95 * (3.0 - np.sqrt(5.0)) / 2.0) & (largest < 1.0)
        z = z * (1.0 + step * np.where(near, 1.0, 1.0 / (1.0 + largest))[:, None])
        x[rows] = z
        going = (largest > NEWTON_CLOSE) & (np.maximum(largest, before) > NEWTON_STALLED)
        before = largest
        if not going.all():
            rows, table, z, before = rows[going], table[going], z[going], before[going]
    return x


def minimum_variance(covariance: Floats, present: Bools) -> Floats:
    """Return the long-only weights of least variance, by an exact method without tolerance.

    Least ``w'Sw`` over weights summing to 1 is, up to scale, least ``x'Sx / 2 - 1'x`` over x >= 0,
    and with S = LL' that is least ``|L'x - L^-1 1|``: non-negative least squares, which the active
    set method of Lawson and Hanson ends in finitely many steps. Correlations are factored and
    volatilities divided out, so that bonds next to equities cost no digits. One row at a time.

    References:
        Lawson, C. L. and Hanson, R. J. (1974). Solving least squares problems, chapter 23.

        Jagannathan, R. and Ma, T. (2003). Risk reduction in large portfolios: why imposing the
        wrong constraints helps. Journal of Finance 58(4), 1651-1683.
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    correlation, volatility = _correlation(covariance, present)
    x = np.zeros(present.shape)
    for row in range(len(present)):
        slots = np.flatnonzero(present[row])
        if not slots.size:
            continue
        table = correlation[row][np.ix_(slots, slots)]
        scale = volatility[row, slots]
        pull = scale.min() / scale
        lower = _factor(table)
        aim = solve_triangular(lower, pull, lower=True, check_finite=False)
        x[row, slots], _ = nnls(lower.T, aim, maxiter=30 * max(slots.size, 10))
        x[row, slots] *= pull
    return _normalised(x, present)


def hierarchical_risk_parity(covariance: Floats, present: Bools) -> Floats:
    """Return weights by clustering: similar assets share a budget, without matrix inversion.

    Assets are chained into a tree by single linkage on the distance ``sqrt((1 - corr) / 2)``, laid
    out in the order of its leaves, and the row of leaves is halved again and again: each half gets
    weight against the variance that its inverse-variance portfolio has.

    The linkage runs on the distances themselves. (The paper takes the Euclidean distance between
    columns of the distance matrix; skfolio does as we do, and agrees with
    ``linkage_method=SINGLE, optimal_ordering=False`` for assets listed by rising variance.)

    A tree does not order its branches, so the order of the leaves, and the weights, would depend on
    the order in which assets are listed. Assets are therefore sorted by variance, then by their
    correlations to the rest. Assets that are equal in these share equally.

    References:
        Lopez de Prado, M. (2016). Building diversified portfolios that outperform out of sample.
        Journal of Portfolio Management 42(4), 59-69.
    """
    correlation, volatility = _correlation(covariance, present)
    weights = np.zeros(present.shape)
    count = present.sum(axis=1)
    # Halving depends on the number of assets alone, so rows with equally many go together.
    for size in np.unique(count[count > 0]):
        rows = np.flatnonzero(count == size)
        slots = np.nonzero(present[rows])[1].reshape(len(rows), size)
        each = rows[:, None]
        # Relative to the largest: scale-free, and no square can overflow.
        variance = (volatility[each, slots] / volatility[each, slots].max(axis=1)[:, None]) ** 2
        table = correlation[each[:, :, None], slots[:, :, None], slots[:, None, :]]
        # Round what is compared, so that errors in the last digits cannot turn the tree: copies of
        # an index correlate at 1 except for rounding. Weights are not rounded.
        alike = np.round(table, TREE_DIGITS)
        order, ties = _canonical_order(np.round(np.log(variance), TREE_DIGITS), alike)
        line = np.arange(len(rows))[:, None]
        leaves = _leaves(alike[line[:, :, None], order[:, :, None], order[:, None, :]])
        path = order[line, leaves]
        split = _halved(
            variance[line, path], table[line[:, :, None], path[:, :, None], path[:, None, :]]
        )
        listed = np.empty_like(split)
        listed[line, leaves] = split
        for row in np.flatnonzero(ties.any(axis=1)):
            group = np.cumsum(~ties[row])
            listed[row] = (np.bincount(group, listed[row]) / np.bincount(group).clip(1))[group]
        weights[each, slots[line, order]] = listed
    return _normalised(weights, present)


def _canonical_order(size: Floats, correlation: Floats) -> tuple[Rows, Bools]:
    """Positions by rising size, then by the correlations to the rest; no slot is absent here.

    ``size``, shape (B, n), is any rising function of variance. The second result is, for each
    place in the order, whether it ties with the place before. Sums run over sorted rows: in the
    order listed, their last digits would depend on it.
    """
    ranked = np.sort(correlation, axis=2)
    keys = (size, ranked.sum(axis=2), (ranked**2).sum(axis=2))
    order = np.lexsort(keys[::-1], axis=1)
    ties = np.zeros(size.shape, dtype=np.bool_)
    ties[:, 1:] = True
    for key in keys:
        ties[:, 1:] &= np.diff(np.take_along_axis(key, order, axis=1), axis=1) == 0.0
    return order, ties


def _leaves(correlation: Floats) -> Rows:
    """Return leaves (B, n) of the single-linkage trees of (B, n, n), left to right."""
    from scipy.cluster.hierarchy import linkage

    rows, count, _ = correlation.shape
    if count == 1:
        return np.zeros((rows, 1), dtype=np.intp)
    first, second = np.triu_indices(count, 1)
    distance = np.sqrt((1.0 - correlation[:, first, second]) / 2.0)
    leaves = np.empty((rows, count), dtype=np.intp)
    for row in range(rows):
        # Cluster n + i is made by merge i. (scipy's leaves_list returns the same but takes three
        # times as long, as it validates the tree that linkage has just built.)
        clusters = [[leaf] for leaf in range(count)]
        for left, right in linkage(distance[row], method="single")[:, :2].astype(int).tolist():
            clusters.append(clusters[left] + clusters[right])
        leaves[row] = clusters[-1]
    return leaves


def _halved(variance: Floats, correlation: Floats) -> Floats:
    """Weights (B, n) by recursive bisection of assets in the order of leaves."""
    deviation = np.sqrt(variance)
    # The inverse-variance portfolio of a cluster holds 1 / v_i over their sum; its variance is
    # the sum of these terms over the cluster's pairs, by that sum squared.
    terms = correlation / (deviation[:, :, None] * deviation[:, None, :])
    inverse = 1.0 / variance
    weights = np.ones_like(variance)

    def risk(start: int, stop: int) -> Floats:
        precision: Floats = inverse[:, start:stop].sum(axis=1)
        pairs: Floats = terms[:, start:stop, start:stop].sum(axis=2).sum(axis=1)
        # A cluster that hedges itself has variance 0, or less by rounding; two of them would leave
        # the split undefined.
        floored: Floats = np.maximum(pairs / precision, FLOOR**2)
        return floored / precision

    clusters = [(0, variance.shape[1])]
    while clusters:
        start, stop = clusters.pop()
        if stop - start < 2:
            continue
        middle = start + (stop - start) // 2
        left, right = risk(start, middle), risk(middle, stop)
        share = right / (left + right)
        weights[:, start:middle] *= share[:, None]
        weights[:, middle:stop] *= (1.0 - share)[:, None]
        clusters += [(start, middle), (middle, stop)]
    return weights


def _factor(correlation: Floats) -> Floats:
    """Cholesky factor L of a correlation matrix (n, n) plus the least ridge that lets it exist.

    The usual ridge does, unless rounding or an estimator that is not positive semi-definite has
    left eigenvalues further below zero.
    """
    ridge = RIDGE
    while True:
        try:
            lower = np.linalg.cholesky(correlation + ridge * np.eye(len(correlation)))
        except np.linalg.LinAlgError:
            ridge *= 100.0
        else:
            return np.asarray(lower, dtype=np.float64)


def _correlation(covariance: Floats, present: Bools) -> tuple[Floats, Floats]:
    """Correlations (B, K, K) and floored volatilities (B, K); absent slots stand apart, at 1."""
    pairs = present[:, :, None] & present[:, None, :]
    table = np.where(pairs, covariance, 0.0)
    if not np.isfinite(table).all():
        unknown = (~np.isfinite(table)).sum(axis=2)
        row = int(np.argmax(unknown.any(axis=1)))
        # An asset without prices lacks every pair; the others lack only the one with it.
        raise _unmeasured(row, int(np.argmax(unknown[row])))
    variance = np.einsum("bii->bi", table)
    volatility = _floored(np.sqrt(np.maximum(variance, 0.0)), present)
    correlation: Floats = np.clip(
        table / (volatility[:, :, None] * volatility[:, None, :]), -1.0, 1.0
    )
    slots = np.arange(present.shape[1])
    correlation[:, slots, slots] = 1.0
    return correlation, volatility


def _floored(volatility: Floats, present: Bools) -> Floats:
    """Volatilities no less than ``FLOOR`` times the largest of their row; 1 where absent."""
    known = np.where(present, volatility, 0.0)
    if not np.isfinite(known).all():
        row, slot = (int(i) for i in np.argwhere(~np.isfinite(known))[0])
        raise _unmeasured(row, slot)
    largest = known.max(axis=1, initial=0.0)
    # If no price moves enough to square and invert its volatility, any common figure works.
    least = np.where(largest > 1e-100, FLOOR * largest, 1.0)
    return np.where(present, np.maximum(known, least[:, None]), 1.0)


def _unmeasured(row: int, slot: int) -> InvalidRequest:
    return InvalidRequest(
        f"portfolio {row}: asset {slot} has too few prices to estimate its risk; shorten the "
        "window or leave the asset out",
        code="risk_unknown",
    )


def _normalised(weights: Floats, present: Bools) -> Floats:
    """Divide present weights by their sum, shape (B, K); others are zero."""
    kept = np.where(present, weights, 0.0)
    total = kept.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(kept, total, out=np.zeros_like(kept), where=total > 0.0)
    return shares
