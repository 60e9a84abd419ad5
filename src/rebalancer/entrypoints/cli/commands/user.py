"""`rebalancer user`: people who keep portfolios, for operators."""

from __future__ import annotations

import sys

import click

from rebalancer.entrypoints.cli.options import json_option, store


@click.group()
def user() -> None:
    """Take people in, on behalf of whoever runs this."""


@user.command()
@click.option("--email", required=True, help="Their address, with which they log in.")
@click.option("--name", default="", help="How to address them.")
@json_option
def create(email: str, name: str, as_json: bool) -> None:
    """Register somebody.

    The password is asked for twice and not shown; without a terminal it is the first line of
    standard input.

    \b
    Examples:
      rebalancer user create --email ada@example.org --name Ada
      pass show rebalancer/ada | rebalancer user create --email ada@example.org
    """
    import json

    from rebalancer.application.accounts import Register
    from rebalancer.application.ports.clock import Clock, Ids

    password = _password()
    with store() as wired:
        known = wired.get(Register)(
            email=email,
            password=password,
            name=name,
            id=wired.get(Ids)(),
            now=wired.get(Clock)(),
        )
    if as_json:
        record = {"id": str(known.id), "email": known.email, "name": known.name}
        click.echo(json.dumps(record, ensure_ascii=False))
    else:
        click.echo(f"Registered {known.email}, id {known.id}.")


def _password() -> str:
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    return sys.stdin.readline().rstrip("\r\n")
