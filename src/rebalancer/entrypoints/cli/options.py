"""Options that several commands share, and what commands build from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rebalancer.config import Settings
from rebalancer.domain.errors import InvalidRequest
from rebalancer.domain.market.symbols import normalize_symbol, unknown_symbols
from rebalancer.domain.money import Currency
from rebalancer.domain.portfolio.risk import DEFAULT_PROFILE

if TYPE_CHECKING:
    from dishka import Container, Provider

    from rebalancer.application.ports.market import PriceSource
    from rebalancer.wiring.market import Sources

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)
POLICY_HELP = "Policy to use; see `rebalancer policies`."
PRICES_HELP = (
    "CSV (or .csv.gz) with a date column and one column of adjusted closes per symbol, or another "
    "layout (docs/price-files.md), or a folder with one file per asset"
)


class IsoDate(click.ParamType[date]):
    """A day written YYYY-MM-DD."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Parse a day, or fail with the expected format."""
        try:
            return datetime.strptime(value, "%Y-%m-%d").date()
        except ValueError:
            self.fail(f"{value!r} is not a day; write YYYY-MM-DD", param, ctx)


class SymbolText(click.ParamType[str]):
    """A symbol, or several, as `normalize_symbol` writes them."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Normalize the text."""
        return normalize_symbol(value)


