"""Fundamentals of companies and funds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import attrs


@attrs.frozen
class Facts:
    """Fundamentals of a company or fund.

    Attributes:
        figures: Numbers by name, such as ``price_to_earnings``, in the units that the name states.
        texts: Texts by name, such as ``sector``.
        as_of: Day of the figures; None if the provider does not say.
    """

    symbol: str
    figures: Mapping[str, float]
    texts: Mapping[str, str]
    as_of: date | None = None
