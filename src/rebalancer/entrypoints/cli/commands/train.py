"""`rebalancer train`: train a learned policy."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from rebalancer.application.ports.clock import Clock
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.policy.algorithms import (
    ALGORITHMS,
    FEATURES,
    SHIPPED_REWARD,
    SHIPPED_SEEDS,
    SHIPPED_WARM_START,
    SHIPPED_WORLDS,
    any_of,
)
from rebalancer.entrypoints.cli.commands.jobs import submit
from rebalancer.entrypoints.cli.engine_options import EngineChoice, engine_options
from rebalancer.entrypoints.cli.files import check_output, write_text
from rebalancer.entrypoints.cli.options import (
    FILE,
    IsoDate,
    SymbolText,
    check_accepted_jumps,
    json_option,
    open_containers,
    panel_options,
    price_panels,
    report_reading,
    settings,
    sources,
)
from rebalancer.entrypoints.cli.screen import SetProgress, caution, console, print_json, stages
from rebalancer.entrypoints.cli.training_options import (
    plan_options,
    training_command,
    workers_option,
)

if TYPE_CHECKING:
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.reporting.training import TrainingResult
    from rebalancer.application.training import TrainRequest
    from rebalancer.domain.policy.training import CurvePoint, TrainingPlan

SAMPLE_UNTIL = date(2015, 12, 31)
"""End of training on the packaged sample; its later years are for evaluation."""

_EVALUATION_ROWS = 60
"""Rows after training that a panel needs for an evaluation."""


@click.command()
@click.option(
    "--algorithm",
    default="ppo",
    metavar="|".join(ALGORITHMS),
    help=f"Learning algorithm: {any_of(ALGORITHMS)}.",
)
@panel_options
@click.option(
    "--until",
    type=IsoDate(),
    help="End of the training data: the last close on or before. Default: the last close; for the "
    f"packaged sample {SAMPLE_UNTIL}.",
)
@click.option(
    "--cash",
    type=SymbolText(),
    metavar="COLUMN[,...]",
    help="Price columns that represent cash, such as T-bills, and are not traded. Default: BIL and "
    "TBILL3M, if present.",
)
@plan_options(
    steps=300_000,
    seeds=2,
    reward=SHIPPED_REWARD,
    worlds=600,
    warm_start=60,
    features=FEATURES,
)
@click.option(
    "--fit-regimes",
    is_flag=True,
    help="Fit the market-regime model to the same prices. Default: use the shipped model.",
)
@workers_option
@engine_options
@click.option("--device", default="cpu", help="Device of torch.")
@click.option("--name", help="Name of the policy. Default: my_ALGORITHM, such as my_ppo.")
@click.option(
    "--out",
    type=FILE,
    help="Folder of checkpoints, from which an interrupted training continues. Default: "
    "training/NAME.",
)
@click.option("--no-record", is_flag=True, help="Do not add to the record of trials.")
@click.option("--report", type=FILE, help="Write an HTML report with learning curves to this file.")
@click.option(
    "--background",
    is_flag=True,
    help="Submit a job that a `rebalancer worker` or `rebalancer serve` runs, one seed after the "
    "other; see `rebalancer jobs`.",
)
@json_option
def train(
    algorithm: str,
    prices: tuple[Path, ...],
    more: tuple[Path, ...],
    layout: str | None,
    until: date | None,
    cash: str | None,
    seeds: int,
    fit_regimes: bool,
    workers: int | None,
    name: str | None,
    out: Path | None,
    no_record: bool,
    report: Path | None,
    background: bool,
    as_json: bool,
    engine: EngineChoice,
    **plan_options: Any,
) -> None:
    """Train a learned policy, and add it to the catalogue as a new version.

    The policy is stored in $REBALANCER_POLICIES, or in the folder policies, and can be used by its
    name in every command. Needs extra packages: pip install 'rebalancer[train]'. After Ctrl-C, the
    same command continues from the last checkpoint.

    The defaults train a small policy in a few minutes. Shipped policies use --worlds 3000
    --warm-start 120 --seeds 5, more prices and more steps; `rebalancer policies show ppo` prints
    the command.

    \b
    Examples:
      rebalancer train --report training.html
      rebalancer train --algorithm dqn --prices etfs.csv stocks.csv --until 2015-12-31
      rebalancer train --prices etfs.csv --worlds 3000 --warm-start 120 --steps 524288 \\
        --seeds 5 --name etf_ppo
      rebalancer train --seeds 5 --engine ray --address 10.0.0.1:6379
    """
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.ports.reports import Renderer
    from rebalancer.application.reporting.training import TrainingResult, training_document
    from rebalancer.application.training import TrainPolicy, TrainRequest
    from rebalancer.domain.backtest.selection import RULES
    from rebalancer.domain.policy.training import TrainingPlan, check_name

    engine.check_foreground(background)
    files = prices + more
    plan = TrainingPlan(
        algorithm,
        seeds=tuple(range(seeds)),
        workers=min(engine.most(workers, settings().cores), seeds),
        **plan_options,
    )
    name = f"my_{algorithm}" if name is None else name
    check_name(name, algorithm)
    if report is not None:
        check_output(report, (*files, *sources().files), field="report")
    if not files and sources().prices == "sample" and until is None:
        until = SAMPLE_UNTIL
    panels = price_panels(files)
    wired = open_containers(panels, layout=layout, overrides=[engine.provider()])
    check_accepted_jumps(wired.values())
    for panel, source in wired.items():
        report_reading(source, panel)
    parts = next(iter(wired.values()))
    cautions = [] if files else [each.text for each in sources().cautions]
    default = [] if sources().prices == "sample" else [sources().prices]
    request = TrainRequest(
        plan=plan,
        name=name,
        out=Path("training") / name if out is None else out,
        command=training_command(
            plan, name, files or default, until, cash, layout, fit_regimes=fit_regimes
        ),
        until=until,
        cash=cash,
        fit_regimes=fit_regimes,
        recorded=not no_record,
    )
    if background:
        _submit(request, panels, cautions, layout, report, as_json=as_json)
        return
    given = {each: one.get(PriceSource) for each, one in wired.items()}
    if not as_json:
        click.echo(_announcement(request.command, plan, list(panels)))
    try:
        with stages() as begin:
            bars = _TrainingBars(begin, plan, len(RULES) * len(panels))
            made = parts.get(TrainPolicy)(
                given,
                request,
                now=parts.get(Clock)(),
                cautions=cautions,
                tried=bars.tried,
                drawn=bars.drawn,
                progress=bars.point,
            )
    except KeyboardInterrupt:
        click.echo(
            f"Stopped. The same command continues from the last checkpoint in {request.out}.",
            err=True,
        )
        raise click.Abort from None
    next_commands = _next_commands(made, given, panels, cash)
    if as_json:
        document = {**training_document(made), "next": next_commands}
        print_json(document, ensure_ascii=True, allow_nan=False)
    else:
        _print_result(made, next_commands)
    if report is not None:
        write_text(report, parts.get(Renderer[TrainingResult]).render(made), field="report")
        click.echo(f"Report: {report.resolve()}", err=as_json)


def _submit(
    request: TrainRequest,
    panels: Mapping[str, Path | None],
    cautions: Sequence[str],
    layout: str | None,
    report: Path | None,
    *,
    as_json: bool,
) -> None:
    """Submit a job that trains the policy."""
    from rebalancer.application.background import TRAIN, TrainJobRequest

    if report is not None:
        raise InvalidRequest(
            "--report cannot be combined with --background", code="conflicting_options"
        )
    job_request = TrainJobRequest(
        attrs.evolve(request, out=request.out.resolve()),
        {name: Path(sources(path).portable_prices) for name, path in panels.items()},
        tuple(cautions),
        layout,
    )
    submit(TRAIN, job_request.to_json(), as_json=as_json)


def _announcement(command: str, plan: TrainingPlan, panels: Sequence[str]) -> str:
    noun = "network" if len(plan.seeds) == 1 else "networks"
    return (
        f"Training {len(plan.seeds)} {noun} by {plan.algorithm.upper()} on {', '.join(panels)}:\n"
        f"  {command}\n"
        f"Shipped policies use --worlds {SHIPPED_WORLDS} --warm-start {SHIPPED_WARM_START} --seeds "
        f"{SHIPPED_SEEDS}, more prices and more steps."
    )


class _TrainingBars:
    """Progress bars of a training: rules, worlds, and the stages of each seed."""

    def __init__(
        self, begin: Callable[[str, str], SetProgress], plan: TrainingPlan, tries: int
    ) -> None:
        self._begin, self._plan, self._tries = begin, plan, tries
        self._tried = self._drawn = 0
        self._bars: dict[str, SetProgress] = {"rules": begin("trying the rules", "rules")}
        self._waiting = list(plan.seeds)

    def tried(self, _: str) -> None:
        """Count a rule that was tried on a panel."""
        self._tried += 1
        self._bars["rules"](self._tried, self._tries)
        if self._tried == self._tries:
            self._bars["worlds"] = self._begin("drawing worlds", "worlds")

    def drawn(self, count: int) -> None:
        """Count worlds that were drawn."""
        self._drawn += count
        self._bars["worlds"](self._drawn, self._plan.worlds)
        if self._drawn >= self._plan.worlds:
            for _ in range(self._plan.workers):
                self._next()

    def point(self, point: CurvePoint) -> None:
        """Show a point of a learning curve."""
        begun = self._bars.get(f"seed {point.seed}: warm start")
        if begun is not None and point.stage == self._plan.algorithm:
            # A warm start that an earlier run completed is not reported again.
            begun(self._plan.warm_start, self._plan.warm_start)
        self._bar(point.seed, point.stage)(point.at, point.of)
        if point.at >= point.of:
            if point.stage == self._plan.algorithm:
                self._next()
            else:
                self._bar(point.seed, self._plan.algorithm)

    def _next(self) -> None:
        """Show a bar for the next seed."""
        if self._waiting:
            plan = self._plan
            self._bar(self._waiting.pop(0), "warm start" if plan.warm_start else plan.algorithm)

    def _bar(self, seed: int, stage: str) -> SetProgress:
        key = f"seed {seed}: {stage if stage != self._plan.algorithm else stage.upper()}"
        if key not in self._bars:
            unit = "steps" if stage == self._plan.algorithm else "iterations"
            self._bars[key] = self._begin(key, unit)
        return self._bars[key]


def _next_commands(
    made: TrainingResult,
    given: Mapping[str, PriceSource],
    panels: Mapping[str, Path | None],
    cash: str | None,
) -> list[str]:
    """Return the next commands: show the card, and evaluate on data after the training data."""
    import numpy as np

    from rebalancer.application.training import BILLS

    ended = made.trained.training.trained_until
    histories = {name: source.closes() for name, source in given.items()}
    later = [
        name
        for name, history in histories.items()
        if np.count_nonzero(history.dates > np.datetime64(ended, "D")) >= _EVALUATION_ROWS
    ]
    words: list[object] = ["rebalancer", "evaluate", "--policy", made.version]
    if not later:
        words += ["--prices", "LATER.csv"]
    else:
        files = [panels[name] for name in later if panels[name] is not None]
        words += ["--prices", *files] if files else []
        hidden = BILLS if cash is None else tuple(each.strip() for each in cash.split(","))
        bills = [each for each in hidden if any(each in histories[name].columns for name in later)]
        words += ["--risk-free", ",".join(bills)] if bills else []
        words += ["--from", ended + timedelta(days=1)]
    return [f"rebalancer policies show {made.version}", shlex.join(map(str, words))]


def _print_result(made: TrainingResult, next_commands: Sequence[str]) -> None:
    """Print the result of a training."""
    from rich.table import Table

    from rebalancer.application.reporting.training import describe_choice

    screen, trained = console(), made.trained
    algorithm = made.plan.algorithm.upper()
    table = Table(
        title="Mean weekly reward in held-out worlds",
        title_justify="left",
        caption="Above 0: a higher reward than the monthly rule.",
        caption_justify="left",
    )
    for heading in ("seed", f"before {algorithm}", f"after {algorithm}", "change"):
        table.add_column(heading, justify="right")
    for seed in made.plan.seeds:
        before, after = trained.before[seed], trained.after[seed]
        table.add_row(str(seed), *(f"{each:+.5f}" for each in (before, after, after - before)))
    screen.print(table)
    where = "" if made.location is None else f" It is stored in {made.location}."
    screen.print(f"Trained {made.version}, which every command accepts as a policy.{where}")
    screen.print(describe_choice(made.choice))
    screen.print(made.counted)
    for text in made.cautions:
        caution(screen, text)
    screen.print("Next:")
    for line in next_commands:
        screen.print(f"  {line}", soft_wrap=True)
