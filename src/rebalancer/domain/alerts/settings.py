"""The alerts that an owner wants, with their limits."""

from __future__ import annotations

import math
from enum import StrEnum

import attrs

from rebalancer.domain.errors import InvalidRequest

DEFAULT_MARGIN = 0.2
"""Part of a limit by which a value must be back inside before its alert is armed again."""

DEFAULT_PAUSE = 24
"""Hours between two alerts about the same subject."""

LONGEST_PAUSE = 24 * 90


class AlertKind(StrEnum):
    """What an alert is about; its subject is an asset, a proposal, or the whole portfolio."""

    BAND = "band"
    DRIFT = "drift"
    DRAWDOWN = "drawdown"
    CASH_ABOVE = "cash_above"
    CASH_BELOW = "cash_below"
    DEPOSIT_UNINVESTED = "deposit_uninvested"
    PRICES_STALE = "prices_stale"
    PROPOSAL_WAITS = "proposal_waits"
    PROPOSAL_EXPIRES = "proposal_expires"


OF_PROPOSALS = frozenset({AlertKind.PROPOSAL_WAITS, AlertKind.PROPOSAL_EXPIRES})
"""Kinds whose subjects are proposals, each of which waits or expires once."""

OF_MARKET = frozenset(
    {
        AlertKind.BAND,
        AlertKind.DRIFT,
        AlertKind.DRAWDOWN,
        AlertKind.CASH_ABOVE,
        AlertKind.CASH_BELOW,
    }
)
"""Kinds that follow from prices."""

BELOW = frozenset({AlertKind.CASH_BELOW, AlertKind.PROPOSAL_EXPIRES})
"""Kinds whose value is inside while it is at least the limit; all others while at most."""

_FRACTIONS = ("band_width", "drift", "drawdown", "cash_above", "cash_below")
_RANGES = {
    "deposit_uninvested": (1, 365, "days"),
    "prices_stale": (1, 60, "sessions"),
    "proposal_waits": (1, 24, "hours"),
    "proposal_expires": (1, 24, "hours"),
    "pause": (0, LONGEST_PAUSE, "hours"),
}


@attrs.frozen
class AlertSettings:
    """Which alerts an owner wants for a portfolio; None: none of this kind.

    Attributes:
        band: Alert when the weight of an asset leaves its band around the target.
        band_width: Half-width of the band, a fraction of value; None: that of the portfolio.
        drift: Largest one-way distance of the weights from the targets; cash is an asset.
        drawdown: Largest loss since the peak, net of deposits and withdrawals, a fraction.
        cash_above: Largest weight of cash.
        cash_below: Smallest weight of cash.
        deposit_uninvested: Days for which a deposit may lie uninvested.
        prices_stale: Sessions of its market that may pass without a close of an asset.
        proposal_waits: Hours for which a proposal may wait for a decision.
        proposal_expires: Hours before a proposal expires.
        margin: Part of a limit by which a value must be back inside before the alert is armed
            again, 0 <= margin < 1.
        pause: Least hours between two alerts about the same subject.
        live: Whether alerts are evaluated at quotes, too, not only at closes.

    Raises:
        InvalidRequest: a limit is out of its range; the field names it.
    """

    band: bool = False
    band_width: float | None = None
    drift: float | None = None
    drawdown: float | None = None
    cash_above: float | None = None
    cash_below: float | None = None
    deposit_uninvested: int | None = None
    prices_stale: int | None = None
    proposal_waits: int | None = None
    proposal_expires: int | None = None
    margin: float = DEFAULT_MARGIN
    pause: int = DEFAULT_PAUSE
    live: bool = False

    def __attrs_post_init__(self) -> None:
        for name in _FRACTIONS:
            value = getattr(self, name)
            if value is not None and not 0.0 < value < 1.0:
                raise _out_of_range(name, value, "a fraction above 0 and below 1")
        for name, (least, most, unit) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise _out_of_range(name, value, f"a number of {unit} from {least} to {most}")
        if not 0.0 <= self.margin < 1.0:
            raise _out_of_range("margin", self.margin, "a fraction from 0 to below 1")
        low, high = self.cash_below, self.cash_above
        if low is not None and high is not None and low >= high:
            raise InvalidRequest(
                f"{low} is not below {high}, the largest weight of cash; lower it",
                field="cash_below",
                code="cash_limits_reversed",
            )

    def limit(self, kind: AlertKind, own_band: float) -> float | None:
        """Return the limit of a kind; None without an alert of this kind.

        Args:
            kind: What the alert is about.
            own_band: Half-width of the portfolio's own band.
        """
        if kind is AlertKind.BAND:
            width = own_band if self.band_width is None else self.band_width
            return width if self.band else None
        found: float | None = getattr(self, kind.value)
        return found

    @property
    def kinds(self) -> frozenset[AlertKind]:
        """The kinds of alerts that are wanted."""
        return frozenset(kind for kind in AlertKind if self.limit(kind, math.nan) is not None)


NO_ALERTS = AlertSettings()


def _out_of_range(field: str, value: float, range: str) -> InvalidRequest:
    return InvalidRequest(f"{value} is not {range}", field=field, code="alert_limit_invalid")
