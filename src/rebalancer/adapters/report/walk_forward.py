"""Walk-forwards as self-contained HTML pages, drawn from their documents.

A document is what `rebalancer evaluate --walk-forward --json` prints, and what the card of a policy
stores, so a page can be drawn long after the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from rebalancer.adapters.report import drawing
from rebalancer.adapters.report.drawing import Line, Tick, Whisker
from rebalancer.adapters.report.page import pluralize, render_page
from rebalancer.application.reporting.tables import Table
from rebalancer.application.reporting.walk_forward import WalkForwardPage
from rebalancer.domain.arrays import Floats

OTHERS = (
    ("monthly", "monthly"),
    ("best_rule", "the best rule on past data"),
    ("own_average", "its own average mix and exposure"),
)
"""Keys of comparisons in a document, and the names of what they compare with."""

_Document = Mapping[str, Any]


class HtmlWalkForwards:
    """Renders documents of walk-forwards as self-contained HTML pages."""

    def render(self, page: WalkForwardPage) -> str:
        document = page.document
        folds, policies = document["folds"], document["policies"]
        margin = document["thresholds"]["margin"]
        return render_page(
            "walk_forward.html.j2",
            title=f"Walk-forward: {pluralize(len(policies), 'policy', 'policies')}, "
            f"{pluralize(len(folds), 'refit', 'refits')}",
            facts=(
                ("Trading costs", document["costs"]),
                ("Refits know until", ", ".join(fold["known_until"] for fold in folds)),
                ("Judged until", folds[-1]["to"]),
                ("Trials", f"{document['trials']:,}"),
            ),
            lead=document["counted"],
            cautions=document["cautions"],
            summary=_summary(policies),
            policies=[_policy_values(at, each, margin) for at, each in enumerate(policies)],
        )


def _summary(policies: Sequence[_Document]) -> Table:
    rows = []
    for policy in policies:
        medians = policy["whole"]["medians"]
        rows.append(
            (
                policy["policy"],
                "may serve" if policy["passed"] else "may not serve",
                "shown" if policy["higher_sharpe"]["shown"] else "not shown",
                _signed(medians["sharpe_gain"]),
                _percentage(medians["drawdown_beyond_exposure"]),
                _multiple(medians["orders_of_monthly"]),
                _multiple(medians["turnover_of_monthly"]),
                _percentage(medians["average_exposure"], sign=""),
            )
        )
    return Table(
        "Medians over refits and panels, against monthly",
        ("policy", "serving", "higher Sharpe ratio"),
        ("Sharpe difference", "beyond exposure", "orders", "turnover", "exposure"),
        (tuple(rows),),
        "Beyond exposure: maximum drawdown relative to that of monthly at the same exposure. "
        "Orders and turnover: multiples of monthly's.",
    )


def _policy_values(at: int, policy: _Document, margin: float) -> dict[str, Any]:
    return {
        "name": policy["policy"],
        "verdict": policy["verdict"],
        "criteria": policy["criteria"],
        "higher_sharpe": policy["higher_sharpe"]["sentence"],
        "distributions": list(_draw_distributions(at, policy, margin)),
        "differences": _draw_differences(at, policy),
        "drawdowns": _draw_drawdowns(at, policy),
        "orders": _draw_orders(policy),
        "by_fold": _by_fold(policy),
        "robustness": _robustness(policy),
        "seeds": _seeds(policy),
        "average": _describe_average(policy),
    }


def _draw_distributions(
    at: int, policy: _Document, margin: float
) -> Iterator[tuple[str, Markup, str]]:
    """Yield a heading, the distribution of the mean Sharpe difference, and its probabilities."""
    for key, name in OTHERS:
        comparison = policy["whole"][key]
        if comparison is None or not _is_spread(comparison["percentiles"]):
            continue
        places, density = _density(comparison["percentiles"], -margin)

        def across(low: float, high: float) -> list[Tick]:
            marks = [each for each in drawing.round_ticks(low, high) if abs(each + margin) > 1e-9]
            ticks = [(each, drawing.signed(each)) for each in marks]
            inside = low <= -margin <= high
            return [*ticks, (-margin, f"margin {drawing.signed(-margin)}")] if inside else ticks

        yield (
            f"Sharpe ratio against {name}",
            drawing.draw_lines(
                [Line(policy["policy"], at, places, density)],
                title=f"Distribution of the Sharpe difference of {policy['policy']} to {name}",
                across=across,
                up=lambda _: "",
                zero=True,
                height=180.0,
            ),
            f"{comparison['not_inferior_probability']:.0%} of the distribution lies above the "
            f"margin, {comparison['probability']:.0%} above 0.",
        )


def _is_spread(percentiles: Sequence[float]) -> bool:
    return len(percentiles) > 1 and percentiles[-1] - percentiles[0] > 1e-9


def _density(percentiles: Sequence[float], mark: float) -> tuple[Floats, Floats]:
    """Return places (K,) and the density (K,) at each, from steps of four percentiles.

    The density is 0 at both ends, which reach as far as a mark that is to be visible.
    """
    steps = np.asarray(percentiles)[::4]
    middles, widths = (steps[1:] + steps[:-1]) / 2, np.maximum(np.diff(steps), 1e-9)
    before = [mark, steps[0]] if mark < steps[0] else [steps[0]]
    after = [steps[-1], mark] if mark > steps[-1] else [steps[-1]]
    places = np.concatenate([before, middles, after])
    return places, np.concatenate([np.zeros(len(before)), 1.0 / widths, np.zeros(len(after))])


def _draw_differences(at: int, policy: _Document) -> Markup | None:
    """Draw the Sharpe difference to monthly of each refit on each panel, and of all together."""
    whiskers = []
    for result in policy["results"]:
        gain = result["against"]["monthly"]["sharpe_gain"]
        if gain is not None:
            whiskers.append(
                Whisker(_label(result), at, gain["estimate"], gain["low"], gain["high"])
            )
    whole = policy["whole"]["monthly"]
    if whole is not None:
        gain = whole["sharpe_gain"]
        whiskers.append(
            Whisker("mean of all", at, gain["estimate"], gain["low"], gain["high"], strong=True)
        )
    if not whiskers:
        return None
    return drawing.draw_whiskers(
        whiskers, title=f"Sharpe difference of {policy['policy']} to monthly, with 95% intervals"
    )


def _draw_drawdowns(at: int, policy: _Document) -> Markup | None:
    """Draw each maximum drawdown, and a line to that of monthly at the same exposure."""
    whiskers = []
    for result in policy["results"]:
        own, usual = result["max_drawdown"], result["monthly_max_drawdown"]
        exposed = result["monthly_average_exposure"]
        if exposed <= 0:
            continue
        matched = usual * result["average_exposure"] / exposed
        whiskers.append(Whisker(_label(result), at, -own, min(-own, -matched), max(-own, -matched)))
    if not whiskers:
        return None
    return drawing.draw_whiskers(
        whiskers, title=f"Maximum drawdown of {policy['policy']}, and of monthly at its exposure"
    )


def _draw_orders(policy: _Document) -> Table | None:
    """Return orders a year beside monthly's, where a fold takes at least a year."""
    rows = tuple(
        (
            result["panel"],
            result["known_until"],
            f"{result['orders_per_year']:.0f}",
            f"{result['monthly_orders_per_year']:.0f}",
            _multiple(result["orders_of_monthly"]),
            _multiple(result["turnover_of_monthly"]),
            _percentage(result["average_exposure"], sign=""),
        )
        for result in policy["results"]
        if result["orders_per_year"] is not None and result["monthly_orders_per_year"] is not None
    )
    if not rows:
        return None
    return Table(
        "",
        ("panel", "known until"),
        ("orders a year", "monthly's", "multiple", "turnover multiple", "exposure"),
        (rows,),
        "",
    )


