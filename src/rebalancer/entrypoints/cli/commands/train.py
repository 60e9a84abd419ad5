"""`rebalancer train`: make a learned policy of one's own."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rebalancer.entrypoints.cli.options import (
    IsoDate,
    json_option,
    settings,
    sources,
    spare,
    wire,
    write_text,
)

if TYPE_CHECKING:
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.reporting.training import TrainingResult
    from rebalancer.application.training import TrainRequest
    from rebalancer.domain.policy.training import Plan, Point
    from rebalancer.entrypoints.cli.screen import Tell

SAMPLE_UNTIL = date(2015, 12, 31)
"""Where training on the packaged sample ends, so that its later years can judge."""

_MOST = 1_000_000_000
_FEWEST_LATER = 60


@click.command()
@click.option(
    "--algorithm", default="ppo", show_default=True, metavar="ppo|dqn", help="Whose updates train."
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
    "--until",
    type=IsoDate(),
    help="The last close (on or before) that training sees. Default: the last; of the packaged "
    f"sample {SAMPLE_UNTIL}.",
)
@click.option(
    "--cash",
    metavar="COLUMN[,...]",
    help="Columns that are cash by another name, such as of T-bills: no part of any universe. "
    "Default: BIL and TBILL3M, where there are any.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, _MOST),
    default=300_000,
    show_default=True,
    help="Steps of the environment a seed, rounded up to whole segments of 131,072.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    default=2,
    show_default=True,
    help="How many networks; their median decides.",
)
@click.option(
    "--reward",
    default="mean_variance",
    show_default=True,
    help="What a week is worth: mean_variance, differential_sharpe or drawdown.",
)
@click.option(
    "--worlds",
    type=click.IntRange(1, _MOST),
    default=600,
    show_default=True,
    help="Worlds of two years that are drawn from the prices to learn in.",
)
@click.option(
    "--warm-start",
    type=click.IntRange(0, _MOST),
    default=60,
    show_default=True,
    help="Iterations of the warm start, which climbs a smooth simulation's gradient; 0: none.",
)
@click.option(
    "--fit-regimes",
    is_flag=True,
    help="Fit market regimes anew on the same prices. Default: those that are shipped.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Processes that train seeds side by side, to the same result. Default: one a core, or "
    "$REBALANCER_WORKERS.",
)
@click.option("--device", default="cpu", show_default=True, help="Where torch computes.")
@click.option("--name", help="Of the policy. Default: my_ppo or my_dqn.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for checkpoints; what is done there is not done again. Default: training/NAME.",
)
@click.option("--no-record", is_flag=True, help="Leave the record of trials alone.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="Write a self-contained HTML report here, with learning curves.",
)
@click.option(
    "--background",
    is_flag=True,
    help="Leave it to a `rebalancer worker` or `rebalancer serve`, which trains one seed after the "
    "other; see `rebalancer jobs`.",
)
@json_option
def train(
    algorithm: str,
    prices: tuple[Path, ...],
    more: tuple[Path, ...],
    until: date | None,
    cash: str | None,
    steps: int,
    seeds: int,
    reward: str,
    worlds: int,
    warm_start: int,
    fit_regimes: bool,
    workers: int | None,
    device: str,
    name: str | None,
    out: Path | None,
    no_record: bool,
    report: Path | None,
    background: bool,
    as_json: bool,
) -> None:
    """Train a learned policy, and keep it as a new version in the catalogue.

    It is kept in $REBALANCER_POLICIES, or in the folder policies, and serves by its name wherever
    a policy is named. Needs the extra: pip install 'rebalancer[train]'. Stopped with Ctrl-C, the
    same command goes on from the last checkpoint.

    The defaults train a small policy in a few minutes, to see how it is done. The shipped ones
    took --worlds 6000 --warm-start 300 --seeds 5, more prices and more steps:
    `rebalancer policies show ppo` prints the command.

    \b
    Examples:
      rebalancer train --report training.html
      rebalancer train --algorithm dqn --prices etfs.csv stocks.csv --until 2015-12-31
      rebalancer train --prices etfs.csv --worlds 6000 --warm-start 300 --steps 3000000 \\
        --seeds 5 --name etf_ppo
    """
    from rebalancer.application.ports.clock import Clock
    from rebalancer.application.ports.market import PriceSource
    from rebalancer.application.ports.reports import TrainingReports
    from rebalancer.application.reporting.training import training_document
    from rebalancer.application.training import TrainPolicy, TrainRequest
    from rebalancer.domain.backtest.selection import RULES
    from rebalancer.domain.policy.training import Plan, check_name
    from rebalancer.entrypoints.cli.screen import stages
    from rebalancer.wiring.market import SAMPLE

    files = prices + more
    plan = Plan(
        algorithm=algorithm,  # type: ignore[arg-type]  # judged by the plan itself
        steps=steps,
        seeds=tuple(range(seeds)),
        reward=reward,
        worlds=worlds,
        warm_start=warm_start,
        device=device,
        workers=min(workers or settings().cores, seeds),
    )
    name = f"my_{algorithm}" if name is None else name
    check_name(name, algorithm)
    if report is not None:
        spare((*files, settings().prices), report, field="report")
    if not files and sources(None, None).prices == SAMPLE and until is None:
        until = SAMPLE_UNTIL
    panels = _panels(files)
    wired = {each: wire(sources(path, None)) for each, path in panels.items()}
    parts = next(iter(wired.values()))
    cautions = [] if files else [each.text for each in sources(None, None).cautions]
    request = TrainRequest(
        plan=plan,
        name=name,
        out=Path("training") / name if out is None else out,
        command=_command(plan, name, files, until, cash, fit_regimes=fit_regimes),
        until=until,
        cash=cash,
        fit_regimes=fit_regimes,
        recorded=not no_record,
    )
    if background:
        _leave(request, panels, cautions, report, as_json=as_json)
        return
    given = {each: one.get(PriceSource) for each, one in wired.items()}
    if not as_json:
        click.echo(_announced(request.command, plan, list(panels)))
    try:
        with stages() as begin:
            watch = _Watch(begin, plan, len(RULES) * len(panels))
            made = parts.get(TrainPolicy)(
                given,
                request,
                now=parts.get(Clock)(),
                cautions=cautions,
                tried=watch.tried,
                drawn=watch.drawn,
                progress=watch.point,
            )
    except KeyboardInterrupt:
        click.echo(
            f"Stopped. The same command goes on from the last checkpoint in {request.out}.",
            err=True,
        )
        raise click.Abort from None
    following = _following(made, given, panels, cash)
    if as_json:
        import json

        click.echo(
            json.dumps({**training_document(made), "next": following}, indent=2, allow_nan=False)
        )
    else:
        _show(made, following)
    if report is not None:
        write_text(report, parts.get(TrainingReports).render(made), field="report")
        click.echo(f"Report: {report.resolve()}", err=as_json)


def _leave(
    request: TrainRequest,
    panels: Mapping[str, Path | None],
    cautions: Sequence[str],
    report: Path | None,
    *,
    as_json: bool,
) -> None:
    """Have somebody else train."""
    import attrs

    from rebalancer.application.background import TRAIN, TrainJobRequest
    from rebalancer.domain.errors import InvalidRequest
    from rebalancer.entrypoints.cli.commands.jobs import submit

    if report is not None:
        raise InvalidRequest("not with --background", field="report")
    order = TrainJobRequest(
        attrs.evolve(request, out=request.out.resolve()),
        {name: Path(sources(path, None).portable_prices) for name, path in panels.items()},
        tuple(cautions),
    )
    submit(TRAIN, order.kept(), as_json=as_json)


def _panels(files: Sequence[Path]) -> dict[str, Path | None]:
    """Panels of prices by name: the file's, with its folders where that leaves them apart."""
    from rebalancer.domain.errors import InvalidRequest

    if not files:
        return {sources(None, None).title: None}
    for path in files:
        if files.count(path) > 1:
            raise InvalidRequest(f"{path} is named twice", field="prices")
    short = len({path.name for path in files}) == len(files)
    return {path.name if short else str(path): path for path in files}


