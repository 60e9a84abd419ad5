"""What commands print: JSON, tables, cautions and progress bars."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from rebalancer.domain.text import escape_unsafe

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDTH_OF_A_PIPE = 120
_NARROW = 110


def print_json(document: object, **options: Any) -> None:
    """Print a document as JSON, indented and unescaped unless options of `json.dumps` differ."""
    click.echo(
        escape_unsafe(json.dumps(document, **{"indent": 2, "ensure_ascii": False} | options))
    )


def count_things(count: int, noun: str) -> str:
    """Write a number of things: "1 day", "2 days"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def count_assets(count: int) -> str:
    """Write a number of assets."""
    return count_things(count, "asset")


def changed_text(count: int, noun: str) -> str:
    """State how many things an import has changed: "1 day was new or changed"."""
    return f"{count_things(count, noun)} {'was' if count == 1 else 'were'} new or changed"


def console(*, stderr: bool = False) -> Console:
    """Create a console, wide enough for tables if its output goes to a file or a pipe.

    Text is printed literally: symbols and ids may contain brackets and colons. Characters that
    control a terminal are printed as escapes.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class SafeConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:  # before it is measured
            return super().render_str(escape_unsafe(text), **options)

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                text, style, control = segment
                yield segment if control else Segment(escape_unsafe(text), style)

    screen = SafeConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not screen.is_terminal:
        screen.width = _WIDTH_OF_A_PIPE
    return screen


def wide_table(screen: Console, title: str, texts: Sequence[str], figures: Sequence[str]) -> Table:
    """Create a table with columns of text, then of figures; compact in a narrow terminal.

    Text may wrap, figures never do.
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
    """Print a caution about the results."""
    from rich.text import Text

    screen.print(Text.assemble(("Caution:", "yellow"), " ", text))


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on standard error, and yield a function that advances it by one."""
    with meter(title, total) as advance:
        yield lambda _: advance(1)


@contextmanager
def meter(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on standard error, and yield a function that advances it.

    If standard error is not a terminal, nothing is shown.
    """
    from rich.progress import Progress

    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda _: None
        return
    with Progress(console=screen, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda amount: bar.advance(task, amount)


SetProgress = Callable[[float, int], None]
"""Sets how much of a stage is done, and how much it is in all."""


@contextmanager
def stages() -> Iterator[Callable[[str, str], SetProgress]]:
    """Show a progress bar with its rate for each stage, on standard error if it is a terminal.

    Yields a function that begins a stage, given its name and its unit.
    """
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            unit = task.fields["unit"]
            return Text("" if speed is None else f"{speed:,.0f} {unit}/s", justify="right")

    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda title, unit: lambda done, total: None
        return
    *columns, remaining = Progress.get_default_columns()
    # Progress arrives in large steps, so the rate is averaged over a long time.
    with Progress(*columns, Rate(), remaining, console=screen, speed_estimate_period=600.0) as bars:

        def begin(title: str, unit: str) -> SetProgress:
            task = bars.add_task(title, total=None, unit=unit)
            bars.advance(task, 0.0)  # starts the clock of the rate

            def set_progress(done: float, total: int) -> None:
                bars.update(task, completed=done, total=total)

            return set_progress

        yield begin
