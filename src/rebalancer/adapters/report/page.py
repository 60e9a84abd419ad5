"""Pages of reports: the template environment, colours, and texts that all reports share."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

from rebalancer.domain.arrays import Floats, Rows

if TYPE_CHECKING:
    from jinja2 import Environment

# Okabe and Ito's colours, which colour-blind readers can distinguish, on a light and on a dark
# background. After seven policies they repeat, dashed.
POLICY_COLORS = (
    ("#0072b2", "#4b9fe8"),
    ("#d55e00", "#ff7d38"),
    ("#009e73", "#23c495"),
    ("#c4629a", "#e795c3"),
    ("#d99000", "#f2b632"),
    ("#45a8e0", "#a2dcff"),
    ("#33373d", "#e4e6ea"),
)
DASHES = (("solid", ""), ("dash", "6 3"), ("dot", "2 2"))
# Pairs of a strong and a pale hue.
ASSET_COLORS = (
    *("#4e79a7", "#a0cbe8", "#f28e2b", "#ffbe7d", "#59a14f", "#8cd17d", "#b6992d", "#f1ce63"),
    *("#499894", "#86bcb6", "#e15759", "#ff9d9a", "#b07aa1", "#d4a6c8", "#9d7660", "#d7b5a6"),
    *("#5b62a8", "#a9aee0", "#d37295", "#fabfd2"),
)


def render_page(template: str, **values: Any) -> str:
    """Render a template of this package; texts are escaped, ``Markup`` is not."""
    return _environment().get_template(template).render(values) + "\n"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rebalancer.adapters.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": breakable, "figure": with_minus}
    environment.globals |= {
        "palette": _palette(),
        "policy_colors": len(POLICY_COLORS),
        "dashes": lambda at: dash(at)[1],
        "source": lambda name: Markup(read_template(name)),
    }
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


@cache
def read_template(name: str) -> str:
    """Return the text of a file in the folder of the templates."""
    folder = files("rebalancer.adapters.report") / "templates"
    return (folder / name).read_text(encoding="utf-8").rstrip()


def breakable(text: str) -> Markup:
    """Return a name that may continue on the next line after : , and _."""
    return Markup(re.sub("([:,_])", r"\1<wbr>", str(escape(text))))


def with_minus(text: str) -> str:
    """Return a figure with true minus signs."""
    return re.sub(r"(?<!\w)-(?=[\d.])", "\u2212", text)


def pluralize(count: int, one: str, more: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {one if count == 1 else more}"


def drawdown(values: Floats) -> Floats:
    """Return the loss from the highest value so far, shape (R,), each <= 0.

    Values are per 1 invested, and the 1 before the costs of the first close is the first peak.
    """
    peaks = np.maximum(np.maximum.accumulate(values), 1.0)
    falls: Floats = np.divide(values, peaks, out=np.ones_like(peaks), where=peaks > 0) - 1.0
    return falls


def thin_rows(paths: list[Floats], points: int) -> Rows:
    """Return rows to draw: all, or about ``points`` evenly spaced with every deepest drawdown.

    Args:
        paths: At least one, of shape (R,) each.
        points: Points of a line; a screen shows no more.
    """
    count = len(paths[0])
    if count <= points:
        return np.arange(count)
    extremes = []
    for values in paths:
        trough = int(np.argmin(drawdown(values)))
        extremes += [int(np.argmax(values[: trough + 1])), trough]
    even = np.linspace(0, count - 1, max(points - len(extremes), points // 2)).round()
    return np.union1d(even.astype(np.intp), np.array(extremes, dtype=np.intp))


def dash(at: int) -> tuple[str, str]:
    """Return the dash of a policy's line, as plotly and as SVG name it."""
    return DASHES[at // len(POLICY_COLORS) % len(DASHES)]


def _palette() -> Markup:
    """Return the colours as CSS variables, for light and dark pages."""
    light = "".join(f"--policy-{at}:{pair[0]};" for at, pair in enumerate(POLICY_COLORS))
    dark = "".join(f"--policy-{at}:{pair[1]};" for at, pair in enumerate(POLICY_COLORS))
    assets = "".join(f"--asset-{at}:{color};" for at, color in enumerate(ASSET_COLORS))
    return Markup(
        f":root{{{light}{assets}}}\n@media (prefers-color-scheme: dark){{:root:root{{{dark}}}}}"
    )
