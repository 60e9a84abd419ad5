"""What a person sees in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WHEN_NOT_A_TERMINAL = 120


def console(*, stderr: bool = False) -> Console:
    """A console; wide enough for tables when its output goes to a file or a pipe."""
    from rich.console import Console

    screen = Console(stderr=stderr, highlight=False)
    if not screen.is_terminal:
        screen = Console(stderr=stderr, highlight=False, width=_WHEN_NOT_A_TERMINAL)
    return screen


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
