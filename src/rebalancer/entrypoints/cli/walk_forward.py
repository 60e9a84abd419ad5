"""`rebalancer evaluate --walk-forward`: its options, and what it prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.trials import Trials
from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.cli.files import write_text
from rebalancer.entrypoints.cli.options import FILE, IsoDate, combine_options, settings, sources
from rebalancer.entrypoints.cli.remedies import advise
from rebalancer.entrypoints.cli.screen import (
    SetProgress,
    caution,
    console,
    print_json,
    stages,
    wide_table,
)
from rebalancer.entrypoints.cli.training_options import (
    PLAN,
    plan_options,
    training_command,
    workers_option,
)

if TYPE_CHECKING:
    from dishka import Container
    from rich.console import Console

    from rebalancer.application.backtests import BacktestRequest
    from rebalancer.application.fold_panels import JudgedPrices
    from rebalancer.application.walk_forward import WalkForwardFindings
    from rebalancer.domain.policy.training import TrainingPlan

WORK = Path("out/walk-forward")
"""Default folder of refits."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class IsoDates(click.ParamType[tuple[date, ...]]):
    """Days written YYYY-MM-DD,YYYY-MM-DD."""

    name = "dates"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[date, ...]:
        """Parse each day, or fail with the expected format."""
        one = IsoDate()
        return tuple(one.convert(each.strip(), param, ctx) for each in value.split(","))


@attrs.frozen
class WalkForwardOptions:
    """Options of a walk-forward; see `WalkForwardRequest` and `RefitOptions`.

    Attributes:
        plan: Stated options of the refits' plan.
    """

    dates: tuple[date, ...]
    work: Path
    universes: int
    trains: bool
    workers: int
    plan: Mapping[str, Any]


_options = combine_options(
    click.option(
        "--walk-forward",
        "dates",
        type=IsoDates(),
        metavar="DATE[,DATE...]",
        help="Judge the procedures that give the policies: refit ppo and dqn at each date on what "
        "was known by then (on the prices of --chosen-on, else of --prices), and judge each refit "
        "on the days until the next date, the last one until --to. best_rule is the rule chosen "
        "on the same prices at each date.",
    ),
    click.option(
        "--work",
        type=FILE,
        help="Folder of the refits of a walk-forward, from which an interrupted one continues. "
        f"Default: {WORK}.",
    ),
    click.option(
        "--sub-universes",
        type=click.IntRange(1, 100),
        help="In a walk-forward, split each panel with more than 30 assets into this many random, "
        "disjoint universes of up to 30. Default: panels stay whole.",
    ),
    click.option(
        "--no-training",
        is_flag=True,
        help="In a walk-forward, use stored refits only; a missing one is an error.",
    ),
    plan_options(note="Of refits in a walk-forward; default: as of the shipped policies."),
    workers_option,
)


def walk_forward_options(command: Decorated) -> Decorated:
    """Add the options of a walk-forward; pass `WalkForwardOptions` or None as ``walk``."""

    @wraps(command)
    def with_options(
        *args: Any,
        dates: tuple[date, ...] | None,
        work: Path | None,
        sub_universes: int | None,
        no_training: bool,
        workers: int | None,
        **others: Any,
    ) -> Any:
        plan = {name: others.pop(name) for name in PLAN}
        stated = {name: value for name, value in plan.items() if value is not None}
        if dates is None:
            also = (("work", work), ("sub-universes", sub_universes), ("workers", workers))
            given = [name.replace("_", "-") for name in stated]
            given += [name for name, value in also if value is not None]
            given += ["no-training"] if no_training else []
            if given:
                raise InvalidRequest(
                    f"--{given[0]} needs --walk-forward", code="conflicting_options"
                )
            return command(*args, walk=None, **others)
        walk = WalkForwardOptions(
            dates=dates,
            work=work or WORK,
            universes=sub_universes or 0,
            trains=not no_training,
            workers=workers or settings().cores,
            plan=stated,
        )
        return command(*args, walk=walk, **others)

    return _options(with_options)  # type: ignore[return-value]  # called by click alone


