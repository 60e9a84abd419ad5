"""The `rebalancer` command.

Exit codes: 0 good, 1 unexpected, 2 usage or bad input, 3 finished with failures, 130 interrupted.
"""

from __future__ import annotations

import importlib
import logging
import os
import pkgutil
import sys
import traceback
from io import TextIOWrapper

import click

from rebalancer.config import Settings
from rebalancer.domain.errors import RebalancerError, Unavailable
from rebalancer.entrypoints.cli import commands

GOOD, UNEXPECTED, BAD_INPUT, WITH_FAILURES, INTERRUPTED = 0, 1, 2, 3, 130


class LazyCommands(click.Group):
    """The modules of `commands`, each of which is loaded when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands in alphabetical order."""
        return sorted(module.name for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; None if there is no such command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{commands.__name__}.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(
    cls=LazyCommands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 good, 1 unexpected, 2 usage or bad input, 3 finished with failures.",
)
@click.version_option(package_name="rebalancer")
@click.pass_context
def rebalancer(context: click.Context) -> None:
    """What to trade now, what it costs, why, and why not.

    \b
    Start with:  rebalancer demo
    Then:        rebalancer propose --holdings my.csv --cash 500 --targets targets.json
                 rebalancer backtest --policy monthly,band,volatility_target --report out.html
    As a server: rebalancer serve --upgrade --demo
    """
    context.obj = Settings.read()


def main() -> None:
    """Run the command line and exit with a code that scripts can trust."""
    # Small matrices gain nothing from threads, and one thread a process keeps sums in one order:
    # the same input gives the same digits. Commands import numpy after this.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    # What servers write into their logs about a part that is away, a command tells as its error.
    for part in ("database", "mongo", "redis", "jobs"):
        logging.getLogger(f"rebalancer.{part}").addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # rather a question mark than no answer
            stream.reconfigure(errors="replace")
    try:
        result = rebalancer.main(prog_name="rebalancer", standalone_mode=False)
        # Click hands back a command's own exit code, or what the command returned.
        code = result if isinstance(result, int) else GOOD
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        code = INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = BAD_INPUT
    except Unavailable as error:
        # Why, in the words of whatever we depend on: they are for operators, not for the API.
        why = str(error.__cause__ or "").partition("\n")[0]
        click.echo(f"Error: {error}{f' ({why})' if why else ''}", err=True)
        code = UNEXPECTED
    except RebalancerError as error:
        click.echo(f"Error: {error}", err=True)
        code = BAD_INPUT
    except SystemExit:
        # Click and rich end so when the reader has gone (`rebalancer ... | head`): all is well, and
        # nothing more is said, not even at shutdown.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = GOOD
    except OSError as error:
        if os.environ.get("REBALANCER_DEBUG"):
            traceback.print_exc()
        click.echo(f"Error: {error}", err=True)
        code = UNEXPECTED
    except Exception as error:
        if os.environ.get("REBALANCER_DEBUG"):
            traceback.print_exc()
        click.echo(
            f"Unexpected {type(error).__name__}: {error}\n"
            "This is a bug. Run again with REBALANCER_DEBUG=1 and report what it prints.",
            err=True,
        )
        code = UNEXPECTED
    sys.exit(code)
