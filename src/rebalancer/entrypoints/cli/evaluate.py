"""`rebalancer evaluate`: is a policy's gain real?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rebalancer.entrypoints.cli.options import (
    IsoDate,
    cost_model,
    cost_options,
    json_option,
    rate_or_column,
    settings,
    sources,
)

if TYPE_CHECKING:
    from rich.console import Console

    from rebalancer.domain.backtest.evaluation import Evaluation, Judgement
    from rebalancer.domain.backtest.run import Performance
    from rebalancer.domain.errors import InvalidRequest

_MOST_TRIALS = 1_000_000_000
_SAME_EXPOSURE = 0.005


@click.command()
@click.option(
    "--policy",
    required=True,
    metavar="NAME[,NAME...]",
    help="Policies to judge, such as volatility_target,trend:window=150. See `rebalancer "
    "policies`.",
)
@click.option(
    "--against",
    metavar="NAME[,NAME...]",
    help="Judge them against these too, beside the sceptics.",
)
@click.option(
    "--prices",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="CSV (or .csv.gz): a date column and one column of adjusted closes a symbol. Repeat it, "
    "or name more files after it, for several panels. Default: $REBALANCER_PRICES, or the "
    "packaged sample.",
)
@click.argument("more", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE.csv]...")
@click.option(
    "--assets",
    type=click.Path(path_type=Path),
    help="CSV of symbol,name,asset_class,daily_volume. Default: $REBALANCER_ASSETS, or the "
    "packaged list.",
)
@click.option("--from", "first", type=IsoDate(), help="The window's first close (on or after).")
@click.option("--to", "last", type=IsoDate(), help="The window's last close (on or before).")
@cost_options
@click.option(
    "--risk-free",
    metavar="COLUMN|RATE",
    help="What cash earns: a price column, such as of T-bills (which leaves the universe), or a "
    "rate a year such as 0.02. A gain must then hold with cash at 0 and above this. Default: 0 "
    "alone.",
)
@click.option(
    "--trials",
    type=click.IntRange(1, _MOST_TRIALS),
    help="How many policies and settings you have tried in all, for the deflated probability. "
    "Default: those named by --policy.",
)
@json_option
def evaluate(
    policy: str,
    against: str | None,
    prices: tuple[Path, ...],
    more: tuple[Path, ...],
    assets: Path | None,
    first: date | None,
    last: date | None,
    cost_bps: float | None,
    preset: str | None,
    risk_free: str | None,
    trials: int | None,
    as_json: bool,
) -> None:
    """Judge whether a policy's gain is real, beside sceptics.

    The sceptics: `monthly`, the baseline; `band`; and `monthly` held at the policy's own average
    exposure, the rest in cash. Targets are equal weights, everything is net of costs. What each
    figure means: docs/evidence.md.

    \b
    Examples:
      rebalancer evaluate --policy volatility_target,trend --from 2001-01-02
      rebalancer evaluate --policy trend --prices etfs.csv --risk-free BIL --trials 12
      rebalancer evaluate --policy band:half --against quarterly --prices us.csv eu.csv --json
    """
    from rebalancer.application.backtests import BacktestRequest, RunBacktest
    from rebalancer.application.evaluation import EvaluatePolicies
    from rebalancer.application.ports import PriceSource
    from rebalancer.domain.errors import InvalidRequest
    from rebalancer.domain.policy.rules import policy_names
    from rebalancer.entrypoints.cli.screen import progress
    from rebalancer.wiring import container

    names = policy_names(policy)
    others = _others(against)
    costs = cost_model(cost_bps, preset)
    wired = {name: container(sources(path, assets)) for name, path in _panels(prices + more)}
    requests = {}
    for panel, parts in wired.items():  # all of them are sound before the first is judged
        try:
            requests[panel] = BacktestRequest(
                policies=names,
                costs=costs,
                first=first,
                last=last,
                risk_free=rate_or_column(risk_free, parts.get(PriceSource)),
            )
            parts.get(RunBacktest).conditions(requests[panel])
        except InvalidRequest as error:
            raise _on(panel, error) if len(wired) > 1 else error from None
    done: dict[str, Evaluation] = {}
    each = len(names) * (1 if all(r.risk_free == 0.0 for r in requests.values()) else 2)
    with progress("evaluating", len(wired) * each) as advance:
        for panel, parts in wired.items():
            done[panel] = parts.get(EvaluatePolicies)(
                requests[panel], against=others, trials=trials, progress=advance
            )
    cautions = () if prices or more else sources(None, assets).cautions
    if as_json:
        import json

        from rebalancer.application.evaluation import record

        click.echo(json.dumps(record(done, cautions), indent=2, allow_nan=False))
    else:
        show(done, cautions)


def _others(against: str | None) -> list[str]:
    """Names of those whom else to judge against."""
    from rebalancer.domain.errors import InvalidRequest
    from rebalancer.domain.policy.rules import policy, policy_names

    try:
        names = [] if against is None else policy_names(against)
        for name in names:
            policy(name)
    except InvalidRequest as error:
        raise _named("against", error) from None
    return names


def _panels(files: Sequence[Path]) -> list[tuple[str, Path | None]]:
    """Panels of prices by name: the file's, shortened where that leaves them apart."""
    from rebalancer.domain.errors import InvalidRequest

    if not files:
        given = settings().prices
        return [("packaged sample" if given is None else given.name, None)]
    for path in files:
        if files.count(path) > 1:
            raise InvalidRequest(f"{path} is named twice", field="prices")
    short = [path.name for path in files]
    return list(
        zip(short if len(set(short)) == len(files) else map(str, files), files, strict=True)
    )


