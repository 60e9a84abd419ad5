"""Market regimes: fitted with hmmlearn, and stored as JSON that needs no hmmlearn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from rebalancer.domain.arrays import Floats
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import (
    WINDOW,
    RegimeModel,
    equal_mix,
    observations,
    sufficient,
)

NAMES = {2: ("calm", "stressed"), 3: ("calm", "normal", "stressed")}
"""Names of the states from the calmest on, by their number."""

MIXES = 100
"""Equal mixes of random assets drawn from each panel, in addition to the whole panel."""

SHIPPED = Path(__file__).with_name("shipped") / "regimes.json"
"""Model that comes with this package."""

_FEWEST_ASSETS = 3
_FORMAT = 1
_ITERATIONS = 200


def fit_regimes(
    panels: Sequence[PriceHistory], *, states: int = 3, seed: int, mixes: int = MIXES
) -> RegimeModel:
    """Fit a hidden Markov model to the weeks of many mixes, by expectation-maximisation.

    From each panel come 101 equal mixes: of all its assets, and of at least 3 that are drawn at
    random. Each is split into years of 252 returns from a random day on, without overlap, so that
    the model is fitted to the same inputs that it filters later: 50 weeks relative to their own
    year. A panel with more years has more weight.

    The states start at quantiles of the weeks' log volatility. Iterations end when the log
    likelihood of a week rises by less than 1e-5. Equal panels and seeds give equal models.

    Args:
        panels: Price histories; every row is used.
        states: 2 or 3.
        seed: Seed of the mixes.
        mixes: Random mixes of each panel.

    Raises:
        InvalidRequest: another number of states, or no panel has a year of returns.
        Unavailable: hmmlearn is not installed.
    """
    if states not in NAMES:
        raise InvalidRequest(
            f"{states} states are not supported; choose 2 or 3",
            field="states",
            code="unsupported_states",
        )
    dice = np.random.default_rng(seed)
    years = np.concatenate(
        [_years(panel, dice, mixes) for panel in panels] or [np.empty((0, WINDOW))]
    )
    seen = observations(years)
    seen = seen[sufficient(seen)]
    if not len(seen):
        raise InvalidRequest(
            f"no panel has the {WINDOW + 1} closes that a fit needs; add older prices",
            field="prices",
            code="prices_too_short",
        )
    weeks = seen.reshape(-1, 2)
    model = _initial_model(weeks, states)
    model.fit(weeks, [seen.shape[1]] * len(seen))
    order = np.argsort(model.means_[:, 1])
    return RegimeModel(
        names=NAMES[states],
        start=model.startprob_[order],
        transition=model.transmat_[np.ix_(order, order)],
        means=model.means_[order],
        covariances=model.covars_[order],
    )


@attrs.frozen
class FittedRegimes:
    """A stored model, and the last day of prices that it was fitted to; None if not stated."""

    model: RegimeModel
    known_until: date | None


def read_regimes(path: Path) -> FittedRegimes:
    """Read a model; raise InvalidRequest if the file is missing, malformed or was changed."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidRequest(
            f"cannot read {path}: {error.strerror}", field="regimes", code="cannot_read_file"
        ) from None
    except (ValueError, RecursionError):
        raise _damaged(path, "it is not JSON") from None
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise _damaged(path, f"it is not a model of format {_FORMAT}")
    if content.pop("sha256", None) != _digest(content):
        raise _damaged(path, "its checksum does not match")
    try:
        until = content.get("about", {}).get("until")
        return FittedRegimes(
            RegimeModel(**content["model"]),
            None if until is None else date.fromisoformat(until),
        )
    except (AttributeError, KeyError, TypeError, ValueError, InvalidRequest) as error:
        raise _damaged(path, str(error)) from None


@attrs.frozen(slots=False)
class StoredRegimes:
    """Regimes from a file, the shipped one by default, read once at first use."""

    path: Path | None = None
    shipped: Path = SHIPPED

    def model(self) -> RegimeModel:
        return self._fitted.model

    def known_until(self) -> date | None:
        return self._fitted.known_until

    @cached_property
    def _fitted(self) -> FittedRegimes:
        if self.path is not None:
            return read_regimes(self.path)
        try:
            return read_regimes(self.shipped)
        except (InvalidRequest, OSError) as error:
            raise Unavailable(
                f"the shipped regimes are damaged, install rebalancer again: {error}",
                code="shipped_regimes_damaged",
            ) from None


def _damaged(path: Path, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"{path} is damaged, fit it again: {why}", field="regimes", code="invalid_regime_model"
    )


def _digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values in a canonical encoding."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _years(panel: PriceHistory, dice: np.random.Generator, mixes: int) -> Floats:
    """Return years of daily returns of a panel's mixes, shape (Y, 252)."""
    columns = len(panel.symbols)
    years = []
    for number in range(mixes + 1):
        mix = panel
        if number:
            count = int(dice.integers(min(_FEWEST_ASSETS, columns), columns + 1))
            drawn = dice.choice(columns, count, replace=False)
            mix = panel.select([panel.symbols[column] for column in drawn])
        returns = equal_mix(mix, len(mix))
        returns = returns[~np.isnan(returns)]  # NaN only before the first close of all
        spare = len(returns) % WINDOW
        if len(returns) < WINDOW:
            continue
        first = int(dice.integers(0, spare + 1))
        whole = (len(returns) - first) // WINDOW
        years.append(returns[first : first + whole * WINDOW].reshape(whole, WINDOW))
    return np.concatenate(years) if years else np.empty((0, WINDOW))


def _initial_model(weeks: Floats, states: int) -> Any:
    """Create a model before its first iteration, with states at quantiles of log volatility."""
    try:
        from hmmlearn.hmm import GaussianHMM
    except ImportError:
        raise Unavailable(
            "hmmlearn is not installed: pip install 'rebalancer[train]'",
            code="training_not_installed",
        ) from None
    model = GaussianHMM(
        n_components=states,
        covariance_type="full",
        init_params="",
        n_iter=_ITERATIONS,
        tol=1e-5 * len(weeks),
    )
    edges = np.quantile(weeks[:, 1], np.arange(1, states) / states)
    within = np.searchsorted(edges, weeks[:, 1])
    stay = 0.9
    model.startprob_ = np.full(states, 1.0 / states)
    model.transmat_ = np.full((states, states), (1.0 - stay) / (states - 1))
    np.fill_diagonal(model.transmat_, stay)
    model.means_ = np.array([weeks[within == state].mean(axis=0) for state in range(states)])
    model.covars_ = np.array([np.cov(weeks[within == state].T) for state in range(states)])
    return model
