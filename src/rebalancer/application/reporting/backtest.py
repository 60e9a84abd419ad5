"""Backtests as documents of JSON values."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from rebalancer.domain.backtest.evidence import ConfidenceInterval
from rebalancer.domain.backtest.result import Backtest, Performance


def backtest_document(done: Backtest) -> dict[str, Any]:
    """Return results as JSON values; figures as in `Performance`."""
    return {
        "from": str(done.dates[0]),
        "to": str(done.dates[-1]),
        "assets": list(done.symbols),
        "costs": done.cost_label,
        "currency": done.currency,
        "periods_per_year": done.frequency.periods_per_year,
        "frequency": done.frequency.name,
        "cautions": [each.text for each in done.cautions],
        "caution_codes": [each.code for each in done.cautions],
        "results": [
            {
                "policy": result.policy,
                **_encode_figures(result.performance),
                "sharpe_gain": None if result.gain is None else _encode_figures(result.gain),
            }
            for result in done.results
        ],
    }


def _encode_figures(values: Performance | ConfidenceInterval) -> dict[str, Any]:
    """Return figures as Python numbers instead of numpy scalars."""
    return attrs.asdict(
        values, value_serializer=lambda _, __, v: v.item() if isinstance(v, np.generic) else v
    )
