"""The `rebalancer` command.

Exit codes: 0 success, 1 unexpected error, 2 wrong usage or input, 3 finished with failures, 130
interrupted.
"""

from __future__ import annotations

import atexit
import gc
import getpass
import importlib
import logging
import os
import pkgutil
import sys
import traceback
from contextlib import suppress
from io import TextIOWrapper

import click

from rebalancer.application.audit import current_origin
from rebalancer.config import Settings
from rebalancer.domain.audit.events import Origin
from rebalancer.domain.errors import InvalidRequest, RebalancerError, Unavailable
from rebalancer.domain.text import escape_unsafe
from rebalancer.entrypoints.cli import commands
from rebalancer.entrypoints.cli.remedies import explain

SUCCESS, UNEXPECTED, BAD_INPUT, WITH_FAILURES, INTERRUPTED = 0, 1, 2, 3, 130


_ARGUMENTS = "rebalancer.arguments"
"""Key of the arguments of a command in its context."""


class LazyCommands(click.Group):
    """The modules of `commands`, each of which is loaded when it is needed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments, and remember them."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; once more if assets that it lacked have been fetched."""
        try:
            return super().invoke(ctx)
        except InvalidRequest as error:
            from rebalancer.entrypoints.cli.unknown_assets import offer_to_fetch

            if not offer_to_fetch(ctx, error):
                raise
        with self.make_context(ctx.info_name, ctx.meta[_ARGUMENTS]) as again:
            return super().invoke(again)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands in alphabetical order."""
        return sorted(module.name for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; None if the name is unknown."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{commands.__name__}.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(
    cls=LazyCommands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
    epilog="Exit codes: 0 success, 1 unexpected error, 2 wrong usage or input, 3 finished with "
    "failures.",
)
@click.version_option(package_name="rebalancer")
@click.pass_context
def rebalancer(context: click.Context) -> None:
    """Propose what to trade now, what it costs, and why.

    \b
    Start with:  rebalancer demo
    Then:        rebalancer propose --holdings my.csv --cash 500 --targets targets.json
                 rebalancer backtest --policy monthly,band,volatility_target --report out.html
    As a server: rebalancer serve --upgrade --demo
    """
    current_origin.set(Origin("cli", agent=_operator()))
    context.obj = Settings.read()


def _operator() -> str | None:
    """Return the name under which the operator is logged in on this machine, if it has one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def main() -> None:
    """Run the command line and exit with a documented code."""
    # Small matrices gain nothing from threads, and with one thread sums are added in one order, so
    # that the same input gives the same digits. Commands import numpy after this.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    # Servers log that a dependency is unavailable; a command prints it as its error instead, and
    # assets without a current price as cautions.
    for part in ("database", "mongo", "redis", "jobs", "market.withheld"):
        logging.getLogger(f"rebalancer.{part}").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # an unprintable character becomes a question mark
            stream.reconfigure(errors="replace")
    # At the end, Python would look for cycles among all objects, which takes a server most of a
    # second. Commands close what they open, so nothing waits for that.
    atexit.register(gc.freeze)
    try:
        result = rebalancer.main(prog_name="rebalancer", standalone_mode=False)
        # Click returns a command's own exit code, or what the command returned.
        code = result if isinstance(result, int) else SUCCESS
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = BAD_INPUT
    except Unavailable as error:
        # The cause in the words of the dependency: for operators, never for users of the API.
        cause = str(error.__cause__ or "").partition("\n")[0]
        text = f"Error: {explain(error)}{f' ({cause})' if cause else ''}"
        click.echo(escape_unsafe(text), err=True)
        code = UNEXPECTED
    except RebalancerError as error:
        click.echo(escape_unsafe(f"Error: {explain(error)}"), err=True)
        code = BAD_INPUT
    except SystemExit as ended:
        # Click and rich exit with 1 when the reader closes the pipe (`rebalancer ... | head`).
        # That is a success, and nothing more may be printed, not even at shutdown.
        if ended.code != 1:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = SUCCESS
    except OSError as error:
        _print_traceback()
        click.echo(escape_unsafe(f"Error: {error}"), err=True)
        code = UNEXPECTED
    except Exception as error:
        _print_traceback()
        click.echo(
            f"Unexpected {type(error).__name__}: {error}\n"
            "This is a bug. Run the command again with REBALANCER_DEBUG=1 and report the output.",
            err=True,
        )
        code = UNEXPECTED
    sys.exit(code)


def _print_traceback() -> None:
    """Print the traceback of the current exception if the settings ask for it."""
    with suppress(InvalidRequest):
        if Settings.read().debug:
            traceback.print_exc()
