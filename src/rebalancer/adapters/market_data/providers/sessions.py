"""Leave out the bar of a session that is still open: its figures will change."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from rebalancer.domain.market.bars import Bars


def closed_sessions(bars: Bars, now: datetime) -> Bars:
    """Return the bars of days that are over in UTC, where a provider states no closing time."""
    today = np.datetime64(now.astimezone(UTC).date(), "D")
    return bars if not len(bars) or bars.days[-1] < today else bars.before(today)
