"""Options that name the engine of a command: processes of this machine, or of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from rebalancer.config import MOST_WORKERS
from rebalancer.domain.errors import InvalidRequest
from rebalancer.entrypoints.cli.options import combine_options

if TYPE_CHECKING:
    from rebalancer.application.ports.engine import Engine
    from rebalancer.wiring.engines import EngineProvider

Command = TypeVar("Command", bound=Callable[..., Any])


@attrs.frozen
class EngineChoice:
    """The engine that a command was asked to use.

    Attributes:
        name: ``local`` or ``ray``.
        address: Address of the Ray cluster, if one is given.
    """

    name: str
    address: str | None

    @property
    def is_local(self) -> bool:
        """Whether the command uses processes of this machine alone."""
        return self.name == "local"

    def most(self, workers: int | None, local: int) -> int:
        """Return the maximum number of processes.

        Args:
            workers: Number that the user gives; None: the default.
            local: Default on this machine; a cluster uses all cores that it has.
        """
        return workers or (local if self.is_local else MOST_WORKERS)

    def check_foreground(self, background: bool) -> None:
        """Check that a job, which runs where its worker is, asks for no cluster.

        Raises:
            InvalidRequest: the command submits a job and names a cluster.
        """
        if background and not self.is_local:
            raise InvalidRequest(
                "--engine ray cannot be combined with --background", code="conflicting_options"
            )

    def open(self) -> AbstractContextManager[Engine]:
        """Provide the engine while the block runs; see `rebalancer.wiring.engines`."""
        from rebalancer.wiring.engines import open_engine

        return open_engine(self.name, self.address)

    @contextmanager
    def remote(self) -> Iterator[Engine | None]:
        """Provide the engine of a cluster while the block runs; None: this process is enough."""
        if self.is_local:
            yield None
            return
        with self.open() as engine:
            yield engine

    def provider(self) -> EngineProvider:
        """Open the engine until the command ends, and return what gives it to use cases."""
        from rebalancer.wiring.engines import EngineProvider

        return EngineProvider(click.get_current_context().with_resource(self.open()))


_options = combine_options(
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Where processes run: on this machine, or on the nodes of a Ray cluster. Needs extra "
        "packages: pip install 'rebalancer[ray]'; see docs/scaling.md.",
    ),
    click.option(
        "--address",
        metavar="HOST:PORT",
        help="With --engine ray: address of the cluster, of which this machine is a node. Default: "
        "$RAY_ADDRESS, or a cluster of this machine alone, which ends with the command.",
    ),
)


def engine_options(command: Command) -> Command:
    """Add the options, and pass the `EngineChoice` that they mean as ``engine``.

    Raises:
        InvalidRequest: an address is given without the engine ray.
    """

    @wraps(command)
    def with_engine(*args: Any, engine: str, address: str | None, **others: Any) -> Any:
        if address is not None and engine != "ray":
            raise InvalidRequest("--address needs --engine ray", code="conflicting_options")
        return command(*args, engine=EngineChoice(engine, address), **others)

    return _options(with_engine)  # type: ignore[return-value]  # called by click alone