def _command(
    plan: Plan,
    name: str,
    files: Sequence[Path],
    until: date | None,
    cash: str | None,
    *,
    fit_regimes: bool,
) -> str:
    """What makes the same policy again, with nothing left to defaults that may change."""
    from rebalancer.wiring.market import SAMPLE

    words: list[object] = ["rebalancer", "train", "--algorithm", plan.algorithm]
    prices = sources(None, None).prices
    named = files or ([] if prices == SAMPLE else [Path(prices)])
    words += ["--prices", *named] if named else []
    for option, value in (
        ("--until", until),
        ("--cash", cash),
        ("--steps", plan.steps),
        ("--seeds", len(plan.seeds)),
        ("--reward", plan.reward),
        ("--worlds", plan.worlds),
        ("--warm-start", plan.warm_start),
        ("--device", None if plan.device == "cpu" else plan.device),
        ("--name", name),
    ):
        if value is not None:
            words += [option, value]
    return shlex.join(map(str, words)) + (" --fit-regimes" if fit_regimes else "")


def _announced(command: str, plan: Plan, panels: Sequence[str]) -> str:
    many = "network" if len(plan.seeds) == 1 else "networks"
    return (
        f"Training {len(plan.seeds)} {many} by {plan.algorithm.upper()} on {', '.join(panels)}:\n"
        f"  {command}\n"
        "The shipped policies took --worlds 6000 --warm-start 300 --seeds 5, more prices and more "
        "steps."
    )


