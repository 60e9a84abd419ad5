"""Settings, read once from the environment, frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs

from rebalancer.domain.errors import InvalidRequest

PREFIX = "REBALANCER_"


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

        workers = text("WORKERS") or str(os.cpu_count() or 1)
        if not (workers.isascii() and workers.isdigit() and 1 <= int(workers) <= 256):
            raise InvalidRequest(
                f"must be a whole number from 1 to 256, got {workers!r}", field=f"{PREFIX}WORKERS"
            )
        return cls(
            prices=Path(text("PRICES")) if text("PRICES") else None,
            assets=Path(text("ASSETS")) if text("ASSETS") else None,
            currency=text("CURRENCY") or "USD",
            workers=int(workers),
        )


_FLAGS = {f"{PREFIX}DEBUG"}
"""Read by the command line itself: show tracebacks."""
