"""`rebalancer policies`: list, describe and promote policies."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.cli.files import check_output, write_text
from rebalancer.entrypoints.cli.options import (
    json_option,
    open_container,
    report_option,
    sources,
)
from rebalancer.entrypoints.cli.screen import console, print_json

if TYPE_CHECKING:
    from dishka import Container
    from rich.console import Console

    from rebalancer.application.ports.policies import Policies
    from rebalancer.domain.policy.model_card import ModelCard, PolicyCard


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def policies(context: click.Context, as_json: bool) -> None:
    """List the policies with their parameters and their sources.

    \b
    Syntax of a policy:  NAME[:variant][:parameter=value,...]
      band:edge    trend:window=150    volatility_target:target=0.10,window=42
      band:frequency=weekly  (frequency is a parameter of all but buy_and_hold)
    Learned policies take no parameters:
      ppo  dqn     the newest version; ppo@1 always means version 1
      learned      the promoted version; without one, the best rule

    \b
    Examples:
      rebalancer policies --json
      rebalancer policies show learned
    """
    if context.invoked_subcommand is None:
        _print_cards(as_json)
    elif as_json:
        raise InvalidRequest(
            f"--json must come last: rebalancer policies {context.invoked_subcommand} ... --json",
            code="misplaced_option",
        )


@policies.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the policies; the same as `rebalancer policies`.

    \b
    Example:
      rebalancer policies list --json
    """
    _print_cards(as_json)


@policies.command()
@click.argument("name")
@report_option
@json_option
def show(name: str, report: Path | None, as_json: bool) -> None:
    """Show how a policy was made, its inputs and outputs, and its evidence.

    \b
    Examples:
      rebalancer policies show ppo
      rebalancer policies show ppo --report evidence.html
      rebalancer policies show volatility_target --json
    """
    from rebalancer.application.ports.policies import Policies

    container = open_container(sources())
    card = container.get(Policies).card(name)
    if report is not None:
        _write_report(container, card, report, as_json=as_json)
    if as_json:
        from rebalancer.entrypoints.schemas.policy import CardView, policy_values

        print_json(msgspec.to_builtins(CardView.of(policy_values(card))))
        return
    _print_card(console(), card)


@policies.command()
@click.argument("name", required=False)
@click.option(
    "--best",
    is_flag=True,
    help="Promote the version that passed with the smallest drawdown beyond exposure; of equal "
    "ones, that with the fewest orders.",
)
def promote(name: str | None, best: bool) -> None:
    """Promote a version of a learned policy, so that `learned` means it.

    Its stored walk-forward must have passed every criterion for serving. The promotion is stored
    in the folder $REBALANCER_POLICIES, or policies; a running server uses it after a restart.

    \b
    Examples:
      rebalancer policies promote ppo@1
      rebalancer policies promote --best
    """
    from rebalancer.application.promotions import best_version

    if best == (name is not None):
        raise InvalidRequest(
            "name one version, or use --best to have it chosen", code="conflicting_options"
        )
    catalogue = _catalogue()
    card = catalogue.promote(name or best_version(catalogue.cards()), now=datetime.now(UTC))
    click.echo(f"Promoted {card.decides}: learned now means {card.decides}.")


def _catalogue() -> Policies:
    from rebalancer.application.ports.policies import Policies

    catalogue: Policies = open_container(sources()).get(Policies)
    return catalogue


def _write_report(container: Container, card: PolicyCard, path: Path, *, as_json: bool) -> None:
    """Draw the stored walk-forward of a version as an HTML page."""
    from rebalancer.application.ports.reports import Renderer
    from rebalancer.application.promotions import WALK_FORWARD
    from rebalancer.application.reporting.walk_forward import WalkForwardPage

    known = card.model_card
    evidence = None if known is None else known.evidence.get(WALK_FORWARD)
    if not isinstance(evidence, dict):
        raise InvalidRequest(
            f"{card.name} has no stored walk-forward to draw; run `rebalancer evaluate "
            "--walk-forward DATE,... --keep`",
            field="report",
            code="evidence_missing",
        )
    check_output(path, sources().files, field="report")
    page = container.get(Renderer[WalkForwardPage]).render(WalkForwardPage.stored(evidence))
    write_text(path, page, field="report")
    click.echo(f"Report: {path.resolve()}", err=as_json)


