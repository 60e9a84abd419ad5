"""Leave out the bar of a session that is still open: its figures will change."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from rebalancer.domain.market.bars import Bars

_NEW_YORK = ZoneInfo("America/New_York")
_CLOSED = time(16, 30)
"""Half an hour after the exchanges of New York close."""


def closed_sessions(bars: Bars, now: datetime) -> Bars:
    """Return the bars of days that are over in New York, where a provider states no closing time.

    Exchanges of Europe and Asia close earlier on the same day.
    """
    local = now.astimezone(_NEW_YORK)
    open_day = local.date() + timedelta(days=int(local.time() >= _CLOSED))
    first_open = np.datetime64(open_day, "D")
    return bars if not len(bars) or bars.days[-1] < first_open else bars.before(first_open)
