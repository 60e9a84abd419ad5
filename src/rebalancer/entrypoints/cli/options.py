"""Options that several commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from dishka import Container

    from rebalancer.application.ports.market import PriceSource
    from rebalancer.config import Settings
    from rebalancer.domain.portfolio.costs import CostModel
    from rebalancer.wiring.market import Sources

Command = TypeVar("Command", bound=Callable[..., Any])


class IsoDate(click.ParamType[date]):
    """A day written YYYY-MM-DD."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Parse, or fail with the remedy."""
        try:
            return datetime.strptime(value, "%Y-%m-%d").date()
        except ValueError:
            self.fail(f"{value!r} is not a day; write YYYY-MM-DD", param, ctx)


def market_options(command: Command) -> Command:
    """``--prices`` and ``--assets``."""
    command = click.option(
        "--assets",
        type=click.Path(path_type=Path),
        help="CSV of symbol,name,asset_class,daily_volume. Default: $REBALANCER_ASSETS, or the "
        "packaged list; with prices from the store, the one kept there.",
    )(command)
    return click.option(
        "--prices",
        type=click.Path(path_type=Path),
        help="CSV (or .csv.gz): a date column and one column of adjusted closes a symbol. Or "
        "`store`: what `rebalancer market import` keeps; or `sample`: the packaged sample. "
        "Default: $REBALANCER_PRICES, or the store if $REBALANCER_MONGO_URL is set, or the sample.",
    )(command)


def cost_options(command: Command) -> Command:
    """``--cost-bps`` and ``--costs``."""
    command = click.option(
        "--costs",
        "preset",
        help="A typical price list instead: free, zero-commission, retail, full-service, "
        "institutional.",
    )(command)
    return click.option(
        "--cost-bps",
        type=float,
        help="Cost of trading, in basis points of traded value, each side. Default: 10.",
    )(command)


def owner_options(command: Command) -> Command:
    """``--max-departure``, ``--risk-profile`` and ``--keep-limits``: for whom to try."""
    command = click.option(
        "--keep-limits",
        is_flag=True,
        help="Hold every policy to the profile's limits, as proposals are.",
    )(command)
    command = click.option(
        "--risk-profile",
        default="balanced",
        show_default=True,
        help="Whose portfolio it is: learned policies mind the profile's risk aversion.",
    )(command)
    return click.option(
        "--max-departure",
        type=float,
        default=1.0,
        show_default=True,
        help="How far a policy may go from the targets, one-way; a proposal's default is 0.2.",
    )(command)


def json_option(command: Command) -> Command:
    """``--json``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON for scripts instead of tables."
    )(command)


def settings() -> Settings:
    """What the environment sets, as read when the command began."""
    read: Settings = click.get_current_context().obj
    return read


def sources(prices: Path | None, assets: Path | None) -> Sources:
    """Where market data come from, see `Sources.of`."""
    from rebalancer.wiring.market import Sources

    return Sources.of(settings(), prices, assets)


def wire(where: Sources) -> Container:
    """Everything wired together, with what the settings name; let go when the command ends."""
    from rebalancer.wiring.container import build_container

    parts = build_container(where, settings=settings())
    click.get_current_context().call_on_close(parts.close)
    return parts


@contextmanager
def store(where: Sources | None = None) -> Iterator[Container]:
    """Everything wired together, with the database that the settings name; let go at the end."""
    from rebalancer.wiring.container import build_container

    wired = build_container(where or sources(None, None), settings=settings())
    try:
        yield wired
    finally:
        wired.close()


def cost_model(bps: float | None, preset: str | None) -> CostModel:
    """The price list that the options describe.

    Raises:
        InvalidRequest: both are given, or one makes no sense.
    """
    from rebalancer.domain.errors import InvalidRequest
    from rebalancer.domain.portfolio.costs import CostModel, cost_preset

    if preset is not None:
        if bps is not None:
            raise InvalidRequest("give either --cost-bps or --costs, not both", field="costs")
        return cost_preset(preset)
    return CostModel.flat(10.0 if bps is None else bps)


def rate_or_column(text: str | None, prices: PriceSource) -> float | str:
    """What cash earns: a rate a year; or a column's name, which may look like a number."""
    if text is None:
        return 0.0
    try:
        return text if text in prices.symbols() else float(text)
    except ValueError:
        return text


def spare(inputs: Iterable[Path | None], path: Path, *, field: str) -> None:
    """A file that is about to be written must be none of those that are read.

    Raises:
        InvalidRequest: it is one.
    """
    from rebalancer.domain.errors import InvalidRequest

    for given in inputs:
        if given is not None and given.exists() and path.exists() and path.samefile(given):
            raise InvalidRequest(f"{path} is an input; choose another", field=field)


def write_text(path: Path, text: str, *, field: str) -> None:
    """Write a file whole.

    Raises:
        InvalidRequest: it cannot be written there; says why.
    """
    from rebalancer.domain.errors import InvalidRequest

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except FileExistsError:
        raise InvalidRequest(
            f"cannot write {path}: {path.parent} is not a folder", field=field
        ) from None
    except OSError as error:
        raise InvalidRequest(f"cannot write {path}: {error.strerror}", field=field) from None
