"""Cautions: limitations of data or method that readers of results must know."""

from __future__ import annotations

import attrs


@attrs.frozen
class Caution:
    """A limitation of the data or the method behind a result.

    Attributes:
        code: Stable identifier in snake case, such as ``survivorship_bias``.
        text: Whole sentences for readers.
    """

    code: str
    text: str