def combine_options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Combine options into one decorator, which adds them in this order."""

    def add(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return add


def market_options(command: Command) -> Command:
    """Add the options of market data, and pass the `Sources` that they mean as ``where``."""

    @wraps(command)
    def with_sources(
        *args: Any,
        prices: Path | None,
        assets: Path | None,
        periods_per_year: float | None,
        layout: str | None,
        **others: Any,
    ) -> Any:
        where = sources(prices, assets, periods_per_year, layout=layout)
        return command(*args, where=where, **others)

    return _source_options(with_sources)  # type: ignore[return-value]  # called by click alone


periods_option = click.option(
    "--periods-per-year",
    type=float,
    metavar="N",
    help="Closes that count as a year, such as 252. Default: as the dates of the prices have: 252 "
    "trading days, 365.25 days, 52.18 weeks, 12 months.",
)

layout_option = click.option(
    "--layout",
    metavar="NAME[:KEY=VALUE,...]",
    help="Layout of the price file: auto, wide, long, ohlcv, flat or yfinance; and, where the file "
    "leaves it open, symbol=NAME, decimal=point|comma, dates=dmy|mdy, yields=COLUMN+COLUMN. "
    "Default: $REBALANCER_PRICES_LAYOUT, or auto, which recognises it.",
)

_SOURCES = "rebalancer.sources"
"""Key of the sources of a command in its context, where `stated_sources` finds them."""

_CURRENCY = "rebalancer.currency"
"""Key of the stated currency in the context of a command, where `sources` finds it."""

_ACCEPTED = "rebalancer.accepted_jumps"
"""Key of accepted symbols in the context of a command, where `sources` finds them."""


def _accept(context: click.Context, _: click.Parameter, symbols: tuple[str, ...]) -> None:
    context.meta[_ACCEPTED] = symbols


accept_jumps_option = click.option(
    "--accept-jumps",
    metavar="SYMBOL",
    multiple=True,
    type=SymbolText(),
    expose_value=False,
    callback=_accept,
    help="Take the jumps of this asset's prices for true moves; repeat the option for several. "
    "Default: $REBALANCER_ACCEPT_JUMPS, separated by commas.",
)

_source_options = combine_options(
    click.option(
        "--prices",
        type=FILE,
        help=f"{PRICES_HELP}; or `store`, the prices imported by `rebalancer market import`; or "
        "`sample`, the packaged prices. Default: $REBALANCER_PRICES; or the store if "
        "$REBALANCER_MONGO_URL is set, or `rebalancer market sync` has filled the database; "
        "or the sample.",
    ),
    click.option(
        "--assets",
        type=FILE,
        help="CSV with the columns symbol, name, asset_class, daily_volume, quantity_step and "
        "lot_size; all but the first are optional. Default: "
        "$REBALANCER_ASSETS, or the list that comes with the prices.",
    ),
    periods_option,
    layout_option,
    accept_jumps_option,
)

panel_options = combine_options(
    click.option(
        "--prices",
        multiple=True,
        type=FILE,
        metavar="FILE.csv",
        help=f"{PRICES_HELP}. For several panels, repeat the option or list more files after it. "
        "Default: $REBALANCER_PRICES, or the packaged sample.",
    ),
    layout_option,
    click.argument("more", nargs=-1, type=FILE, metavar="[FILE.csv]..."),
    accept_jumps_option,
)
"""Options that together name several price files."""

cost_options = combine_options(
    click.option(
        "--cost-bps",
        type=float,
        help="Cost of each trade in basis points of its value. Default: 10.",
    ),
    click.option(
        "--costs",
        help="Typical price list instead of a flat rate: free, zero-commission, retail, "
        "full-service or institutional.",
    ),
    click.option(
        "--fx-spread-bps",
        type=float,
        help="Cost of converting money between currencies in basis points of its value. Default: "
        "that of --costs, or 0.",
    ),
)

simulation_options = combine_options(
    click.option(
        "--max-departure",
        type=float,
        default=1.0,
        help="Largest one-way distance of a policy from the targets; proposals use 0.2 by default.",
    ),
    click.option(
        "--risk-profile",
        default=DEFAULT_PROFILE,
        help="Risk profile; learned policies use its risk aversion.",
    ),
    click.option(
        "--keep-limits",
        is_flag=True,
        help="Apply the limits of the risk profile to every policy, as proposals do.",
    ),
    click.option(
        "--unlisted",
        type=click.Choice(["others", "cash"]),
        default="others",
        show_default=True,
        help="Where the target of an asset goes while it has no current price: to the other "
        "targets, or to cash.",
    ),
)
"""Options that are named like the attributes of `BacktestRequest`; so are `cost_options`."""

window_options = combine_options(
    click.option(
        "--targets",
        "targets_file",
        type=FILE,
        help='JSON file of target weights, such as {"SPY": 0.6, "AGG": 0.4}, or of groups '
        "(docs/targets.md). Default: equal weights.",
    ),
    click.option(
        "--from", "first", type=IsoDate(), help="Start of the window: the first close on or after."
    ),
    click.option(
        "--to", "last", type=IsoDate(), help="End of the window: the last close on or before."
    ),
)

as_of_option = click.option(
    "--as-of", type=IsoDate(), help="Day to decide on. Default: the day of the last close."
)


def _state_currency(context: click.Context, _: click.Parameter, code: str | None) -> str | None:
    context.meta[_CURRENCY] = None if code is None else Currency(code).code
    return code


currency_option = click.option(
    "--currency",
    callback=_state_currency,
    is_eager=True,  # `sources` needs it
    help="Base currency, and currency of assets whose currency is not stated. Default: "
    "$REBALANCER_CURRENCY, or USD.",
)
report_option = click.option("--report", type=FILE, help="Write an HTML report to this file.")
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for scripts instead of tables."
)


def settings() -> Settings:
    """Return the settings that were read when the command began."""
    read: Settings = click.get_current_context().obj
    return read


def sources(
    prices: Path | None = None,
    assets: Path | None = None,
    periods_per_year: float | None = None,
    *,
    layout: str | None = None,
) -> Sources:
    """Return where market data come from, by the options, then the settings; see `Sources.of`.

    Raises:
        InvalidRequest: a layout is given, and the prices are not those of a file.
    """
    from rebalancer.wiring.market import Sources

    stated = click.get_current_context().meta
    found = Sources.of(
        settings(),
        prices,
        assets,
        periods_per_year,
        layout=layout,
        accepted=stated.get(_ACCEPTED, ()),
        currency=stated.get(_CURRENCY),
    )
    if layout is not None and not found.from_file:
        raise InvalidRequest(
            f"{found.prices} is not a file, and only files have a layout; leave it out",
            field="layout",
            code="layout_without_file",
        )
    stated[_SOURCES] = found
    return found


def stated_sources(context: click.Context) -> Sources | None:
    """Return the sources that a command has used last; None if it has used none."""
    found: Sources | None = context.meta.get(_SOURCES)
    return found


def open_container(where: Sources, *overrides: Provider, check: bool = True) -> Container:
    """Build the container; it is closed when the command ends."""
    return click.get_current_context().with_resource(container(where, *overrides, check=check))


def open_containers(
    panels: Mapping[str, Path | None],
    assets: Path | None = None,
    periods_per_year: float | None = None,
    *,
    layout: str | None = None,
    overrides: Sequence[Provider] = (),
) -> dict[str, Container]:
    """Build a container for the prices of each panel; see `open_container`.

    The caller has `check_accepted_jumps` look at all panels.
    """
    return {
        name: open_container(
            sources(path, assets, periods_per_year, layout=layout), *overrides, check=False
        )
        for name, path in panels.items()
    }


def check_accepted_jumps(containers: Iterable[Container]) -> None:
    """Check that each symbol of ``--accept-jumps`` has prices in one of the containers.

    Raises:
        InvalidRequest: a symbol has none, or the prices are malformed.
        PricesUnavailable: the provider did not answer.
    """
    accepted = click.get_current_context().meta.get(_ACCEPTED, ())
    if not accepted:
        return
    from rebalancer.application.ports.market import PriceSource

    known = {symbol: None for each in containers for symbol in each.get(PriceSource).symbols()}
    unknown = [symbol for symbol in accepted if symbol not in known]
    if known and unknown:  # an empty store has an error of its own
        raise unknown_symbols(unknown, known, field="accept_jumps")


def report_reading(wired: Container, panel: str = "Prices", *, plain: bool = False) -> None:
    """Print to standard error how a price file was read; ``plain``: also a plain one."""
    from rebalancer.application.ports.market import PriceDetails

    reading = wired.get(PriceDetails).reading()
    if reading.layout is not None and (plain or reading.notes or reading.layout != "wide"):
        click.echo(" ".join((f"{panel}: layout {reading.layout}.", *reading.notes)), err=True)


@contextmanager
def container(
    where: Sources | None = None, *overrides: Provider, check: bool = True
) -> Iterator[Container]:
    """Build the container, and close it at the end of the block.

    Quotas do not apply, since operators of a database are not its clients.

    Without ``check`` the caller has `check_accepted_jumps` look at several containers together.
    """
    from rebalancer.wiring.container import OperatorProvider, build_container

    chosen = settings()
    wired = build_container(where or sources(), OperatorProvider(), *overrides, settings=chosen)
    try:
        if check:
            check_accepted_jumps([wired])
        yield wired
    finally:
        wired.close()


def create_embedded_database(wired: Container) -> None:
    """Create the tables of an embedded database that is still empty.

    Databases of servers, and those of an older version, are upgraded by their operators.
    """
    if not settings().database_url.startswith("sqlite"):
        return
    from rebalancer.application.ports.store import Database

    database = wired.get(Database)
    if database.revision() is None:
        database.upgrade()


def price_panels(files: Sequence[Path], *, field: str = "prices") -> dict[str, Path | None]:
    """Name a panel of prices after each file; without files, the default source is one panel.

    Files of the same name in different folders are named by their paths.

    Raises:
        InvalidRequest: a file is given twice.
    """
    if not files:
        return {sources().title: None}
    for path in files:
        if files.count(path) > 1:
            raise InvalidRequest(
                f"{path} is given twice; give each file once", field=field, code="duplicate_file"
            )
    short = len({path.name for path in files}) == len(files)
    return {path.name if short else str(path): path for path in files}


def rate_or_column(text: str | None, prices: PriceSource) -> float | str:
    """Read what cash earns: an annual rate, or the name of a column, which may look like a number.

    Without text cash earns nothing.
    """
    if text is None:
        return 0.0
    try:
        return text if text in prices.symbols() else float(text)
    except ValueError:
        return text
