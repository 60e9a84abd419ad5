"""`rebalancer user`: manage user accounts, for operators."""

from __future__ import annotations

import sys

import click

from rebalancer.application.ports.clock import Clock, Ids
from rebalancer.entrypoints.cli.options import container, json_option
from rebalancer.entrypoints.cli.screen import print_json


@click.group()
def user() -> None:
    """Manage user accounts."""


@user.command()
@click.option("--email", required=True, help="Email address of the user, used to log in.")
@click.option("--name", default="", show_default=False, help="Name of the user.")
@json_option
def create(email: str, name: str, as_json: bool) -> None:
    """Register a user.

    On a terminal the password is entered twice and not shown; otherwise it is read from the first
    line of standard input.

    \b
    Examples:
      rebalancer user create --email ada@example.org --name Ada
      pass show rebalancer/ada | rebalancer user create --email ada@example.org
    """
    from rebalancer.application.accounts import Register

    password = _read_password()
    with container() as wired:
        known = wired.get(Register)(
            email=email, password=password, name=name, id=wired.get(Ids)(), now=wired.get(Clock)()
        )
    if as_json:
        document = {"id": str(known.id), "email": known.email, "name": known.name}
        print_json(document, indent=None)
    else:
        click.echo(f"Registered {known.email}, id {known.id}.")


def _read_password() -> str:
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    return sys.stdin.readline().rstrip("\r\n")
