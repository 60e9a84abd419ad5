"""`rebalancer policies`: who can decide, and what is known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rebalancer.entrypoints.cli.options import json_option, sources, wire

if TYPE_CHECKING:
    from rich.console import Console

    from rebalancer.application.ports.policies import Policies
    from rebalancer.domain.policy.serving import Card, Learning


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def policies(context: click.Context, as_json: bool) -> None:
    """List the policies with their parameters and where each idea comes from.

    \b
    How a policy is written:  NAME[:variant][:parameter=value,...]
      band:edge    trend:window=150    volatility_target:target=0.10,window=42
      band:frequency=weekly  (frequency is a parameter of all but buy_and_hold)
    Learned ones take no parameters:
      ppo  dqn     their highest versions; ppo@1 is one version for good
      learned      the version that was promoted, or the best rule while none is

    \b
    Examples:
      rebalancer policies --json
      rebalancer policies show learned
    """
    if context.invoked_subcommand is None:
        _list(as_json)
    elif as_json:
        from rebalancer.domain.errors import InvalidRequest

        raise InvalidRequest(
            f"write it last: rebalancer policies {context.invoked_subcommand} ... --json",
            field="json",
        )


@policies.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the policies, as `rebalancer policies` does.

    \b
    Example:
      rebalancer policies list --json
    """
    _list(as_json)


@policies.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Print the card of a policy: how it was made, what it sees and does, and the evidence.

    \b
    Examples:
      rebalancer policies show ppo
      rebalancer policies show volatility_target --json
    """
    card = _offered().card(name)
    if as_json:
        import json

        click.echo(json.dumps(card_record(card), indent=2, ensure_ascii=False, default=str))
        return
    from rebalancer.entrypoints.cli.screen import console

    _show(console(), card)


@policies.command()
@click.argument("name")
def promote(name: str) -> None:
    """Make a version of a learned policy what `learned` means.

    Only one whose evidence has passed the promotion gate. What was promoted is kept in the folder
    $REBALANCER_POLICIES, or policies; a running server takes it up when it starts again.

    \b
    Example:
      rebalancer policies promote ppo@1
    """
    from datetime import UTC, datetime

    card = _offered().promote(name, now=datetime.now(UTC))
    click.echo(f"{card.decides} is promoted: learned now means {card.decides}.")


def _offered() -> Policies:
    from rebalancer.application.ports.policies import Policies

    offered: Policies = wire(sources(None, None)).get(Policies)
    return offered


def _list(as_json: bool) -> None:
    import json

    from rebalancer.entrypoints.cli.screen import console

    cards = _offered().cards()
    if as_json:
        click.echo(json.dumps([_brief(card) for card in cards], indent=2))
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
        if card.learning is not None:
            known.append(f"version {card.learning.version}")
            if card.learning.promoted:
                known.append("promoted")
        table.add_row(card.name, card.summary, "\n".join(known), card.source)
    console().print(table)


def _brief(card: Card) -> dict[str, Any]:
    return {
        "name": card.name,
        "kind": card.kind.value,
        "version": None if card.learning is None else card.learning.version,
        "summary": card.summary,
        "frequency": card.frequency.value,
        "parameters": dict(card.parameters),
        "variants": list(card.variants),
        "source": card.source,
        "decides": card.decides,
    }


def card_record(card: Card) -> dict[str, Any]:
    """A card as JSON values, days excepted."""
    import attrs

    learning = None
    if card.learning is not None:
        learning = attrs.asdict(card.learning)
        learning = {**learning.pop("training"), **learning}
        del learning["version"]
        for terms in ("features", "actions"):
            learning[terms] = [
                {"name": name, "meaning": meaning} for name, meaning in learning[terms].items()
            ]
    return {**_brief(card), "lookback": card.lookback, "learning": learning}


def _show(screen: Console, card: Card) -> None:
    """Print a card as a person reads it."""
    from rich.text import Text

    screen.print(Text(card.name, style="bold"))
    screen.print(f"{card.summary}\n")
    facts = {"looks": card.frequency.value, "needs": f"{card.lookback} closes"}
    if card.lookback == 1:
        facts["needs"] = "no history"
    if card.decides is not None:
        facts["stands for"] = card.decides
    if card.parameters:
        facts["parameters"] = ", ".join(
            f"{key}={value:g}" for key, value in card.parameters.items()
        )
    if card.variants:
        facts["variants"] = ", ".join(f"{card.name}:{variant}" for variant in card.variants)
    facts["idea"] = card.source
    _facts(screen, facts)
    if card.learning is not None:
        _show_learning(screen, card.learning)


def _show_learning(screen: Console, known: Learning) -> None:
    made = known.training
    screen.print("\nHow it was made")
    _facts(
        screen,
        {
            "version": f"{known.version}, {'shipped' if known.shipped else 'your own'}, of "
            f"{made.created}{', promoted' if known.promoted else ''}",
            "algorithm": made.algorithm.upper(),
            "reward": made.reward,
            "seeds": f"{', '.join(map(str, made.seeds))}: the median of {known.networks} "
            f"network{'' if known.networks == 1 else 's'} decides",
            "saw nothing after": str(made.trained_until),
            "best rule there": known.chosen_rule or "not known",
            "falls back to": f"{known.fallback}, where history is short, figures lie outside the "
            f"trained range, or networks' targets lie more than {known.most_spread:.0%} apart",
            "libraries": ", ".join(f"{name} {what}" for name, what in made.libraries.items()),
            "weights": f"sha256 {known.weights}",
            "regimes": f"sha256 {known.regimes}",
            "made again by": made.command,
        },
    )
    _table(
        screen,
        "Stages of training",
        ("stage", "steps", "note"),
        [(one.stage, f"{one.steps:,}", one.note) for one in made.stages],
    )
    _table(
        screen,
        "Data",
        ("name", "assets", "from", "to", "sha256"),
        [
            (one.name, str(one.symbols), str(one.first), str(one.last), one.sha256[:12])
            for one in made.data
        ],
    )
    _table(screen, "What it sees", ("figure", "meaning"), list(known.features.items()))
    _table(screen, "What it answers with", ("number", "meaning"), list(known.actions.items()))
    _show_evidence(screen, known)


def _show_evidence(screen: Console, known: Learning) -> None:
    """The promotion gate; other evidence as it was written down."""
    import json

    if not known.evidence:
        screen.print("\nEvidence: none yet; `rebalancer evaluate` judges it.")
        return
    gate = known.evidence.get("gate")
    if isinstance(gate, dict) and gate.get("criteria"):
        passed = "passed" if gate.get("passed") is True else "NOT passed"
        _table(
            screen,
            f"Promotion gate: {passed}",
            ("criterion", "figure", "threshold", "", "in words"),
            [
                (
                    str(one.get("name")),
                    _number(one.get("figure")),
                    _number(one.get("threshold")),
                    "pass" if one.get("passed") is True else "FAIL",
                    str(one.get("sentence", "")),
                )
                for one in gate["criteria"]
            ],
        )
    else:
        screen.print("\nPromotion gate: not judged")
    others = {
        name: what for name, what in known.evidence.items() if name not in ("gate", "weights")
    }
    if others:
        screen.print("\nOther evidence")
        _facts(
            screen,
            {
                name: what if isinstance(what, str) else json.dumps(what, ensure_ascii=False)
                for name, what in others.items()
            },
        )


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) else "not known"


def _facts(screen: Console, facts: dict[str, str]) -> None:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for name, fact in facts.items():
        grid.add_row(name, fact)
    screen.print(grid)


def _table(
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
