"""Colours, sizes and type, in one place; `tests/test_theme.py` computes the contrasts."""

from __future__ import annotations

import attrs

GRID = 8
"""Distances are multiples of this, in logical pixels."""

CONTENT_WIDTH = 720
TWO_PANES_FROM = 1100
RAIL_FROM = 600
LABELLED_RAIL_FROM = 1100
RAIL_WIDTH, LABELLED_RAIL_WIDTH = 88, 200
PANE_WIDTH = 600
TOUCH_TARGET = 44

FONT, STRONG_FONT = "Inter", "Inter Strong"
SIZES = {"note": 12, "body": 14, "lead": 16, "title": 20, "figure": 28, "hero": 40}
TRACKING = {"title": -0.2, "figure": -0.4, "hero": -0.8}
"""Added between letters, in logical pixels: large letters stand closer, other sizes as drawn."""

REGULAR, STRONG = "w400", "w600"

FAST, SLOW = 150, 250
"""Milliseconds of motion."""


@attrs.frozen
class Colors:
    """The colours of a theme, as ``#RRGGBB``.

    Attributes:
        ground: Behind everything.
        surface: Of cards.
        raised: Of what lies on a card.
        line: Of borders and grids; not for text.
        text: Of words and figures.
        quiet: Of secondary words.
        accent: Of actions and of what is chosen.
        on_accent: Of words on the accent.
        gain: With an arrow up and a plus sign.
        loss: With an arrow down and a minus sign.
        caution: Of what needs attention.
        band: Of the range in which no trade is needed.
        series: Of charts; from Okabe and Ito, safe for colour-blind people.
    """

    ground: str
    surface: str
    raised: str
    line: str
    text: str
    quiet: str
    accent: str
    on_accent: str
    gain: str
    loss: str
    caution: str
    band: str
    series: tuple[str, ...]


LIGHT = Colors(
    ground="#F7F7FA",
    surface="#FFFFFF",
    raised="#EFF0F5",
    line="#DADCE5",
    text="#16181D",
    quiet="#565C69",
    accent="#4338CA",
    on_accent="#FFFFFF",
    gain="#00694E",
    loss="#A62B16",
    caution="#8A4B00",
    band="#D9D7F5",
    series=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A6A00"),
)

DARK = Colors(
    ground="#0F1115",
    surface="#181B21",
    raised="#22262E",
    line="#343A46",
    text="#F1F2F5",
    quiet="#A9B0BD",
    accent="#A5B4FC",
    on_accent="#12142B",
    gain="#5FD0A8",
    loss="#FF9C85",
    caution="#F5B95E",
    band="#35335F",
    series=("#56B4E9", "#E69F00", "#3CC79A", "#E59AC4", "#F0E442", "#7FB8FF", "#FF8A4C"),
)


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2), from 1 to 21."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