class _Watch:
    """Turns what a training tells into progress bars."""

    def __init__(self, begin: Callable[[str, str], Tell], plan: Plan, tries: int) -> None:
        self._begin, self._plan, self._tries = begin, plan, tries
        self._tried = self._drawn = 0
        self._bars: dict[str, Tell] = {"rules": begin("trying the rules", "rules")}
        self._waiting = list(plan.seeds)

    def tried(self, _: str) -> None:
        """A rule was tried on a panel."""
        self._tried += 1
        self._bars["rules"](self._tried, self._tries)
        if self._tried == self._tries:
            self._bars["worlds"] = self._begin("drawing worlds", "worlds")

    def drawn(self, count: int) -> None:
        """So many more worlds have come into being."""
        self._drawn += count
        self._bars["worlds"](self._drawn, self._plan.worlds)
        if self._drawn >= self._plan.worlds:
            for _ in range(self._plan.workers):
                self._next()

    def point(self, point: Point) -> None:
        """A point of a learning curve."""
        begun = self._bars.get(f"seed {point.seed}: warm start")
        if begun is not None and point.stage == self._plan.algorithm:
            # A warm start that an earlier call has done is not told again.
            begun(self._plan.warm_start, self._plan.warm_start)
        self._bar(point.seed, point.stage)(point.at, point.of)
        if point.at >= point.of:
            if point.stage == self._plan.algorithm:
                self._next()
            else:
                self._bar(point.seed, self._plan.algorithm)

    def _next(self) -> None:
        """Another seed begins."""
        if self._waiting:
            plan = self._plan
            self._bar(self._waiting.pop(0), "warm start" if plan.warm_start else plan.algorithm)

    def _bar(self, seed: int, stage: str) -> Tell:
        key = f"seed {seed}: {stage if stage != self._plan.algorithm else stage.upper()}"
        if key not in self._bars:
            unit = "steps" if stage == self._plan.algorithm else "iterations"
            self._bars[key] = self._begin(key, unit)
        return self._bars[key]


def _following(
    made: TrainingResult,
    given: Mapping[str, PriceSource],
    panels: Mapping[str, Path | None],
    cash: str | None,
) -> list[str]:
    """Commands that come next: the card, and a judgement on what training has not seen."""
    import numpy as np

    from rebalancer.application.training import BILLS

    ended = made.trained.training.trained_until
    histories = {name: source.closes() for name, source in given.items()}
    later = [
        name
        for name, history in histories.items()
        if np.count_nonzero(history.dates > np.datetime64(ended, "D")) >= _FEWEST_LATER
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


def _show(made: TrainingResult, following: Sequence[str]) -> None:
    """Print what a training came to as a person reads it."""
    from rich.table import Table

    from rebalancer.application.training import describe_choice
    from rebalancer.entrypoints.cli.screen import caution, console

    screen, trained = console(), made.trained
    algorithm = made.plan.algorithm.upper()
    table = Table(
        title="Mean reward a week in worlds held out",
        title_justify="left",
        caption="Above 0: better, by the reward, than the monthly rule.",
        caption_justify="left",
    )
    for heading in ("seed", f"before {algorithm}", f"after {algorithm}", "change"):
        table.add_column(heading, justify="right")
    for seed in made.plan.seeds:
        before, after = trained.before[seed], trained.after[seed]
        table.add_row(str(seed), *(f"{each:+.5f}" for each in (before, after, after - before)))
    screen.print(table)
    where = "" if made.place is None else f" It lies in {made.place}."
    screen.print(f"{made.version} is made: it decides wherever a policy is named.{where}")
    screen.print(describe_choice(made.choice))
    screen.print(made.counted)
    for text in made.cautions:
        caution(screen, text)
    screen.print("Next:")
    for line in following:
        screen.print(f"  {line}", soft_wrap=True)
