"""`rebalancer evaluate`: test whether the gain of a policy is real."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from rebalancer.application.ports.clock import Clock
from rebalancer.application.ports.trials import Trials
from rebalancer.domain.errors import InvalidRequest, Unavailable
from rebalancer.entrypoints.cli.engine_options import EngineChoice, engine_options
from rebalancer.entrypoints.cli.files import check_output, read_targets, write_text
from rebalancer.entrypoints.cli.options import (
    FILE,
    IsoDate,
    SymbolText,
    check_accepted_jumps,
    cost_options,
    currency_option,
    json_option,
    open_containers,
    panel_options,
    periods_option,
    price_panels,
    report_option,
    report_reading,
    simulation_options,
    sources,
    window_options,
)
from rebalancer.entrypoints.cli.remedies import advise
from rebalancer.entrypoints.cli.screen import caution, console, print_json, progress, wide_table
from rebalancer.entrypoints.cli.walk_forward import (
    WalkForwardOptions,
    check_other_options,
    run_walk_forward,
    walk_forward_options,
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
    help="Policies to evaluate, such as volatility_target,trend:window=150; see `rebalancer "
    "policies`.",
)
@click.option(
    "--against",
    metavar="NAME[,NAME...]",
    help="Further policies to compare them with, in addition to the baselines.",
)
@panel_options
@click.option(
    "--assets",
    type=FILE,
    help="CSV with the columns symbol, name, asset_class, daily_volume, quantity_step and "
    "lot_size; all but the first are optional. Default: "
    "$REBALANCER_ASSETS, or the packaged list.",
)
@periods_option
@window_options
@cost_options
@click.option(
    "--risk-free",
    type=SymbolText(),
    metavar="COLUMN|RATE[,...]",
    help="Return of cash: a price column such as T-bills, which is then not traded, or an "
    "annual rate such as 0.02. A gain must then hold both with this return and with 0. From a "
    "list such as BIL,TBILL3M,0.02 each panel takes the first column that it has, else the rate. "
    "Default: 0.",
)
@currency_option
@simulation_options
@click.option(
    "--chosen-on",
    multiple=True,
    type=FILE,
    metavar="FILE.csv",
    help="Training prices on which to choose the best rule, a further baseline; repeat the option "
    "for several panels. Default: the rule that was chosen when the learned policy was trained.",
)
@click.option(
    "--chosen-until",
    type=IsoDate(),
    help="End of the training prices: the last close on or before.",
)
@click.option(
    "--trials",
    type=click.IntRange(1, _MOST_TRIALS),
    help="Number of policies and settings tried in all, for the deflated probability. Default and "
    "minimum: the trials on record ($REBALANCER_TRIALS, or docs/trials.jsonl if it exists) and "
    "those in --policy.",
)
@click.option("--no-record", is_flag=True, help="Do not add to the record of trials.")
@click.option(
    "--keep",
    is_flag=True,
    help="Store the evidence with the evaluated learned policies, as promotion requires, and the "
    "full results as reports in the store.",
)
@walk_forward_options
@engine_options
@report_option
@json_option
def evaluate(
    policy: str,
    against: str | None,
    prices: tuple[Path, ...],
    more: tuple[Path, ...],
    layout: str | None,
    assets: Path | None,
    periods_per_year: float | None,
    targets_file: Path | None,
    risk_free: str | None,
    chosen_on: tuple[Path, ...],
    chosen_until: date | None,
    trials: int | None,
    no_record: bool,
    keep: bool,
    report: Path | None,
    as_json: bool,
    walk: WalkForwardOptions | None,
    engine: EngineChoice,
    **terms: Any,
) -> None:
    """Evaluate whether the gain of a policy over simple baselines is real.

    The baselines are `monthly`; `band`; `monthly` at the average exposure of the policy, with the
    rest in cash; and the best rule on training data. All figures are net of costs;
    docs/evidence.md explains them.

    \b
    Examples:
      rebalancer evaluate --policy volatility_target,trend --from 2001-01-02
      rebalancer evaluate --policy trend --prices etfs.csv --risk-free BIL --trials 12
      rebalancer evaluate --policy band:half --against quarterly --prices us.csv eu.csv --json
      rebalancer evaluate --policy trend --chosen-on old.csv --chosen-until 2015-12-31 \\
        --from 2016-01-01 --report evidence.html
      rebalancer evaluate --policy ppo,risk_parity,best_rule --walk-forward 2007-12-31,2015-12-31 \\
        --prices etfs.csv stocks.csv --risk-free BIL --to 2018-12-31 --keep
    """
    from rebalancer.application.backtests import BacktestRequest
    from rebalancer.application.evaluation import (
        EvaluatePolicies,
        StoreEvidence,
        StoreEvidenceReports,
        count_steps,
    )
    from rebalancer.application.ports.reports import Renderer
    from rebalancer.domain.backtest.findings import Findings
    from rebalancer.domain.policy.rules import split_policy_names

    if chosen_until is not None and not chosen_on:
        raise InvalidRequest("--chosen-until needs --chosen-on", code="conflicting_options")
    files = prices + more
    if report is not None:
        inputs = (*files, *chosen_on, targets_file, *sources(None, assets).files)
        check_output(report, inputs, field="report")
    request = BacktestRequest(
        policies=split_policy_names(policy),
        targets=read_targets(targets_file),
        **terms,
    )
    wired = open_containers(price_panels(files), assets, periods_per_year, layout=layout)
    learnt = open_containers(
        price_panels(chosen_on, field="chosen_on") if chosen_on else {},
        assets,
        periods_per_year,
        layout=layout,
    )
    check_accepted_jumps([*wired.values(), *learnt.values()])
    for name, parts in [*wired.items(), *learnt.items()]:
        report_reading(parts, name)
    if walk is not None:
        given = {"against": against, "targets": targets_file, "from": terms["first"]}
        elsewhere = None if engine.is_local else engine.name
        given |= {"chosen-until": chosen_until, "engine": elsewhere}
        check_other_options(given)
        run_walk_forward(
            walk,
            request,
            wired,
            learnt or wired,
            price_panels(chosen_on or files),
            risk_free,
            layout=layout,
            trials=trials,
            records=not no_record,
            keep=keep,
            report=report,
            as_json=as_json,
        )
        return
    asked, training = _build_panels(request, wired, learnt, risk_free, chosen_until)
    parts = next(iter(wired.values()))
    with (
        engine.remote() as cluster,
        progress("evaluating", count_steps(asked, training)) as advance,
    ):
        findings, trial = parts.get(EvaluatePolicies)(
            asked,
            now=parts.get(Clock)(),
            against=split_policy_names(against, field="against") if against is not None else (),
            training=training,
            trials=trials,
            cautions=() if files else sources(None, assets).cautions,
            progress=advance,
            engine=cluster,
        )
    if as_json:
        from rebalancer.application.reporting.evaluation import evaluation_document

        print_json(evaluation_document(findings), ensure_ascii=True, allow_nan=False)
    else:
        show(findings)
    # After the results, which a failed write must not lose.
    if not no_record:
        parts.get(Trials).append(trial)
    if keep:
        now = parts.get(Clock)()
        cards = parts.get(StoreEvidence)(findings, max_departure=request.max_departure, now=now)
        for card in cards:
            click.echo(f"Stored evidence with {card.name}.", err=as_json)
        try:
            reports = parts.get(StoreEvidenceReports)(
                findings, [card.name for card in cards], now=now
            )
        except Unavailable as error:  # the evidence is stored; a store for reports is optional
            click.echo(f"Could not store the full report: {error}", err=True)
        else:
            for stored in reports:
                click.echo(f"Stored report {stored.id}.", err=as_json)
    if report is not None:
        write_text(report, parts.get(Renderer[Findings]).render(findings), field="report")
        click.echo(f"Report: {report.resolve()}", err=as_json)


def _build_panels(
    request: BacktestRequest,
    wired: Mapping[str, Container],
    learnt: Mapping[str, Container],
    risk_free: str | None,
    until: date | None,
) -> tuple[dict[str, Panel], dict[str, Panel]]:
    """Return the panels to evaluate on, and those to choose the best rule on."""
    from rebalancer.application.backtests import RunBacktest
    from rebalancer.application.panels import Panel, assign_panel_cash
    from rebalancer.application.ports.market import PriceDetails, PriceSource

    both = [*wired.items(), *learnt.items()]
    cash = assign_panel_cash(
        risk_free,
        [
            (*parts.get(PriceSource).symbols(), *parts.get(PriceDetails).yields())
            for _, parts in both
        ],
    )
    panels = []
    for at, ((name, parts), earned) in enumerate(zip(both, cash, strict=True)):
        asked = attrs.evolve(request, risk_free=earned.source)
        if at >= len(wired):  # another universe, so the targets are equal weights
            asked = attrs.evolve(asked, targets=None, first=None, last=until)
        panels.append((name, Panel(asked, parts.get(RunBacktest), earned.hidden)))
    return dict(panels[: len(wired)]), dict(panels[len(wired) :])


def show(findings: Findings) -> None:
    """Print findings as tables and sentences."""
    from rebalancer.application.reporting import tables
    from rebalancer.application.trial_counting import NO_TRIAL_RECORD
    from rebalancer.domain.backtest.findings import NO_RULE

    screen = console()
    for name, done in findings.panels.items():
        _print_table(screen, tables.figures(name, done))
        _print_table(screen, tables.gains(done))
        for sentence in tables.verdicts(done):
            screen.print(sentence)
        screen.print()
    if len(findings.panels) > 1:
        _print_table(screen, tables.pooled(findings))
        for each, (policy, sentence) in zip(findings.pooled, findings.summaries, strict=True):
            screen.print(tables.pooled_verdict(each))
            screen.print(f"{policy}: {sentence}")
        screen.print()
    screen.print(advise(findings.chosen, "no_rule_chosen" if findings.chosen == NO_RULE else ""))
    for promotion in findings.promotions:
        if promotion.criteria:
            head, *criteria = promotion.lines
            screen.print(head)
            for line in criteria:
                screen.print(f"  {line}")
    unrecorded = findings.counted.endswith(NO_TRIAL_RECORD)
    screen.print(advise(findings.counted, "no_trial_record" if unrecorded else ""))
    for found in findings.cautions:
        caution(screen, advise(found.text, found.code))


def _print_table(screen: Console, table: Table) -> None:
    printed = wide_table(screen, table.title, table.texts, table.figures)
    printed.caption = table.caption
    for section in table.sections:
        for row in section:
            printed.add_row(*row)
        printed.add_section()
    screen.print(printed)
