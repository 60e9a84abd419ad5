"""Settings, read once from the environment, frozen."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.money import Currency

PREFIX = "REBALANCER_"
MOST_WORKERS = 256


@attrs.frozen
class Settings:
    """What an operator sets once instead of on every command line.

    Attributes:
        prices: Price file used when a command names none; None: the packaged sample.
        assets: Instrument list used when a command names none; None: the packaged one.
        currency: Of the prices.
        workers: Processes that a batch may use.
    """

    prices: Path | None = None
    assets: Path | None = None
    currency: str = "USD"
    workers: int = 1

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read ``REBALANCER_*``.

        Raises:
            InvalidRequest: a variable is unknown or has no sensible value; names it.
        """
        known = {f"{PREFIX}{field.name.upper()}" for field in attrs.fields(cls)} | _FLAGS
        for name in environment:
            if name.startswith(PREFIX) and name not in known:
                raise InvalidRequest(
                    f"is not a setting; there are {', '.join(sorted(known))}", field=name
                )

        def text(name: str) -> str:
            return environment.get(f"{PREFIX}{name}", "").strip()

        workers = text("WORKERS") or str(min(os.cpu_count() or 1, MOST_WORKERS))
        if not (re.fullmatch("[0-9]{1,3}", workers) and 1 <= int(workers) <= MOST_WORKERS):
            raise InvalidRequest(
                f"must be a whole number from 1 to {MOST_WORKERS}, got {workers!r}",
                field=f"{PREFIX}WORKERS",
            )
        currency = text("CURRENCY") or "USD"
        try:
            Currency(currency)
        except InvalidRequest as error:
            raise InvalidRequest(str(error), field=f"{PREFIX}CURRENCY") from None
        return cls(
            prices=Path(text("PRICES")) if text("PRICES") else None,
            assets=Path(text("ASSETS")) if text("ASSETS") else None,
            currency=currency,
            workers=int(workers),
        )


_FLAGS = {f"{PREFIX}DEBUG"}
"""Read by the command line itself: show tracebacks."""
