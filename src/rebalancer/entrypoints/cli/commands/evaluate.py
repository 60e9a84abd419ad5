"""`rebalancer evaluate`: is a policy's gain real?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rebalancer.entrypoints.cli.options import (
    IsoDate,
    cost_options,
    json_option,
    owner_options,
    settings,
    sources,
    spare,
    wire,
    write_text,
)

if TYPE_CHECKING:
    from dishka import Container
    from rich.console import Console

    from rebalancer.application.backtests import BacktestRequest
    from rebalancer.application.panels import Panel
    from rebalancer.application.reporting.tables import Table
    from rebalancer.domain.backtest.findings import Findings

_MOST_TRIALS = 1_000_000_000


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
@click.option(
    "--targets",
    "targets_file",
    type=click.Path(path_type=Path),
    help='JSON of strategic weights, such as {"SPY": 0.6, "AGG": 0.4}. Default: equal weights.',
)
@click.option("--from", "first", type=IsoDate(), help="The window's first close (on or after).")
@click.option("--to", "last", type=IsoDate(), help="The window's last close (on or before).")
@cost_options
@click.option(
    "--risk-free",
    metavar="COLUMN|RATE[,...]",
    help="What cash earns: a price column, such as of T-bills (which leaves the universe), or a "
    "rate a year such as 0.02. A gain must then hold with cash at 0 and above this. Of a list, as "
    "in BIL,TBILL3M,0.02, each panel takes the first column that it has, else the rate. Default: 0 "
    "alone.",
)
@owner_options
@click.option(
    "--chosen-on",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Choose the best rule on these training prices, as one more sceptic; repeat it for "
    "several panels. Default: a learned policy brings its own choice along.",
)
@click.option(
    "--chosen-until", type=IsoDate(), help="The last training close (on or before) of --chosen-on."
)
@click.option(
    "--trials",
    type=click.IntRange(1, _MOST_TRIALS),
    help="How many policies and settings you have tried in all, for the deflated probability. "
    "Default, and least: those on record ($REBALANCER_TRIALS, or docs/trials.jsonl if there is "
    "one), and those named by --policy.",
)
@click.option("--no-record", is_flag=True, help="Leave the record of trials alone.")
@click.option(
    "--keep",
    is_flag=True,
    help="Keep what was found with the learned policies judged, which promotion asks for; and "
    "whole, as reports in the store if there is one ($REBALANCER_MONGO_URL, or the database).",
)
@click.option(
    "--report", type=click.Path(path_type=Path), help="Write a self-contained HTML report here."
)
@json_option
def evaluate(
    policy: str,
    against: str | None,
    prices: tuple[Path, ...],
    more: tuple[Path, ...],
    assets: Path | None,
    targets_file: Path | None,
    first: date | None,
    last: date | None,
    cost_bps: float | None,
    preset: str | None,
    risk_free: str | None,
    max_departure: float,
    risk_profile: str,
    keep_limits: bool,
    chosen_on: tuple[Path, ...],
    chosen_until: date | None,
    trials: int | None,
    no_record: bool,
    keep: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Judge whether a policy's gain is real, beside sceptics.

    The sceptics: `monthly`, the baseline; `band`; `monthly` held at the policy's own average
    exposure, the rest in cash; and the best rule that was chosen on training data. Everything is
    net of costs. What each figure means: docs/evidence.md.

    \b
    Examples:
      rebalancer evaluate --policy volatility_target,trend --from 2001-01-02
      rebalancer evaluate --policy trend --prices etfs.csv --risk-free BIL --trials 12
      rebalancer evaluate --policy band:half --against quarterly --prices us.csv eu.csv --json
      rebalancer evaluate --policy trend --chosen-on old.csv --chosen-until 2015-12-31 \\
        --from 2016-01-01 --report evidence.html
    """
    from rebalancer.application.backtests import BacktestRequest
    from rebalancer.application.evaluation import (
        EvaluatePolicies,
        StoreEvidence,
        StoreEvidenceReports,
        count_steps,
    )
    from rebalancer.application.ports.clock import Clock
    from rebalancer.application.ports.reports import EvaluationReports
    from rebalancer.application.ports.trials import Trials
    from rebalancer.domain.errors import InvalidRequest, Unavailable
    from rebalancer.domain.policy.rules import policy_names
    from rebalancer.entrypoints.cli.commands.backtest import read_targets
    from rebalancer.entrypoints.cli.screen import progress

    if chosen_until is not None and not chosen_on:
        raise InvalidRequest("name training prices with --chosen-on, too", field="chosen_until")
    files = prices + more
    if report is not None:
        inputs = (*files, *chosen_on, assets, targets_file, settings().prices, settings().assets)
        spare(inputs, report, field="report")
    request = BacktestRequest(
        policies=policy_names(policy),
        cost_bps=cost_bps,
        costs=preset,
        targets=None if targets_file is None else read_targets(targets_file),
        first=first,
        last=last,
        max_departure=max_departure,
        risk_profile=risk_profile,
        keep_limits=keep_limits,
    )
    wired = _wired(_panels(files), assets)
    learnt = _wired(_panels(chosen_on, field="chosen_on") if chosen_on else [], assets)
    asked, training = _asked(request, wired, learnt, risk_free, chosen_until)
    parts = next(iter(wired.values()))
    with progress("evaluating", count_steps(asked, training)) as advance:
        findings, trial = parts.get(EvaluatePolicies)(
            asked,
            now=parts.get(Clock)(),
            against=_others(against),
            training=training,
            trials=trials,
            cautions=() if files else sources(None, assets).cautions,
            progress=advance,
        )
    if as_json:
        import json

        from rebalancer.application.reporting.evaluation import evaluation_document

        click.echo(json.dumps(evaluation_document(findings), indent=2, allow_nan=False))
    else:
        show(findings)
    # After the results, which are not lost if something cannot be written.
    if not no_record:
        parts.get(Trials).append(trial)
    if keep:
        now = parts.get(Clock)()
        cards = parts.get(StoreEvidence)(findings, max_departure=max_departure, now=now)
        for card in cards:
            click.echo(f"Kept with {card.name}.", err=as_json)
        try:
            whole = parts.get(StoreEvidenceReports)(
                findings, [card.name for card in cards], now=now
            )
        except Unavailable as error:  # who has no store does without
            click.echo(f"Not kept whole as a report: {error}", err=True)
        else:
            for kept in whole:
                click.echo(f"Kept whole as report {kept.id}.", err=as_json)
    if report is not None:
        write_text(report, parts.get(EvaluationReports).render(findings), field="report")
        click.echo(f"Report: {report.resolve()}", err=as_json)