def _by_fold(policy: _Document) -> Table:
    rows = []
    for fold in policy["by_fold"]:
        medians, monthly = fold["medians"], fold["monthly"]
        rows.append(
            (
                fold["known_until"],
                "-" if monthly is None else _interval(monthly["sharpe_gain"]),
                _percentage(medians["drawdown_beyond_exposure"]),
                _multiple(medians["orders_of_monthly"]),
                _multiple(medians["turnover_of_monthly"]),
            )
        )
    return Table(
        "",
        ("known until",),
        ("Sharpe difference (95%)", "beyond exposure", "orders", "turnover"),
        (tuple(rows),),
        "The last refit is the policy that serves; its row is about that policy itself.",
    )


def _robustness(policy: _Document) -> Table:
    rows = [
        (
            "without the worst five months",
            _comparison(policy["without_crash"]["monthly"]),
            _percentage(policy["without_crash"]["drawdown_beyond_exposure"]),
        )
    ]
    rows += [
        (f"{part['from']} to {part['to']}", _comparison(part["monthly"]), "")
        for part in policy["thirds"]
    ]
    return Table(
        "",
        ("days",),
        ("Sharpe difference (95%)", "beyond exposure"),
        (tuple(rows),),
        "The worst five months of each panel's worst crash are left out; then the thirds of all "
        "judged days.",
    )


def _seeds(policy: _Document) -> Table | None:
    seeds = policy["seeds"]
    if not seeds:
        return None
    return Table(
        "",
        ("",),
        tuple(f"seed {at}" for at in range(len(seeds))),
        ((("beyond exposure", *map(_percentage, seeds)),),),
        "Each network alone: drawdown beyond exposure, median over refits and panels.",
    )


def _describe_average(policy: _Document) -> str | None:
    average = policy["skeleton"]
    if average is None:
        return None
    return (
        f"On average it holds {average['invested']:.0%} of a mix with "
        f"{average['parts'][0]:.0%} of the strategic weights. In {average['differs']:.0%} of its "
        "decisions the targets are more than two points away from this average, by "
        f"{100 * average['distance']:.1f} points in the mean."
    )


def _label(result: _Document) -> str:
    return f"{result['panel']}, known until {result['known_until']}"


def _comparison(comparison: _Document | None) -> str:
    return "-" if comparison is None else _interval(comparison["sharpe_gain"])


def _interval(gain: _Document) -> str:
    return f"{gain['estimate']:+.2f} ({gain['low']:+.2f} to {gain['high']:+.2f})"


def _signed(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:+.2f}"


def _percentage(share: float | None, sign: str = "+") -> str:
    return "-" if share is None else f"{share:{sign}.0%}"


def _multiple(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2f}"
