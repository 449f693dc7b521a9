"""What commands print, on whatever it is printed."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

#: Into a pipe or a file nothing has to be cut off; on a terminal its width counts.
UNBOUNDED = 1000


def console(stream: TextIO | None = None) -> Console:
    """Return where tables are printed."""
    from rich.console import Console  # here, because every command loads this module

    where = stream or sys.stdout
    width = None if where.isatty() or "COLUMNS" in os.environ else UNBOUNDED
    return Console(file=where, width=width)


def unambiguous(stream: TextIO) -> TextIO:
    """Have a stream take every character, for output that programs read: whatever the locale, it is UTF-8."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8")
    return stream


def spare_nobody_a_character() -> None:
    """Have standard output print a question mark for what its encoding lacks, instead of ending the command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def give_up_output() -> None:
    """Throw away what standard output still holds, which Python would try to write once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
