"""Fit a model of market regimes and write it with its origin, as the shipped one was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rebalancer.adapters.rl import regimes
from rebalancer.adapters.rl.regimes import fit_regimes
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.prices import PriceHistory
from rebalancer.domain.market.regimes import RegimeModel

ARRAYS = ("start", "transition", "means", "covariances")

LAST_FITTED = date(2015, 12, 31)
"""Last day of the data for fitting; later days are for selection and evaluation."""

NOT_TRADABLE = ("BIL", "TBILL3M")
"""Treasury bills: the risk-free series, excluded from all mixes."""


def make_regimes(
    panels: Mapping[str, PriceHistory],
    path: Path,
    *,
    states: int = 3,
    seed: int = 0,
    until: date = LAST_FITTED,
    without: Sequence[str] = NOT_TRADABLE,
) -> RegimeModel:
    """Fit a model on panels up to a day, and write it with its origin.

    The shipped model is ``make_regimes`` of the panels ``us_etfs_2007_2018``,
    ``us_large_caps_2000_2015`` and ``modelled_multi_asset_1993_2017``, in this order, and of the
    defaults.

    Args:
        panels: Price histories by the name of their data.
        path: File to write.
        states: See `fit_regimes`.
        seed: See `fit_regimes`.
        until: Last day to use.
        without: Symbols to exclude.

    Raises:
        InvalidRequest: see `fit_regimes`; or a panel begins after ``until`` or has no other
            symbols; or the file cannot be written.
        Unavailable: see `fit_regimes`.
    """
    cut = {name: without_later(panel, until, without) for name, panel in panels.items()}
    model = fit_regimes(list(cut.values()), states=states, seed=seed)
    about = {
        "data": [
            {
                "name": name,
                "assets": len(panel.symbols),
                "first": str(panel.dates[0]),
                "last": str(panel.dates[-1]),
                "sha256": panel.digest,
            }
            for name, panel in cut.items()
        ],
        "until": str(until),
        "without": list(without),
        "seed": seed,
        "mixes": regimes.MIXES,
        "library": f"hmmlearn {version('hmmlearn')}",
    }
    write_regimes(model, path, about)
    return model


def write_regimes(model: RegimeModel, path: Path, about: Mapping[str, Any]) -> None:
    """Write a model, its origin and a checksum as JSON, without loss of precision.

    Args:
        model: Model to write.
        path: File; its folder is created if missing.
        about: Origin of the model, as JSON values.

    Raises:
        InvalidRequest: the file cannot be written.
    """
    content = {
        "format": 1,
        "model": {
            "names": list(model.names),
            **{field: getattr(model, field).tolist() for field in ARRAYS},
        },
        "about": dict(about),
    }
    text = json.dumps({**content, "sha256": sha256_of(content)}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(
            f"cannot write {path}: {error.strerror}", field="path", code="cannot_write_file"
        ) from None


def sha256_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values in a canonical encoding."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def without_later(panel: PriceHistory, until: date, without: Sequence[str]) -> PriceHistory:
    """Return a panel up to a day, without some assets.

    Raises:
        InvalidRequest: nothing is left.
    """
    last = int(np.searchsorted(panel.dates, np.datetime64(until, "D"), side="right")) - 1
    if last < 0:
        raise InvalidRequest(
            f"the prices begin on {panel.dates[0]}, after {until}; choose a later day",
            field="until",
            code="before_first_close",
        )
    return panel.until(last).select([name for name in panel.symbols if name not in without])
