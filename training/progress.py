"""How long work tells of its progress, and the bar that shows it on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class Progress(Protocol):
    """Is told what has begun and of each step."""

    def begin(self, what: str, steps: int) -> None:
        """A new stretch of work begins; `what` is for people."""
        ...

    def step(self) -> None:
        """One of the steps is done."""
        ...


class Silent:
    """Shows nothing."""

    def begin(self, what: str, steps: int) -> None:
        """Ignore it."""

    def step(self) -> None:
        """Ignore it."""


class TerminalProgress:
    """One bar, for the work in hand."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task = bars.add_task("", total=None)

    def begin(self, what: str, steps: int) -> None:
        """Start the bar anew."""
        self._bars.reset(self._task, description=what, total=steps)

    def step(self) -> None:
        """Move the bar on."""
        self._bars.advance(self._task)


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """Show a bar on standard error while the block runs; nothing when that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        yield TerminalProgress(bars)
