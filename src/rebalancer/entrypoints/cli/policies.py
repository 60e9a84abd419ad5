"""`rebalancer policies`: who can decide."""

from __future__ import annotations

import click

from rebalancer.entrypoints.cli.options import json_option


@click.command()
@json_option
def policies(as_json: bool) -> None:
    """List the policies with their parameters and where each idea comes from.

    \b
    How a policy is written:  NAME[:variant][:parameter=value,...]
      band:edge    trend:window=150    volatility_target:target=0.10,window=42
      band:frequency=weekly  (frequency is a parameter of all but buy_and_hold)

    \b
    Example:
      rebalancer policies --json
    """
    import json

    from rich.table import Table

    from rebalancer.domain.policy.rules import POLICIES
    from rebalancer.entrypoints.cli.screen import console

    if as_json:
        listed = [
            {
                "name": name,
                "summary": kind.summary,
                "frequency": kind.frequency.value,
                "parameters": dict(kind.parameters),
                "variants": list(kind.variants),
                "source": kind.source,
            }
            for name, kind in POLICIES.items()
        ]
        click.echo(json.dumps(listed, indent=2))
        return
    table = Table(title="Policies", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("what it does")
    table.add_column("parameters and variants")
    table.add_column("source", style="dim")
    for name, kind in POLICIES.items():
        settings = [f"{key}={value:g}" for key, value in kind.parameters.items()]
        table.add_row(
            name,
            kind.summary,
            "\n".join([*settings, *(f":{v}" for v in kind.variants)]),
            kind.source,
        )
    console().print(table)