def check_other_options(given: Mapping[str, object]) -> None:
    """Raise InvalidRequest if options are stated that a walk-forward does not have."""
    for option, value in given.items():
        if value:
            raise InvalidRequest(
                f"--{option} cannot be combined with --walk-forward, which judges each fold at "
                "equal weights on its own days",
                code="conflicting_options",
            )


def run_walk_forward(
    walk: WalkForwardOptions,
    request: BacktestRequest,
    judged: Mapping[str, Container],
    trained: Mapping[str, Container],
    files: Mapping[str, Path | None],
    risk_free: str | None,
    *,
    layout: str | None,
    trials: int | None,
    records: bool,
    keep: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Run a walk-forward with progress bars, print its findings, and record it as a trial.

    Args:
        walk: Options of the walk-forward.
        request: Names of procedures, and terms of the backtests; its last day ends the last fold.
        judged: Container of each panel to judge on.
        trained: Container of each panel to train on.
        files: File of each panel to train on; None for the default source.
        risk_free: Text of ``--risk-free``.
        layout: Layout of the files.
        trials: Number of trials that the user states.
        records: Whether to add to the record of trials.
        keep: Whether to store the evidence with the last refits.
        report: File of an HTML report; None: no report.
        as_json: Whether to print JSON.
    """
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.refits import RefitOptions
    from rebalancer.application.walk_forward import (
        EvaluateWalkForward,
        Progress,
        WalkForwardRequest,
    )

    prices = _judged_prices(request, judged, trained, risk_free)
    ends = max(each.history.last_date for each in prices.values())
    columns = {name for each in trained.values() for name in each.get(PriceSource).symbols()}
    cash = _training_cash(next(iter(prices.values())).cash, columns)

    def command(plan: TrainingPlan, name: str, panels: Sequence[str], until: date) -> str:
        default = [] if sources().prices == "sample" else [sources().prices]
        paths = [files[panel] for panel in panels if files[panel] is not None] or default
        return training_command(plan, name, paths, until, cash, layout, fit_regimes=True)

    asked = WalkForwardRequest(
        policies=request.policies,
        dates=walk.dates,
        last=ends if request.last is None else request.last,
        work=walk.work,
        command=command,
        options=RefitOptions(**walk.plan, workers=walk.workers),
        cash=cash,
        universes=walk.universes,
        trains=walk.trains,
        trials=trials,
        recorded=records,
    )
    parts = next(iter(judged.values()))
    try:
        with stages() as begin:
            findings, trial = parts.get(EvaluateWalkForward)(
                prices,
                {name: each.get(PriceSource) for name, each in trained.items()},
                asked,
                now=parts.get(Clock)(),
                cautions=sources().cautions if None in files.values() else (),
                progress=Progress(
                    choosing=_bar(begin, "choosing rules", "trials"),
                    refitting=_bar(begin, "refitting", "refits"),
                    judging=_bar(begin, "judging", "judgements"),
                ),
            )
    except KeyboardInterrupt:
        click.echo(f"Stopped. The same command continues with the refits in {walk.work}.", err=True)
        raise click.Abort from None
    _print_findings(findings, as_json=as_json)
    # After the results, which a failed write must not lose.
    if records:
        parts.get(Trials).append(trial)
    if keep:
        from rebalancer.application.serving_evidence import StoreWalkForward

        for card in parts.get(StoreWalkForward)(findings, now=parts.get(Clock)()):
            click.echo(f"Stored evidence with {card.name}.", err=as_json)
    if report is not None:
        from rebalancer.application.ports.reports import Renderer
        from rebalancer.application.reporting.walk_forward import WalkForwardPage

        page = parts.get(Renderer[WalkForwardPage]).render(WalkForwardPage.of(findings))
        write_text(report, page, field="report")
        click.echo(f"Report: {report.resolve()}", err=as_json)


def _judged_prices(
    request: BacktestRequest,
    judged: Mapping[str, Container],
    trained: Mapping[str, Container],
    risk_free: str | None,
) -> dict[str, JudgedPrices]:
    """Return the prices to judge on, with the columns of cash in the order of ``--risk-free``."""
    from rebalancer.application.backtests import RunBacktest
    from rebalancer.application.fold_panels import JudgedPrices
    from rebalancer.application.panels import read_cash
    from rebalancer.application.ports.market import PriceDetails, PriceSource

    columns = [
        (*parts.get(PriceSource).symbols(), *parts.get(PriceDetails).yields())
        for parts in (*judged.values(), *trained.values())
    ]
    named, rate = read_cash(risk_free, columns)
    return {
        name: JudgedPrices(request, parts.get(RunBacktest), named, rate)
        for name, parts in judged.items()
    }


def _training_cash(named: Sequence[str], columns: set[str]) -> str | None:
    """Return the columns of cash of a training; None if they are the usual ones."""
    from rebalancer.application.training import BILLS

    known = [name for name in named if name in columns]
    if set(known) <= set(BILLS):
        return None
    return ",".join([*known, *(name for name in BILLS if name in columns and name not in known)])


def _bar(
    begin: Callable[[str, str], SetProgress], title: str, unit: str
) -> Callable[[float, int], None]:
    """Return a function that shows progress in a bar, which begins at its first call."""
    bars: list[SetProgress] = []

    def show_progress(done: float, total: int) -> None:
        if not bars:
            bars.append(begin(title, unit))
        bars[0](done, total)

    return show_progress


def _print_findings(findings: WalkForwardFindings, *, as_json: bool) -> None:
    """Print a walk-forward as JSON, or as tables and sentences."""
    from rebalancer.application.reporting.walk_forward import walk_forward_document

    document = walk_forward_document(findings)
    if as_json:
        print_json(document, ensure_ascii=True, allow_nan=False)
        return
    _print_document(console(), document)


def _print_document(screen: Console, document: Mapping[str, Any]) -> None:
    from rebalancer.application.trial_counting import NO_TRIAL_RECORD

    for fold in document["folds"]:
        _print_fold(screen, fold, document["policies"])
    for policy in document["policies"]:
        screen.print(policy["verdict"])
        for one in policy["criteria"]:
            screen.print(f"  {'pass' if one['passed'] else 'FAIL'}  {one['sentence']}")
        screen.print(f"  {policy['higher_sharpe']['sentence']}")
        screen.print(
            f"  The {policy['panels']} panels are worth {policy['effective_panels']:.1f} "
            "independent ones."
        )
        screen.print()
    counted = document["counted"]
    unrecorded = counted.endswith(NO_TRIAL_RECORD)
    screen.print(advise(counted, "no_trial_record" if unrecorded else ""))
    for text, code in zip(document["cautions"], document["caution_codes"], strict=True):
        caution(screen, advise(text, code))


def _print_fold(
    screen: Console, fold: Mapping[str, Any], policies: Sequence[Mapping[str, Any]]
) -> None:
    """Print what was known at a date, and the figures of each policy on each panel after it."""
    table = wide_table(
        screen,
        f"Known until {fold['known_until']}, judged from {fold['from']} to {fold['to']}",
        ("panel", "policy"),
        ("Sharpe gain", "beyond exposure", "orders", "turnover", "exposure"),
    )
    for panel in fold["panels"]:
        for at, policy in enumerate(policies):
            (result,) = (
                each
                for each in policy["results"]
                if (each["known_until"], each["panel"]) == (fold["known_until"], panel["panel"])
            )
            gain = result["sharpe"] - result["monthly_sharpe"]
            table.add_row(
                panel["panel"] if at == 0 else "",
                policy["policy"],
                f"{gain:+.2f}",
                _percentage(result["drawdown_beyond_exposure"]),
                _multiple(result["orders_of_monthly"]),
                _multiple(result["turnover_of_monthly"]),
                f"{result['average_exposure']:.0%}",
            )
        table.add_section()
    table.caption = "Against monthly, above cash where its return is known. Orders and turnover: "
    table.caption += "multiples of monthly's."
    screen.print(table)
    screen.print(
        f"Trained on {', '.join(fold['trained_on'])}; best rule there: "
        f"{fold['chosen_rule']['policy']}."
    )
    for refit in fold["refits"]:
        screen.print(f"{refit['policy']} is {refit['version']}, of {refit['location']}.")
    for text in fold["left_out"]:
        screen.print(f"Not trained on {text}")
    for text in fold["not_judged"]:
        screen.print(f"Not judged on {text}")
    screen.print()


def _percentage(share: float | None) -> str:
    return "-" if share is None else f"{share:+.0%}"


def _multiple(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2f}"