def _print_cards(as_json: bool) -> None:
    cards = _catalogue().cards()
    if as_json:
        from rebalancer.entrypoints.schemas.policy import PolicyView, policy_values

        views = [PolicyView.of(policy_values(card)) for card in cards]
        print_json(msgspec.to_builtins(views), ensure_ascii=True)
        return
    from rich.table import Table

    table = Table(title="Policies", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("what it does")
    table.add_column("parameters and variants")
    table.add_column("source", style="dim")
    for card in cards:
        known = [f"{key}={value:g}" for key, value in card.parameters.items()]
        known += [f":{variant}" for variant in card.variants]
        if card.model_card is not None:
            known.append(f"version {card.model_card.version}")
            if card.model_card.promoted:
                known.append("promoted")
        table.add_row(card.name, card.summary, "\n".join(known), card.source)
    console().print(table)


def _print_card(screen: Console, card: PolicyCard) -> None:
    """Print a card as text and tables."""
    from rich.text import Text

    screen.print(Text(card.name, style="bold"))
    screen.print(f"{card.summary}\n")
    facts = {"reviews": card.frequency.value, "looks back": f"{card.lookback} closes"}
    if card.lookback == 1:
        facts["looks back"] = "no history"
    if card.decides is not None:
        facts["stands for"] = card.decides
    if card.parameters:
        facts["parameters"] = ", ".join(
            f"{key}={value:g}" for key, value in card.parameters.items()
        )
    if card.variants:
        facts["variants"] = ", ".join(f"{card.name}:{variant}" for variant in card.variants)
    facts["idea"] = card.source
    _print_facts(screen, facts)
    if card.model_card is not None:
        _print_learning(screen, card.model_card)


def _print_learning(screen: Console, known: ModelCard) -> None:
    made = known.training
    screen.print("\nHow it was made")
    _print_facts(
        screen,
        {
            "version": f"{known.version}, {'shipped' if known.shipped else 'your own'}, of "
            f"{made.created}{', promoted' if known.promoted else ''}",
            "algorithm": made.algorithm.upper(),
            "reward": made.reward,
            "seeds": f"{', '.join(map(str, made.seeds))}: the median of {known.networks} "
            f"network{'' if known.networks == 1 else 's'}",
            "trained on data until": str(made.trained_until),
            "best rule there": known.chosen_rule or "unknown",
            "falls back to": f"{known.fallback}, if history is short, inputs lie outside the "
            f"trained range, or the networks' targets differ by more than {known.most_spread:.0%}",
            "libraries": ", ".join(f"{name} {what}" for name, what in made.libraries.items()),
            "weights": f"sha256 {known.weights}",
            "regimes": f"sha256 {known.regimes}",
            "reproduced by": made.command,
        },
    )
    _print_table(
        screen,
        "Stages of training",
        ("stage", "steps", "note"),
        [(one.stage, f"{one.steps:,}", one.note) for one in made.stages],
    )
    _print_table(
        screen,
        "Data",
        ("name", "assets", "from", "to", "sha256"),
        [
            (one.name, str(one.symbols), str(one.first), str(one.last), one.sha256[:12])
            for one in made.data
        ],
    )
    _print_table(screen, "Inputs", ("figure", "meaning"), list(known.features.items()))
    _print_table(screen, "Outputs", ("number", "meaning"), list(known.actions.items()))
    _print_evidence(screen, known)


def _print_evidence(screen: Console, known: ModelCard) -> None:
    """Print the criteria for serving and of a gain, and other evidence as it was stored."""
    from rebalancer.application.promotions import WALK_FORWARD

    if not known.evidence:
        screen.print(
            "\nEvidence: none yet; run `rebalancer evaluate --walk-forward DATE,... --keep`."
        )
        return
    walked = known.evidence.get(WALK_FORWARD)
    _print_criteria(screen, "Walk-forward", walked)
    if isinstance(walked, dict) and walked.get("by_fold"):
        _print_facts(screen, _walk_forward_facts(walked))
    _print_criteria(screen, "Higher Sharpe ratio in one window", known.evidence.get("gate"))
    others = {
        name: what
        for name, what in known.evidence.items()
        if name not in ("gate", "weights", WALK_FORWARD)
    }
    if others:
        screen.print("\nOther evidence")
        _print_facts(
            screen,
            {
                name: what if isinstance(what, str) else json.dumps(what, ensure_ascii=False)
                for name, what in others.items()
            },
        )


def _walk_forward_facts(walked: dict[str, Any]) -> dict[str, str]:
    """Return what a walk-forward shows besides its criteria."""
    facts = {"higher Sharpe ratio": walked["higher_sharpe"]["sentence"]}
    last, medians = walked["by_fold"][-1], walked["by_fold"][-1]["medians"]
    facts["its own years"] = (
        f"after {last['known_until']}: Sharpe ratio {_difference(last['monthly'])} than monthly's, "
        f"drawdown beyond exposure {_share(medians['drawdown_beyond_exposure'])}, orders "
        f"{_format_number(medians['orders_of_monthly'])} and turnover "
        f"{_format_number(medians['turnover_of_monthly'])} times monthly's"
    )
    without = walked["without_crash"]
    facts["without the worst five months"] = (
        f"Sharpe ratio {_difference(without['monthly'])}, drawdown beyond exposure "
        f"{_share(without['drawdown_beyond_exposure'])}"
    )
    facts["by thirds of time"] = "; ".join(
        f"{part['from']} to {part['to']}: {_difference(part['monthly'])}"
        for part in walked["thirds"]
    )
    if walked["skeleton"] is not None:
        facts["its own average"] = (
            f"{walked['skeleton']['invested']:.0%} invested; in {walked['skeleton']['differs']:.0%}"
            " of its decisions the targets are more than two points away from it"
        )
    facts["panels"] = (
        f"{walked['panels']}, worth {walked['effective_panels']:.1f} independent ones; "
        f"{walked['trials']:,} trials on record"
    )
    return facts


def _difference(comparison: dict[str, Any] | None) -> str:
    """Return a pooled difference of Sharpe ratios with its interval."""
    if comparison is None:
        return "unknown"
    gain = comparison["sharpe_gain"]
    return (
        f"{abs(gain['estimate']):.2f} {'higher' if gain['estimate'] >= 0 else 'lower'} (95% from "
        f"{gain['low']:+.2f} to {gain['high']:+.2f})"
    )


def _share(figure: float | None) -> str:
    return "unknown" if figure is None else f"{figure:+.0%}"


def _print_criteria(screen: Console, title: str, judged: object) -> None:
    """Print criteria with their figures and thresholds, if they were judged."""
    if not (isinstance(judged, dict) and judged.get("criteria")):
        screen.print(f"\n{title}: not evaluated")
        return
    passed = "passed" if judged.get("passed") is True else "NOT passed"
    _print_table(
        screen,
        f"{title}: {passed}",
        ("criterion", "figure", "threshold", "", "in words"),
        [
            (
                str(one.get("name")),
                _format_number(one.get("figure")),
                _format_number(one.get("threshold")),
                "pass" if one.get("passed") is True else "FAIL",
                str(one.get("sentence", "")),
            )
            for one in judged["criteria"]
        ],
    )


def _format_number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) else "unknown"


def _print_facts(screen: Console, facts: dict[str, str]) -> None:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, fact in facts.items():
        grid.add_row(name, fact)
    screen.print(grid)


def _print_table(
    screen: Console, title: str, headings: tuple[str, ...], rows: list[tuple[str, ...]]
) -> None:
    from rich.table import Table

    screen.print()
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    screen.print(table)