def _wired(panels: Sequence[tuple[str, Path | None]], assets: Path | None) -> dict[str, Container]:
    """Everything wired together on each panel's prices."""
    return {name: wire(sources(path, assets)) for name, path in panels}


def _asked(
    request: BacktestRequest,
    wired: Mapping[str, Container],
    learnt: Mapping[str, Container],
    risk_free: str | None,
    until: date | None,
) -> tuple[dict[str, Panel], dict[str, Panel]]:
    """What is asked on each panel, and on each of those to choose the best rule on."""
    import attrs

    from rebalancer.application.backtests import RunBacktest
    from rebalancer.application.panels import Panel, assign_panel_cash
    from rebalancer.application.ports.market import PriceSource

    both = [*wired.items(), *learnt.items()]
    cash = assign_panel_cash(risk_free, [parts.get(PriceSource).symbols() for _, parts in both])
    panels = []
    for at, ((name, parts), earned) in enumerate(zip(both, cash, strict=True)):
        asked = attrs.evolve(request, risk_free=earned.source)
        if at >= len(wired):  # the universe is another, so the targets are equal weights
            asked = attrs.evolve(asked, targets=None, first=None, last=until)
        panels.append((name, Panel(asked, parts.get(RunBacktest), earned.hidden)))
    return dict(panels[: len(wired)]), dict(panels[len(wired) :])


def _others(against: str | None) -> list[str]:
    """Names of those whom else to judge against."""
    from rebalancer.domain.errors import InvalidRequest
    from rebalancer.domain.policy.rules import policy_names

    try:
        return [] if against is None else policy_names(against)
    except InvalidRequest as error:
        raise InvalidRequest(error.message, field="against") from None


def _panels(files: Sequence[Path], *, field: str = "prices") -> list[tuple[str, Path | None]]:
    """Panels of prices by name: the file's, shortened where that leaves them apart."""
    from rebalancer.domain.errors import InvalidRequest

    if not files:
        return [(sources(None, None).title, None)]
    for path in files:
        if files.count(path) > 1:
            raise InvalidRequest(f"{path} is named twice", field=field)
    short = [path.name for path in files]
    return list(
        zip(short if len(set(short)) == len(files) else map(str, files), files, strict=True)
    )


def show(findings: Findings) -> None:
    """Print findings as tables and sentences that a person reads."""
    from rebalancer.application.reporting import tables
    from rebalancer.entrypoints.cli.screen import caution, console

    screen = console()
    for name, done in findings.panels.items():
        _print(screen, tables.figures(name, done))
        _print(screen, tables.gains(done))
        for sentence in tables.verdicts(done):
            screen.print(sentence)
        screen.print()
    if len(findings.panels) > 1:
        _print(screen, tables.pooled(findings))
        for each, (policy, sentence) in zip(findings.pooled, findings.summaries, strict=True):
            screen.print(tables.pooled_verdict(each))
            screen.print(f"{policy}: {sentence}")
        screen.print()
    screen.print(findings.chosen)
    for promotion in findings.promotions:
        if promotion.criteria:
            head, *criteria = promotion.lines
            screen.print(head)
            for line in criteria:
                screen.print(f"  {line}")
    screen.print(findings.counted)
    for found in findings.cautions:
        caution(screen, found.text)


def _print(screen: Console, table: Table) -> None:
    from rebalancer.entrypoints.cli.screen import wide_table

    shown = wide_table(screen, table.title, table.texts, table.figures)
    shown.caption = table.caption
    for section in table.sections:
        for row in section:
            shown.add_row(*row)
        shown.add_section()
    screen.print(shown)