def _on(panel: str, error: InvalidRequest) -> InvalidRequest:
    """The same mistake, with the panel that it was found on."""
    from rebalancer.domain.errors import InvalidRequest

    text = str(error).removeprefix(f"{error.field}: ")
    return InvalidRequest(text if panel in text else f"{panel}: {text}", field=error.field)


def _named(field: str, error: InvalidRequest) -> InvalidRequest:
    """The same mistake, by the name of the option that it was made in."""
    from rebalancer.domain.errors import InvalidRequest

    return InvalidRequest(str(error).removeprefix(f"{error.field}: "), field=field)


def show(panels: Mapping[str, Evaluation], cautions: Sequence[str]) -> None:
    """Print evaluations as tables and sentences that a person reads."""
    from rebalancer.application.evaluation import summaries
    from rebalancer.entrypoints.cli.screen import caution, console

    screen = console()
    for name, done in panels.items():
        _show_panel(screen, name, done)
    if len(panels) > 1:
        screen.print(f"All {len(panels)} panels")
        for policy, sentence in summaries(panels):
            screen.print(f"  {policy}: {sentence}")
        screen.print()
    for text in cautions:
        caution(screen, text)


def _show_panel(screen: Console, name: str, done: Evaluation) -> None:
    from rebalancer.domain.backtest.evaluation import AT_ITS_EXPOSURE
    from rebalancer.entrypoints.cli.screen import wide_table

    title = (
        f"{name}: {done.dates[0]} to {done.dates[-1]}, {len(done.symbols)} assets, "
        f"{done.cost_label}"
    )
    strictest = done.judged[0].strictest
    above = "" if strictest.cash == "0" else f"; cash earns {strictest.cash}"
    figures = wide_table(
        screen,
        title + above,
        ["policy"],
        ["Sharpe", "CAGR", "max DD", "beyond exposure", "exposure", "turn/y", "orders/y"],
    )
    figures.caption = (
        "Beyond exposure: how much deeper (+) or shallower (-) it fell than monthly would have at "
        "the same exposure."
    )
    for judged in done.judged:
        beyond = judged.strictest.drawdown_beyond_exposure
        text = "" if beyond is None else f"{beyond:+.0%}"
        figures.add_row(judged.policy, *_figures(judged.strictest.performance, text))
    figures.add_section()
    asked = {judged.policy for judged in done.judged}
    for contest in strictest.contests:
        if contest.against not in {AT_ITS_EXPOSURE, *asked}:
            figures.add_row(contest.against, *_figures(contest.performance, ""))
    for judged in done.judged:
        if _holds_less(judged.strictest):
            sceptic = judged.strictest.contests[2].performance
            figures.add_row(f"monthly, as exposed as {judged.policy}", *_figures(sceptic, ""))
    screen.print(figures)

    free = strictest.cash != "0"
    gains = wide_table(
        screen,
        "Gain of Sharpe ratio",
        ["policy", "on"],
        [
            "gain",
            "P(>0)",
            "PSR",
            "DSR",
            *(["cash at 0"] if free else []),
            "thirds",
            "gone at",
        ],
    )
    gains.caption = (
        "Give or take the 95% interval. P(>0): probability of a gain. PSR and DSR: of the return "
        "difference at equal volatility, "
        f"DSR after {done.trials} trial{'' if done.trials == 1 else 's'}. Gone at: cost of trading "
        "at which the gain on monthly has vanished, basis points."
    )
    for judged in done.judged:
        plain = judged.judgements[0]
        for at, contest in enumerate(judged.strictest.contests):
            if contest.against == judged.policy:
                continue
            if contest.against == AT_ITS_EXPOSURE and not _holds_less(judged.strictest):
                continue
            gain, without = contest.gain, plain.contests[at].gain
            chances = (contest.probability, contest.probabilistic, contest.deflated)
            row = [
                judged.policy,
                "monthly, as exposed" if contest.against == AT_ITS_EXPOSURE else contest.against,
                "" if gain is None else f"{gain.estimate:+.2f} ±{gain.high - gain.estimate:.2f}",
                *("" if chance is None else f"{chance:.2f}" for chance in chances),
            ]
            if free:
                row.append("" if without is None else f"{without.estimate:+.2f}")
            if at == 0:
                row.append(" ".join(f"{part.gain:+.2f}" for part in judged.strictest.parts))
                row.append(_break_even(judged.strictest))
            gains.add_row(*row)
        gains.add_section()
    screen.print(gains)
    for judged in done.judged:
        screen.print(f"{judged.policy}: {judged.verdict.sentence}")
    screen.print()


def _figures(performance: Performance, beyond: str) -> tuple[str, ...]:
    return (
        f"{performance.sharpe:.2f}",
        f"{performance.cagr:.1%}",
        f"{performance.max_drawdown:.1%}",
        beyond,
        f"{performance.average_exposure:.0%}",
        f"{performance.turnover_per_year:.0%}",
        f"{performance.orders_per_year:.0f}",
    )


def _holds_less(judgement: Judgement) -> bool:
    """Whether its exposure is another than the baseline's: else both are one sceptic."""
    own, usual = judgement.performance, judgement.baseline.performance
    return abs(own.average_exposure - usual.average_exposure) >= _SAME_EXPOSURE


def _break_even(judgement: Judgement) -> str:
    """The cost at which the gain is gone; or that it lasts, or that there is none."""
    if judgement.break_even_bps is not None:
        return f"{judgement.break_even_bps:.0f}"
    dearest = judgement.sweep[-1]
    return f"> {dearest.bps:.0f}" if dearest.gain > 0 else "no gain"
