"""What a person sees in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WHEN_NOT_A_TERMINAL = 120
_NARROW = 110


def console(*, stderr: bool = False) -> Console:
    """A console; wide enough for tables when its output goes to a file or a pipe.

    Text is printed as it is: symbols and ids may hold brackets and colons.
    """
    from rich.console import Console

    screen = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not screen.is_terminal:
        screen.width = _WHEN_NOT_A_TERMINAL
    return screen


def wide_table(screen: Console, title: str, texts: Sequence[str], figures: Sequence[str]) -> Table:
    """A table of columns of text, then of figures; closer together in a narrow terminal.

    Text may be broken there, figures never.
    """
    from rich import box
    from rich.table import Table

    narrow = screen.width < _NARROW
    table = Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD if narrow else box.HEAVY_HEAD,
        padding=0 if narrow else (0, 1),
    )
    for heading in texts:
        table.add_column(heading, overflow="fold")
    for heading in figures:
        broken = heading.replace(" ", "\n").replace("/", "\n/")
        table.add_column(broken, justify="right", no_wrap=True)
    return table


def caution(screen: Console, text: str) -> None:
    """Print what a reader must know before believing the rest."""
    from rich.text import Text

    screen.print(Text.assemble(("Caution:", "yellow"), " ", text))


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[str], None]]:
    """A progress bar on standard error, and how to advance it by one; none off a terminal."""
    with meter(what, total) as advance:
        yield lambda _: advance(1)


@contextmanager
def meter(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, and how to advance it; none off a terminal."""
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda amount: bar.advance(task, amount)


Tell = Callable[[int, int], None]
"""Tells how much of a stage is done by now, and how much there is to do."""


@contextmanager
def stages() -> Iterator[Callable[[str, str], Tell]]:
    """Progress bars on standard error, one a stage, with their rates; none off a terminal.

    Gives what begins a stage, by its name and the unit that it is counted in.
    """
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            unit = task.fields["unit"]
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s", justify="right")

    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda what, unit: lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    # Segments take a while each: a rate needs a long memory.
    with Progress(*columns, console=screen, speed_estimate_period=600.0) as bars:

        def begin(what: str, unit: str) -> Tell:
            task = bars.add_task(what, total=None, unit=unit)
            bars.advance(task, 0.0)  # from here on the rate is reckoned

            def tell(done: int, total: int) -> None:
                bars.update(task, completed=done, total=total)

            return tell

        yield begin
